//! Rows as clients send them: columns of an insert or upsert to one Arrow batch in schema order.
//!
//! The batch has exactly the columns of [`Schema::arrow`], every value within the limits of its field, nulls only
//! where the field is nullable. What a request leaves out is filled in: defaults, nulls, `{}` for the dynamic field,
//! and keys the server assigned.
//!
//! Memory: float vectors are moved, everything else is copied once. What is filled in for free (a request can claim
//! four billion rows and send none) is bounded by [`FILL_BYTES_MAX`].

mod arrays;
mod json;
mod scalars;
mod validity;
mod vectors;

use std::collections::HashMap;

use arrow_array::{ArrayRef, RecordBatch};
use redkite_types::{DYNAMIC_FIELD_NAME, DataType, Field, Keys, Scalar, Schema};

pub use json::check_json;

use self::validity::Validity;
use super::keys::keys_to_array;
use super::schema_out::wire_type;
use crate::proto::schema::field_data::Field as Column;
use crate::proto::schema::{DataType as WireType, FieldData, scalar_field, vector_field};
use crate::status::{WireError, WireResult, engine, invalid_parameter, invalid_value};

/// Most bytes that nulls and defaults may add to what a request sends.
const FILL_BYTES_MAX: usize = 512 * 1024 * 1024;

/// Where the primary keys of the rows come from.
#[derive(Debug, Clone, PartialEq)]
pub enum KeySource {
    /// The request carries them.
    Request,
    /// The server made them; a request that carries some, too, is refused.
    Assigned(Keys),
    /// The server made them; those of the request name the rows to replace and are not stored.
    Replaced(Keys),
}

/// Checks the number of rows a request claims: at least one, and no more than some column of it bears out.
///
/// To be called before anything is made per row, such as keys.
pub fn check_row_count(fields_data: &[FieldData], num_rows: u32) -> WireResult<usize> {
    let rows = num_rows as usize;
    if rows == 0 {
        return Err(invalid_value("num_rows should be greater than 0", "invalid num_rows", rows));
    }
    let most = fields_data.iter().map(claimed_rows).max().unwrap_or(0);
    if rows > most {
        let what = format!("the request says it has {rows} rows and no field of it has that many");
        return Err(invalid_value(what, rows, most));
    }
    Ok(rows)
}

/// At least the number of rows in a column, cheaply; vectors count their components.
fn claimed_rows(data: &FieldData) -> usize {
    let values = match &data.field {
        Some(Column::Scalars(scalars)) => scalars.data.as_ref().map_or(0, scalars::len),
        Some(Column::Vectors(vectors)) => match &vectors.data {
            Some(vector_field::Data::FloatVector(values)) => values.data.len(),
            Some(
                vector_field::Data::BinaryVector(bytes)
                | vector_field::Data::Float16Vector(bytes)
                | vector_field::Data::Bfloat16Vector(bytes)
                | vector_field::Data::Int8Vector(bytes),
            ) => bytes.len(),
            _ => 0,
        },
        _ => 0,
    };
    values.max(data.valid_data.len())
}

/// The rows of a request as one batch in schema order.
///
/// Errors are the user's mistakes, with Milvus's codes and words. A column sent twice, an unknown one, a missing one
/// without default, a wrong type or length and every value beyond a limit is one.
pub fn rows_to_batch(schema: &Schema, data: Vec<FieldData>, num_rows: u32, keys: KeySource) -> WireResult<RecordBatch> {
    let rows = check_row_count(&data, num_rows)?;
    let mut by_name = columns_by_name(schema, data)?;
    let mut fill = FillBudget { left_bytes: FILL_BYTES_MAX };
    let mut columns: Vec<ArrayRef> = Vec::with_capacity(schema.fields.len());
    for field in &schema.fields {
        let sent = by_name.remove(field.name.as_str());
        columns.push(match &keys {
            KeySource::Assigned(_) if field.primary_key && sent.is_some() => {
                let what = format!("autoID field({}) does not require data, the server assigns its values", field.name);
                return Err(invalid_parameter(what));
            }
            KeySource::Assigned(keys) | KeySource::Replaced(keys) if field.primary_key => {
                assigned_column(field, keys, rows)?
            }
            _ => column(schema, field, sent, rows, &mut fill)?,
        });
    }
    RecordBatch::try_new(schema.arrow(), columns).map_err(internal)
}

/// The primary keys a request carries, in row order; the rows to replace of an upsert.
pub fn keys_in_request(schema: &Schema, data: &[FieldData], num_rows: u32) -> WireResult<Keys> {
    let rows = check_row_count(data, num_rows)?;
    let field = schema.primary_key().ok_or_else(|| engine(redkite_types::ErrorKind::Internal, "no primary key"))?;
    let sent = data.iter().find(|data| data.field_name == field.name).ok_or_else(|| missing_field(field))?;
    let scalars = match &sent.field {
        Some(Column::Scalars(scalars)) => scalars.data.as_ref(),
        _ => None,
    };
    let keys = match (field.data_type, scalars) {
        (DataType::Int64, Some(scalar_field::Data::LongData(keys))) => Keys::Int(keys.data.clone()),
        (DataType::VarChar { .. }, Some(scalar_field::Data::StringData(keys))) => Keys::Text(keys.data.clone()),
        _ => return Err(type_mismatch(field, scalars.map_or("nothing", scalars::kind))),
    };
    if keys.len() != rows {
        return Err(row_count_mismatch(field, keys.len(), rows));
    }
    Ok(keys)
}

fn columns_by_name(schema: &Schema, data: Vec<FieldData>) -> WireResult<HashMap<String, FieldData>> {
    let mut by_name = HashMap::with_capacity(data.len());
    for mut data in data {
        // Clients mark the dynamic column by flag, name or both.
        if data.is_dynamic || data.field_name == DYNAMIC_FIELD_NAME {
            if schema.dynamic_field().is_none() {
                let what =
                    format!("without dynamic schema enabled, the field name cannot be set to {DYNAMIC_FIELD_NAME}");
                return Err(invalid_parameter(what));
            }
            data.field_name = DYNAMIC_FIELD_NAME.to_owned();
        } else if schema.field(&data.field_name).is_none() {
            let what = format!("field ({}) not exist in the schema of the collection", data.field_name);
            return Err(invalid_parameter(what));
        }
        let name = data.field_name.clone();
        if by_name.insert(name.clone(), data).is_some() {
            return Err(invalid_parameter(format!("duplicated field data of field({name})")));
        }
    }
    Ok(by_name)
}

fn column(
    schema: &Schema,
    field: &Field,
    sent: Option<FieldData>,
    rows: usize,
    fill: &mut FillBudget,
) -> WireResult<ArrayRef> {
    let (data, validity) = match sent {
        Some(mut data) => {
            check_sent_type(field, &data)?;
            let validity = Validity::new(field, std::mem::take(&mut data.valid_data), rows)?;
            (data.field, validity)
        }
        None if field.nullable || field.default.is_some() || field.dynamic => (None, Validity::nothing(rows)),
        None => return Err(missing_field(field)),
    };
    fill.take(field, validity.missing())?;
    match (field.data_type, data) {
        (ty, Some(Column::Vectors(vectors))) if ty.is_vector() => vectors::column(field, Some(vectors), &validity),
        (ty, None) if ty.is_vector() => vectors::column(field, None, &validity),
        (DataType::Array { .. }, Some(Column::Scalars(scalars))) => arrays::column(field, scalars.data, &validity),
        (DataType::Array { .. }, None) => arrays::column(field, None, &validity),
        (DataType::Json, Some(Column::Scalars(scalars))) => json::column(schema, field, scalars.data, validity),
        (DataType::Json, None) => json::column(schema, field, None, validity),
        (ty, Some(Column::Scalars(scalars))) if !ty.is_vector() => scalars::column(field, scalars.data, validity),
        (_, None) => scalars::column(field, None, validity),
        (_, Some(Column::Vectors(_))) => Err(type_mismatch(field, "vectors")),
        (_, Some(Column::Scalars(_))) => Err(type_mismatch(field, "scalars")),
        (_, Some(Column::StructArrays(_))) => Err(type_mismatch(field, "struct arrays")),
    }
}

/// The type a column says it has; clients that leave it unset are judged by the values alone.
fn check_sent_type(field: &Field, data: &FieldData) -> WireResult<()> {
    let wanted = wire_type(field.data_type);
    let sent = WireType::try_from(data.r#type).ok();
    let same = match sent {
        Some(WireType::None) => true,
        Some(WireType::String) => wanted == WireType::VarChar,
        other => other == Some(wanted),
    };
    if same {
        return Ok(());
    }
    let sent = sent.map_or_else(|| data.r#type.to_string(), |ty| ty.as_str_name().to_owned());
    let what = format!("the type of field data({}) is not that of the schema", field.name);
    Err(invalid_value(what, wanted.as_str_name(), sent))
}

fn assigned_column(field: &Field, keys: &Keys, rows: usize) -> WireResult<ArrayRef> {
    if keys.len() != rows {
        return Err(row_count_mismatch(field, keys.len(), rows));
    }
    keys_to_array(keys)
}

/// What may still be filled in for a request.
struct FillBudget {
    left_bytes: usize,
}

impl FillBudget {
    fn take(&mut self, field: &Field, missing: usize) -> WireResult<()> {
        // 16 bytes cover any number or offset with its share of the bookkeeping.
        let bytes = match (&field.default, field.data_type.vector_bytes()) {
            (Some(Scalar::Text(text)), _) => 16 + text.len(),
            (_, Some(bytes)) => bytes,
            _ => 16,
        };
        self.left_bytes = self.left_bytes.checked_sub(missing.saturating_mul(bytes)).ok_or_else(|| {
            invalid_parameter(format!(
                "the nulls and defaults of the request need more than {FILL_BYTES_MAX} bytes, send fewer rows at once"
            ))
        })?;
        Ok(())
    }
}

fn missing_field(field: &Field) -> WireError {
    invalid_parameter(format!("fieldSchema({}) has no corresponding fieldData pass in", field.name))
}

fn row_count_mismatch(field: &Field, actual: usize, rows: usize) -> WireError {
    let what = format!("the num_rows ({actual}) of field ({}) is not equal to passed num_rows ({rows})", field.name);
    invalid_value(what, rows, actual)
}

fn type_mismatch(field: &Field, sent: &str) -> WireError {
    let what = format!("field '{}' is illegal, array type mismatch", field.name);
    invalid_value(what, wire_type(field.data_type).as_str_name(), sent)
}

/// Arrow refused what was checked before: a defect here, never the user's.
fn internal(error: arrow_schema::ArrowError) -> WireError {
    engine(redkite_types::ErrorKind::Internal, format!("the rows could not be put into columns: {error}"))
}

#[cfg(test)]
mod tests;
