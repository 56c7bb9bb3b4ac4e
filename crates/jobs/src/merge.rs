//! Merging: neighbouring fragments become one.
//!
//! [`pick`] decides, purely. [`execute`] reads the live rows of the inputs a batch at a time and writes the new
//! fragment's files as it goes, so memory does not grow with the rows (the keys of the key column aside, which is sorted).
//! [`publish`] swaps the inputs for the new fragment in one transaction. Why nothing is lost:
//! - The transaction compares each input's anchor, so it wins only over exactly the deletes it knows of. If it loses to a
//!   delete, the rows deleted since are looked up by their place in the new fragment and go into a delete log of its own.
//! - It puts the head of the collection, which deletes compare: one that was worked out on the inputs loses and is worked
//!   out again on the new fragment.
//! - The files are written under a new name. A merge that fails, or that another one overtook, leaves files no entry
//!   names, and nothing else. It removes them itself ([`written`]), unless its commit may yet turn out to have happened; what
//!   is left where it was cut off is for the sweep.

mod execute;
mod pick;
mod publish;
mod row_map;
mod written;

use std::collections::BTreeSet;
use std::sync::Arc;

use redkite_table::{Collection, Database, Visibility};
use redkite_types::{CollectionId, FragmentId, Revision};
use written::Written;

use crate::pool::Pool;
use crate::{Error, Result, floor};
pub use pick::{Eagerness, MergePlan, pick, unmerged};

/// How to merge.
#[derive(Debug, Clone)]
pub struct MergeOptions {
    /// Whether to merge at all without being asked.
    pub enabled: bool,
    /// Rows of a fragment that need not grow further: from half of it on a fragment is left alone.
    pub target_rows: u64,
    /// Neighbours of one tier that become one.
    pub fan_in: usize,
    /// Share of deleted rows from which a fragment is rewritten.
    pub deleted_share: f64,
    /// Merges at the same time.
    pub threads: usize,
    /// Memory of one merge, in bytes, beyond what is mapped: bounds the keys that are sorted.
    pub memory_bytes: u64,
}

impl Default for MergeOptions {
    fn default() -> Self {
        Self {
            enabled: true,
            target_rows: 1_000_000,
            fan_in: 8,
            deleted_share: 0.2,
            threads: 1,
            memory_bytes: 64 << 20,
        }
    }
}

/// What a merge did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MergeReport {
    /// The revision of its commit.
    pub revision: Revision,
    /// Fragments it replaced.
    pub inputs: usize,
    /// Rows of the new fragment; zero if nothing was left and there is none.
    pub rows: u64,
    /// Bytes it wrote.
    pub bytes: u64,
}

/// Which merges of a collection are wanted.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// How eagerly to merge.
    pub eagerness: Eagerness,
    /// Only fragments whose ids were made before this revision, as those were that are committed at it; all if there is none.
    pub before: Option<Revision>,
    /// Fragments that are known to be unreadable.
    pub without: BTreeSet<FragmentId>,
}

impl Wanted {
    /// All that can be read.
    pub fn all(eagerness: Eagerness) -> Self {
        Self { eagerness, before: None, without: BTreeSet::new() }
    }
}

/// What became of the next merge of a collection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// It was done.
    Merged(MergeReport),
    /// There is nothing to merge.
    Nothing,
    /// There will be, but a fragment that is not committed yet may still come between what is there.
    Unsettled,
    /// Something else changed the same fragments first.
    Overtaken,
}

impl Next {
    /// The report of one that was done.
    pub fn merged(self) -> Option<MergeReport> {
        match self {
            Next::Merged(report) => Some(report),
            Next::Nothing | Next::Unsettled | Next::Overtaken => None,
        }
    }
}

/// Plans and runs the next merge of a collection.
pub async fn merge_next(
    database: &Arc<Database>,
    collection: CollectionId,
    options: &MergeOptions,
    wanted: &Wanted,
    pool: &Pool,
) -> Result<Next> {
    // Before the catalog is read whose revision the new id tells.
    let ids = database.hold_ids();
    let look = |catalog: &redkite_table::Catalog| -> Result<Option<Arc<Collection>>> {
        if let Some(error) = catalog.newer_format() {
            return Err(Error::Newer { detail: error.to_string() });
        }
        Ok(catalog.collection_by_id(collection)?.filter(|collection| !collection.is_damaged()).cloned())
    };
    let catalog = database.snapshot(Visibility::Strong).await?;
    let Some(found) = look(&catalog)? else { return Ok(Next::Nothing) };
    // A cheap look first: whether there would be anything to merge if all of it were settled.
    let all = catalog.revision.next();
    if pick(&found, wanted.before.map_or(all, |before| before.min(all)), options, wanted).is_none() {
        return Ok(Next::Nothing);
    }
    // From here on nothing older than `settled` can be committed any more, so what lies below has its final order.
    let settled = floor::raise_ids(database).await?;
    let catalog = database.snapshot(Visibility::Strong).await?;
    let Some(found) = look(&catalog)? else { return Ok(Next::Nothing) };
    let settled = wanted.before.map_or(settled, |before| before.min(settled));
    let Some(plan) = pick(&found, settled, options, wanted) else { return Ok(Next::Unsettled) };
    let (mut written, mut made) = (Written::default(), None);
    let result = async {
        let merged = execute::execute(database, &found, plan, catalog.revision, pool, &mut written).await?;
        made = Some(merged.id);
        execute::warm(database, &found, &merged, pool).await?;
        publish::publish(database, collection, merged, pool, &mut written).await
    };
    let result = result.await;
    drop(ids);
    if result.as_ref().err().is_none_or(is_ours_to_remove) {
        written.remove(database).await;
    }
    if let (Some(id), false) = (made, matches!(result, Ok(Next::Merged(_)))) {
        database.readers.forget(id);
    }
    result
}

/// Whether what was written before this failure is named by nobody, and will not be.
fn is_ours_to_remove(error: &Error) -> bool {
    use redkite_storage::Error::Exists;
    !matches!(
        error,
        // The commit may have happened.
        Error::Table(redkite_table::Error::OutcomeUnknown { .. })
        // A file of that name is there, and not from here.
        | Error::Storage(Exists { .. }) | Error::Table(redkite_table::Error::Storage(Exists { .. }))
    )
}
