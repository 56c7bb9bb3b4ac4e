//! Default values: of the field's own type and within its limits, so that filling one in never fails later.

use redkite_types::limits::JSON_BYTES_MAX;
use redkite_types::{DataType, Scalar};

use crate::convert::rows_in::check_json;
use crate::proto::schema::value_field::Data;
use crate::proto::schema::{DataType as WireType, FieldSchema, ValueField};
use crate::status::{WireError, WireResult, invalid_parameter, invalid_value};

/// The default of `field`, none if the message holds no value.
pub(super) fn default_value(field: &FieldSchema, ty: DataType, value: &ValueField) -> WireResult<Option<Scalar>> {
    let Some(data) = &value.data else {
        return Ok(None);
    };
    let scalar = match (ty, data) {
        (DataType::Bool, Data::BoolData(value)) => Scalar::Bool(*value),
        (DataType::Int8 | DataType::Int16 | DataType::Int32, Data::IntData(value)) => {
            small_int(field, ty, i64::from(*value))?
        }
        // pymilvus sends every plain Python integer so.
        (DataType::Int8 | DataType::Int16 | DataType::Int32, Data::LongData(value)) => small_int(field, ty, *value)?,
        (DataType::Int64, Data::LongData(value)) => Scalar::Int(*value),
        (DataType::Float, Data::FloatData(value)) => finite(field, f64::from(*value))?,
        (DataType::Double, Data::DoubleData(value)) => finite(field, *value)?,
        (DataType::VarChar { max_length }, Data::StringData(value)) => {
            if value.len() > max_length as usize {
                let what = format!(
                    "the length ({}) of string exceeds max length ({max_length}) of field {}",
                    value.len(),
                    field.name
                );
                return Err(invalid_value(what, "valid length string", "string length exceeds max length"));
            }
            Scalar::Text(value.clone())
        }
        (DataType::Json, Data::BytesData(value)) => json(field, value)?,
        (DataType::Json, Data::StringData(value)) => json(field, value.as_bytes())?,
        (DataType::Array { .. }, _) => return Err(no_default(field)),
        (vector, _) if vector.is_vector() => return Err(no_default(field)),
        _ => {
            let what = format!(
                "type ({}) of field ({}) is not equal to the type of its default_value",
                WireType::try_from(field.data_type).map_or("unknown", |ty| ty.as_str_name()),
                field.name
            );
            return Err(invalid_parameter(what));
        }
    };
    Ok(Some(scalar))
}

fn small_int(field: &FieldSchema, ty: DataType, value: i64) -> WireResult<Scalar> {
    let (min, max) = match ty {
        DataType::Int8 => (i8::MIN.into(), i8::MAX.into()),
        DataType::Int16 => (i16::MIN.into(), i16::MAX.into()),
        _ => (i32::MIN.into(), i32::MAX.into()),
    };
    if !(min..=max).contains(&value) {
        let what = format!("the default value of field {} is out of range", field.name);
        return Err(invalid_value(what, format!("[{min}, {max}]"), value));
    }
    Ok(Scalar::Int(value))
}

fn finite(field: &FieldSchema, value: f64) -> WireResult<Scalar> {
    if !value.is_finite() {
        let what = format!("the default value {value} of field {} is not a number or infinity", field.name);
        return Err(invalid_parameter(what));
    }
    Ok(Scalar::Float(value))
}

fn json(field: &FieldSchema, bytes: &[u8]) -> WireResult<Scalar> {
    if bytes.len() > JSON_BYTES_MAX {
        let what = format!(
            "the default value of field {} is {} bytes long, at most {JSON_BYTES_MAX} are allowed",
            field.name,
            bytes.len()
        );
        return Err(invalid_parameter(what));
    }
    let text = check_json(bytes).map_err(|reason| {
        invalid_parameter(format!("the default value of field {} is not JSON: {reason}", field.name))
    })?;
    Ok(Scalar::Text(text.to_owned()))
}

fn no_default(field: &FieldSchema) -> WireError {
    let ty = WireType::try_from(field.data_type).map_or("unknown", |ty| ty.as_str_name());
    invalid_parameter(format!("type not support default_value, type:{ty}, name:{}", field.name))
}
