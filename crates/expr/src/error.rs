//! Everything that can be wrong with a filter or with the columns it is given.
//!
//! Messages never repeat a long text: what they quote is cut by [`clip`].

use redkite_types::{ErrorKind, FieldId};

use crate::ColumnError;

/// Longest quotation in a message, in bytes.
const QUOTE_BYTES_MAX: usize = 80;

/// Why a filter was refused or could not be evaluated.
#[derive(Debug, thiserror::Error)]
pub enum ExprError {
    /// The text is not a filter.
    #[error("{message} at position {position} near '{near}'")]
    Parse {
        /// Offset in bytes from the start of the text.
        position: usize,
        /// The text from there on, cut.
        near: String,
        /// What is wrong.
        message: String,
    },
    /// The filter is well formed, and its parts do not fit together or do not fit the schema.
    #[error("{0}")]
    Type(String),
    /// The filter as a whole is a value, not a condition.
    #[error("predicate is not a boolean expression: {expr}, data type: {data_type}")]
    NotBoolean {
        /// The filter, cut.
        expr: String,
        /// What it is instead.
        data_type: String,
    },
    /// The schema has no such field and no dynamic field.
    #[error("field {field} not exist")]
    UnknownField {
        /// The name as written, cut.
        field: String,
    },
    /// A `{name}` without a value.
    #[error("the value of expression template variable name {{{name}}} is not found")]
    TemplateMissing {
        /// The name between the braces, cut.
        name: String,
    },
    /// The text exceeds [`crate::Limits::text_bytes_max`] or [`crate::Limits::list_bytes_max`].
    #[error("the filter is too long: more than {max} bytes {part}; pass long lists as a template value")]
    TooLong {
        /// Which part of the text is too long.
        part: &'static str,
        /// The limit.
        max: usize,
    },
    /// The filter exceeds [`crate::Limits::depth_max`].
    #[error("the filter's nesting depth exceeds {max}")]
    TooDeep {
        /// The limit.
        max: usize,
    },
    /// The filter exceeds [`crate::Limits::nodes_max`] or [`crate::Limits::list_elements_max`].
    #[error("the filter has more than {max} {what}")]
    TooMany {
        /// Operators and operands, or list elements.
        what: &'static str,
        /// The limit.
        max: usize,
    },
    /// A construct of the language that this version does not evaluate.
    #[error("function {function} is not supported in filters by this version of redkite")]
    Unsupported {
        /// The name as written, cut.
        function: String,
    },
    /// The caller could not provide a column; the source is the caller's own error.
    #[error("reading field {field} for a filter: {source}")]
    Column {
        /// Which field.
        field: FieldId,
        /// What [`crate::Columns::column`] returned.
        source: ColumnError,
    },
    /// A column is not of the type or length that the schema and the batch promise.
    #[error("field {field}: {message}")]
    ColumnShape {
        /// Which field.
        field: FieldId,
        /// What differs.
        message: String,
    },
}

impl ExprError {
    /// What the caller can do about it. A [`ExprError::Column`] wraps the caller's own error: look at its source.
    pub fn kind(&self) -> ErrorKind {
        match self {
            ExprError::Unsupported { .. } => ErrorKind::Unsupported,
            ExprError::Column { .. } => ErrorKind::Internal,
            ExprError::ColumnShape { .. } => ErrorKind::Corrupt,
            _ => ErrorKind::Invalid,
        }
    }
}

/// The result of everything here.
pub(crate) type Result<T> = std::result::Result<T, ExprError>;

/// A type error with this message.
pub(crate) fn mistyped<T>(message: impl Into<String>) -> Result<T> {
    Err(ExprError::Type(message.into()))
}

/// The text, cut to what a message may quote.
pub(crate) fn clip(text: &str) -> String {
    if text.len() <= QUOTE_BYTES_MAX {
        return text.to_owned();
    }
    let end = (0..=QUOTE_BYTES_MAX).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    format!("{}...", &text[..end])
}
