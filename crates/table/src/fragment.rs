//! The files of a fragment: writing them from batches of rows, and reading rows back.
//!
//! - [`encode`] turns batches into files and their entries, in memory; uploading is the caller's.
//! - [`Readers`] opens fragments and caches what is worth it; a [`FragmentReader`] selects and takes rows without IO,
//!   so that it can run on a thread for CPU work.
//! - [`RowSet`] is a set of rows of one fragment.

mod columns;
mod open_column;
mod reader;
mod readers;
mod row_set;
mod writer;

pub use reader::FragmentReader;
pub use readers::{ReaderOptions, Readers};
pub use row_set::RowSet;
pub use writer::{EncodedFragment, FileEncoder, FragmentLayout, NewFile, Origin, encode, encode_delete_log};
