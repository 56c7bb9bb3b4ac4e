//! Columns of vectors. Float vectors are moved into the batch; the others, which arrive as bytes, are copied once.

use std::sync::Arc;

use arrow_array::{ArrayRef, FixedSizeBinaryArray, FixedSizeListArray, Float16Array, Float32Array, Int8Array};
use arrow_buffer::Buffer;
use arrow_schema::Field as ArrowField;
use half::{bf16, f16};
use redkite_types::{DataType, Field};

use super::scalars::not_finite;
use super::validity::Validity;
use super::{internal, row_count_mismatch, type_mismatch};
use crate::proto::schema::VectorField;
use crate::proto::schema::vector_field::Data;
use crate::status::{WireResult, invalid_parameter, invalid_value};

/// One column of vectors; a null row keeps a slot of zeros.
pub(super) fn column(field: &Field, data: Option<VectorField>, validity: &Validity) -> WireResult<ArrayRef> {
    let dim = field.data_type.dim().unwrap_or_default();
    let (sent_dim, data) = data.map_or((0, None), |vectors| (vectors.dim, vectors.data));
    let sent = data.as_ref().map_or("nothing", kind);
    // Clients send neither dim nor values where every row is null.
    if validity.valid() > 0 && sent_dim != dim as i64 {
        let what = format!("the dim ({sent_dim}) of field data({}) is not equal to schema dim ({dim})", field.name);
        return Err(invalid_value(what, dim, sent_dim));
    }
    macro_rules! bytes {
        ($variant:ident) => {
            match data {
                Some(Data::$variant(bytes)) => bytes,
                None => bytes::Bytes::new(),
                Some(_) => return Err(type_mismatch(field, sent)),
            }
        };
    }
    match field.data_type {
        DataType::FloatVector { .. } => {
            let values = match data {
                Some(Data::FloatVector(values)) => values.data,
                None => Vec::new(),
                Some(_) => return Err(type_mismatch(field, sent)),
            };
            check_count(field, validity, values.len(), dim)?;
            check_finite(field, validity, &values, dim, |value| value.is_finite(), |value| f64::from(*value))?;
            let values = Float32Array::from(in_place(validity, values, dim));
            list(field, dim, Arc::new(values), validity)
        }
        DataType::Float16Vector { .. } => {
            let bytes = bytes!(Float16Vector);
            check_count(field, validity, bytes.len(), dim * 2)?;
            let (halves, _) = bytes.as_chunks::<2>();
            let values: Vec<f16> = halves.iter().map(|half| f16::from_le_bytes(*half)).collect();
            check_finite(field, validity, &values, dim, |value| value.is_finite(), |value| value.to_f64())?;
            let values = Float16Array::from(in_place(validity, values, dim));
            list(field, dim, Arc::new(values), validity)
        }
        DataType::BFloat16Vector { .. } => {
            let bytes = bytes!(Bfloat16Vector);
            check_count(field, validity, bytes.len(), dim * 2)?;
            let (values, _) = bytes.as_chunks::<2>();
            let number = |value: &[u8; 2]| bf16::from_le_bytes(*value);
            check_finite(
                field,
                validity,
                values,
                dim,
                |value| number(value).is_finite(),
                |value| number(value).to_f64(),
            )?;
            binary(bytes.to_vec(), dim * 2, validity)
        }
        DataType::Int8Vector { .. } => {
            let bytes = bytes!(Int8Vector);
            check_count(field, validity, bytes.len(), dim)?;
            let values: Vec<i8> = bytes.iter().map(|byte| byte.cast_signed()).collect();
            list(field, dim, Arc::new(Int8Array::from(in_place(validity, values, dim))), validity)
        }
        DataType::BinaryVector { .. } => {
            let bytes = bytes!(BinaryVector);
            check_count(field, validity, bytes.len(), dim / 8)?;
            binary(bytes.to_vec(), dim / 8, validity)
        }
        _ => Err(type_mismatch(field, sent)),
    }
}

fn kind(data: &Data) -> &'static str {
    match data {
        Data::FloatVector(_) => "float_vector",
        Data::BinaryVector(_) => "binary_vector",
        Data::Float16Vector(_) => "float16_vector",
        Data::Bfloat16Vector(_) => "bfloat16_vector",
        Data::SparseFloatVector(_) => "sparse_float_vector",
        Data::Int8Vector(_) => "int8_vector",
        Data::VectorArray(_) => "vector_array",
    }
}

/// One vector per valid row, each of `width` items (numbers or bytes).
fn check_count(field: &Field, validity: &Validity, items: usize, width: usize) -> WireResult<()> {
    if !items.is_multiple_of(width) {
        let what = format!("the length({items}) of the data of field {} should divide the dim({width})", field.name);
        return Err(invalid_parameter(what));
    }
    if items / width != validity.valid() {
        return Err(row_count_mismatch(field, items / width, validity.valid()));
    }
    Ok(())
}

fn check_finite<T>(
    field: &Field,
    validity: &Validity,
    values: &[T],
    dim: usize,
    is_finite: impl Fn(&T) -> bool,
    number: impl Fn(&T) -> f64,
) -> WireResult<()> {
    for (nth, vector) in values.chunks(dim).enumerate() {
        // Without an early exit the loop compiles to vector instructions; a bad value is looked for only if there is one.
        if !vector.iter().fold(true, |all, value| all & is_finite(value)) {
            let bad = vector.iter().find(|value| !is_finite(value)).map_or(f64::NAN, &number);
            return Err(not_finite(field, validity.row_of(nth), bad));
        }
    }
    Ok(())
}

/// The sent vectors in the slots of their rows; without nulls that is where they are already.
fn in_place<T: Copy + Default>(validity: &Validity, values: Vec<T>, width: usize) -> Vec<T> {
    if validity.missing() == 0 {
        return values;
    }
    let mut slots = vec![T::default(); validity.rows() * width];
    for (row, vector) in validity.valid_rows().zip(values.chunks(width)) {
        slots[row * width..][..width].copy_from_slice(vector);
    }
    slots
}

fn list(field: &Field, dim: usize, values: ArrayRef, validity: &Validity) -> WireResult<ArrayRef> {
    let item = Arc::new(ArrowField::new("item", values.data_type().clone(), false));
    let dim =
        i32::try_from(dim).map_err(|_| invalid_parameter(format!("the dim of field {} is too large", field.name)))?;
    let list = FixedSizeListArray::try_new(item, dim, values, validity.null_buffer()).map_err(internal)?;
    Ok(Arc::new(list))
}

fn binary(bytes: Vec<u8>, width: usize, validity: &Validity) -> WireResult<ArrayRef> {
    let slots = Buffer::from_vec(in_place(validity, bytes, width));
    // Widths are bounded by the limits of dim.
    let array = FixedSizeBinaryArray::try_new(width as i32, slots, validity.null_buffer()).map_err(internal)?;
    Ok(Arc::new(array))
}
