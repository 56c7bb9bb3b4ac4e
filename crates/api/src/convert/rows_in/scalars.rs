//! Columns of single values: bool, integers, floating point numbers and texts.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, BooleanArray, Float32Array, Float64Array, Int8Array, Int16Array, Int32Array, Int64Array, StringArray,
};
use arrow_buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use redkite_types::{DataType, Field, Scalar};

use super::validity::Validity;
use super::{internal, type_mismatch};
use crate::proto::schema::scalar_field::Data;
use crate::status::{WireError, WireResult, invalid_parameter, invalid_value};

/// How many values a column holds.
pub(super) fn len(data: &Data) -> usize {
    match data {
        Data::BoolData(values) => values.data.len(),
        Data::IntData(values) => values.data.len(),
        Data::LongData(values) => values.data.len(),
        Data::FloatData(values) => values.data.len(),
        Data::DoubleData(values) => values.data.len(),
        Data::StringData(values) => values.data.len(),
        Data::BytesData(values) => values.data.len(),
        Data::ArrayData(values) => values.data.len(),
        Data::JsonData(values) => values.data.len(),
        _ => 0,
    }
}

/// What a column's values are, for errors.
pub(super) fn kind(data: &Data) -> &'static str {
    match data {
        Data::BoolData(_) => "bool_data",
        Data::IntData(_) => "int_data",
        Data::LongData(_) => "long_data",
        Data::FloatData(_) => "float_data",
        Data::DoubleData(_) => "double_data",
        Data::StringData(_) => "string_data",
        Data::BytesData(_) => "bytes_data",
        Data::ArrayData(_) => "array_data",
        Data::JsonData(_) => "json_data",
        Data::GeometryData(_) | Data::GeometryWktData(_) => "geometry_data",
        Data::TimestamptzData(_) => "timestamptz_data",
        Data::MolData(_) | Data::MolSmilesData(_) => "mol_data",
        Data::DateData(_) => "date_data",
        Data::TimeData(_) => "time_data",
    }
}

/// One column of a scalar type; clients leave `data` out where every row is null.
pub(super) fn column(field: &Field, data: Option<Data>, validity: Validity) -> WireResult<ArrayRef> {
    let sent = data.as_ref().map_or("nothing", kind);
    macro_rules! values {
        ($variant:ident) => {
            match data {
                Some(Data::$variant(values)) => values.data,
                None => Vec::new(),
                Some(_) => return Err(type_mismatch(field, sent)),
            }
        };
    }
    Ok(match field.data_type {
        DataType::Bool => {
            let fill = matches!(field.default, Some(Scalar::Bool(true)));
            let values = validity.spread(field, values!(BoolData), fill)?;
            Arc::new(BooleanArray::new(BooleanBuffer::from(values), validity.nulls(field)))
        }
        DataType::Int8 => {
            let values = small_ints(field, values!(IntData), &validity)?;
            Arc::new(Int8Array::new(values.into(), validity.nulls(field)))
        }
        DataType::Int16 => {
            let values = small_ints(field, values!(IntData), &validity)?;
            Arc::new(Int16Array::new(values.into(), validity.nulls(field)))
        }
        DataType::Int32 => {
            let values = small_ints(field, values!(IntData), &validity)?;
            Arc::new(Int32Array::new(values.into(), validity.nulls(field)))
        }
        DataType::Int64 => {
            let values = validity.spread(field, values!(LongData), int_default(field))?;
            Arc::new(Int64Array::new(values.into(), validity.nulls(field)))
        }
        DataType::Float => {
            let values = validity.spread(field, values!(FloatData), float_default(field) as f32)?;
            check_finite(field, &validity, |row| f64::from(values[row]))?;
            Arc::new(Float32Array::new(values.into(), validity.nulls(field)))
        }
        DataType::Double => {
            let values = validity.spread(field, values!(DoubleData), float_default(field))?;
            check_finite(field, &validity, |row| values[row])?;
            Arc::new(Float64Array::new(values.into(), validity.nulls(field)))
        }
        DataType::VarChar { max_length } => {
            let values = validity.spread(field, values!(StringData), text_default(field))?;
            for (row, value) in values.iter().enumerate() {
                check_length(field, row, value.len(), max_length as usize)?;
            }
            Arc::new(texts(field, &values, validity.nulls(field))?)
        }
        _ => return Err(type_mismatch(field, sent)),
    })
}

fn small_ints<T: TryFrom<i32>>(field: &Field, values: Vec<i32>, validity: &Validity) -> WireResult<Vec<T>> {
    // The schema was checked when it was made: the default fits.
    let values = validity.spread(field, values, int_default(field) as i32)?;
    values.into_iter().enumerate().map(|(row, value)| small_int(field, row, value)).collect()
}

/// `value` as the narrower type it is meant for.
pub(super) fn small_int<T: TryFrom<i32>>(field: &Field, row: usize, value: i32) -> WireResult<T> {
    T::try_from(value).map_err(|_| {
        let bits = size_of::<T>() * 8;
        let bound = 1_i64 << (bits - 1);
        let what = format!("the value of field {} is out of range, row number: {row}", field.name);
        invalid_value(what, format!("[{}, {}]", -bound, bound - 1), value)
    })
}

fn check_finite(field: &Field, validity: &Validity, value: impl Fn(usize) -> f64) -> WireResult<()> {
    match (0..validity.rows()).find(|row| !value(*row).is_finite()) {
        Some(row) => Err(not_finite(field, row, value(row))),
        None => Ok(()),
    }
}

/// Neither NaN nor an infinity can be stored.
pub(super) fn not_finite(field: &Field, row: usize, value: f64) -> WireError {
    invalid_parameter(format!("value '{value}' is not a number or infinity, field: {}, row number: {row}", field.name))
}

fn check_length(field: &Field, row: usize, length: usize, max: usize) -> WireResult<()> {
    if length <= max {
        return Ok(());
    }
    let what = format!(
        "length of varchar field {} exceeds max length, row number: {row}, length: {length}, max length: {max}",
        field.name
    );
    Err(invalid_value(what, "valid length string", "string length exceeds max length"))
}

/// A text column; values of null rows are empty.
pub(super) fn texts(field: &Field, values: &[impl AsRef<str>], nulls: Option<NullBuffer>) -> WireResult<StringArray> {
    let total: usize = values.iter().map(|value| value.as_ref().len()).sum();
    if i32::try_from(total).is_err() {
        let what = format!("the texts of field {} take {total} bytes, send fewer rows at once", field.name);
        return Err(invalid_parameter(what));
    }
    let mut offsets = Vec::with_capacity(values.len() + 1);
    let mut bytes = Vec::with_capacity(total);
    offsets.push(0);
    for value in values {
        bytes.extend_from_slice(value.as_ref().as_bytes());
        offsets.push(bytes.len() as i32);
    }
    let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
    StringArray::try_new(offsets, Buffer::from_vec(bytes), nulls).map_err(internal)
}

fn int_default(field: &Field) -> i64 {
    match field.default {
        Some(Scalar::Int(value)) => value,
        _ => 0,
    }
}

fn float_default(field: &Field) -> f64 {
    match field.default {
        Some(Scalar::Float(value)) => value,
        _ => 0.0,
    }
}

fn text_default(field: &Field) -> String {
    match &field.default {
        Some(Scalar::Text(value)) => value.clone(),
        _ => String::new(),
    }
}
