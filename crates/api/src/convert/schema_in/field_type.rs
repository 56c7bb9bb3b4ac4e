//! A field's type with its parameters: which there are, which are needed, within which limits.

use std::collections::BTreeMap;

use redkite_types::limits::{ARRAY_CAPACITY_MAX, BINARY_DIM_MAX, BINARY_DIM_MIN, DIM_MAX, DIM_MIN, VARCHAR_BYTES_MAX};
use redkite_types::{DataType, ElementType};

use crate::proto::schema::{DataType as WireType, FieldSchema};
use crate::status::{WireResult, invalid_parameter, unsupported};

/// The type of `field`; takes the parameters that belong to the type out of `params`.
pub(super) fn data_type(field: &FieldSchema, params: &mut BTreeMap<String, String>) -> WireResult<DataType> {
    let wire = WireType::try_from(field.data_type)
        .map_err(|_| invalid_parameter(format!("field {}: data type {} is not known", field.name, field.data_type)))?;
    match wire {
        WireType::Bool => Ok(DataType::Bool),
        WireType::Int8 => Ok(DataType::Int8),
        WireType::Int16 => Ok(DataType::Int16),
        WireType::Int32 => Ok(DataType::Int32),
        WireType::Int64 => Ok(DataType::Int64),
        WireType::Float => Ok(DataType::Float),
        WireType::Double => Ok(DataType::Double),
        WireType::VarChar => Ok(DataType::VarChar { max_length: max_length(field, params)? }),
        WireType::Json => Ok(DataType::Json),
        WireType::Array => array(field, params),
        WireType::FloatVector => Ok(DataType::FloatVector { dim: dim(field, params)? }),
        WireType::Float16Vector => Ok(DataType::Float16Vector { dim: dim(field, params)? }),
        WireType::BFloat16Vector => Ok(DataType::BFloat16Vector { dim: dim(field, params)? }),
        WireType::Int8Vector => Ok(DataType::Int8Vector { dim: dim(field, params)? }),
        WireType::BinaryVector => Ok(DataType::BinaryVector { dim: binary_dim(field, params)? }),
        WireType::None => Err(invalid_parameter(format!("data type of field {} is not set", field.name))),
        WireType::String => {
            Err(invalid_parameter("string data type not supported yet, please use VarChar type instead"))
        }
        WireType::Geometry
        | WireType::Text
        | WireType::Timestamptz
        | WireType::Mol
        | WireType::Date
        | WireType::Time
        | WireType::Decimal
        | WireType::SparseFloatVector
        | WireType::ArrayOfVector
        | WireType::ArrayOfStruct
        | WireType::Struct => Err(unsupported(format!("data type {} of field {}", wire.as_str_name(), field.name))),
    }
}

fn array(field: &FieldSchema, params: &mut BTreeMap<String, String>) -> WireResult<DataType> {
    let element = match WireType::try_from(field.element_type) {
        Ok(WireType::Bool) => ElementType::Bool,
        Ok(WireType::Int8) => ElementType::Int8,
        Ok(WireType::Int16) => ElementType::Int16,
        Ok(WireType::Int32) => ElementType::Int32,
        Ok(WireType::Int64) => ElementType::Int64,
        Ok(WireType::Float) => ElementType::Float,
        Ok(WireType::Double) => ElementType::Double,
        Ok(WireType::VarChar) => ElementType::VarChar { max_length: max_length(field, params)? },
        Ok(other) => {
            let what = format!("element data type {} of array field {} is not valid", other.as_str_name(), field.name);
            return Err(invalid_parameter(what));
        }
        Err(_) => {
            let what = format!("element data type {} of array field {} is not known", field.element_type, field.name);
            return Err(invalid_parameter(what));
        }
    };
    let text = params.remove("max_capacity").ok_or_else(|| {
        invalid_parameter(format!("type param(max_capacity) should be specified for array field {}", field.name))
    })?;
    let max_capacity = number(&text, 1, ARRAY_CAPACITY_MAX).ok_or_else(|| {
        invalid_parameter(format!(
            "the maximum capacity specified for a Array should be in (0, {ARRAY_CAPACITY_MAX}], but got {text} for field {}",
            field.name
        ))
    })?;
    Ok(DataType::Array { element, max_capacity })
}

fn max_length(field: &FieldSchema, params: &mut BTreeMap<String, String>) -> WireResult<u32> {
    let text = params.remove("max_length").ok_or_else(|| {
        invalid_parameter(format!("type param(max_length) should be specified for the field({})", field.name))
    })?;
    number(&text, 1, VARCHAR_BYTES_MAX).ok_or_else(|| {
        invalid_parameter(format!(
            "the maximum length specified for the field({}) should be in (0, {VARCHAR_BYTES_MAX}], but got {text} instead",
            field.name
        ))
    })
}

fn dim(field: &FieldSchema, params: &mut BTreeMap<String, String>) -> WireResult<u32> {
    let text = dim_text(field, params)?;
    number(&text, DIM_MIN, DIM_MAX).ok_or_else(|| {
        let name = &field.name;
        invalid_parameter(format!(
            "invalid dimension: {text} of field {name}. it should be in range {DIM_MIN} to {DIM_MAX}"
        ))
    })
}

fn binary_dim(field: &FieldSchema, params: &mut BTreeMap<String, String>) -> WireResult<u32> {
    let text = dim_text(field, params)?;
    let name = &field.name;
    let dim = number(&text, BINARY_DIM_MIN, BINARY_DIM_MAX).ok_or_else(|| {
        invalid_parameter(format!(
            "invalid dimension: {text} of field {name}. it should be in range {BINARY_DIM_MIN} to {BINARY_DIM_MAX}"
        ))
    })?;
    if dim % 8 != 0 {
        let what =
            format!("invalid dimension: {text} of field {name}. binary vector dimension should be multiple of 8");
        return Err(invalid_parameter(what));
    }
    Ok(dim)
}

fn dim_text(field: &FieldSchema, params: &mut BTreeMap<String, String>) -> WireResult<String> {
    params.remove("dim").ok_or_else(|| {
        let name = &field.name;
        invalid_parameter(format!(
            "dimension is not defined in field type params of field {name}, check type param `dim` for vector field"
        ))
    })
}

/// The number `text` stands for, if it lies within the bounds, both of which are allowed.
fn number(text: &str, min: usize, max: usize) -> Option<u32> {
    let value: u32 = text.trim().parse().ok()?;
    (min..=max).contains(&(value as usize)).then_some(value)
}
