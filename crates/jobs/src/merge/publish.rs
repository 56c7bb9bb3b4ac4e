//! Swaps a merge's inputs for the new fragment, over whatever was deleted meanwhile.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use redkite_meta::Compare;
use redkite_table::change::Change;
use redkite_table::commit::{Commit, CommitResult};
use redkite_table::entry::FileType;
use redkite_table::fragment::{NewFile, Origin, encode_delete_log};
use redkite_table::intent::Intents;
use redkite_table::{Collection, Database, Fragment, Visibility};
use redkite_types::{CollectionId, CommitId, Revision};
use roaring::RoaringBitmap;

use super::execute::Merged;
use super::written::Written;
use super::{MergeReport, Next};
use crate::failpoint::step;
use crate::pool::Pool;
use crate::{Error, Result};

/// Tries before a merge that keeps losing gives up. From [`redkite_table::intent::AFTER_LOSSES`] on others let it pass.
const TRIES: u32 = 64;
/// Pause after losing to another's intent.
const INTENT_PAUSE: Duration = Duration::from_millis(20);
/// Tries to learn an outcome that is open, and the pause between them, which doubles.
const SETTLE_TRIES: u32 = 10;
const SETTLE_PAUSE: Duration = Duration::from_millis(100);

/// Publishes, unless another commit dropped one of the inputs.
pub(super) async fn publish(
    database: &Arc<Database>,
    collection: CollectionId,
    merged: Merged,
    pool: &Pool,
    written: &mut Written,
) -> Result<Next> {
    let mut intents = Intents::new(database);
    let result = publish_with(database, collection, &merged, pool, &mut intents, written).await;
    intents.release().await;
    result
}

async fn publish_with(
    database: &Arc<Database>,
    id: CollectionId,
    merged: &Merged,
    pool: &Pool,
    intents: &mut Intents<'_>,
    written: &mut Written,
) -> Result<Next> {
    let mut seen = Revision::ZERO;
    for losses in 0..TRIES {
        let catalog = database.snapshot(Visibility::Strong).await?;
        let Some(collection) = catalog.collection_by_id(id)?.cloned() else {
            return Ok(Next::Overtaken);
        };
        let Some(inputs) = still_there(&collection, merged) else {
            return Ok(Next::Overtaken);
        };
        let commit_id = database.commit_id(catalog.revision.max(seen));
        let deleted = deleted_since(database, &collection, &inputs, merged, pool).await?;
        let (commit, entries) =
            plan(database, &collection, &inputs, merged, deleted, commit_id, intents, written).await?;
        step("merge-before-commit")?;
        written.sent();
        let revision = match database.committer.commit(&commit).await {
            Ok(CommitResult::Committed(revision)) => revision,
            Ok(CommitResult::Lost { revision, floor }) => {
                written.settled();
                if merged.made < floor {
                    // What was written may be collected by now. Planned again it is written again.
                    return Ok(Next::Overtaken);
                }
                seen = revision;
                if intents.after_loss(losses + 1, vec![collection.segment.to_string()]).await {
                    tokio::time::sleep(INTENT_PAUSE).await;
                }
                continue;
            }
            Ok(CommitResult::Aborted | CommitResult::NameTaken(..)) => {
                written.settled();
                continue;
            }
            Err(redkite_table::Error::OutcomeUnknown { id, detail }) => match settle(database, id).await {
                Some(revision) => revision,
                // Whichever way it ends, it is one atom; the next plan sees what became of it.
                None => return Err(redkite_table::Error::OutcomeUnknown { id, detail }.into()),
            },
            Err(error) => return Err(error.into()),
        };
        for (path, _) in &entries {
            written.committed(&database.object_path(&collection.segment, path));
        }
        written.settled();
        step("merge-after-commit")?;
        database.at_least(revision).await?;
        let report = MergeReport { revision, inputs: inputs.len(), rows: merged.rows, bytes: merged.bytes };
        return Ok(Next::Merged(report));
    }
    Err(redkite_table::Error::Contended { what: "the fragments of a merge".into() }.into())
}

/// The inputs as they are now; none if one of them is gone.
fn still_there(collection: &Collection, merged: &Merged) -> Option<Vec<Arc<Fragment>>> {
    merged.inputs.iter().map(|input| collection.fragments.get(&input.id).cloned()).collect()
}

/// Rows of the new fragment that were deleted from the inputs since they were read.
async fn deleted_since(
    database: &Database,
    collection: &Arc<Collection>,
    inputs: &[Arc<Fragment>],
    merged: &Merged,
    pool: &Pool,
) -> Result<RoaringBitmap> {
    let mut moved = RoaringBitmap::new();
    for ((input, read), taken) in inputs.iter().zip(&merged.inputs).zip(&merged.taken) {
        if input.anchor()?.entry.delete_log == read.anchor()?.entry.delete_log {
            continue;
        }
        let reader = database.readers.open(collection, input, []).await?;
        let taken = taken.clone();
        moved |= pool.run(move || taken.moved(&reader.deleted_rows())).await??;
    }
    Ok(moved)
}

/// The commit, and the entries it puts.
#[expect(clippy::too_many_arguments, reason = "each is one thing the commit rests on")]
async fn plan(
    database: &Database,
    collection: &Collection,
    inputs: &[Arc<Fragment>],
    merged: &Merged,
    deleted: RoaringBitmap,
    id: CommitId,
    intents: &Intents<'_>,
    written: &mut Written,
) -> Result<(Commit, Vec<Entry>)> {
    let segment = &*collection.segment;
    let mut change = Change::new(&database.keys, id, database.ambient.now_ms());
    change.compares.push(Compare::created_at(database.keys.schema(segment), collection.created));
    change.compares.push(intents.allows(segment));
    for input in inputs {
        change.drop_fragment(collection, input)?;
    }
    let mut entries = merged.entries.clone();
    // With every row deleted since, the new fragment is not worth an entry.
    if deleted.len() == merged.rows {
        entries.clear();
    } else if !deleted.is_empty() {
        let anchor = anchor_of(&mut entries)?;
        let sections = BTreeMap::from([(anchor.0.clone(), deleted)]);
        let origin = Origin { node: database.options.node, cluster: database.options.cluster.clone() };
        let NewFile { path, entry, bytes } = encode_delete_log(&sections, id, &origin)?;
        anchor.1.delete_log = Some(path.clone());
        anchor.1.deleted = entry.rows;
        let object = database.object_path(segment, &path);
        written.add(object.clone());
        database.put_files(vec![(object, bytes)]).await?;
        entries.push((path, entry));
    }
    for (path, entry) in &entries {
        change.add_file(segment, path, entry)?;
    }
    change.touched.push(segment.to_owned());
    let Change { compares, ops, touched, .. } = change;
    let commit = Commit { id, oldest: merged.made.min(id.revision()), compares, ops, touched, flush: None };
    Ok((commit, entries))
}

type Entry = (String, redkite_table::entry::FileEntry);

fn anchor_of(entries: &mut [Entry]) -> Result<&mut Entry> {
    entries
        .iter_mut()
        .filter(|(_, entry)| entry.file_type == FileType::RawVector)
        .min_by_key(|(_, entry)| entry.field)
        .ok_or_else(|| Error::Internal { detail: "a merged fragment without raw vector file".into() })
}

/// The revision of a commit whose answer did not come; none if it did not happen or that cannot be learnt.
async fn settle(database: &Database, id: CommitId) -> Option<Revision> {
    let mut pause = SETTLE_PAUSE;
    for _ in 0..SETTLE_TRIES {
        match database.committer.settle(&id).await {
            Ok(settled) => return settled.outcome.committed.then_some(settled.revision),
            Err(error) => tracing::warn!(commit = %id, %error, "the outcome of a merge is open, asking again"),
        }
        tokio::time::sleep(pause).await;
        pause *= 2;
    }
    None
}
