//! Constants: what a filter writes down and what a template value stands for.

use std::collections::HashMap;
use std::fmt;

use redkite_types::{DataType, ElementType};
use serde::{Deserialize, Serialize};

use crate::error::{ExprError, clip};

/// A constant of the filter language.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Constant {
    /// true or false
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A floating point number.
    Float(#[serde(with = "bits")] f64),
    /// A text.
    Text(String),
    /// A list, of one kind or mixed.
    Array(Vec<Constant>),
}

/// A float as its bits: JSON has no infinities, and not one NaN of the many.
mod bits {
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(value.to_bits())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        u64::deserialize(deserializer).map(f64::from_bits)
    }
}

/// The value of a template variable.
pub type TemplateValue = Constant;

/// The values of a filter's `{name}` variables.
pub type Templates = HashMap<String, TemplateValue>;

impl Constant {
    /// A template value from JSON text, as clients send lists of mixed kinds. Null and objects are refused: the language
    /// has no constants of these kinds.
    pub fn from_json(text: &[u8]) -> Result<Self, ExprError> {
        let value = serde_json::from_slice(text)
            .map_err(|error| ExprError::Type(format!("template value is not valid JSON: {error}")))?;
        Self::from_json_value(&value)
    }

    fn from_json_value(value: &serde_json::Value) -> Result<Self, ExprError> {
        use serde_json::Value;
        match value {
            Value::Bool(value) => Ok(Constant::Bool(*value)),
            Value::String(value) => Ok(Constant::Text(value.clone())),
            Value::Number(number) => match (number.as_i64(), number.as_f64()) {
                (Some(int), _) => Ok(Constant::Int(int)),
                (None, Some(float)) => Ok(Constant::Float(float)),
                (None, None) => Err(ExprError::Type(format!("template value {number} is out of range"))),
            },
            Value::Array(values) => {
                values.iter().map(Self::from_json_value).collect::<Result<_, _>>().map(Constant::Array)
            }
            Value::Null | Value::Object(_) => {
                Err(ExprError::Type("template values must be a bool, number, text or list of these".to_owned()))
            }
        }
    }

    /// The name of the type in messages.
    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            Constant::Bool(_) => "Bool",
            Constant::Int(_) => "Int64",
            Constant::Float(_) => "Double",
            Constant::Text(_) => "VarChar",
            Constant::Array(_) => "Array",
        }
    }

    /// Number of elements in this list and the lists inside it; 0 for anything else.
    pub(crate) fn element_count(&self) -> usize {
        match self {
            Constant::Array(elements) => elements.iter().map(|element| 1 + element.element_count()).sum(),
            _ => 0,
        }
    }
}

/// For messages: cut where it is long.
impl fmt::Display for Constant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Constant::Bool(value) => value.fmt(f),
            Constant::Int(value) => value.fmt(f),
            Constant::Float(value) => write!(f, "{value:?}"),
            Constant::Text(value) => f.write_str(&clip(value)),
            Constant::Array(elements) => write!(f, "list of {} elements", elements.len()),
        }
    }
}

/// The name of a field's type in messages.
pub(crate) fn data_type_name(data_type: DataType) -> String {
    match data_type {
        DataType::Bool => "Bool".to_owned(),
        DataType::Int8 => "Int8".to_owned(),
        DataType::Int16 => "Int16".to_owned(),
        DataType::Int32 => "Int32".to_owned(),
        DataType::Int64 => "Int64".to_owned(),
        DataType::Float => "Float".to_owned(),
        DataType::Double => "Double".to_owned(),
        DataType::VarChar { .. } => "VarChar".to_owned(),
        DataType::Json => "JSON".to_owned(),
        DataType::Array { element, .. } => format!("Array[{}]", element_type_name(element)),
        DataType::FloatVector { .. } => "FloatVector".to_owned(),
        DataType::Float16Vector { .. } => "Float16Vector".to_owned(),
        DataType::BFloat16Vector { .. } => "BFloat16Vector".to_owned(),
        DataType::Int8Vector { .. } => "Int8Vector".to_owned(),
        DataType::BinaryVector { .. } => "BinaryVector".to_owned(),
    }
}

/// The name of an array's element type in messages.
pub(crate) fn element_type_name(element: ElementType) -> String {
    data_type_name(element.data_type())
}
