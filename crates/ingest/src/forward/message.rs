//! What two nodes say to each other about the rows that one holds for the other.
//!
//! | bytes | |
//! |---|---|
//! | 4 | format |
//! | 8 | XXH3 of all that follows |
//! | 4 | length of the head |
//! | | head: JSON |
//! | | rows, if the head says so: an Arrow IPC stream of one batch |
//!
//! Numbers are little-endian. Nothing here is stored, so there is one format only: whoever meets another one refuses, and then
//! the rows stay where their client is.

use std::io::Cursor;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::StreamWriter;
use bytes::{BufMut, Bytes, BytesMut};
use redkite_table::entry::{CollectionRecord, FileEntry};
use redkite_types::{CollectionId, FragmentId, Keys};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

/// The one there is.
const FORMAT: u32 = 1;
/// Bytes before the head.
const FIXED_BYTES: usize = 16;
/// Most bytes of a question; rows that would take more stay where they are.
pub const QUESTION_BYTES_MAX: usize = 256 << 20;

/// What the node asks whose client it is.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Question {
    /// Hold what one operation adds.
    Take {
        /// Which operation of this line it is, counted from 1.
        number: u64,
        /// The collection as it was when the operation was accepted.
        record: Arc<CollectionRecord>,
        /// What it removes first.
        removes: Removes,
    },
    /// Store what is held of one collection, and hold it no longer.
    Store {
        /// Operations that were taken so far.
        number: u64,
        /// The collection.
        collection: CollectionId,
        /// Where its files lie.
        segment: String,
        /// The fragment to make.
        fragment: FragmentId,
    },
}

/// Which rows of the operations before an operation removes.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Removes {
    /// None.
    Nothing,
    /// Those of the keys of the rows it adds.
    OwnKeys,
    /// Those of these keys.
    Keys(Keys),
}

/// What the holding node answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Answer {
    /// It is held.
    Taken {
        /// It is time to store.
        full: bool,
    },
    /// It is not held, there is no room.
    Refused {
        /// Why.
        reason: String,
    },
    /// It is stored; no files if no row was left.
    Stored {
        /// The files' entries, by path.
        files: Vec<(String, FileEntry)>,
    },
    /// It could not be stored and is still held.
    NotStored {
        /// Why.
        reason: String,
    },
}

/// Why something cannot be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unreadable {
    /// It is shorter than it says.
    #[error("is cut off")]
    CutOff,
    /// A newer or older node wrote it.
    #[error("has format {0}, this version knows {FORMAT}")]
    Format(u32),
    /// Its checksum is another.
    #[error("is damaged")]
    Damaged,
    /// It is something else.
    #[error("cannot be read: {0}")]
    Other(String),
}

type Read<T> = std::result::Result<T, Unreadable>;

fn other(error: impl ToString) -> Unreadable {
    Unreadable::Other(error.to_string())
}

/// A question with the rows it is about.
pub(crate) fn encode_question(question: &Question, rows: Option<&RecordBatch>) -> Read<Bytes> {
    encode(question, rows)
}

pub(crate) fn decode_question(bytes: &Bytes) -> Read<(Question, Option<RecordBatch>)> {
    decode(bytes)
}

pub(crate) fn encode_answer(answer: &Answer) -> Read<Bytes> {
    encode(answer, None)
}

pub(crate) fn decode_answer(bytes: &Bytes) -> Read<Answer> {
    let (answer, rows) = decode(bytes)?;
    rows.map_or(Ok(answer), |_| Err(other("it has rows")))
}

fn encode(head: &impl Serialize, rows: Option<&RecordBatch>) -> Read<Bytes> {
    let head = serde_json::to_vec(head).map_err(other)?;
    let length = u32::try_from(head.len()).map_err(other)?;
    let room = FIXED_BYTES + head.len() + rows.map_or(0, |batch| batch.get_array_memory_size());
    let mut bytes = BytesMut::with_capacity(room);
    bytes.put_u32_le(FORMAT);
    bytes.put_u64_le(0);
    bytes.put_u32_le(length);
    bytes.put_slice(&head);
    if let Some(batch) = rows {
        let mut out = bytes.writer();
        let mut writer = StreamWriter::try_new(&mut out, &batch.schema()).map_err(other)?;
        writer.write(batch).and_then(|()| writer.finish()).map_err(other)?;
        drop(writer);
        bytes = out.into_inner();
    }
    let sum = xxh3_64(&bytes[12..]);
    bytes[4..12].copy_from_slice(&sum.to_le_bytes());
    Ok(bytes.freeze())
}

fn decode<T: DeserializeOwned>(bytes: &Bytes) -> Read<(T, Option<RecordBatch>)> {
    let (format, rest) = bytes.split_first_chunk().ok_or(Unreadable::CutOff)?;
    let format = u32::from_le_bytes(*format);
    if format != FORMAT {
        return Err(Unreadable::Format(format));
    }
    let (sum, rest) = rest.split_first_chunk().ok_or(Unreadable::CutOff)?;
    if xxh3_64(rest) != u64::from_le_bytes(*sum) {
        return Err(Unreadable::Damaged);
    }
    let (length, rest) = rest.split_first_chunk().ok_or(Unreadable::CutOff)?;
    let (head, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize).ok_or(Unreadable::CutOff)?;
    let head = serde_json::from_slice(head).map_err(other)?;
    if rest.is_empty() {
        return Ok((head, None));
    }
    let mut reader = StreamReader::try_new(Cursor::new(rest), None).map_err(other)?;
    let batch = reader.next().ok_or(Unreadable::CutOff)?.map_err(other)?;
    match reader.next() {
        None => Ok((head, Some(batch))),
        Some(_) => Err(other("it has more than one batch")),
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::{ArrayRef, Int64Array, StringArray};

    use super::*;

    fn rows() -> RecordBatch {
        let texts = StringArray::from(vec![Some("a"), None, Some("ä")]);
        let columns: [(&str, ArrayRef); 2] =
            [("id", Arc::new(Int64Array::from(vec![1, 2, 3]))), ("text", Arc::new(texts))];
        // A part of a larger one, as a client's slice may be.
        RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, name == "text")))
            .unwrap()
            .slice(1, 2)
    }

    fn question() -> Question {
        let fragment = "0000000000000000007-00000000000000aa".parse().unwrap();
        Question::Store { number: 3, collection: CollectionId(9), segment: "films".to_owned(), fragment }
    }

    #[test]
    fn what_is_written_is_read() {
        for batch in [None, Some(rows())] {
            let bytes = encode_question(&question(), batch.as_ref()).unwrap();
            let (read, found) = decode_question(&bytes).unwrap();
            assert_eq!(format!("{read:?}"), format!("{:?}", question()));
            assert_eq!(found, batch);
        }
        let answer = Answer::Refused { reason: "no room".to_owned() };
        assert_eq!(decode_answer(&encode_answer(&answer).unwrap()), Ok(answer));
    }

    #[test]
    fn what_was_cut_or_changed_is_refused() {
        let bytes = encode_question(&question(), Some(&rows())).unwrap();
        for end in 0..bytes.len() {
            assert!(decode_question(&bytes.slice(..end)).is_err(), "{end}");
        }
        for at in 0..bytes.len() {
            let mut changed = bytes.to_vec();
            changed[at] ^= 1 << (at % 8);
            assert!(decode_question(&changed.into()).is_err(), "{at}");
        }
        assert!(decode_answer(&bytes).is_err(), "another head");
        let mut newer = bytes.to_vec();
        newer[0] += 1;
        assert_eq!(decode_question(&newer.into()).unwrap_err(), Unreadable::Format(2));
        let mut two = bytes.to_vec();
        two.truncate(bytes.len() - 8);
        two.extend_from_slice(&bytes[bytes.len() - 20..]);
        assert!(decode_question(&two.into()).is_err());
    }

    /// Whole and unharmed as far as the checksum goes, and yet nothing that can be read.
    #[test]
    fn what_is_no_batch_is_refused() {
        for body in [&b"x"[..], &[0; 64], &[0xFF; 64]] {
            let mut bytes = encode_question(&question(), None).unwrap().to_vec();
            bytes.extend_from_slice(body);
            let sum = xxh3_64(&bytes[12..]);
            bytes[4..12].copy_from_slice(&sum.to_le_bytes());
            assert!(decode_question(&bytes.into()).is_err(), "{body:?}");
        }
    }
}
