//! Columns of lists of scalars.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, BooleanArray, Float32Array, Float64Array, Int8Array, Int16Array, Int32Array, Int64Array, ListArray,
};
use arrow_buffer::{BooleanBuffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::Field as ArrowField;
use redkite_types::{DataType, ElementType, Field};

use super::scalars::{self, kind, not_finite, small_int};
use super::validity::Validity;
use super::{internal, type_mismatch};
use crate::proto::schema::ScalarField;
use crate::proto::schema::scalar_field::Data;
use crate::status::{WireResult, invalid_parameter, invalid_value};

/// One column of lists; a null row is an empty list.
pub(super) fn column(field: &Field, data: Option<Data>, validity: &Validity) -> WireResult<ArrayRef> {
    let DataType::Array { element, max_capacity } = field.data_type else {
        return Err(type_mismatch(field, "array_data"));
    };
    let lists = match data {
        Some(Data::ArrayData(values)) => values.data,
        None => Vec::new(),
        Some(other) => return Err(type_mismatch(field, kind(&other))),
    };
    let lists = validity.spread(field, lists, ScalarField::default())?;
    let offsets = offsets(field, &lists, max_capacity as usize)?;
    let elements = elements(field, element, lists)?;
    let item = Arc::new(ArrowField::new("item", element.data_type().arrow(), false));
    let list = ListArray::try_new(item, offsets, elements, validity.null_buffer()).map_err(internal)?;
    Ok(Arc::new(list))
}

fn offsets(field: &Field, lists: &[ScalarField], capacity: usize) -> WireResult<OffsetBuffer<i32>> {
    let mut offsets = Vec::with_capacity(lists.len() + 1);
    let mut end = 0;
    offsets.push(0);
    for (row, list) in lists.iter().enumerate() {
        let length = list.data.as_ref().map_or(0, scalars::len);
        if length > capacity {
            let what = format!(
                "the length ({length}) of {row}th array of field {} exceeds max capacity ({capacity})",
                field.name
            );
            return Err(invalid_value(what, "valid length array", "array length exceeds max capacity"));
        }
        end += length;
        offsets.push(i32::try_from(end).map_err(|_| {
            invalid_parameter(format!(
                "the arrays of field {} have too many elements, send fewer rows at once",
                field.name
            ))
        })?);
    }
    Ok(OffsetBuffer::new(ScalarBuffer::from(offsets)))
}

/// The elements of all lists one after the other.
fn elements(field: &Field, element: ElementType, lists: Vec<ScalarField>) -> WireResult<ArrayRef> {
    macro_rules! flat {
        ($variant:ident, |$row:ident, $value:ident| $checked:expr) => {{
            let mut all = Vec::new();
            for ($row, list) in lists.into_iter().enumerate() {
                match list.data {
                    Some(Data::$variant(values)) => {
                        for $value in values.data {
                            all.push($checked);
                        }
                    }
                    // An empty list of whatever kind is just an empty list.
                    Some(other) if scalars::len(&other) > 0 => {
                        let what = format!("elements of {}, row number: {}", kind(&other), $row);
                        return Err(type_mismatch(field, &what));
                    }
                    _ => {}
                }
            }
            all
        }};
    }
    Ok(match element {
        ElementType::Bool => {
            let values: Vec<bool> = flat!(BoolData, |row, value| value);
            Arc::new(BooleanArray::new(BooleanBuffer::from(values), None))
        }
        ElementType::Int8 => {
            let values: Vec<i8> = flat!(IntData, |row, value| small_int(field, row, value)?);
            Arc::new(Int8Array::from(values))
        }
        ElementType::Int16 => {
            let values: Vec<i16> = flat!(IntData, |row, value| small_int(field, row, value)?);
            Arc::new(Int16Array::from(values))
        }
        ElementType::Int32 => Arc::new(Int32Array::from(flat!(IntData, |row, value| value))),
        ElementType::Int64 => Arc::new(Int64Array::from(flat!(LongData, |row, value| value))),
        ElementType::Float => {
            Arc::new(Float32Array::from(flat!(FloatData, |row, value| finite(field, row, value, f64::from(value))?)))
        }
        ElementType::Double => {
            Arc::new(Float64Array::from(flat!(DoubleData, |row, value| finite(field, row, value, value)?)))
        }
        ElementType::VarChar { max_length } => {
            let values: Vec<String> = flat!(StringData, |row, value| short(field, row, value, max_length as usize)?);
            Arc::new(scalars::texts(field, &values, None)?)
        }
    })
}

fn finite<T>(field: &Field, row: usize, value: T, number: f64) -> WireResult<T> {
    if number.is_finite() { Ok(value) } else { Err(not_finite(field, row, number)) }
}

fn short(field: &Field, row: usize, value: String, max: usize) -> WireResult<String> {
    if value.len() <= max {
        return Ok(value);
    }
    let what = format!(
        "length of Array array field {} exceeds max length, row number: {row}, length: {}, max length: {max}",
        field.name,
        value.len()
    );
    Err(invalid_value(what, "valid length array", "array length exceeds max length"))
}
