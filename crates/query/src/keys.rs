//! Primary keys of found rows, compared without copying them.

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, ArrayRef, Int64Array, StringArray};

use crate::{Error, Result, RowId};

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

/// Rows of one fragment, ascending, and their keys.
#[derive(Debug, Clone)]
pub(crate) struct KeyRun {
    /// The fragment's place.
    pub(crate) place: usize,
    pub(crate) rows: Vec<u32>,
    pub(crate) keys: ArrayRef,
}

impl KeyRun {
    /// The runs of ascending rows; `keys` are theirs.
    pub(crate) fn of(ids: &[RowId], keys: &ArrayRef) -> Vec<KeyRun> {
        let mut at = 0;
        let runs = ids.chunk_by(|a, b| a.fragment() == b.fragment()).map(|run| {
            let keys = keys.slice(at, run.len());
            at += run.len();
            KeyRun { place: run[0].fragment(), rows: run.iter().map(|id| id.row()).collect(), keys }
        });
        runs.collect()
    }
}

/// All rows of the runs, in the order of the runs, and their keys.
pub(crate) fn joined(runs: &[KeyRun], none: &arrow_schema::DataType) -> Result<(Vec<RowId>, ArrayRef)> {
    let ids = runs.iter().flat_map(|run| run.rows.iter().map(|row| RowId::new(run.place, *row))).collect();
    let keys = match runs {
        [] => arrow_array::new_empty_array(none),
        [only] => only.keys.clone(),
        _ => {
            let arrays: Vec<&dyn Array> = runs.iter().map(|run| run.keys.as_ref()).collect();
            arrow_select::concat::concat(&arrays)
                .map_err(|error| Error::Internal { detail: format!("keys do not fit together: {error}") })?
        }
    };
    Ok((ids, keys))
}
