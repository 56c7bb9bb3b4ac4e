//! Finding the rows a block removes from older fragments, and writing the delete logs.
//!
//! A delete log always holds the whole set of a fragment's deleted rows. What was found in a fragment is kept between
//! tries: a fragment whose delete log did not change meanwhile is not searched again.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};
use redkite_expr::Predicate;
use redkite_table::entry::FileEntry;
use redkite_table::fragment::{FragmentReader, NewFile, Origin, encode_delete_log};
use redkite_table::{Collection, Database, Fragment};
use redkite_types::{CommitId, FieldId, FragmentId};
use roaring::RoaringBitmap;

use super::upload::origin;
use crate::stage::Staged;
use crate::{Result, cpu};

/// Fragments opened and searched at the same time.
const CONCURRENT_FRAGMENTS: usize = 8;

/// What was found in one fragment under one delete log.
#[derive(Debug, Clone)]
struct Found {
    log: Option<String>,
    /// All deleted rows, older ones included; none if this block removes nothing there.
    deleted: Option<RoaringBitmap>,
}

/// What removing rows changes in the metadata.
#[derive(Debug, Default)]
pub(super) struct Removed {
    /// Entries of anchors of committed fragments, which name the new delete log.
    pub(super) anchors: Vec<(Arc<Fragment>, FileEntry)>,
    /// Entries of anchors of the block's own fragments, by path.
    pub(super) own_anchors: Vec<(String, FileEntry)>,
    /// The new delete log's entry, by path; none if nothing is removed.
    pub(super) log: Option<(String, FileEntry)>,
}

/// A fragment, whether it is committed, and what to remove from it.
type Target = (Arc<Fragment>, bool, Arc<[Arc<Predicate>]>);

/// Finds rows to remove, remembering what it has searched.
#[derive(Debug, Default)]
pub(super) struct Finder {
    found: HashMap<FragmentId, Found>,
}

impl Finder {
    /// Finds what `staged` removes from `collection` as it is now, uploads the delete log, and returns the entries to
    /// put.
    pub(super) async fn find(
        &mut self,
        database: &Arc<Database>,
        collection: &Arc<Collection>,
        staged: &Staged,
        commit: CommitId,
    ) -> Result<Removed> {
        // Made once, not once a fragment: a block may remove many keys.
        let older: Arc<[Arc<Predicate>]> = staged.removals.predicates(&staged.record)?.into();
        let mut targets: Vec<Target> = Vec::new();
        targets.extend(collection.fragments.values().map(|fragment| (fragment.clone(), true, older.clone())));
        for (uploaded, removals) in &staged.uploaded {
            if !removals.is_empty() {
                let later = removals.predicates(&staged.record)?.into();
                targets.push((uploaded.fragment.clone(), false, later));
            }
        }

        let mut searches = Vec::new();
        for (fragment, committed, predicates) in &targets {
            let log = fragment.anchor()?.entry.delete_log.clone();
            if self.found.get(&fragment.id).is_some_and(|known| known.log == log) {
                continue;
            }
            let relevant: Vec<Arc<Predicate>> =
                predicates.iter().filter(|predicate| may_match(fragment, predicate)).cloned().collect();
            if relevant.is_empty() {
                self.found.insert(fragment.id, Found { log, deleted: None });
                continue;
            }
            searches.push(search(database.clone(), collection.clone(), fragment.clone(), *committed, relevant, log));
        }
        let mut searches = stream::iter(searches).buffer_unordered(CONCURRENT_FRAGMENTS);
        while let Some((id, found)) = searches.try_next().await? {
            self.found.insert(id, found);
        }
        let fragments = targets.into_iter().map(|(fragment, committed, _)| (fragment, committed)).collect();
        let Some((log, removed)) = self.delete_log(fragments, commit, &origin(database))? else {
            return Ok(Removed::default());
        };
        let path = database.object_path(&collection.segment, &log.path);
        database.put_files(vec![(path, log.bytes)]).await?;
        Ok(Removed { log: Some((log.path, log.entry)), ..removed })
    }

    /// The delete log of what was found, and the anchors that name it; none if nothing was found.
    fn delete_log(
        &self,
        fragments: Vec<(Arc<Fragment>, bool)>,
        commit: CommitId,
        origin: &Origin,
    ) -> Result<Option<(NewFile, Removed)>> {
        let mut sections: BTreeMap<String, RoaringBitmap> = BTreeMap::new();
        let mut changed = Vec::new();
        for (fragment, committed) in fragments {
            let Some(deleted) = self.found.get(&fragment.id).and_then(|found| found.deleted.clone()) else {
                continue;
            };
            let anchor = fragment.anchor()?.clone();
            let mut entry = anchor.entry.clone();
            entry.deleted = deleted.len();
            sections.insert(anchor.path.to_string(), deleted);
            changed.push((fragment, committed, entry));
        }
        if changed.is_empty() {
            return Ok(None);
        }
        let log = encode_delete_log(&sections, commit, origin)?;
        let mut removed = Removed::default();
        for (fragment, committed, mut entry) in changed {
            entry.delete_log = Some(log.path.clone());
            match committed {
                true => removed.anchors.push((fragment, entry)),
                false => removed.own_anchors.push((fragment.anchor()?.path.to_string(), entry)),
            }
        }
        Ok(Some((log, removed)))
    }
}

/// Whether the fragment has rows left and its key bounds allow a match; opens nothing.
fn may_match(fragment: &Fragment, predicate: &Predicate) -> bool {
    fragment.live_rows() > 0 && predicate.candidate_keys().is_none_or(|keys| fragment.may_contain(keys))
}

async fn search(
    database: Arc<Database>,
    collection: Arc<Collection>,
    fragment: Arc<Fragment>,
    committed: bool,
    predicates: Vec<Arc<Predicate>>,
    log: Option<String>,
) -> Result<(FragmentId, Found)> {
    let mut fields: Vec<FieldId> = predicates.iter().flat_map(|predicate| predicate.fields().to_vec()).collect();
    if let Some(key) = collection.record()?.schema.primary_key() {
        fields.push(key.id);
    }
    let readers = &database.readers;
    let reader = match committed {
        true => readers.open(&collection, &fragment, fields).await?,
        false => readers.open_uncommitted(&collection, &fragment, fields).await?,
    };
    let id = fragment.id;
    let keyed = predicates.iter().all(|predicate| predicate.candidate_keys().is_some());
    let keys = |predicate: &Arc<Predicate>| predicate.candidate_keys().map_or(0, |keys| keys.len() as u64);
    let cost = if keyed { predicates.iter().map(keys).sum() } else { u64::from(reader.rows()) };
    let deleted = cpu::run(cost, move || removed_rows(&reader, &predicates)).await??;
    Ok((id, Found { log, deleted }))
}

/// All deleted rows of the fragment after removing what the predicates match; none if they match nothing.
fn removed_rows(reader: &FragmentReader, predicates: &[Arc<Predicate>]) -> Result<Option<RoaringBitmap>> {
    let mut removed = RoaringBitmap::new();
    for predicate in predicates {
        removed |= reader.select(predicate)?.to_bitmap();
    }
    if removed.is_empty() {
        return Ok(None);
    }
    Ok(Some(removed | reader.deleted_rows()))
}
