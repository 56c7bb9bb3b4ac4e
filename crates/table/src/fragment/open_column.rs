//! One open column file, with what is worth keeping beside it.

use std::sync::OnceLock;

use arrow_array::ArrayRef;
use bytes::Bytes;
use redkite_storage::{ColumnFile, KeyIndex};
use redkite_types::Field;

use crate::{Error, Result};

/// An open column file of one field.
#[derive(Debug)]
pub(super) struct OpenColumn {
    file: ColumnFile,
    keys: Option<KeyIndex>,
    /// Batches of a column of fixed width: views into the file, kept so that each is parsed once.
    in_place: Option<Vec<OnceLock<ArrayRef>>>,
}

impl OpenColumn {
    /// Opens the file of `field` in `bytes`, which must have `rows` rows.
    pub(super) fn new(field: &Field, bytes: Bytes, path: &str, rows: u64) -> Result<Self> {
        let file = ColumnFile::open(bytes, path, field.data_type)?;
        if file.rows() as u64 != rows {
            return Err(Error::Damaged {
                what: path.to_owned(),
                detail: format!("it has {} rows, its entry says {rows}", file.rows()),
            });
        }
        let keys = if field.primary_key { Some(KeyIndex::new(file.clone())?) } else { None };
        let fixed = field.data_type.is_fixed_width();
        let in_place = fixed.then(|| (0..file.batch_count()).map(|_| OnceLock::new()).collect());
        Ok(Self { file, keys, in_place })
    }

    /// Whether batches point into the file, so that keeping them costs nothing.
    pub(super) fn is_in_place(&self) -> bool {
        self.in_place.is_some()
    }

    /// One batch.
    pub(super) fn batch(&self, index: usize) -> redkite_storage::Result<ArrayRef> {
        let Some(slot) = self.in_place.as_ref().and_then(|slots| slots.get(index)) else {
            return self.file.batch(index);
        };
        if let Some(known) = slot.get() {
            return Ok(known.clone());
        }
        let batch = self.file.batch(index)?;
        Ok(slot.get_or_init(|| batch).clone())
    }

    /// Values of some rows, with batches from `batch`.
    pub(super) fn take_from(
        &self,
        rows: &[u32],
        batch: impl FnMut(usize) -> redkite_storage::Result<ArrayRef>,
    ) -> redkite_storage::Result<ArrayRef> {
        self.file.take_from(rows, batch)
    }

    /// The key sections, of the key column.
    pub(super) fn keys(&self) -> Option<&KeyIndex> {
        self.keys.as_ref()
    }
}
