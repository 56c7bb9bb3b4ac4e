//! The filter language: from the text of a filter to the rows it selects.
//!
//! The flow is one way: `lexer` cuts the text into tokens, `parser` builds the untyped tree of `ast`, `check` types it
//! against a schema, folds constants and yields the tree of `node`, `eval` runs that tree a column at a time. A filter
//! is parsed once, as a [`Predicate`], and evaluated against as many batches of rows as there are.
//!
//! Invariants: no text and no column content makes this crate panic or run away: length, nesting and size have the
//! limits of [`Limits`], and every matcher is linear in what it reads. Truth is three-valued as in SQL: what touches a
//! missing value is unknown, and only rows known to be true are selected.
//!
//! What it does not do: read columns (the caller hands them over through [`Columns`]), know the wire, or prune files.

mod ast;
mod check;
mod columns;
mod constant;
mod error;
mod eval;
mod fold;
mod json_path;
mod keys;
mod lexer;
mod like;
mod limits;
mod node;
mod number;
mod parser;
mod portable;
mod predicate;
mod set;

pub use columns::{BatchColumns, ColumnError, Columns};
pub use constant::{Constant, TemplateValue, Templates};
pub use error::ExprError;
pub use limits::Limits;
pub use portable::{Portable, Written};
pub use predicate::{Predicate, parse, parse_with_limits};
