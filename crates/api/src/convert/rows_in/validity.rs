//! Which rows of a column have a value.
//!
//! A request sends the values of the valid rows only, and one bool a row; here they are put back in their places.

use arrow_buffer::NullBuffer;
use redkite_types::Field;

use super::row_count_mismatch;
use crate::status::{WireResult, invalid_parameter, invalid_value};

/// Valid and missing rows of one column.
pub(super) struct Validity {
    rows: usize,
    valid: usize,
    /// None: every row is valid.
    mask: Option<Vec<bool>>,
}

impl Validity {
    /// Of a column that was sent; an empty mask means that all rows are valid.
    pub(super) fn new(field: &Field, mask: Vec<bool>, rows: usize) -> WireResult<Self> {
        if mask.is_empty() {
            return Ok(Self { rows, valid: rows, mask: None });
        }
        if mask.len() != rows {
            let what = format!("the length of valid_data of field({}) is wrong", field.name);
            return Err(invalid_value(what, rows, mask.len()));
        }
        let valid = mask.iter().filter(|valid| **valid).count();
        if valid == rows {
            return Ok(Self { rows, valid, mask: None });
        }
        if !field.nullable && field.default.is_none() {
            let row = mask.iter().position(|valid| !valid).unwrap_or_default();
            let what = format!("field ({}) is not nullable and row number {row} has no value", field.name);
            return Err(invalid_parameter(what));
        }
        Ok(Self { rows, valid, mask: Some(mask) })
    }

    /// Of a column that was left out.
    pub(super) fn nothing(rows: usize) -> Self {
        Self { rows, valid: 0, mask: Some(vec![false; rows]) }
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    pub(super) fn valid(&self) -> usize {
        self.valid
    }

    pub(super) fn missing(&self) -> usize {
        self.rows - self.valid
    }

    /// Whether `row` has a value.
    pub(super) fn is_valid(&self, row: usize) -> bool {
        self.mask.as_ref().is_none_or(|mask| mask.get(row).copied().unwrap_or(false))
    }

    /// The rows that have a value, ascending.
    pub(super) fn valid_rows(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.rows).filter(|row| self.is_valid(*row))
    }

    /// The row of the `nth` value sent.
    pub(super) fn row_of(&self, nth: usize) -> usize {
        self.valid_rows().nth(nth).unwrap_or(nth)
    }

    /// Puts the sent values in their rows and `fill` in the others. Takes values of all rows, too, those of invalid
    /// rows being placeholders, as they are in answers.
    pub(super) fn spread<T: Clone>(&self, field: &Field, values: Vec<T>, fill: T) -> WireResult<Vec<T>> {
        let Some(mask) = &self.mask else {
            return match values.len() == self.rows {
                true => Ok(values),
                false => Err(row_count_mismatch(field, values.len(), self.rows)),
            };
        };
        let is_full = values.len() == self.rows;
        if !is_full && values.len() != self.valid {
            return Err(row_count_mismatch(field, values.len(), self.valid));
        }
        let mut values = values.into_iter();
        let spread = mask.iter().map(|valid| {
            let value = if *valid || is_full { values.next() } else { None };
            value.filter(|_| *valid).unwrap_or_else(|| fill.clone())
        });
        Ok(spread.collect())
    }

    /// The Arrow nulls of the column; none where a default stands in for what is missing.
    pub(super) fn nulls(self, field: &Field) -> Option<NullBuffer> {
        if field.default.is_some() || field.dynamic { None } else { self.mask.map(NullBuffer::from) }
    }

    /// [`Validity::nulls`] of a type that has no defaults.
    pub(super) fn null_buffer(&self) -> Option<NullBuffer> {
        self.mask.as_deref().map(NullBuffer::from)
    }
}
