//! Columns of a fragment as the filter language wants them: a batch at a time, or some rows.

use std::sync::Arc;

use arrow_array::builder::{
    BooleanBuilder, Float32Builder, Float64Builder, Int8Builder, Int16Builder, Int32Builder, Int64Builder,
    StringBuilder,
};
use arrow_array::{ArrayRef, new_null_array};
use redkite_expr::{ColumnError, Columns};
use redkite_types::{DataType, Field, FieldId, Scalar};

use super::FragmentReader;
use crate::{Error, Result};

/// One batch of a fragment.
pub(super) struct BatchColumns<'r> {
    pub(super) reader: &'r FragmentReader,
    pub(super) batch: usize,
}

impl Columns for BatchColumns<'_> {
    fn rows(&self) -> usize {
        self.reader.batch_rows(self.batch).len()
    }

    fn column(&self, field: FieldId) -> std::result::Result<ArrayRef, ColumnError> {
        Ok(self.reader.column(field, self.batch)?)
    }
}

/// Some rows of a fragment.
pub(super) struct TakenColumns<'r> {
    pub(super) reader: &'r FragmentReader,
    pub(super) rows: &'r [u32],
}

impl Columns for TakenColumns<'_> {
    fn rows(&self) -> usize {
        self.rows.len()
    }

    fn column(&self, field: FieldId) -> std::result::Result<ArrayRef, ColumnError> {
        Ok(self.reader.take(field, self.rows)?)
    }
}

/// What rows written before a field existed hold for it: its default, else null.
pub(super) fn absent_column(field: &Field, rows: usize) -> Result<ArrayRef> {
    macro_rules! repeat {
        ($builder:ty, $value:expr) => {{
            let mut builder = <$builder>::new();
            for _ in 0..rows {
                builder.append_value($value);
            }
            Arc::new(builder.finish()) as ArrayRef
        }};
    }
    let column = match (&field.default, field.data_type) {
        (None, _) if field.nullable => new_null_array(&field.data_type.arrow(), rows),
        (Some(Scalar::Bool(value)), DataType::Bool) => repeat!(BooleanBuilder, *value),
        (Some(Scalar::Int(value)), DataType::Int8) => repeat!(Int8Builder, *value as i8),
        (Some(Scalar::Int(value)), DataType::Int16) => repeat!(Int16Builder, *value as i16),
        (Some(Scalar::Int(value)), DataType::Int32) => repeat!(Int32Builder, *value as i32),
        (Some(Scalar::Int(value)), DataType::Int64) => repeat!(Int64Builder, *value),
        (Some(Scalar::Float(value)), DataType::Float) => repeat!(Float32Builder, *value as f32),
        (Some(Scalar::Float(value)), DataType::Double) => repeat!(Float64Builder, *value),
        (Some(Scalar::Text(value)), DataType::VarChar { .. } | DataType::Json) => repeat!(StringBuilder, value),
        _ => {
            return Err(Error::Damaged {
                what: format!("field {}", field.name),
                detail: "a fragment has no file of it, and it has neither a default nor may be null".into(),
            });
        }
    };
    Ok(column)
}
