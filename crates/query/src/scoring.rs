//! Scores open fragments for query vectors: the half of a search that needs no other fragments.

use std::sync::Arc;

use redkite_expr::Predicate;
use redkite_index::{Element, Queries, TopHits, TopK, Vectors};
use redkite_table::entry::CollectionRecord;
use redkite_table::fragment::FragmentReader;
use redkite_types::{FieldId, Metric};

use crate::keys::KeyRun;
use crate::scan::Scan;
use crate::{Error, Result, RowId, Window, cpu};

/// Most rows with equal scores that are ordered by key; among more, the oldest rows stay.
pub(crate) const TIES_LIMIT: usize = 1 << 18;

/// How much a scoring pass keeps for each query.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    pub(crate) best: usize,
    pub(crate) ties: usize,
}

impl Wanted {
    /// What to keep when rows with one key, or more ties than expected, left too little.
    pub(crate) fn more(self, ties: bool, ties_limit: usize) -> Self {
        match ties {
            true => Self { ties: self.ties.saturating_mul(8).min(ties_limit), ..self },
            false => Self { best: self.best.saturating_mul(2), ..self },
        }
    }
}

/// Open fragments by their places, ascending.
pub(crate) type Readers = Arc<Vec<(usize, FragmentReader)>>;

/// What is scored, and how.
#[derive(Debug)]
pub(crate) struct Scorer {
    pub(crate) queries: Queries,
    pub(crate) filter: Arc<Predicate>,
    pub(crate) vector: FieldId,
    pub(crate) metric: Metric,
    pub(crate) window: Window,
    row_bytes: usize,
}

impl Scorer {
    /// `queries` are vectors of the field `vector`, one after the other, little-endian.
    pub(crate) fn new(
        record: &CollectionRecord,
        filter: Arc<Predicate>,
        vector: FieldId,
        (metric, window): (Metric, Window),
        queries: &[u8],
    ) -> Result<Self> {
        let definition = record
            .schema
            .field_by_id(vector)
            .ok_or_else(|| Error::Internal { detail: format!("field {vector} is not in the schema") })?;
        let not_vector = || Error::Internal { detail: format!("field {} is no vector", definition.name) };
        let element = Element::of(definition.data_type).ok_or_else(not_vector)?;
        let dim = definition.data_type.dim().ok_or_else(not_vector)?;
        let row_bytes = definition.data_type.vector_bytes().ok_or_else(not_vector)?;
        let queries = Queries::new(metric, Vectors::from_le_bytes(element, queries), dim)?;
        Ok(Self { queries, filter, vector, metric, window, row_bytes })
    }

    /// The fields that have to be open.
    pub(crate) fn fields(&self, key: FieldId) -> Vec<FieldId> {
        let mut fields = self.filter.fields().to_vec();
        fields.extend([key, self.vector]);
        fields
    }

    /// About how many bytes scoring so many rows reads.
    pub(crate) fn cost(&self, rows: u64) -> u64 {
        rows * self.row_bytes as u64 * (self.queries.len() as u64).div_ceil(8).max(1)
    }

    /// For each query one that has met nothing yet.
    pub(crate) fn collectors(&self, wanted: Wanted) -> Vec<TopK> {
        let one = || TopK::new(self.metric, wanted.best).with_ties_max(wanted.ties).within(self.window);
        (0..self.queries.len()).map(|_| one()).collect()
    }

    /// Scores all rows for all queries, on as many workers as the bytes are worth.
    pub(crate) async fn score(self: &Arc<Self>, readers: &Readers, wanted: Wanted) -> Result<Vec<TopK>> {
        let bytes = self.cost(readers.iter().map(|(_, reader)| u64::from(reader.rows())).sum());
        let workers = cpu::workers(bytes).min(readers.len().max(1));
        let mut parts = Vec::with_capacity(workers);
        for worker in 0..workers {
            let (scorer, readers) = (self.clone(), readers.clone());
            parts.push(cpu::run_awaited(bytes, move |awaited| {
                let mut tops = scorer.collectors(wanted);
                let scan = Scan { queries: &scorer.queries, filter: &scorer.filter, vector: scorer.vector, awaited };
                for (place, reader) in readers.iter().skip(worker).step_by(workers) {
                    scan.fragment(*place, reader, &mut tops)?;
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
        Ok(merged.unwrap_or_default())
    }
}

/// The keys of a query's hits in these fragments.
pub(crate) fn key_runs(readers: &[(usize, FragmentReader)], key: FieldId, top: &TopHits) -> Result<Vec<KeyRun>> {
    let mut ids: Vec<RowId> = top.hits.iter().map(|hit| RowId(hit.row)).collect();
    ids.sort_unstable();
    let mut runs = Vec::new();
    for run in ids.chunk_by(|a, b| a.fragment() == b.fragment()) {
        let place = run[0].fragment();
        // Others have theirs.
        let Ok(slot) = readers.binary_search_by_key(&place, |(place, _)| *place) else { continue };
        let rows: Vec<u32> = run.iter().map(|id| id.row()).collect();
        let keys = readers[slot].1.take(key, &rows)?;
        runs.push(KeyRun { place, rows, keys });
    }
    Ok(runs)
}
