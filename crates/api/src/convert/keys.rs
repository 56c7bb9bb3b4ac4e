//! Primary keys: between the wire's `IDs`, the engine's [`Keys`] and Arrow columns.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow_schema::DataType as ArrowType;
use redkite_types::{DataType, ErrorKind, Field, Keys, Schema};

use crate::proto::schema::i_ds::IdField;
use crate::proto::schema::{IDs, LongArray, StringArray as WireStrings};
use crate::status::{WireResult, engine, invalid_parameter};

/// Keys as clients read them.
pub fn keys_to_ids(keys: Keys) -> IDs {
    let ids = match keys {
        Keys::Int(data) => IdField::IntId(LongArray { data }),
        Keys::Text(data) => IdField::StrId(WireStrings { data }),
    };
    IDs { id_field: Some(ids) }
}

/// Keys a client sent, for a collection with the key field `key`.
pub fn ids_to_keys(key: &Field, ids: IDs) -> WireResult<Keys> {
    match (key.data_type, ids.id_field) {
        (DataType::Int64, Some(IdField::IntId(ids))) => Ok(Keys::Int(ids.data)),
        (DataType::VarChar { .. }, Some(IdField::StrId(ids))) => Ok(Keys::Text(ids.data)),
        (DataType::Int64, None) => Ok(Keys::Int(Vec::new())),
        (_, None) => Ok(Keys::Text(Vec::new())),
        (_, Some(_)) => Err(invalid_parameter(format!("the ids are not of the type of the primary key {}", key.name))),
    }
}

/// Keys as a column without nulls.
pub fn keys_to_array(keys: &Keys) -> WireResult<ArrayRef> {
    Ok(match keys {
        Keys::Int(keys) => Arc::new(Int64Array::from(keys.clone())),
        Keys::Text(keys) => {
            let total: usize = keys.iter().map(String::len).sum();
            if i32::try_from(total).is_err() {
                return Err(invalid_parameter(format!("the primary keys take {total} bytes, send fewer rows at once")));
            }
            Arc::new(StringArray::from_iter_values(keys))
        }
    })
}

/// The keys in a column.
pub fn array_to_keys(array: &dyn Array) -> WireResult<Keys> {
    match array.data_type() {
        ArrowType::Int64 => Ok(Keys::Int(array.as_primitive::<Int64Type>().values().to_vec())),
        ArrowType::Utf8 => {
            Ok(Keys::Text(array.as_string::<i32>().iter().map(|key| key.unwrap_or_default().to_owned()).collect()))
        }
        other => Err(engine(ErrorKind::Internal, format!("a column of {other} is no primary key"))),
    }
}

/// The primary keys of a batch of rows of `schema`.
pub fn keys_of_batch(schema: &Schema, batch: &RecordBatch) -> WireResult<Keys> {
    let missing = || engine(ErrorKind::Internal, "the rows have no primary key column");
    let key = schema.primary_key().ok_or_else(missing)?;
    array_to_keys(batch.column_by_name(&key.name).ok_or_else(missing)?)
}
