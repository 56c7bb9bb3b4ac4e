//! Plans and executes searches and queries over a snapshot.
//!
//! A request names one collection of one catalog and keeps to it from start to end (S36). [`search`] finds the nearest
//! rows, [`query`] the rows that satisfy a filter, [`count`] how many do. Each is: prune fragments, open what is needed,
//! select and score on CPU threads, order by (score, key) or key, gather the output columns.
//!
//! Rows are numbered over the snapshot: the fragment's place in the list above, its row below ([`RowId`]).

mod cpu;
mod error;
mod gather;
mod keys;
mod lookup;
mod row_id;
mod scan;
mod search;
mod source;
mod warm;

pub use error::{Error, Result};
pub use lookup::{QueryRequest, count, query};
pub use redkite_index::Window;
pub use row_id::RowId;
pub use search::{SearchHits, SearchRequest, search};
pub use warm::warm;

/// Columns of found rows, in the order of the rows.
#[derive(Debug, Clone)]
pub struct Rows {
    /// How many rows.
    pub rows: usize,
    /// The columns asked for, in the order asked.
    pub columns: Vec<(redkite_types::FieldId, arrow_array::ArrayRef)>,
}
