//! Rows that satisfy a filter, and how many there are.

use std::cmp::Reverse;
use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use redkite_expr::Predicate;
use redkite_table::fragment::FragmentReader;
use redkite_table::{Collection, Database};
use redkite_types::FieldId;

use crate::answer::Asked;
use crate::fanout::{Asking, Done, Reader, Work};
use crate::keys::{KeyColumn, KeyRef, KeyRun};
use crate::request::{self, Ask};
use crate::source::{Source, forgetting_damage};
use crate::{Result, RowId, Rows, cpu, gather};

/// Which rows to find.
#[derive(Debug, Clone)]
pub struct QueryRequest {
    /// The collection, as of the request's snapshot.
    pub collection: Arc<Collection>,
    /// Which rows.
    pub filter: Arc<Predicate>,
    /// Rows to leave out at the beginning.
    pub offset: usize,
    /// Most rows to return.
    pub limit: Option<usize>,
    /// Columns to return.
    pub fields: Vec<FieldId>,
}

/// The rows that satisfy the filter, ascending by primary key; of several rows with one key, the newest. Without the help of
/// other nodes.
pub async fn query(database: &Database, request: QueryRequest) -> Result<Rows> {
    queried(Asking::alone(database), request).await
}

/// How many rows satisfy the filter, without the help of other nodes. Of a filter that is always true the metadata alone tells.
pub async fn count(database: &Database, collection: &Arc<Collection>, filter: &Arc<Predicate>) -> Result<u64> {
    counted(Asking::alone(database), collection, filter).await
}

/// As [`query`].
pub(crate) async fn queried(asking: Asking<'_>, request: QueryRequest) -> Result<Rows> {
    forgetting_damage(asking.database, query_once(asking, request)).await
}

async fn query_once(asking: Asking<'_>, request: QueryRequest) -> Result<Rows> {
    let source = Source::new(&request.collection, &request.filter)?;
    let plan = asking.plan(&source);
    let offset = request.offset;
    let wanted = request.limit.map(|limit| limit.saturating_add(offset));
    let selecting = Selecting { asking, source: &source, filter: &request.filter, wanted };
    let done = asking.spread(plan.as_ref(), &source, &selecting).await?;
    let (runs, shares): (Vec<_>, Vec<_>) = done.into_iter().map(|Done { part, share }| (part, share)).unzip();
    let runs: Vec<KeyRun> = runs.into_iter().flatten().collect();
    let bytes = candidate_bytes(&runs);
    let ids = cpu::run(bytes, move || {
        let unique = smallest_unique(candidates(&runs)?, wanted.unwrap_or(usize::MAX));
        Ok(unique.into_iter().skip(offset).map(|(_, Reverse(id))| id).collect::<Vec<_>>())
    });
    let ids = ids.await?;
    gather::gather(asking, plan.as_ref().map(|plan| (plan, shares)), &source, ids, &request.fields).await
}

/// As [`count`].
pub(crate) async fn counted(asking: Asking<'_>, collection: &Arc<Collection>, filter: &Arc<Predicate>) -> Result<u64> {
    forgetting_damage(asking.database, count_once(asking, collection, filter)).await
}

async fn count_once(asking: Asking<'_>, collection: &Arc<Collection>, filter: &Arc<Predicate>) -> Result<u64> {
    let source = Source::new(collection, filter)?;
    if filter.is_always_true() {
        return Ok(collection.live_rows());
    }
    let plan = asking.plan(&source);
    let counting = Counting { asking, source: &source, filter };
    let done = asking.spread(plan.as_ref(), &source, &counting).await?;
    Ok(done.into_iter().map(|done| done.part).sum())
}

/// Finding rows and their keys as work that is shared.
struct Selecting<'a> {
    asking: Asking<'a>,
    source: &'a Source,
    filter: &'a Arc<Predicate>,
    wanted: Option<usize>,
}

impl Work for Selecting<'_> {
    type Part = Vec<KeyRun>;

    fn cost(&self, places: &[usize]) -> u64 {
        cost(self.source.rows_of(places), self.filter)
    }

    fn request(&self, places: &[usize]) -> Result<(Bytes, Reader<Vec<KeyRun>>)> {
        let ask = Ask::Select { filter: request::portable(self.filter)?, wanted: self.wanted };
        let bytes = request::encode(self.source, places, &select_fields(self.source, self.filter), ask, &[])?;
        let (asked, most) = (Asked::new(&bytes, self.source, places)?, self.wanted.unwrap_or(usize::MAX));
        Ok((bytes, Box::new(move |answer| asked.selected(answer, most))))
    }

    fn here<'w>(&'w self, places: &'w [usize]) -> BoxFuture<'w, Result<Vec<KeyRun>>> {
        selected(self.asking.database, self.source, places, self.filter).boxed()
    }
}

fn select_fields(source: &Source, filter: &Predicate) -> Vec<FieldId> {
    let mut fields = filter.fields().to_vec();
    fields.push(source.key);
    fields
}

/// The rows that satisfy the filter, with their keys.
pub(crate) async fn selected(
    database: &Database,
    source: &Source,
    places: &[usize],
    filter: &Arc<Predicate>,
) -> Result<Vec<KeyRun>> {
    let readers = source.open(database, places.iter().copied(), &select_fields(source, filter)).await?;
    let bytes = cost(rows_of(&readers), filter);
    let (filter, key) = (filter.clone(), source.key);
    cpu::run_awaited(bytes, move |awaited| {
        let mut runs = Vec::with_capacity(readers.len());
        for (place, reader) in &readers {
            awaited.check()?;
            let selected = reader.select(&filter)?;
            if selected.is_empty() {
                continue;
            }
            let rows = selected.to_rows();
            let keys = reader.take(key, &rows)?;
            runs.push(KeyRun { place: *place, rows, keys });
        }
        Ok(runs)
    })
    .await
}

/// Of the rows in `runs` those of the `wanted` smallest keys, each key's newest.
pub(crate) fn smallest(runs: Vec<KeyRun>, wanted: usize) -> Result<Vec<KeyRun>> {
    let mut ids: Vec<RowId> =
        smallest_unique(candidates(&runs)?, wanted).into_iter().map(|(_, Reverse(id))| id).collect();
    ids.sort_unstable();
    let mut kept = Vec::new();
    for run in runs {
        let of_run = |id: &RowId| id.fragment() == run.place;
        let start = ids.partition_point(|id| id.fragment() < run.place);
        let rows: Vec<u32> = ids[start..].iter().take_while(|id| of_run(id)).map(|id| id.row()).collect();
        if rows.is_empty() {
            continue;
        }
        let at = rows.iter().filter_map(|row| Some(run.rows.binary_search(row).ok()? as u64));
        let at: arrow_array::UInt64Array = at.collect::<Vec<u64>>().into();
        let keys = arrow_select::take::take(&run.keys, &at, None)
            .map_err(|error| crate::Error::Internal { detail: format!("keys cannot be taken: {error}") })?;
        kept.push(KeyRun { place: run.place, rows, keys });
    }
    Ok(kept)
}

fn candidates(runs: &[KeyRun]) -> Result<Vec<(KeyRef<'_>, Reverse<RowId>)>> {
    let mut found = Vec::with_capacity(runs.iter().map(|run| run.rows.len()).sum());
    for run in runs {
        let keys = KeyColumn::new(&run.keys)?;
        let ids = run.rows.iter().enumerate();
        found.extend(ids.map(|(at, row)| (keys.key(at), Reverse(RowId::new(run.place, *row)))));
    }
    Ok(found)
}

/// About how many bytes choosing among these rows reads.
pub(crate) fn candidate_bytes(runs: &[KeyRun]) -> u64 {
    runs.iter().map(|run| run.rows.len() as u64 * 32).sum()
}

/// Counting as work that is shared.
struct Counting<'a> {
    asking: Asking<'a>,
    source: &'a Source,
    filter: &'a Arc<Predicate>,
}

impl Work for Counting<'_> {
    type Part = u64;

    fn cost(&self, places: &[usize]) -> u64 {
        cost(self.source.rows_of(places), self.filter)
    }

    fn request(&self, places: &[usize]) -> Result<(Bytes, Reader<u64>)> {
        let ask = Ask::Count { filter: request::portable(self.filter)? };
        let bytes = request::encode(self.source, places, &count_fields(self.source, self.filter), ask, &[])?;
        let asked = Asked::new(&bytes, self.source, places)?;
        Ok((bytes, Box::new(move |answer| asked.counted(answer))))
    }

    fn here<'w>(&'w self, places: &'w [usize]) -> BoxFuture<'w, Result<u64>> {
        number(self.asking.database, self.source, places, self.filter).boxed()
    }
}

fn count_fields(source: &Source, filter: &Predicate) -> Vec<FieldId> {
    let mut fields = filter.fields().to_vec();
    if filter.candidate_keys().is_some() {
        fields.push(source.key);
    }
    fields
}

/// How many rows satisfy the filter.
pub(crate) async fn number(
    database: &Database,
    source: &Source,
    places: &[usize],
    filter: &Arc<Predicate>,
) -> Result<u64> {
    let readers = source.open(database, places.iter().copied(), &count_fields(source, filter)).await?;
    let (bytes, filter) = (cost(rows_of(&readers), filter), filter.clone());
    cpu::run_awaited(bytes, move |awaited| {
        let mut rows = 0;
        for (_, reader) in &readers {
            awaited.check()?;
            rows += reader.select(&filter)?.len() as u64;
        }
        Ok(rows)
    })
    .await
}

fn rows_of(readers: &[(usize, FragmentReader)]) -> u64 {
    readers.iter().map(|(_, reader)| u64::from(reader.rows())).sum()
}

/// About how many bytes selecting among so many rows reads.
fn cost(rows: u64, filter: &Predicate) -> u64 {
    if filter.candidate_keys().is_some() {
        return 0;
    }
    rows * 8 * (filter.fields().len() as u64 + 1)
}

/// The `wanted` smallest keys, ascending, each with its newest row.
fn smallest_unique<K: Ord + Copy, R: Ord + Copy>(mut found: Vec<(K, R)>, wanted: usize) -> Vec<(K, R)> {
    // A part twice as large as wanted nearly always holds enough different keys; sorting all is the fallback.
    let part = wanted.saturating_mul(2).saturating_add(64);
    if part < found.len() {
        found.select_nth_unstable(part);
        let mut head = found[..part].to_vec();
        head.sort_unstable();
        head.dedup_by_key(|(key, _)| *key);
        if head.len() > wanted {
            head.truncate(wanted);
            return head;
        }
    }
    found.sort_unstable();
    found.dedup_by_key(|(key, _)| *key);
    found.truncate(wanted);
    found
}

#[cfg(test)]
mod tests {
    use std::cmp::Reverse;

    use super::*;

    #[test]
    fn the_newest_row_of_a_key_is_kept() {
        let found = vec![(2, Reverse(1)), (1, Reverse(5)), (1, Reverse(9)), (3, Reverse(0))];
        assert_eq!(smallest_unique(found.clone(), 2), [(1, Reverse(9)), (2, Reverse(1))]);
        assert_eq!(smallest_unique(found, usize::MAX).len(), 3);
    }

    #[test]
    fn many_duplicates_do_not_cost_rows() {
        let found: Vec<(i32, Reverse<i32>)> =
            (0..10_000).map(|at| (if at < 9_990 { 0 } else { at }, Reverse(at))).collect();
        let smallest = smallest_unique(found, 5);
        assert_eq!(smallest.iter().map(|(key, _)| *key).collect::<Vec<_>>(), [0, 9_990, 9_991, 9_992, 9_993]);
        assert_eq!(smallest[0].1, Reverse(9_989));
    }
}
