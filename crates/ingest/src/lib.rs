//! Sessions and the flush: how writes are buffered, ordered, and published as one atom.
//!
//! - [`block`]: the flush block, the ordered operations a client has not flushed. Pure data.
//! - [`stage`]: replays a block's operations into rows to insert and rows to delete. Pure.
//! - [`flush`]: uploads, finds the rows to delete, commits; retries what may be retried.
//! - `group`: automatic blocks that are published together.
//! - [`forward`]: rows that another node holds until they are flushed, as this one is short of memory.
//! - `fence`: what keeps a client that has gone to another node from being overtaken by its own past.
//! - [`session`]: one client; [`Ingest`]: all clients of a node, their connections and what they lost.
//!
//! What is in a block is visible to nobody (S09), dies with the connection (S10), takes effect in the order it was
//! issued (S06) and as a whole (S12).

pub mod block;
mod cpu;
mod error;
mod fence;
pub mod flush;
pub mod forward;
mod group;
mod identity;
mod ingest;
mod matching;
mod names;
mod options;
pub mod session;
pub mod stage;

pub use error::{Error, Result};
pub use fence::Fence;
pub use identity::{ClientId, ConnectionId};
pub use ingest::Ingest;
pub use options::{AUTO_FLUSH_PROPERTY, FLUSH_INTERVAL_PROPERTY, IngestOptions};
pub use session::{FlushRequest, Flushed, Turn, WriteReport};
