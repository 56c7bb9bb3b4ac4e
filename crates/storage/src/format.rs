//! File formats: pure functions between values and bytes, no IO.
//!
//! All integers are little-endian. Every format has a number; a file with a newer one is refused by name, a damaged one
//! is told by its path. Nothing read from a file is trusted: every offset and length is checked before use.
//!
//! - [`column`]: one column of one fragment, an Arrow IPC file.
//! - [`key`]: the two extra sections inside the key column's file: the sorted key index and the filter.
//! - [`delete_log`]: which rows are deleted, per raw vector file.

pub mod column;
pub mod delete_log;
pub mod key;
mod little_endian;

use bytes::Bytes;

/// A file ready to be written, or the rest of one whose beginning was taken while it was encoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedFile {
    /// Its content after the pieces taken before; all of it if none was.
    pub bytes: Bytes,
    /// Size of the whole file in bytes, pieces taken included.
    pub size: u64,
    /// CRC-32 (IEEE) of the whole file, pieces taken included.
    pub crc32: u32,
    /// Rows of a column file; deleted rows over all sections of a delete log.
    pub rows: u64,
}

impl EncodedFile {
    /// What a reader should find.
    pub fn info(&self) -> FileInfo {
        FileInfo { size: self.size, crc32: Some(self.crc32) }
    }
}

/// What is known of a file before it is opened; from its metadata entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileInfo {
    /// Size in bytes.
    pub size: u64,
    /// CRC-32 (IEEE) of the whole file, checked when a copy is downloaded.
    pub crc32: Option<u32>,
}
