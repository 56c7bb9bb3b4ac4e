//! Rows that satisfy a filter, and how many there are.

use std::sync::Arc;

use redkite_expr::Predicate;
use redkite_table::fragment::FragmentReader;
use redkite_table::{Collection, Database};
use redkite_types::{FieldId, limits};

use crate::keys::{KeyColumn, KeyRef};
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

/// The rows that satisfy the filter, ascending by primary key; of several rows with one key, the newest.
pub async fn query(database: &Database, request: QueryRequest) -> Result<Rows> {
    forgetting_damage(database, query_once(database, request)).await
}

async fn query_once(database: &Database, request: QueryRequest) -> Result<Rows> {
    let source = Source::new(&request.collection, &request.filter)?;
    let mut fields = request.filter.fields().to_vec();
    fields.push(source.key);
    let readers = source.open_all(database, &fields).await?;
    let bytes = cost(&readers, &request.filter);
    let (filter, key) = (request.filter.clone(), source.key);
    let (offset, limit) = (request.offset, request.limit);
    let ids = cpu::run(bytes, move || ordered_ids(&readers, &filter, key, offset, limit)).await?;
    let bytes_max = limits::QUERY_OUTPUT_BYTES_MAX as u64;
    gather::gather(database, &source, ids, &request.fields, bytes_max).await
}

/// How many rows satisfy the filter. Of a filter that is always true the metadata alone tells.
pub async fn count(database: &Database, collection: &Arc<Collection>, filter: &Arc<Predicate>) -> Result<u64> {
    forgetting_damage(database, count_once(database, collection, filter)).await
}

async fn count_once(database: &Database, collection: &Arc<Collection>, filter: &Arc<Predicate>) -> Result<u64> {
    let source = Source::new(collection, filter)?;
    if filter.is_always_true() {
        return Ok(collection.live_rows());
    }
    let mut fields = filter.fields().to_vec();
    if filter.candidate_keys().is_some() {
        fields.push(source.key);
    }
    let readers = source.open_all(database, &fields).await?;
    let (bytes, filter) = (cost(&readers, filter), filter.clone());
    cpu::run(bytes, move || {
        let mut rows = 0;
        for reader in &readers {
            rows += reader.select(&filter)?.len() as u64;
        }
        Ok(rows)
    })
    .await
}

/// About how many bytes selecting reads.
fn cost(readers: &[FragmentReader], filter: &Predicate) -> u64 {
    if filter.candidate_keys().is_some() {
        return 0;
    }
    let columns = filter.fields().len() as u64 + 1;
    readers.iter().map(|reader| u64::from(reader.rows()) * 8 * columns).sum()
}

fn ordered_ids(
    readers: &[FragmentReader],
    filter: &Predicate,
    key: FieldId,
    offset: usize,
    limit: Option<usize>,
) -> Result<Vec<RowId>> {
    let mut columns = Vec::with_capacity(readers.len());
    for (place, reader) in readers.iter().enumerate() {
        let selected = reader.select(filter)?;
        if selected.is_empty() {
            continue;
        }
        let rows = selected.to_rows();
        let keys = reader.take(key, &rows)?;
        columns.push((place, rows, keys));
    }
    let mut found: Vec<(KeyRef<'_>, std::cmp::Reverse<RowId>)> = Vec::new();
    for (place, rows, keys) in &columns {
        let keys = KeyColumn::new(keys)?;
        let ids = rows.iter().enumerate();
        found.extend(ids.map(|(at, row)| (keys.key(at), std::cmp::Reverse(RowId::new(*place, *row)))));
    }
    let wanted = limit.map_or(usize::MAX, |limit| limit.saturating_add(offset));
    let unique = smallest_unique(found, wanted);
    Ok(unique.into_iter().skip(offset).map(|(_, id)| id.0).collect())
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
