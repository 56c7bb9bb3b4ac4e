//! Where the values come from: the caller's columns.

use arrow_array::{Array, ArrayRef, RecordBatch};
use redkite_types::{FieldId, Schema};

/// Whatever kept the caller from providing a column; handed back inside [`crate::ExprError::Column`].
pub type ColumnError = Box<dyn std::error::Error + Send + Sync>;

/// The columns of a batch of rows, of the Arrow types that the schema names.
pub trait Columns {
    /// Number of rows; every column is this long.
    fn rows(&self) -> usize;

    /// The column of a field. Called once a field and evaluation, and only for fields the filter needs, so this may
    /// read.
    fn column(&self, field: FieldId) -> Result<ArrayRef, ColumnError>;
}

/// A record batch whose columns are named after the fields of a schema.
#[derive(Debug, Clone, Copy)]
pub struct BatchColumns<'a> {
    batch: &'a RecordBatch,
    schema: &'a Schema,
}

impl<'a> BatchColumns<'a> {
    /// Columns are looked up by the name that the schema gives to a field id; the batch may hold fewer than the schema.
    pub fn new(batch: &'a RecordBatch, schema: &'a Schema) -> Self {
        Self { batch, schema }
    }
}

impl Columns for BatchColumns<'_> {
    fn rows(&self) -> usize {
        self.batch.num_rows()
    }

    fn column(&self, field: FieldId) -> Result<ArrayRef, ColumnError> {
        let name = self.schema.field_by_id(field).map(|field| field.name.as_str());
        let column = name.and_then(|name| self.batch.column_by_name(name));
        column.cloned().ok_or_else(|| format!("the batch has no column for field {field} ({name:?})").into())
    }
}

impl<T: Columns + ?Sized> Columns for &T {
    fn rows(&self) -> usize {
        (**self).rows()
    }

    fn column(&self, field: FieldId) -> Result<ArrayRef, ColumnError> {
        (**self).column(field)
    }
}

/// The column with its length checked.
pub(crate) fn checked_column(columns: &dyn Columns, field: FieldId) -> crate::error::Result<ArrayRef> {
    let column = columns.column(field).map_err(|source| crate::ExprError::Column { field, source })?;
    if column.len() != columns.rows() {
        let message = format!("the column has {} rows where {} are wanted", column.len(), columns.rows());
        return Err(crate::ExprError::ColumnShape { field, message });
    }
    Ok(column)
}
