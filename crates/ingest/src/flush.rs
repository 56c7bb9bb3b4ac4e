//! The flush: the one way a block becomes visible.
//!
//! 1. The block is frozen (the caller holds the session's turn). 2. Its operations are replayed and the files of its
//!    inserts built and uploaded, under new names. 3. If it deletes: on a catalog as new as the heads, the rows are found
//!    and new delete logs uploaded. 4. If `sync_level` says so, as many other nodes fetch the new files. 5. One transaction.
//!    It compares each collection's schema, for deletes the heads, and what every commit compares. 6. The answer is the
//!    revision.
//!
//! When the transaction loses, the catalog is read again and only what changed is worked out again: files stay uploaded,
//! fragments searched before are not searched again. When no answer comes, the outcome is settled. Nothing here
//! publishes in any other way, so a block is visible wholly or not at all.

mod removals;
mod upload;

use std::sync::Arc;
use std::time::Duration;

use redkite_meta::{Compare, CompareOp, CompareTarget};
use redkite_table::change::Change;
use redkite_table::commit::{Commit, CommitResult, NamedFlush};
use redkite_table::ddl::Guard;
use redkite_table::entry::{self, CollectionTombstone, FileEntry};
use redkite_table::intent::Intents;
use redkite_table::replication::unpublished;
use redkite_table::{Catalog, Collection, Database, Visibility};
use redkite_types::{CollectionId, CommitId, FragmentId, Revision};

use crate::block::Block;
use crate::fence::{self, Fence};
use crate::stage::{Staged, stage};
use crate::{Error, Result, cpu};
use removals::Finder;
pub(crate) use upload::origin;
pub use upload::upload_early;
use upload::{Uploaded, upload};

/// Tries before a flush that keeps losing gives up. From [`redkite_table::intent::AFTER_LOSSES`] on the others let it pass.
const TRIES: u32 = 64;
/// Most compares of a flush, those every commit has and its clients' left aside: a transaction of a stock etcd takes 128.
const COMPARES_MAX: usize = 100;
/// Pause after losing to another's intent, times the losses so far...
const INTENT_PAUSE: Duration = Duration::from_millis(10);
/// ... up to this many: all pauses together outlast the intent of an owner that died.
const INTENT_PAUSES_MAX: u32 = 20;

/// Why a flush did not succeed, and so what happens to its block.
#[derive(Debug)]
pub enum Failure {
    /// Nothing was published; the block stays in the session.
    Keep(Error),
    /// A collection is gone: its operations are dropped, the others stay.
    Dropped {
        /// The collection.
        collection: CollectionId,
        /// What it was called.
        name: String,
    },
    /// Nothing was published, and never can be: the block goes.
    Discard(Error),
    /// Not even the outcome could be learnt; the block stays frozen until it is settled.
    Unknown {
        /// What to settle.
        id: CommitId,
        /// Why.
        detail: String,
    },
}

impl<E: Into<Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        match error.into() {
            error @ (Error::Table(redkite_table::Error::LimitReached { .. })
            | Error::UploadsCollected
            | Error::ForwardedLost { .. }) => Failure::Discard(error),
            error => Failure::Keep(error),
        }
    }
}

/// The collections of a block as of one catalog, one a part.
type Collections = Arc<[Arc<Collection>]>;

/// What one collection contributes to the commit.
struct Part {
    staged: Staged,
    uploaded: Uploaded,
    finder: Finder,
}

impl Part {
    /// The fragments it adds.
    fn fragments(&self) -> impl Iterator<Item = FragmentId> {
        let early = self.staged.uploaded.iter().map(|(uploaded, _)| uploaded.fragment.id);
        early.chain(self.uploaded.fragment)
    }
}

/// Publishes a frozen block as one atom, unless its client, or one of several, has gone to another process (`fences`); returns
/// the revision it became visible at.
pub async fn flush(
    database: &Arc<Database>,
    block: &Block,
    fences: &[Arc<Fence>],
    named: Option<NamedFlush>,
) -> std::result::Result<Revision, Failure> {
    let ops = block.ops().to_vec();
    let rows = ops.iter().map(|op| op.rows()).sum();
    let staged = cpu::run(rows, move || stage(&ops)).await??;
    let mut parts: Vec<Part> = staged
        .into_iter()
        .map(|staged| Part { staged, uploaded: Uploaded::default(), finder: Finder::default() })
        .collect();
    slow_down(database, &parts).await;
    let mut intents = Intents::new(database);
    let result = publish(database, &mut parts, fences, named, &mut intents).await;
    intents.release().await;
    if let Err(Failure::Keep(Error::Table(error))) = &result {
        database.readers.forget_damaged(error).await;
    }
    result
}

/// Waits a little where merging is behind, so that it can catch up.
async fn slow_down(database: &Database, parts: &[Part]) {
    let adding = parts.iter().filter(|part| part.staged.rows() > 0 || !part.staged.uploaded.is_empty());
    let pause = adding.map(|part| database.slowdowns.of(part.staged.collection)).max().unwrap_or_default();
    if !pause.is_zero() {
        metrics::counter!("redkite_flush_slowdowns_total").increment(1);
        metrics::histogram!("redkite_flush_slowdown_seconds").record(pause.as_secs_f64());
        tokio::time::sleep(pause).await;
    }
}

async fn publish(
    database: &Arc<Database>,
    parts: &mut [Part],
    fences: &[Arc<Fence>],
    named: Option<NamedFlush>,
    intents: &mut Intents<'_>,
) -> std::result::Result<Revision, Failure> {
    // Until the end, so that what is uploaded is not taken for abandoned.
    let _ids = database.hold_ids();
    // The store's revision at the last loss: a floor under ids that was raised meanwhile is not above it.
    let mut seen = Revision::ZERO;
    for losses in 0..TRIES {
        let catalog = database.snapshot(Visibility::Strong).await?;
        let collections = bind(database, &catalog, parts).await?;
        let revision = catalog.revision.max(seen);
        upload(database, revision, collections.clone(), parts).await?;
        let id = database.commit_id(revision);
        let (mut commit, changed) =
            plan(database, (catalog.revision, collections.clone()), parts, id, named.clone(), intents).await?;
        database.replication.ensure(changed).await?;
        commit.compares.extend(fences.iter().map(|fence| fence.compare()));
        match database.committer.commit(&commit).await {
            Ok(CommitResult::Committed(revision)) => return Ok(caught_up(database, revision).await),
            Ok(CommitResult::NameTaken(outcome, revision)) => {
                return named_before(named.as_ref(), &outcome, revision).map_err(Failure::Keep);
            }
            Ok(CommitResult::Lost { revision, floor }) => {
                seen = revision;
                for fence in fences {
                    if !fence.stands(database.meta.as_ref()).await? {
                        return Err(Failure::Discard(fence::gone()));
                    }
                }
                redo_below(floor, parts)?;
                let deleting = parts
                    .iter()
                    .zip(collections.iter())
                    .filter(|(part, _)| part.staged.removes())
                    .map(|(_, collection)| collection.segment.to_string())
                    .collect();
                if intents.after_loss(losses + 1, deleting).await {
                    tokio::time::sleep(INTENT_PAUSE * (losses + 1).min(INTENT_PAUSES_MAX)).await;
                }
            }
            // Settled as not committed: nothing happened and nothing will, so it may be tried under a new id.
            Ok(CommitResult::Aborted) => {}
            Err(redkite_table::Error::OutcomeUnknown { id, detail }) => return Err(Failure::Unknown { id, detail }),
            Err(error) => return Err(error.into()),
        }
    }
    Err(redkite_table::Error::Contended { what: "the collection".into() }.into())
}

/// Forgets uploads that may have been collected, so that they are made anew under new ids.
fn redo_below(floor: Revision, parts: &mut [Part]) -> Result<()> {
    for part in parts {
        if part.uploaded.fragment.is_some_and(|id| id.made() < floor) {
            part.uploaded = Uploaded::default();
        }
        if part.staged.uploaded.iter().any(|(uploaded, _)| uploaded.fragment.id.made() < floor) {
            return Err(Error::UploadsCollected);
        }
    }
    Ok(())
}

/// What a dropped collection was called; its id if that is not known any more.
pub(crate) async fn dropped_name(database: &Database, id: CollectionId) -> String {
    let key = database.keys.collection_tombstone(id);
    let stored = database.meta.get(&key).await.ok().flatten();
    let tombstone = stored.and_then(|kv| entry::parse::<CollectionTombstone>(&key, &kv.value).ok());
    tombstone.map_or_else(|| id.to_string(), |tombstone| tombstone.name)
}

/// The collections of the parts, as they are now.
async fn bind(database: &Database, catalog: &Catalog, parts: &[Part]) -> std::result::Result<Collections, Failure> {
    let mut collections = Vec::with_capacity(parts.len());
    for Part { staged, .. } in parts {
        let Some(collection) = catalog.collection_by_id(staged.collection)? else {
            let name = dropped_name(database, staged.collection).await;
            return Err(Failure::Dropped { collection: staged.collection, name });
        };
        if collection.record()?.schema != staged.record.schema {
            let what = format!("the schema of collection {}", collection.segment);
            return Err(Failure::Keep(redkite_table::Error::Contended { what }.into()));
        }
        collections.push(collection.clone());
    }
    Ok(collections.into())
}

/// The whole change as one commit, and what it changes of each collection if others have to hold that; uploads the delete logs
/// it refers to.
async fn plan(
    database: &Arc<Database>,
    (revision, collections): (Revision, Collections),
    parts: &mut [Part],
    id: CommitId,
    flush: Option<NamedFlush>,
    intents: &Intents<'_>,
) -> Result<(Commit, Vec<Arc<Collection>>)> {
    let mut changed = Vec::new();
    let oldest = parts.iter().flat_map(Part::fragments).map(|id| id.made()).fold(id.revision(), Revision::min);
    let keys = &database.keys;
    let mut change = Change::new(keys, id, database.ambient.now_ms());
    for (at, part) in parts.iter_mut().enumerate() {
        let collection = collections[at].clone();
        let segment = &*collection.segment;
        change.compares.push(Compare::unchanged_since(keys.schema(segment), collection.schema_revision));
        change.compares.push(intents.allows(segment));
        let mut entries: Vec<(String, FileEntry)> = part.uploaded.entries().cloned().collect();
        for (uploaded, _) in &part.staged.uploaded {
            entries.extend(uploaded.entries.iter().cloned());
        }
        let mut anchors = Vec::new();
        if part.staged.removes() {
            change.compares.push(Compare::unchanged_since(keys.collection_head(segment), collection.head));
            let removed = part.finder.find(database, &collection, &part.staged, id).await?;
            for (path, entry) in removed.own_anchors {
                entries.retain(|(known, _)| *known != path);
                entries.push((path, entry));
            }
            change.replace_anchors(&collection, &removed.anchors)?;
            entries.extend(removed.log);
            anchors = removed.anchors;
        }
        for (path, entry) in &entries {
            change.add_file(segment, path, entry)?;
        }
        if database.replication.level() > 0 {
            let mut files: Vec<(&str, &FileEntry)> = entries.iter().map(|(path, entry)| (&**path, entry)).collect();
            for (fragment, entry) in &anchors {
                files.push((&fragment.anchor()?.path, entry));
            }
            changed.push(Arc::new(unpublished(&collection, files)?));
        }
        change.touched.push(segment.to_owned());
    }
    let Change { mut compares, ops, touched, .. } = change;
    if compares.len() > COMPARES_MAX {
        // Too many collections to compare each: nothing at all of the user has changed. Wishes to be let pass are not
        // compared then; they are a courtesy.
        compares = vec![Compare {
            key: keys.head(),
            op: CompareOp::Less,
            target: CompareTarget::ModRevision(revision.next()),
        }];
    }
    Ok((Commit { id, oldest, compares, ops, touched, flush }, changed))
}

/// Waits until this node sees what it committed; that it is committed does not depend on it.
async fn caught_up(database: &Database, revision: Revision) -> Revision {
    if let Err(error) = database.at_least(revision).await {
        tracing::warn!(%error, %revision, "committed, but the catalog of this node could not be brought up to it yet");
    }
    revision
}

/// A name that has an outcome: the first one's, if it was for the same operations.
pub(crate) fn named_before(
    named: Option<&NamedFlush>,
    outcome: &entry::Outcome,
    revision: Revision,
) -> Result<Revision> {
    let Some(named) = named else {
        return Err(Error::Internal { detail: "an unnamed flush met a named outcome".into() });
    };
    if !outcome.committed {
        return Err(Error::FlushNotCommitted);
    }
    let digest = format!("{:032x}", named.digest);
    if outcome.digest.as_deref() == Some(digest.as_str()) {
        return Ok(revision);
    }
    Err(Error::FlushNameReused { name: String::from_utf8_lossy(&named.name).into_owned() })
}

#[cfg(test)]
mod tests;
