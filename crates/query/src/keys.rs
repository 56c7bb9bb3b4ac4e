//! Primary keys of found rows, compared without copying them.

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, ArrayRef, Int64Array, StringArray};

use crate::{Error, Result};

/// A key in place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum KeyRef<'a> {
    Int(i64),
    Text(&'a str),
}

/// A column of keys.
pub(crate) enum KeyColumn<'a> {
    Int(&'a Int64Array),
    Text(&'a StringArray),
}

impl<'a> KeyColumn<'a> {
    pub(crate) fn new(column: &'a ArrayRef) -> Result<Self> {
        if let Some(keys) = column.as_primitive_opt::<Int64Type>() {
            return Ok(KeyColumn::Int(keys));
        }
        column
            .as_string_opt::<i32>()
            .map(KeyColumn::Text)
            .ok_or_else(|| Error::Internal { detail: format!("a key column of type {}", column.data_type()) })
    }

    /// The key at `at`, which must be within the column.
    pub(crate) fn key(&self, at: usize) -> KeyRef<'a> {
        match self {
            KeyColumn::Int(keys) => KeyRef::Int(keys.value(at)),
            KeyColumn::Text(keys) => KeyRef::Text(keys.value(at)),
        }
    }
}
