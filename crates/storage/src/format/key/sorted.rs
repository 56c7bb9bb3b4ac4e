//! The sorted index key -> row, used in place.
//!
//! | bytes | content for Int64 keys |
//! |---|---|
//! | 4 | kind: 1 |
//! | 4 | n, the number of rows |
//! | 8 n | the keys, ascending |
//! | 4 n | their rows; ascending where keys are equal |
//!
//! | bytes | content for VarChar keys |
//! |---|---|
//! | 4 | kind: 2 |
//! | 4 | n, the number of rows |
//! | 4 (n + 1) | where each text starts within the texts, and where the last one ends |
//! | 4 n | their rows; ascending where keys are equal |
//! | .. | the texts, in the order of their bytes |

use bytes::Bytes;
use redkite_types::{Key, Keys};

use crate::format::little_endian::{i64_at, u32_at};
use crate::{Error, Result};

const KIND_INT: u32 = 1;
const KIND_TEXT: u32 = 2;
const HEADER_BYTES: usize = 8;

/// A borrowed key. Integers sort before texts, as in [`Key`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum KeyRef<'k> {
    Int(i64),
    /// UTF-8.
    Text(&'k [u8]),
}

impl<'k> KeyRef<'k> {
    /// The key at `position`, which must be within `keys`.
    pub(super) fn at(keys: &'k Keys, position: usize) -> Self {
        match keys {
            Keys::Int(keys) => KeyRef::Int(keys[position]),
            Keys::Text(keys) => KeyRef::Text(keys[position].as_bytes()),
        }
    }
}

impl<'k> From<&'k Key> for KeyRef<'k> {
    fn from(key: &'k Key) -> Self {
        match key {
            Key::Int(key) => KeyRef::Int(*key),
            Key::Text(key) => KeyRef::Text(key.as_bytes()),
        }
    }
}

/// The section for Int64 keys, one a row.
pub(super) fn encode_ints(keys: &[i64]) -> Vec<u8> {
    let mut sorted: Vec<(i64, u32)> = keys.iter().copied().zip(0..).collect();
    sorted.sort_unstable();
    let mut bytes = Vec::with_capacity(HEADER_BYTES + sorted.len() * 12);
    bytes.extend_from_slice(&KIND_INT.to_le_bytes());
    bytes.extend_from_slice(&(sorted.len() as u32).to_le_bytes());
    sorted.iter().for_each(|(key, _)| bytes.extend_from_slice(&key.to_le_bytes()));
    sorted.iter().for_each(|(_, row)| bytes.extend_from_slice(&row.to_le_bytes()));
    bytes
}

/// The section for VarChar keys: `ends[row]` is where the text of `row` ends in `texts`.
pub(super) fn encode_texts(texts: &[u8], ends: &[u32]) -> Vec<u8> {
    let text = |row: u32| {
        let start = if row == 0 { 0 } else { ends[row as usize - 1] };
        &texts[start as usize..ends[row as usize] as usize]
    };
    let mut rows: Vec<u32> = (0..ends.len() as u32).collect();
    rows.sort_unstable_by_key(|row| (text(*row), *row));
    let mut bytes = Vec::with_capacity(HEADER_BYTES + 4 + rows.len() * 8 + texts.len());
    bytes.extend_from_slice(&KIND_TEXT.to_le_bytes());
    bytes.extend_from_slice(&(rows.len() as u32).to_le_bytes());
    let mut offset = 0_u32;
    bytes.extend_from_slice(&offset.to_le_bytes());
    for row in &rows {
        offset += text(*row).len() as u32;
        bytes.extend_from_slice(&offset.to_le_bytes());
    }
    rows.iter().for_each(|row| bytes.extend_from_slice(&row.to_le_bytes()));
    rows.iter().for_each(|row| bytes.extend_from_slice(text(*row)));
    bytes
}

/// The section, read in place. Order is not checked (the checksum guards it), every position is.
#[derive(Debug)]
pub(super) struct SortedKeys {
    bytes: Bytes,
    is_text: bool,
    count: usize,
    /// Where the rows start.
    rows_at: usize,
    /// Where the texts start.
    texts_at: usize,
}

type Checked<T> = std::result::Result<T, &'static str>;

impl SortedKeys {
    /// The section in `bytes` of a file of `rows` rows.
    pub(super) fn parse(bytes: Bytes, rows: usize) -> Checked<Self> {
        let (kind, count) = u32_at(&bytes, 0).zip(u32_at(&bytes, 4)).ok_or("too short")?;
        let count = count as usize;
        if count != rows {
            return Err("the number of keys is not that of the rows");
        }
        let is_text = match kind {
            KIND_INT => false,
            KIND_TEXT => true,
            _ => return Err("unknown kind"),
        };
        // At most 2^32 rows of 12 bytes: no overflow.
        let rows_at = HEADER_BYTES + if is_text { (count + 1) * 4 } else { count * 8 };
        let sorted = Self { texts_at: rows_at + count * 4, rows_at, count, is_text, bytes };
        let texts = if is_text { u32_at(&sorted.bytes, HEADER_BYTES + count * 4).ok_or("too short")? } else { 0 };
        if sorted.bytes.len() != sorted.texts_at + texts as usize {
            return Err("the length does not fit");
        }
        Ok(sorted)
    }

    /// Tells `hit` the rows of `key`, searching from position `from`; returns where a search for the same or a greater
    /// key may start.
    pub(super) fn find(&self, key: KeyRef<'_>, from: usize, mut hit: impl FnMut(u32)) -> Checked<usize> {
        if self.is_text != matches!(key, KeyRef::Text(_)) {
            return Ok(from);
        }
        let first = self.lower_bound(key, from)?;
        let mut at = first;
        while at < self.count && self.key(at)? == key {
            let row = u32_at(&self.bytes, self.rows_at + at * 4).ok_or("too short")?;
            if row as usize >= self.count {
                return Err("a row beyond the end");
            }
            hit(row);
            at += 1;
        }
        Ok(first)
    }

    /// The first position from `from` on whose key is not less. Doubles its steps first, so that close keys are near.
    fn lower_bound(&self, key: KeyRef<'_>, from: usize) -> Checked<usize> {
        let (mut low, mut step) = (from, 1);
        let mut high = self.count;
        if from > 0 {
            while low + step < self.count && self.key(low + step)? < key {
                low += step;
                step *= 2;
            }
            high = (low + step).min(self.count);
        }
        while low < high {
            let middle = low + (high - low) / 2;
            if self.key(middle)? < key {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }

    fn key(&self, at: usize) -> Checked<KeyRef<'_>> {
        if !self.is_text {
            return i64_at(&self.bytes, HEADER_BYTES + at * 8).map(KeyRef::Int).ok_or("too short");
        }
        let offset = |at: usize| u32_at(&self.bytes, HEADER_BYTES + at * 4).map(|offset| offset as usize);
        let (start, end) = offset(at).zip(offset(at + 1)).ok_or("too short")?;
        let text = self.bytes.get(self.texts_at + start..self.texts_at + end).ok_or("a text does not fit")?;
        Ok(KeyRef::Text(text))
    }
}

/// Most bytes of all texts of a file together: their offsets are `u32`.
pub(super) fn check_texts_len(column: &str, bytes: u64) -> Result<()> {
    let limit = u64::from(u32::MAX);
    if bytes > limit {
        return Err(Error::TooLarge { what: format!("key column {column}, bytes of keys"), found: bytes, limit });
    }
    Ok(())
}
