//! Between the wire's messages and the engine's own types.
//!
//! Everything that comes in is checked here against the limits of the data model, with Milvus's codes and words, and
//! nothing that comes in can make these functions panic or allocate out of proportion to what was sent. What goes out
//! keeps the shapes that clients rely on (see `rows_out`).

pub mod keys;
pub mod moments;
pub mod names;
pub mod params;
pub mod query_vectors;
pub mod rows_in;
pub mod rows_out;
pub mod schema_in;
pub mod schema_out;
pub mod templates;

#[cfg(test)]
mod tests;
