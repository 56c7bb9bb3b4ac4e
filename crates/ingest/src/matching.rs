//! How many rows a delete by filter takes with it, by what is there when it is issued.
//!
//! Like a flush it replays the block first: rows that earlier operations of the block remove are not there any more,
//! rows that it adds are, whether they are in memory or uploaded already.

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};
use redkite_expr::{BatchColumns, Predicate};
use redkite_table::{Collection, Database, Fragment};

use crate::block::BlockOp;
use crate::stage::{Staged, stage};
use crate::{Error, Result, cpu};

/// Fragments opened and searched at the same time.
const CONCURRENT_FRAGMENTS: usize = 8;

/// A fragment, and what the block removes from it.
struct Source {
    fragment: Arc<Fragment>,
    committed: bool,
    removals: Arc<[Arc<Predicate>]>,
}

/// Rows that match `predicate` among those of `collection` after `ops`, which are all on that collection.
pub(crate) async fn count_matching(
    database: &Database,
    collection: &Arc<Collection>,
    ops: Vec<BlockOp>,
    predicate: &Arc<Predicate>,
) -> Result<u64> {
    let result = count_once(database, collection, ops, predicate).await;
    if let Err(Error::Table(error)) = &result {
        database.readers.forget_damaged(error).await;
    }
    result
}

async fn count_once(
    database: &Database,
    collection: &Arc<Collection>,
    ops: Vec<BlockOp>,
    predicate: &Arc<Predicate>,
) -> Result<u64> {
    let rows = ops.iter().map(BlockOp::rows).sum();
    let wanted = predicate.clone();
    let (staged, added) = cpu::run(rows, move || {
        let staged = stage(&ops)?.pop();
        let added = staged.as_ref().map_or(Ok(0), |staged| added_rows(staged, &wanted))?;
        Ok::<_, Error>((staged, added))
    })
    .await??;
    let searches = sources(collection, staged.as_ref())?
        .into_iter()
        .filter(|source| may_match(&source.fragment, predicate))
        .map(|source| count_in(database, collection, source, predicate.clone()));
    let stored =
        stream::iter(searches).buffer_unordered(CONCURRENT_FRAGMENTS).try_fold(0, async |sum, count| Ok(sum + count));
    Ok(added + stored.await?)
}

/// Matching rows that the block adds and has in memory.
fn added_rows(staged: &Staged, predicate: &Predicate) -> Result<u64> {
    let mut rows = 0;
    for batch in &staged.batches {
        let columns = BatchColumns::new(batch, &staged.record.schema);
        let hits = predicate.evaluate(&columns).map_err(redkite_table::Error::from)?;
        rows += hits.count_set_bits() as u64;
    }
    Ok(rows)
}

/// What is stored: the committed fragments, and those the block has uploaded.
fn sources(collection: &Collection, staged: Option<&Staged>) -> Result<Vec<Source>> {
    let older: Arc<[Arc<Predicate>]> = match staged {
        Some(staged) => staged.removals.predicates(&staged.record)?.into(),
        None => Arc::default(),
    };
    let committed =
        |fragment: &Arc<Fragment>| Source { fragment: fragment.clone(), committed: true, removals: older.clone() };
    let mut sources: Vec<Source> = collection.fragments.values().map(committed).collect();
    if let Some(staged) = staged {
        for (uploaded, later) in &staged.uploaded {
            let removals = later.predicates(&staged.record)?.into();
            sources.push(Source { fragment: uploaded.fragment.clone(), committed: false, removals });
        }
    }
    Ok(sources)
}

/// Whether the fragment has rows left and its key bounds allow a match; opens nothing.
fn may_match(fragment: &Fragment, predicate: &Predicate) -> bool {
    fragment.live_rows() > 0 && predicate.candidate_keys().is_none_or(|keys| fragment.may_contain(keys))
}

async fn count_in(
    database: &Database,
    collection: &Collection,
    source: Source,
    predicate: Arc<Predicate>,
) -> Result<u64> {
    let Source { fragment, committed, removals } = source;
    let removals: Vec<Arc<Predicate>> =
        removals.iter().filter(|removed| may_match(&fragment, removed)).cloned().collect();
    let all = || removals.iter().chain([&predicate]);
    let mut fields: Vec<_> = all().flat_map(|predicate| predicate.fields().to_vec()).collect();
    if all().any(|predicate| predicate.candidate_keys().is_some()) {
        fields.extend(collection.record()?.schema.primary_key().map(|key| key.id));
    }
    let readers = &database.readers;
    let reader = match committed {
        true => readers.open(collection, &fragment, fields).await?,
        false => readers.open_uncommitted(collection, &fragment, fields).await?,
    };
    let rows = u64::from(reader.rows());
    cpu::run(rows, move || {
        let found = reader.select(&predicate)?;
        if removals.is_empty() {
            return Ok(found.len() as u64);
        }
        let mut left = found.to_bitmap();
        for removed in &removals {
            left -= reader.select(removed)?.to_bitmap();
        }
        Ok(left.len())
    })
    .await?
}
