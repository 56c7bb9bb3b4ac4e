//! Replays the operations of a block, in order, into what a flush has to do for one collection. Pure.
//!
//! Rows the block itself added earlier are removed here; what has to be removed from rows committed before, or uploaded
//! earlier by the same block, comes out as predicates. Their order does not matter any more: every committed row is
//! older than every operation of the block.

mod keys;

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::{BooleanArray, RecordBatch};
use arrow_buffer::BooleanBufferBuilder;
use arrow_select::filter::filter_record_batch;
use redkite_expr::{BatchColumns, Predicate};
use redkite_table::entry::CollectionRecord;
use redkite_types::{CollectionId, Key, Keys};

use crate::block::{BlockOp, OpKind, UploadedFragment};
use crate::{Error, Result};
pub use keys::batch_keys;
use keys::{KeySet, for_each_key};

/// Rows to remove from rows that are older than a point of the block.
#[derive(Debug, Clone, Default)]
pub struct Removals {
    keys: KeySet,
    predicates: Vec<Arc<Predicate>>,
}

impl Removals {
    /// Whether nothing is to be removed.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.predicates.is_empty()
    }

    /// Adds a predicate; the same one again adds nothing. An early upload hands a block's own predicates on, once for
    /// each fragment uploaded before, so without this they would multiply.
    fn add(&mut self, predicate: &Arc<Predicate>) {
        if !self.predicates.iter().any(|known| Arc::ptr_eq(known, predicate)) {
            self.predicates.push(predicate.clone());
        }
    }

    /// The predicates, the one on keys first.
    pub fn predicates(&self, record: &CollectionRecord) -> Result<Vec<Arc<Predicate>>> {
        let mut all = Vec::with_capacity(self.predicates.len() + 1);
        if let Some(keys) = self.keys.to_keys() {
            let by_key = Predicate::from_keys(&record.schema, keys).map_err(redkite_table::Error::from)?;
            all.push(Arc::new(by_key));
        }
        all.extend(self.predicates.iter().cloned());
        Ok(all)
    }
}

/// What a flush has to do for one collection.
#[derive(Debug)]
pub struct Staged {
    /// The collection.
    pub collection: CollectionId,
    /// As it was when the last operation was accepted.
    pub record: Arc<CollectionRecord>,
    /// Rows to add, deleted ones left out.
    pub batches: Vec<RecordBatch>,
    /// Rows to remove from what was committed before.
    pub removals: Removals,
    /// Fragments uploaded earlier, each with what later operations remove from it.
    pub uploaded: Vec<(UploadedFragment, Removals)>,
    /// How many operations this stands for.
    pub ops: usize,
}

impl Staged {
    /// Rows to add.
    pub fn rows(&self) -> u64 {
        self.batches.iter().map(|batch| batch.num_rows() as u64).sum()
    }

    /// Whether rows committed before, or uploaded, may have to be removed.
    pub fn removes(&self) -> bool {
        !self.removals.is_empty()
    }
}

/// Replays `ops`; one result a collection, in the order they first occur.
pub fn stage(ops: &[BlockOp]) -> Result<Vec<Staged>> {
    let mut order: Vec<CollectionId> = Vec::new();
    let mut stagings: HashMap<CollectionId, Staging> = HashMap::new();
    for op in ops {
        let staging = stagings.entry(op.collection).or_insert_with(|| {
            order.push(op.collection);
            Staging::new(op)
        });
        staging.replay(op)?;
    }
    order.into_iter().filter_map(|id| stagings.remove(&id)).map(Staging::finish).collect()
}

/// One collection while its operations are replayed.
struct Staging {
    collection: CollectionId,
    record: Arc<CollectionRecord>,
    batches: Vec<LiveBatch>,
    /// Where each key's rows are, once a keyed removal asked for it: (batch, row).
    rows_of_key: Option<HashMap<Key, Vec<(u32, u32)>>>,
    removals: Removals,
    uploaded: Vec<(UploadedFragment, Removals)>,
    ops: usize,
}

/// A batch with the rows that later operations removed marked.
struct LiveBatch {
    batch: RecordBatch,
    removed: Option<Vec<bool>>,
}

impl LiveBatch {
    fn remove(&mut self, row: usize) {
        self.removed.get_or_insert_with(|| vec![false; self.batch.num_rows()])[row] = true;
    }

    fn into_live(self) -> Result<RecordBatch> {
        let Some(removed) = self.removed else {
            return Ok(self.batch);
        };
        let mut live = BooleanBufferBuilder::new(removed.len());
        removed.iter().for_each(|gone| live.append(!gone));
        filter_record_batch(&self.batch, &BooleanArray::new(live.finish(), None))
            .map_err(|error| Error::Internal { detail: format!("filtering a batch failed: {error}") })
    }
}

impl Staging {
    fn new(op: &BlockOp) -> Self {
        Self {
            collection: op.collection,
            record: op.record.clone(),
            batches: Vec::new(),
            rows_of_key: None,
            removals: Removals::default(),
            uploaded: Vec::new(),
            ops: 0,
        }
    }

    fn replay(&mut self, op: &BlockOp) -> Result<()> {
        self.ops += 1;
        self.record = op.record.clone();
        match &op.kind {
            OpKind::Insert(batch) => self.add(batch.clone())?,
            OpKind::Upsert(batch) => {
                self.remove_keys(&batch_keys(&self.record, batch)?)?;
                self.add(batch.clone())?;
            }
            OpKind::Replace { keys, batch } => {
                self.remove_keys(keys)?;
                self.add(batch.clone())?;
            }
            OpKind::Delete { predicate, .. } => match predicate.exact_keys() {
                Some(keys) => self.remove_keys(&keys.clone())?,
                None => self.remove_matching(predicate)?,
            },
            OpKind::Uploaded(uploaded) => self.uploaded.push((uploaded.clone(), Removals::default())),
            // Its rows have to be stored first.
            OpKind::Forwarded(_) => {
                return Err(Error::Internal { detail: "a block is replayed whose rows another node holds".into() });
            }
        }
        Ok(())
    }

    fn add(&mut self, batch: RecordBatch) -> Result<()> {
        let at = self.batches.len() as u32;
        if let Some(rows_of_key) = &mut self.rows_of_key {
            for_each_key(&self.record, &batch, |row, key| rows_of_key.entry(key).or_default().push((at, row)))?;
        }
        self.batches.push(LiveBatch { batch, removed: None });
        Ok(())
    }

    fn remove_keys(&mut self, keys: &Keys) -> Result<()> {
        self.index_keys()?;
        let rows_of_key = self.rows_of_key.get_or_insert_default();
        let batches = &mut self.batches;
        let mut remove = |key: Key| {
            for (batch, row) in rows_of_key.remove(&key).unwrap_or_default() {
                batches[batch as usize].remove(row as usize);
            }
        };
        match keys {
            Keys::Int(keys) => keys.iter().for_each(|key| remove(Key::Int(*key))),
            Keys::Text(keys) => keys.iter().for_each(|key| remove(Key::Text(key.clone()))),
        }
        self.removals.keys.extend(keys);
        self.uploaded.iter_mut().for_each(|(_, removals)| removals.keys.extend(keys));
        Ok(())
    }

    fn index_keys(&mut self) -> Result<()> {
        if self.rows_of_key.is_some() {
            return Ok(());
        }
        let mut rows_of_key: HashMap<Key, Vec<(u32, u32)>> = HashMap::new();
        for (at, live) in self.batches.iter().enumerate() {
            for_each_key(&self.record, &live.batch, |row, key| {
                rows_of_key.entry(key).or_default().push((at as u32, row));
            })?;
        }
        self.rows_of_key = Some(rows_of_key);
        Ok(())
    }

    fn remove_matching(&mut self, predicate: &Arc<Predicate>) -> Result<()> {
        for live in &mut self.batches {
            let columns = BatchColumns::new(&live.batch, &self.record.schema);
            let hits = predicate.evaluate(&columns).map_err(redkite_table::Error::from)?;
            for row in hits.set_indices() {
                live.remove(row);
            }
        }
        self.removals.add(predicate);
        self.uploaded.iter_mut().for_each(|(_, removals)| removals.add(predicate));
        Ok(())
    }

    fn finish(self) -> Result<Staged> {
        let batches = self.batches.into_iter().map(LiveBatch::into_live).collect::<Result<Vec<_>>>()?;
        Ok(Staged {
            collection: self.collection,
            record: self.record,
            batches: batches.into_iter().filter(|batch| batch.num_rows() > 0).collect(),
            removals: self.removals,
            uploaded: self.uploaded,
            ops: self.ops,
        })
    }
}

#[cfg(test)]
mod tests;
