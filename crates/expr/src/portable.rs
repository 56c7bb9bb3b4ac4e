//! A predicate on its way to another process: not the tree, but what it is made of, so that whoever receives it parses and
//! checks it as if a client had sent it, within the same limits. The same text, values and schema always make the same tree.

use std::sync::Arc;

use redkite_types::{Keys, Schema};
use serde::{Deserialize, Serialize};

use crate::constant::Templates;
use crate::error::Result;
use crate::predicate::{Predicate, parse};

/// What a predicate is made of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Portable {
    /// Every row.
    All,
    /// The rows of these keys.
    Keys(Arc<Keys>),
    /// A text.
    Written(Arc<Written>),
}

/// A filter as a client wrote it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Written {
    /// The text.
    pub text: String,
    /// The values of its variables.
    pub templates: Templates,
}

impl Portable {
    /// The predicate, on rows of `schema`, which has to be the one it was made for.
    pub fn predicate(&self, schema: &Schema) -> Result<Predicate> {
        match self {
            Portable::All => Ok(Predicate::always_true()),
            Portable::Keys(keys) => Predicate::from_keys(schema, Keys::clone(keys)),
            Portable::Written(written) => parse(&written.text, &written.templates, schema),
        }
    }
}
