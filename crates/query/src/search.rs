//! The nearest rows of query vectors: exact, whole, ordered by (score, key).
//!
//! Scoring keeps for each query the best rows and all that tie with the last of them; then keys decide among equal
//! scores, and of several rows with one key the best stays. So the answer depends on the rows alone, not on how they
//! are spread over fragments or which worker met them first.

use std::collections::HashSet;
use std::sync::Arc;

use arrow_array::ArrayRef;
use redkite_expr::Predicate;
use redkite_index::{Element, Queries, TIES_MAX, TopHits, TopK, Vectors, Window};
use redkite_table::fragment::FragmentReader;
use redkite_table::{Collection, Database};
use redkite_types::{FieldId, Metric, limits};

use crate::keys::{KeyColumn, KeyRef};
use crate::scan::Scan;
use crate::source::{Source, forgetting_damage};
use crate::{Error, Result, RowId, Rows, cpu, gather};

/// Most rows with equal scores that are ordered by key; among more, the oldest rows stay.
const TIES_LIMIT: usize = 1 << 18;

/// Least bytes of a hit in an answer: its score and its key.
const HIT_BYTES: u64 = 12;
/// Most candidates all queries of one search together keep for their ties: 64 MB.
const TIES_BUDGET: usize = 1 << 22;

/// What to find.
#[derive(Debug, Clone)]
pub struct SearchRequest {
    /// The collection, as of the request's snapshot.
    pub collection: Arc<Collection>,
    /// The vector field.
    pub vector: FieldId,
    /// How vectors are compared.
    pub metric: Metric,
    /// The query vectors, one after the other, as a column of the field holds them, little-endian.
    pub queries: bytes::Bytes,
    /// Which rows may be found.
    pub filter: Arc<Predicate>,
    /// Most hits of a query, those left out at the beginning not counted.
    pub limit: usize,
    /// Hits of each query to leave out at the beginning.
    pub offset: usize,
    /// Whether rows that tie with the last hit are returned, too, for a page that goes on strictly behind it.
    pub whole_ties: bool,
    /// Scores that count as a hit.
    pub window: Window,
    /// Columns to return.
    pub fields: Vec<FieldId>,
}

/// What was found.
#[derive(Debug, Clone)]
pub struct SearchHits {
    /// Hits of each query, in the order of the queries.
    pub counts: Vec<usize>,
    /// Scores of all hits, best first within a query.
    pub scores: Vec<f32>,
    /// Their primary keys.
    pub keys: ArrayRef,
    /// The columns asked for.
    pub rows: Rows,
}

/// One hit with its key in place.
type KeyedHit<'a> = (f32, KeyRef<'a>, RowId);

/// Finds the nearest rows.
pub async fn search(database: &Database, request: SearchRequest) -> Result<SearchHits> {
    forgetting_damage(database, search_once(database, request)).await
}

async fn search_once(database: &Database, request: SearchRequest) -> Result<SearchHits> {
    let source = Source::new(&request.collection, &request.filter)?;
    let definition = source
        .record
        .schema
        .field_by_id(request.vector)
        .ok_or_else(|| Error::Internal { detail: format!("field {} is not in the schema", request.vector) })?;
    let not_vector = || Error::Internal { detail: format!("field {} is no vector", definition.name) };
    let element = Element::of(definition.data_type).ok_or_else(not_vector)?;
    let dim = definition.data_type.dim().ok_or_else(not_vector)?;
    let row_bytes = definition.data_type.vector_bytes().ok_or_else(not_vector)?;
    let queries = Arc::new(Queries::new(request.metric, Vectors::from_le_bytes(element, &request.queries), dim)?);

    let mut fields = request.filter.fields().to_vec();
    fields.extend([source.key, request.vector]);
    let readers = Arc::new(source.open_all(database, &fields).await?);
    let rows: u64 = readers.iter().map(|reader| u64::from(reader.rows())).sum();
    let bytes = rows * row_bytes as u64 * (queries.len() as u64).div_ceil(8).max(1);

    let best = request.limit.saturating_add(request.offset);
    check_size(queries.len(), best, rows)?;
    let ties_limit = (TIES_BUDGET / queries.len().max(1)).min(TIES_LIMIT);
    let mut wanted = Wanted { best, ties: TIES_MAX.min(ties_limit) };
    let (scores, ids, counts) = loop {
        let tops = score(&queries, &request, readers.clone(), wanted, bytes).await?;
        let (readers, key, now, metric) = (readers.clone(), source.key, wanted, request.metric);
        let (offset, limit, held) = (request.offset, request.limit, rows as usize);
        let whole_ties = request.whole_ties;
        let found: usize = tops.iter().map(|top| top.hits.len()).sum();
        let ordered = cpu::run(found as u64 * 64, move || {
            let mut next = None;
            let mut answer: (Vec<f32>, Vec<RowId>, Vec<usize>) = Default::default();
            for top in tops {
                let complete = top.hits.len() < now.best || now.best >= held;
                let more_ties = top.ties_overflowed && now.ties < ties_limit;
                let columns = key_columns(&readers, key, &top)?;
                let hits = order(&columns, &top, metric)?;
                if more_ties || (hits.len() < now.best && !complete) {
                    next = Some(now.more(more_ties, ties_limit));
                }
                let end = match hits.get(offset.saturating_add(limit).saturating_sub(1)) {
                    Some((last, ..)) if whole_ties => hits.partition_point(|(score, ..)| !worse(metric, *score, *last)),
                    _ => hits.len().min(offset.saturating_add(limit)),
                };
                let kept = &hits[offset.min(end)..end];
                answer.0.extend(kept.iter().map(|(score, ..)| *score));
                answer.1.extend(kept.iter().map(|(_, _, id)| *id));
                answer.2.push(kept.len());
            }
            Ok((answer, next))
        });
        match ordered.await? {
            (answer, None) => break answer,
            (_, Some(next)) => wanted = next,
        }
    };
    answer(database, &source, &request, scores, ids, counts).await
}

/// Refuses a search whose hits alone could be a larger answer than allowed, before they are collected.
fn check_size(queries: usize, best: usize, rows: u64) -> Result<()> {
    let hits = (queries as u64).saturating_mul((best as u64).min(rows));
    let bytes = hits.saturating_mul(HIT_BYTES);
    let limit = limits::QUERY_OUTPUT_BYTES_MAX as u64;
    if bytes > limit { Err(Error::TooLarge { bytes, limit }) } else { Ok(()) }
}

/// Whether a score is a worse one than another.
fn worse(metric: Metric, score: f32, than: f32) -> bool {
    if metric.larger_is_better() { score < than } else { score > than }
}

/// How much a scoring pass keeps for each query.
#[derive(Debug, Clone, Copy)]
struct Wanted {
    best: usize,
    ties: usize,
}

impl Wanted {
    /// What to keep when rows with one key, or more ties than expected, left too little.
    fn more(self, ties: bool, ties_limit: usize) -> Self {
        match ties {
            true => Self { ties: self.ties.saturating_mul(8).min(ties_limit), ..self },
            false => Self { best: self.best.saturating_mul(2), ..self },
        }
    }
}

/// Scores all rows for all queries, on as many workers as the bytes are worth.
async fn score(
    queries: &Arc<Queries>,
    request: &SearchRequest,
    readers: Arc<Vec<FragmentReader>>,
    wanted: Wanted,
    bytes: u64,
) -> Result<Vec<TopHits>> {
    let collectors = {
        let (metric, window, count) = (request.metric, request.window, queries.len());
        move || -> Vec<TopK> {
            let one = || TopK::new(metric, wanted.best).with_ties_max(wanted.ties).within(window);
            (0..count).map(|_| one()).collect()
        }
    };
    let workers = cpu::workers(bytes).min(readers.len().max(1));
    let mut parts = Vec::with_capacity(workers);
    for worker in 0..workers {
        let (queries, readers, filter) = (queries.clone(), readers.clone(), request.filter.clone());
        let (vector, collectors) = (request.vector, collectors);
        parts.push(cpu::run(bytes, move || {
            let mut tops = collectors();
            let scan = Scan { queries: &queries, filter: &filter, vector };
            for (place, reader) in readers.iter().enumerate().skip(worker).step_by(workers) {
                scan.fragment(place, reader, &mut tops)?;
            }
            Ok(tops)
        }));
    }
    let mut merged: Option<Vec<TopK>> = None;
    for tops in futures::future::try_join_all(parts).await? {
        match &mut merged {
            None => merged = Some(tops),
            Some(merged) => merged.iter_mut().zip(tops).for_each(|(into, from)| into.merge(from)),
        }
    }
    Ok(merged.unwrap_or_default().into_iter().map(TopK::into_sorted).collect())
}

/// The keys of a query's hits: per reader that has some, its rows ascending and their keys.
type KeyColumns = Vec<(usize, Vec<u32>, ArrayRef)>;

fn key_columns(readers: &[FragmentReader], key: FieldId, top: &TopHits) -> Result<KeyColumns> {
    let mut ids: Vec<RowId> = top.hits.iter().map(|hit| RowId(hit.row)).collect();
    ids.sort_unstable();
    let mut columns = KeyColumns::new();
    for run in ids.chunk_by(|a, b| a.fragment() == b.fragment()) {
        let rows: Vec<u32> = run.iter().map(|id| id.row()).collect();
        let place = run[0].fragment();
        let reader = readers
            .get(place)
            .ok_or_else(|| Error::Internal { detail: format!("a hit in fragment {place}, which was not opened") })?;
        let keys = reader.take(key, &rows)?;
        columns.push((place, rows, keys));
    }
    Ok(columns)
}

/// The hits by (score, key), one a key.
fn order<'c>(columns: &'c KeyColumns, top: &TopHits, metric: Metric) -> Result<Vec<KeyedHit<'c>>> {
    let keys = columns.iter().map(|(_, _, keys)| KeyColumn::new(keys)).collect::<Result<Vec<_>>>()?;
    let mut hits: Vec<KeyedHit<'c>> = Vec::with_capacity(top.hits.len());
    for hit in &top.hits {
        let id = RowId(hit.row);
        let place = columns.binary_search_by_key(&id.fragment(), |(place, ..)| *place);
        let at = place.ok().and_then(|slot| Some((slot, columns[slot].1.binary_search(&id.row()).ok()?)));
        let (slot, at) = at.ok_or_else(|| Error::Internal { detail: "a hit without a key".into() })?;
        hits.push((hit.score, keys[slot].key(at), id));
    }
    let better = |a: f32, b: f32| if metric.larger_is_better() { b.total_cmp(&a) } else { a.total_cmp(&b) };
    // Among rows with one key and one score the newest stands for them.
    hits.sort_unstable_by(|a, b| better(a.0, b.0).then(a.1.cmp(&b.1)).then(b.2.cmp(&a.2)));
    let mut seen = HashSet::with_capacity(hits.len());
    hits.retain(|(_, key, _)| seen.insert(*key));
    Ok(hits)
}

/// Fetches the keys and columns of the hits.
async fn answer(
    database: &Database,
    source: &Source,
    request: &SearchRequest,
    scores: Vec<f32>,
    ids: Vec<RowId>,
    counts: Vec<usize>,
) -> Result<SearchHits> {
    let mut fields = request.fields.clone();
    let own_key = fields.iter().position(|field| *field == source.key);
    if own_key.is_none() {
        fields.push(source.key);
    }
    let bytes_max = limits::QUERY_OUTPUT_BYTES_MAX as u64;
    let mut rows = gather::gather(database, source, ids, &fields, bytes_max).await?;
    let at = own_key.unwrap_or(fields.len() - 1);
    let keys = rows.columns[at].1.clone();
    if own_key.is_none() {
        rows.columns.pop();
    }
    Ok(SearchHits { counts, scores, keys, rows })
}
