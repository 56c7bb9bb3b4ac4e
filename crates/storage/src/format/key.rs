//! What the primary key column's file carries besides the column: a filter and a sorted index, as two extra sections.
//!
//! | section | content |
//! |---|---|
//! | `key_filter` | a [`KeyFilter`]: says "not in here" for 255 of 256 absent keys; its own section, so that it can be read alone |
//! | `key_index` | a sorted index key -> row, see `sorted.rs`; used in place by binary search |
//!
//! Keys need not be unique: a lookup returns all rows of a key, deleted ones included (the file does not know deletes).

mod filter;
mod range;
mod sorted;
mod writer;

use std::sync::OnceLock;

use redkite_types::{Key, Keys};

use crate::format::column::ColumnFile;
use crate::{Error, Result};

pub use filter::KeyFilter;
pub use range::KeyRange;
use sorted::{KeyRef, SortedKeys};
pub use writer::{KeyColumnWriter, write_key_column};

/// Name of the section that holds the filter; see [`ColumnFile::section_bytes`].
pub const FILTER_SECTION: &str = "key_filter";
/// Name of the section that holds the sorted index.
pub const INDEX_SECTION: &str = "key_index";

/// The key sections of an open key column file.
///
/// Each section's checksum is verified on its first use, so that asking the filter alone touches nothing else.
#[derive(Debug)]
pub struct KeyIndex {
    file: ColumnFile,
    filter: OnceLock<KeyFilter>,
    sorted: OnceLock<SortedKeys>,
}

impl KeyIndex {
    /// The key sections of `file`, which [`KeyColumnWriter`] wrote.
    pub fn new(file: ColumnFile) -> Result<Self> {
        for name in [FILTER_SECTION, INDEX_SECTION] {
            if file.section_bytes(name).is_none() {
                return Err(Error::corrupt(file.path(), format!("section {name} is missing")));
            }
        }
        Ok(Self { file, filter: OnceLock::new(), sorted: OnceLock::new() })
    }

    /// The column itself.
    pub fn file(&self) -> &ColumnFile {
        &self.file
    }

    /// Whether the file may hold `key`: false is certain, true is wrong for one absent key in 256.
    pub fn may_contain(&self, key: &Key) -> Result<bool> {
        Ok(self.filter()?.may_contain(key))
    }

    /// The rows of `key`, ascending; none if it is not here. Does not ask the filter.
    pub fn lookup(&self, key: &Key) -> Result<Vec<u32>> {
        let mut rows = Vec::new();
        self.sorted()?.find(KeyRef::from(key), 0, |row| rows.push(row)).map_err(|detail| self.damaged(detail))?;
        Ok(rows)
    }

    /// For each key that is here, pairs of its position in `keys` and a row. Cheapest if `keys` ascends.
    pub fn lookup_many(&self, keys: &Keys) -> Result<Vec<(u32, u32)>> {
        let sorted = self.sorted()?;
        let mut found = Vec::new();
        let mut from = 0;
        for position in 0..keys.len() {
            let key = KeyRef::at(keys, position);
            // Going backwards starts over; ascending keys search only what is left.
            if position > 0 && key < KeyRef::at(keys, position - 1) {
                from = 0;
            }
            let hit = |row| found.push((position as u32, row));
            from = sorted.find(key, from, hit).map_err(|detail| self.damaged(detail))?;
        }
        Ok(found)
    }

    /// The filter, for keeping it without the file.
    pub fn filter(&self) -> Result<&KeyFilter> {
        if let Some(filter) = self.filter.get() {
            return Ok(filter);
        }
        let bytes = self.file.section(FILTER_SECTION)?.unwrap_or_default();
        let filter = KeyFilter::parse(bytes, self.file.path())?;
        Ok(self.filter.get_or_init(|| filter))
    }

    fn sorted(&self) -> Result<&SortedKeys> {
        if let Some(sorted) = self.sorted.get() {
            return Ok(sorted);
        }
        let bytes = self.file.section(INDEX_SECTION)?.unwrap_or_default();
        let sorted = SortedKeys::parse(bytes, self.file.rows()).map_err(|detail| self.damaged(detail))?;
        Ok(self.sorted.get_or_init(|| sorted))
    }

    fn damaged(&self, detail: &'static str) -> Error {
        Error::corrupt(self.file.path(), format!("section {INDEX_SECTION}: {detail}"))
    }
}

#[cfg(test)]
mod tests;
