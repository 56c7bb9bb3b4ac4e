//! The schema of a collection and the Arrow types its columns have in memory and on disk.
//!
//! Arrow representation, the same in a session's batches, in data files and in query results:
//!
//! | data type | Arrow type | note |
//! |---|---|---|
//! | Bool, Int8..Int64, Float, Double | Boolean, Int8..Int64, Float32, Float64 | |
//! | VarChar, Json | Utf8 | Json as its text |
//! | Array | List of the element's type, items not nullable | |
//! | FloatVector | FixedSizeList of Float32 x dim | items not nullable; a null row keeps its slot, zero filled |
//! | Float16Vector | FixedSizeList of Float16 x dim | as above |
//! | BFloat16Vector | FixedSizeBinary of 2 x dim | little-endian bfloat16; Arrow has no such type |
//! | Int8Vector | FixedSizeList of Int8 x dim | as above |
//! | BinaryVector | FixedSizeBinary of dim / 8 | bit 0 is the lowest bit of byte 0 |

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_schema::{DataType as ArrowType, Field as ArrowField};
use serde::{Deserialize, Serialize};

use crate::{FieldId, Scalar};

/// The type of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum DataType {
    /// true or false
    Bool,
    /// 8-bit signed integer
    Int8,
    /// 16-bit signed integer
    Int16,
    /// 32-bit signed integer
    Int32,
    /// 64-bit signed integer
    Int64,
    /// 32-bit floating point number
    Float,
    /// 64-bit floating point number
    Double,
    /// UTF-8 text
    VarChar {
        /// Longest value, in bytes.
        max_length: u32,
    },
    /// Any JSON value
    Json,
    /// A list of scalars
    Array {
        /// Type of each element.
        element: ElementType,
        /// Most elements of a value.
        max_capacity: u32,
    },
    /// 32-bit floating point vector
    FloatVector {
        /// Number of components.
        dim: u32,
    },
    /// IEEE 16-bit floating point vector
    Float16Vector {
        /// Number of components.
        dim: u32,
    },
    /// bfloat16 vector
    #[serde(rename = "bfloat16_vector")]
    BFloat16Vector {
        /// Number of components.
        dim: u32,
    },
    /// 8-bit signed integer vector
    Int8Vector {
        /// Number of components.
        dim: u32,
    },
    /// Vector of bits
    BinaryVector {
        /// Number of bits, a multiple of 8.
        dim: u32,
    },
}

/// The type of an array's elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ElementType {
    /// true or false
    Bool,
    /// 8-bit signed integer
    Int8,
    /// 16-bit signed integer
    Int16,
    /// 32-bit signed integer
    Int32,
    /// 64-bit signed integer
    Int64,
    /// 32-bit floating point number
    Float,
    /// 64-bit floating point number
    Double,
    /// UTF-8 text
    VarChar {
        /// Longest element, in bytes.
        max_length: u32,
    },
}

impl ElementType {
    /// The scalar type of one element.
    pub fn data_type(self) -> DataType {
        match self {
            ElementType::Bool => DataType::Bool,
            ElementType::Int8 => DataType::Int8,
            ElementType::Int16 => DataType::Int16,
            ElementType::Int32 => DataType::Int32,
            ElementType::Int64 => DataType::Int64,
            ElementType::Float => DataType::Float,
            ElementType::Double => DataType::Double,
            ElementType::VarChar { max_length } => DataType::VarChar { max_length },
        }
    }
}

impl DataType {
    /// Whether this is a vector type.
    pub fn is_vector(self) -> bool {
        self.dim().is_some()
    }

    /// Dimensions of a vector type; bits for a binary one.
    pub fn dim(self) -> Option<usize> {
        match self {
            DataType::FloatVector { dim }
            | DataType::Float16Vector { dim }
            | DataType::BFloat16Vector { dim }
            | DataType::Int8Vector { dim }
            | DataType::BinaryVector { dim } => Some(dim as usize),
            _ => None,
        }
    }

    /// Bytes of one value of a vector type.
    pub fn vector_bytes(self) -> Option<usize> {
        match self {
            DataType::FloatVector { dim } => Some(dim as usize * 4),
            DataType::Float16Vector { dim } | DataType::BFloat16Vector { dim } => Some(dim as usize * 2),
            DataType::Int8Vector { dim } => Some(dim as usize),
            DataType::BinaryVector { dim } => Some(dim as usize / 8),
            _ => None,
        }
    }

    /// Whether values have one width, so that a column can be used in place from a mapped file.
    pub fn is_fixed_width(self) -> bool {
        !matches!(self, DataType::VarChar { .. } | DataType::Json | DataType::Array { .. })
    }

    /// The Arrow type of a column; see the table at the top of this file.
    pub fn arrow(self) -> ArrowType {
        let item = |ty| Arc::new(ArrowField::new("item", ty, false));
        match self {
            DataType::Bool => ArrowType::Boolean,
            DataType::Int8 => ArrowType::Int8,
            DataType::Int16 => ArrowType::Int16,
            DataType::Int32 => ArrowType::Int32,
            DataType::Int64 => ArrowType::Int64,
            DataType::Float => ArrowType::Float32,
            DataType::Double => ArrowType::Float64,
            DataType::VarChar { .. } | DataType::Json => ArrowType::Utf8,
            DataType::Array { element, .. } => ArrowType::List(item(element.data_type().arrow())),
            DataType::FloatVector { dim } => ArrowType::FixedSizeList(item(ArrowType::Float32), dim as i32),
            DataType::Float16Vector { dim } => ArrowType::FixedSizeList(item(ArrowType::Float16), dim as i32),
            DataType::BFloat16Vector { dim } => ArrowType::FixedSizeBinary(dim as i32 * 2),
            DataType::Int8Vector { dim } => ArrowType::FixedSizeList(item(ArrowType::Int8), dim as i32),
            DataType::BinaryVector { dim } => ArrowType::FixedSizeBinary(dim as i32 / 8),
        }
    }
}

/// One field of a collection.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Field {
    /// Fixed at creation, never reused.
    pub id: FieldId,
    /// Unique within the collection.
    pub name: String,
    /// Free text of the user.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// What the values are.
    #[serde(flatten)]
    pub data_type: DataType,
    /// Whether a value may be missing.
    #[serde(default, skip_serializing_if = "is_false")]
    pub nullable: bool,
    /// Stands in where an insert leaves the value out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<Scalar>,
    /// Whether this is the primary key: exactly one field, Int64 or VarChar, not nullable.
    #[serde(default, skip_serializing_if = "is_false")]
    pub primary_key: bool,
    /// Whether the server assigns the primary key.
    #[serde(default, skip_serializing_if = "is_false")]
    pub auto_id: bool,
    /// Whether rows are spread by this field's value.
    #[serde(default, skip_serializing_if = "is_false")]
    pub partition_key: bool,
    /// Whether this is the dynamic field: a JSON object holding all undeclared columns.
    #[serde(default, skip_serializing_if = "is_false")]
    pub dynamic: bool,
    /// Parameters the client gave that mean nothing to the engine, kept to be told back.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub params: BTreeMap<String, String>,
}

fn is_false(value: &bool) -> bool {
    !*value
}

impl Field {
    /// The Arrow field of the column: named after the field, nullable as the field is.
    pub fn arrow(&self) -> ArrowField {
        ArrowField::new(&self.name, self.data_type.arrow(), self.nullable)
    }
}

/// The fields of a collection, in the order the user declared them, the dynamic field last.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
pub struct Schema {
    /// All fields, the dynamic one included.
    pub fields: Vec<Field>,
    /// Free text of the user.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
}

/// The name of the dynamic field.
pub const DYNAMIC_FIELD_NAME: &str = "$meta";

impl Schema {
    /// The primary key, or none if the schema was never checked.
    pub fn primary_key(&self) -> Option<&Field> {
        self.fields.iter().find(|field| field.primary_key)
    }

    /// The field of that name.
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// The field of that id.
    pub fn field_by_id(&self, id: FieldId) -> Option<&Field> {
        self.fields.iter().find(|field| field.id == id)
    }

    /// The dynamic field, if the collection has one.
    pub fn dynamic_field(&self) -> Option<&Field> {
        self.fields.iter().find(|field| field.dynamic)
    }

    /// The vector fields, in declared order.
    pub fn vector_fields(&self) -> impl Iterator<Item = &Field> {
        self.fields.iter().filter(|field| field.data_type.is_vector())
    }

    /// The Arrow schema of a batch of whole rows: one column a field, in schema order.
    pub fn arrow(&self) -> arrow_schema::SchemaRef {
        Arc::new(arrow_schema::Schema::new(self.fields.iter().map(Field::arrow).collect::<Vec<_>>()))
    }
}
