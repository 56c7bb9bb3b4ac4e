//! Single values: primary keys and defaults.

use serde::{Deserialize, Serialize};

/// A primary key. Integers sort before texts; a collection holds only one of the two.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Key {
    /// Of an Int64 key field.
    Int(i64),
    /// Of a VarChar key field.
    Text(String),
}

/// Primary keys of one collection, in the order they were given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Keys {
    /// Of an Int64 key field.
    Int(Vec<i64>),
    /// Of a VarChar key field.
    Text(Vec<String>),
}

impl Keys {
    /// How many.
    pub fn len(&self) -> usize {
        match self {
            Keys::Int(keys) => keys.len(),
            Keys::Text(keys) => keys.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A constant of a scalar type, such as a field's default value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scalar {
    /// For Bool.
    Bool(bool),
    /// For every integer type.
    Int(i64),
    /// For Float and Double.
    Float(f64),
    /// For VarChar, and the text of a Json value.
    Text(String),
}
