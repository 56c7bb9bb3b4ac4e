//! A delete log: which rows are deleted, one set of row offsets per raw vector file, always the whole set.
//!
//! | bytes | content |
//! |---|---|
//! | 8 | `RKDELETE` |
//! | 4 | format number: 1 |
//! | 4 | number of sections |
//! | 4 | length of the section table |
//! | .. | section table: per section, sorted by path: `u32` length of the path, the path (UTF-8), `u64` length of the section, `u64` deleted rows, `u32` CRC-32 of the section |
//! | 4 | CRC-32 of everything before |
//! | .. | the sections in the table's order, without gaps: roaring bitmaps in the portable format |

use std::collections::BTreeMap;
use std::ops::Range;

use bytes::Bytes;
use roaring::RoaringBitmap;

use super::EncodedFile;
use super::little_endian::{slice_at, u32_at, u64_at};
use crate::{Error, Result};

/// The format number this version writes and the newest it reads.
pub const DELETE_LOG_FORMAT: u32 = 1;

/// Longest section: a bitmap of all 2^32 rows in its largest encoding takes 512 MiB and some headers.
const SECTION_BYTES_MAX: u64 = 520 << 20;
/// Longest section table; the 128 operations of a commit touch far fewer files than would fill it.
const TABLE_BYTES_MAX: u64 = 64 << 20;
const MAGIC: &[u8; 8] = b"RKDELETE";
const HEADER_BYTES: usize = 20;

/// An open delete log. Opening verifies the table; each section is verified when it is read.
#[derive(Debug, Clone)]
pub struct DeleteLog {
    path: String,
    bytes: Bytes,
    sections: BTreeMap<String, Section>,
}

#[derive(Debug, Clone)]
struct Section {
    range: Range<usize>,
    rows: u64,
    crc32: u32,
}

impl DeleteLog {
    /// The file for these sets of deleted rows by path of the raw vector file.
    pub fn encode(deleted: &BTreeMap<String, RoaringBitmap>) -> Result<EncodedFile> {
        let (mut table, mut sections, mut rows) = (Vec::new(), Vec::new(), 0);
        for (path, bitmap) in deleted {
            // Run compression pays where whole ranges are deleted.
            let mut bitmap = bitmap.clone();
            bitmap.optimize();
            let start = sections.len();
            let wrong = |error: std::io::Error| Error::misuse(path, error.to_string());
            bitmap.serialize_into(&mut sections).map_err(wrong)?;
            let section = &sections[start..];
            table.extend_from_slice(&(path.len() as u32).to_le_bytes());
            table.extend_from_slice(path.as_bytes());
            table.extend_from_slice(&(section.len() as u64).to_le_bytes());
            table.extend_from_slice(&bitmap.len().to_le_bytes());
            table.extend_from_slice(&crc32fast::hash(section).to_le_bytes());
            rows += bitmap.len();
        }
        if table.len() as u64 > TABLE_BYTES_MAX {
            let (what, found) = ("delete log, section table in bytes".to_owned(), table.len() as u64);
            return Err(Error::TooLarge { what, found, limit: TABLE_BYTES_MAX });
        }
        let mut bytes = Vec::with_capacity(HEADER_BYTES + table.len() + 4 + sections.len());
        bytes.extend_from_slice(MAGIC);
        for word in [DELETE_LOG_FORMAT, deleted.len() as u32, table.len() as u32] {
            bytes.extend_from_slice(&word.to_le_bytes());
        }
        bytes.extend_from_slice(&table);
        bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
        bytes.extend_from_slice(&sections);
        Ok(EncodedFile { size: bytes.len() as u64, crc32: crc32fast::hash(&bytes), rows, bytes: bytes.into() })
    }

    /// Opens the log in `bytes`; `path` is what errors call it.
    pub fn open(bytes: Bytes, path: &str) -> Result<Self> {
        let bad = |detail: &str| Error::corrupt(path, detail);
        if bytes.get(..8) != Some(&MAGIC[..]) {
            return Err(bad("not a delete log"));
        }
        let word = |at: usize| u32_at(&bytes, at).ok_or_else(|| bad("truncated"));
        let (format, count, table_len) = (word(8)?, word(12)?, word(16)? as usize);
        let table_end = HEADER_BYTES + table_len;
        let head = bytes.get(..table_end).ok_or_else(|| bad("truncated"))?;
        if word(table_end)? != crc32fast::hash(head) {
            return Err(bad("the checksum of the section table does not match"));
        }
        // After the checksum, so that a flipped bit is not taken for a newer version.
        if format > DELETE_LOG_FORMAT {
            return Err(Error::NewerFormat { what: path.to_owned(), found: format, supported: DELETE_LOG_FORMAT });
        }
        let sections = read_table(&head[HEADER_BYTES..], table_end + 4, bytes.len());
        let sections = sections.ok_or_else(|| bad("the section table does not fit"))?;
        if sections.len() != count as usize {
            return Err(bad("the number of sections does not fit"));
        }
        Ok(Self { path: path.to_owned(), bytes, sections })
    }

    /// The raw vector files it has sections for.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.sections.keys().map(String::as_str)
    }

    /// How many rows of raw vector file `path` are deleted, without reading the section.
    pub fn deleted_rows(&self, path: &str) -> Option<u64> {
        self.sections.get(path).map(|section| section.rows)
    }

    /// The deleted rows of raw vector file `path`; [`Error::Corrupt`] if it has no section here, since an entry names
    /// only logs that do.
    pub fn section(&self, path: &str) -> Result<RoaringBitmap> {
        let bad = |detail: &str| Error::corrupt(&self.path, format!("section {path}: {detail}"));
        let section = self.sections.get(path).ok_or_else(|| bad("missing"))?;
        let mut bytes = &self.bytes[section.range.clone()];
        if crc32fast::hash(bytes) != section.crc32 {
            return Err(bad("the checksum does not match"));
        }
        let bitmap = RoaringBitmap::deserialize_from(&mut bytes).map_err(|error| bad(&error.to_string()))?;
        if !bytes.is_empty() || bitmap.len() != section.rows {
            return Err(bad("the set does not fit"));
        }
        Ok(bitmap)
    }
}

/// The sections, which must fill the file from `start` to `end` exactly.
fn read_table(table: &[u8], start: usize, end: usize) -> Option<BTreeMap<String, Section>> {
    let (mut sections, mut at, mut section_at) = (BTreeMap::new(), 0, start);
    while at < table.len() {
        let path_len = u32_at(table, at)? as usize;
        let path = std::str::from_utf8(slice_at(table, at + 4, path_len)?).ok()?;
        at += 4 + path_len;
        let (len, rows, crc32) = (u64_at(table, at)?, u64_at(table, at + 8)?, u32_at(table, at + 16)?);
        at += 20;
        let section_end = section_at.checked_add(usize::try_from(len).ok()?)?;
        if len > SECTION_BYTES_MAX || section_end > end {
            return None;
        }
        let section = Section { range: section_at..section_end, rows, crc32 };
        if sections.insert(path.to_owned(), section).is_some() {
            return None;
        }
        section_at = section_end;
    }
    (section_at == end).then_some(sections)
}

#[cfg(test)]
mod tests;
