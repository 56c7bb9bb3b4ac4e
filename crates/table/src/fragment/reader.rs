//! Reads rows of one open fragment. No IO: everything needed was opened before, so this runs on a CPU thread.

use std::ops::Range;
use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_buffer::BooleanBuffer;
use redkite_expr::{Columns, ExprError, Predicate};
use redkite_storage::BATCH_ROWS;
use redkite_types::{FieldId, Key, Keys};
use roaring::RoaringBitmap;

use super::RowSet;
use super::columns::{BatchColumns, TakenColumns, absent_column};
use super::open_column::OpenColumn;
use super::readers::DecodedCache;
use crate::entry::{CollectionRecord, KeyBounds};
use crate::{Error, Fragment, Result};

/// One fragment with some of its columns open, as of one catalog.
#[derive(Debug)]
pub struct FragmentReader {
    fragment: Arc<Fragment>,
    record: Arc<CollectionRecord>,
    rows: u32,
    /// Open columns; a field without file was added after the fragment was written.
    columns: Vec<(FieldId, Option<Arc<OpenColumn>>)>,
    /// Bits of deleted rows.
    deleted: Option<Arc<[u64]>>,
    decoded: Arc<DecodedCache>,
}

impl FragmentReader {
    pub(super) fn new(
        fragment: Arc<Fragment>,
        record: Arc<CollectionRecord>,
        rows: u32,
        columns: Vec<(FieldId, Option<Arc<OpenColumn>>)>,
        deleted: Option<Arc<[u64]>>,
        decoded: Arc<DecodedCache>,
    ) -> Self {
        Self { fragment, record, rows, columns, deleted, decoded }
    }

    /// The fragment.
    pub fn fragment(&self) -> &Arc<Fragment> {
        &self.fragment
    }

    /// Rows, deleted ones included.
    pub fn rows(&self) -> u32 {
        self.rows
    }

    /// Number of batches; all but the last have [`BATCH_ROWS`] rows.
    pub fn batch_count(&self) -> usize {
        (self.rows as usize).div_ceil(BATCH_ROWS)
    }

    /// The rows of a batch.
    pub fn batch_rows(&self, batch: usize) -> Range<u32> {
        let start = (batch * BATCH_ROWS) as u32;
        start..self.rows.min(start.saturating_add(BATCH_ROWS as u32))
    }

    fn file(&self, field: FieldId) -> Result<Option<&Arc<OpenColumn>>> {
        self.columns
            .iter()
            .find(|(known, _)| *known == field)
            .map(|(_, file)| file.as_ref())
            .ok_or_else(|| Error::Internal { detail: format!("field {field} was not opened") })
    }

    fn absent(&self, field: FieldId, rows: usize) -> Result<ArrayRef> {
        let field = self
            .record
            .schema
            .field_by_id(field)
            .ok_or_else(|| Error::Internal { detail: format!("field {field} is not in the schema") })?;
        absent_column(field, rows)
    }

    /// One batch of a column. In place for columns of fixed width; decoded once and cached for others.
    pub fn column(&self, field: FieldId, batch: usize) -> Result<ArrayRef> {
        match self.file(field)? {
            None => self.absent(field, self.batch_rows(batch).len()),
            Some(file) => Ok(self.batch_of(field, file, batch)?),
        }
    }

    /// One batch of a column that is read once: nothing is cached for it.
    pub fn column_once(&self, field: FieldId, batch: usize) -> Result<ArrayRef> {
        match self.file(field)? {
            None => self.absent(field, self.batch_rows(batch).len()),
            Some(file) => Ok(file.batch(batch)?),
        }
    }

    fn batch_of(&self, field: FieldId, file: &OpenColumn, batch: usize) -> redkite_storage::Result<ArrayRef> {
        if file.is_in_place() {
            return file.batch(batch);
        }
        let id = (self.fragment.id, field, batch as u32);
        if let Some(decoded) = self.decoded.get(&id) {
            return Ok(decoded);
        }
        let decoded = file.batch(batch)?;
        self.decoded.insert(id, decoded.clone());
        Ok(decoded)
    }

    /// The values of a column at `rows`, in that order.
    pub fn take(&self, field: FieldId, rows: &[u32]) -> Result<ArrayRef> {
        match self.file(field)? {
            None => self.absent(field, rows.len()),
            Some(file) => Ok(file.take_from(rows, |batch| self.batch_of(field, file, batch))?),
        }
    }

    fn is_live(&self, row: u32) -> bool {
        self.deleted.as_ref().is_none_or(|words| words[row as usize / 64] & (1 << (row % 64)) == 0)
    }

    /// The rows that are deleted.
    pub fn deleted_rows(&self) -> RoaringBitmap {
        match &self.deleted {
            None => RoaringBitmap::new(),
            Some(words) => RowSet::from_words(words.to_vec()).to_bitmap(),
        }
    }

    /// The rows that are not deleted.
    pub fn live(&self) -> RowSet {
        match &self.deleted {
            None => RowSet::All { rows: self.rows },
            Some(words) => {
                let mut live: Vec<u64> = words.iter().map(|word| !word).collect();
                self.clear_beyond_end(&mut live);
                RowSet::from_words(live)
            }
        }
    }

    fn clear_beyond_end(&self, words: &mut [u64]) {
        let tail = self.rows % 64;
        if let (true, Some(last)) = (tail != 0, words.last_mut()) {
            *last &= (1 << tail) - 1;
        }
    }

    /// The live rows that satisfy `predicate`; its fields must be open, and the key column for predicates on keys.
    pub fn select(&self, predicate: &Predicate) -> Result<RowSet> {
        if predicate.is_always_true() {
            return Ok(self.live());
        }
        if let Some(keys) = predicate.candidate_keys() {
            let mut rows = self.lookup(keys)?;
            if predicate.exact_keys().is_none() && !rows.is_empty() {
                let hits = evaluate(predicate, &TakenColumns { reader: self, rows: &rows })?;
                let mut at = 0;
                rows.retain(|_| {
                    at += 1;
                    hits.value(at - 1)
                });
            }
            return Ok(RowSet::Sparse(rows));
        }
        let mut words = Vec::with_capacity((self.rows as usize).div_ceil(64));
        for batch in 0..self.batch_count() {
            let hits = evaluate(predicate, &BatchColumns { reader: self, batch })?;
            // Batches are a multiple of 64 rows, so each starts at a word of its own.
            words.extend(hits.bit_chunks().iter_padded().take(hits.len().div_ceil(64)));
        }
        self.clear_beyond_end(&mut words);
        if let Some(deleted) = &self.deleted {
            words.iter_mut().zip(deleted.iter()).for_each(|(word, gone)| *word &= !gone);
        }
        Ok(RowSet::from_words(words))
    }

    /// The live rows of the given keys, ascending; the key column must be open.
    pub fn lookup(&self, keys: &Keys) -> Result<Vec<u32>> {
        let field = self
            .record
            .schema
            .primary_key()
            .ok_or_else(|| Error::Internal { detail: "a schema without primary key".into() })?
            .id;
        let bounds = self.fragment.key_bounds();
        let file = self
            .file(field)?
            .ok_or_else(|| Error::Internal { detail: format!("fragment {} has no keys", self.fragment.id) })?;
        let index = file
            .keys()
            .ok_or_else(|| Error::Internal { detail: format!("field {field} was opened without its keys") })?;
        let mut rows = Vec::new();
        let mut find = |key: Key| -> Result<()> {
            if !index.may_contain(&key)? {
                return Ok(());
            }
            let found = index.lookup(&key)?;
            rows.extend(found.into_iter().filter(|row| self.is_live(*row)));
            Ok(())
        };
        match keys {
            Keys::Int(keys) => keys
                .iter()
                .filter(|key| bounds.is_none_or(|bounds| bounds.may_contain_int(**key)))
                .try_for_each(|key| find(Key::Int(*key)))?,
            Keys::Text(keys) => keys
                .iter()
                .filter(|key| bounds.is_none_or(|bounds| bounds.may_contain_text(key)))
                .try_for_each(|key| find(Key::Text(key.clone())))?,
        }
        rows.sort_unstable();
        rows.dedup();
        Ok(rows)
    }
}

/// Evaluates a predicate; a column that could not be read is the error that its reading was.
fn evaluate(predicate: &Predicate, columns: &dyn Columns) -> Result<BooleanBuffer> {
    predicate.evaluate(columns).map_err(|error| match error {
        ExprError::Column { field, source } => match source.downcast::<Error>() {
            Ok(error) => *error,
            Err(source) => ExprError::Column { field, source }.into(),
        },
        error => error.into(),
    })
}

impl Fragment {
    /// Whether one of the keys, which ascend, may be in the fragment, by its bounds alone: no file is opened.
    pub fn may_contain(&self, keys: &Keys) -> bool {
        let Some(bounds) = self.key_bounds() else {
            return true;
        };
        // The first key that is not below the lower bound is the one most likely below the upper one.
        match (keys, bounds) {
            (Keys::Int(keys), KeyBounds::Int(min, _)) => {
                keys.get(keys.partition_point(|key| key < min)).is_some_and(|key| bounds.may_contain_int(*key))
            }
            (Keys::Text(keys), KeyBounds::Text(min, _)) => {
                keys.get(keys.partition_point(|key| key < min)).is_some_and(|key| bounds.may_contain_text(key))
            }
            _ => false,
        }
    }
}
