//! Plans and executes searches and queries over a snapshot.
//!
//! A request names one collection of one catalog and keeps to it from start to end (S36). [`search`] finds the nearest
//! rows, [`query`] the rows that satisfy a filter, [`count`] how many do. Each is: prune fragments, open what is needed,
//! select and score on CPU threads, order by (score, key) or key, gather the output columns.
//!
//! Rows are numbered over the snapshot: the fragment's place in the list above, its row below ([`RowId`]).
//!
//! In a cluster a [`Coordinator`] splits the work by fragments over the nodes that hold them, and a [`Holder`] does what it is
//! asked ([`Peers`] carries the bytes). The steps are the same; only who selects and scores, and who gathers, differs. Who holds
//! what follows from the [`Layout`] of the cluster; [`Holdings`] fetches it before anybody asks.

mod answer;
mod coordinator;
mod cpu;
mod error;
mod fanout;
mod frame;
mod gather;
mod health;
mod holder;
mod holdings;
mod keys;
mod layout;
mod lookup;
mod metrics;
mod placement;
mod replicate;
mod request;
mod row_id;
mod scan;
mod scoring;
mod search;
mod source;
mod warm;

pub use answer::SUBANSWER_BYTES_MAX;
pub use coordinator::Coordinator;
pub use error::{Error, Result};
pub use fanout::{AskError, Peers};
pub use holder::Holder;
pub use holdings::{Holdings, Standing};
pub use layout::{Duty, Layout, Peer};
pub use lookup::{QueryRequest, count, query};
pub use placement::Placement;
pub use redkite_index::Window;
pub use request::SUBREQUEST_BYTES_MAX;
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
