//! Writes a key column's file: the column and its two key sections.

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, ArrayRef};
use bytes::Bytes;
use redkite_types::{DataType, Field, Key};

use super::filter::{encode_filter, key_hash};
use super::range::KeyRange;
use super::sorted::{KeyRef, check_texts_len, encode_ints, encode_texts};
use super::{FILTER_SECTION, INDEX_SECTION};
use crate::format::EncodedFile;
use crate::format::column::{ColumnWriter, Out};
use crate::{Error, Result};

/// Collects the primary key column and encodes it with its key sections.
///
/// As a [`ColumnWriter`], except that all keys and their hashes are held until the end, because the key sections are made
/// of them there. So its memory grows with the file even if what is encoded is taken: by 16 bytes a row of Int64 keys, by
/// the text and 12 bytes of VarChar keys; finishing takes up to 70 bytes a row, and the texts three times, for a moment.
pub struct KeyColumnWriter {
    name: String,
    column: ColumnWriter,
    keys: Collected,
    hashes: Vec<u64>,
}

enum Collected {
    Ints(Vec<i64>),
    Texts { texts: Vec<u8>, ends: Vec<u32> },
}

impl KeyColumnWriter {
    /// A file for the key column `field`: Int64 or VarChar, not nullable.
    pub fn new(field: &Field) -> Result<Self> {
        let keys = match field.data_type {
            DataType::Int64 if !field.nullable => Collected::Ints(Vec::new()),
            DataType::VarChar { .. } if !field.nullable => Collected::Texts { texts: Vec::new(), ends: Vec::new() },
            other => return Err(Error::misuse(&field.name, format!("{other:?} cannot be the primary key"))),
        };
        Ok(Self { name: field.name.clone(), column: ColumnWriter::new(field)?, keys, hashes: Vec::new() })
    }

    /// Appends the keys of `array`.
    pub fn push(&mut self, array: &ArrayRef) -> Result<()> {
        self.column.push(array)?;
        self.collect(array)
    }

    /// As [`ColumnWriter::push_into`].
    pub fn push_into(&mut self, array: &ArrayRef, out: &mut Out<'_>) -> Result<()> {
        self.column.push_into(array, out)?;
        self.collect(array)
    }

    fn collect(&mut self, array: &ArrayRef) -> Result<()> {
        match &mut self.keys {
            Collected::Ints(keys) => {
                let array = array.as_primitive::<Int64Type>();
                keys.extend_from_slice(array.values());
                self.hashes.extend(array.values().iter().map(|key| key_hash(KeyRef::Int(*key))));
            }
            Collected::Texts { texts, ends } => {
                let array = array.as_string::<i32>();
                for row in 0..array.len() {
                    let text = array.value(row).as_bytes();
                    check_texts_len(&self.name, texts.len() as u64 + text.len() as u64)?;
                    texts.extend_from_slice(text);
                    ends.push(texts.len() as u32);
                    self.hashes.push(key_hash(KeyRef::Text(text)));
                }
            }
        }
        Ok(())
    }

    /// As [`ColumnWriter::take_encoded`]. The key sections come at the end, with [`KeyColumnWriter::finish`].
    pub fn take_encoded(&mut self) -> Bytes {
        self.column.take_encoded()
    }

    /// Ends the file: what was not taken of it, with size and checksum of the whole. The range is none if no key was
    /// pushed.
    pub fn finish(self) -> Result<(EncodedFile, Option<KeyRange>)> {
        let (index, range) = match &self.keys {
            Collected::Ints(keys) => (encode_ints(keys), int_range(keys)),
            Collected::Texts { texts, ends } => (encode_texts(texts, ends), text_range(texts, ends)),
        };
        let sections = vec![(FILTER_SECTION, encode_filter(self.hashes)), (INDEX_SECTION, index)];
        Ok((self.column.finish_with(sections)?, range))
    }
}

/// The file of the key column `field` with the rows of `arrays`, and its range of keys (none without rows).
pub fn write_key_column(field: &Field, arrays: &[ArrayRef]) -> Result<(EncodedFile, Option<KeyRange>)> {
    let mut writer = KeyColumnWriter::new(field)?;
    arrays.iter().try_for_each(|array| writer.push(array))?;
    writer.finish()
}

fn int_range(keys: &[i64]) -> Option<KeyRange> {
    let (min, max) = keys.iter().min().zip(keys.iter().max())?;
    Some(KeyRange { min: Key::Int(*min), max: Key::Int(*max) })
}

fn text_range(texts: &[u8], ends: &[u32]) -> Option<KeyRange> {
    let starts = std::iter::once(0).chain(ends.iter().copied());
    let each = || starts.clone().zip(ends).map(|(start, end)| &texts[start as usize..*end as usize]);
    let text = |bytes: &[u8]| Key::Text(String::from_utf8_lossy(bytes).into_owned());
    let (min, max) = each().min().zip(each().max())?;
    Some(KeyRange { min: text(min), max: text(max) })
}
