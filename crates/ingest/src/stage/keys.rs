//! Primary keys of batches, and sets of them.

use std::collections::BTreeSet;

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use redkite_table::entry::CollectionRecord;
use redkite_types::{DataType, Key, Keys};

use crate::{Error, Result};

/// A set of keys of one collection.
#[derive(Debug, Clone, Default)]
pub(super) struct KeySet {
    ints: BTreeSet<i64>,
    texts: BTreeSet<String>,
}

impl KeySet {
    pub(super) fn is_empty(&self) -> bool {
        self.ints.is_empty() && self.texts.is_empty()
    }

    pub(super) fn extend(&mut self, keys: &Keys) {
        match keys {
            Keys::Int(keys) => self.ints.extend(keys),
            Keys::Text(keys) => self.texts.extend(keys.iter().cloned()),
        }
    }

    /// The keys, ascending; none if there are none.
    pub(super) fn to_keys(&self) -> Option<Keys> {
        if !self.ints.is_empty() {
            return Some(Keys::Int(self.ints.iter().copied().collect()));
        }
        (!self.texts.is_empty()).then(|| Keys::Text(self.texts.iter().cloned().collect()))
    }
}

fn key_column(record: &CollectionRecord) -> Result<(usize, DataType)> {
    let found = record.schema.fields.iter().enumerate().find(|(_, field)| field.primary_key);
    found
        .map(|(at, field)| (at, field.data_type))
        .ok_or_else(|| Error::Internal { detail: "a schema without primary key".into() })
}

/// Calls `each` with every row number and key of a batch.
pub(super) fn for_each_key(
    record: &CollectionRecord,
    batch: &RecordBatch,
    mut each: impl FnMut(u32, Key),
) -> Result<()> {
    match batch_keys(record, batch)? {
        Keys::Int(keys) => keys.into_iter().enumerate().for_each(|(row, key)| each(row as u32, Key::Int(key))),
        Keys::Text(keys) => keys.into_iter().enumerate().for_each(|(row, key)| each(row as u32, Key::Text(key))),
    }
    Ok(())
}

/// The primary keys of a batch, in row order.
pub fn batch_keys(record: &CollectionRecord, batch: &RecordBatch) -> Result<Keys> {
    let (at, data_type) = key_column(record)?;
    let column = batch.column(at);
    let mismatch = || Error::Internal { detail: "the key column of a batch has another type than the schema".into() };
    match data_type {
        DataType::Int64 => {
            let keys = column.as_primitive_opt::<Int64Type>().ok_or_else(mismatch)?;
            Ok(Keys::Int(keys.values().to_vec()))
        }
        DataType::VarChar { .. } => {
            let keys = column.as_string_opt::<i32>().ok_or_else(mismatch)?;
            Ok(Keys::Text(keys.iter().map(|key| key.unwrap_or_default().to_owned()).collect()))
        }
        _ => Err(mismatch()),
    }
}
