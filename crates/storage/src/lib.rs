//! File formats (pure bytes) and the object store they lie in.
//!
//! - [`format`]: column files, the key sections inside them, delete logs. No IO.
//! - [`DataStore`]: puts, writes and opens files by path, on a local directory, in memory or on S3; bounded retries, a node
//!   cache for remote files, durable before it answers.
//!
//! Files are never changed once put (S35): a path names the same bytes for ever, which is what makes mapping them into
//! memory and caching them safe.

mod error;
mod failpoint;
pub mod format;
mod metrics;
mod store;

pub use error::{Error, Result};
pub use format::column::{BATCH_ROWS, ColumnFile, ColumnWriter, Out};
pub use format::delete_log::DeleteLog;
pub use format::key::{KeyColumnWriter, KeyIndex, KeyRange, write_key_column};
pub use format::{EncodedFile, FileInfo};
pub use store::{DataStore, FileWriter, ListedFile, S3Credentials, StorageOptions};
