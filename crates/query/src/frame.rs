//! The bytes of a sub-request, and of its answer.
//!
//! | bytes | |
//! |---|---|
//! | 4 | format |
//! | 4 | CRC-32 of all that follows |
//! | 4 | of an answer: the CRC-32 of what it answers; of a request: 0 |
//! | 4 | length of the head |
//! | | head: JSON |
//! | | body: what the head says |
//!
//! Numbers are little-endian. Nothing here is stored, so there is one format only: whoever meets another one refuses, and then
//! the asking node reads by itself.

use std::io::Cursor;
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{ArrowError, Field, Schema};
use bytes::{BufMut, Bytes, BytesMut};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Error, Result};

/// The one there is.
const FORMAT: u32 = 1;
/// Bytes before the head.
const FIXED_BYTES: usize = 16;
/// What a request answers.
pub(crate) const NOTHING: u32 = 0;

fn unusable(detail: impl Into<String>) -> Error {
    Error::SubRequest { detail: detail.into() }
}

/// What tells a request from others.
pub(crate) fn id(frame: &[u8]) -> u32 {
    number(frame, 4).unwrap_or(NOTHING)
}

fn number(frame: &[u8], at: usize) -> Option<u32> {
    frame.get(at..at + 4).and_then(|bytes| Some(u32::from_le_bytes(bytes.try_into().ok()?)))
}

/// A head with the parts of its body, in answer to the request of the id `to`.
pub(crate) fn encode(to: u32, head: &impl Serialize, body: &[&[u8]]) -> Result<Bytes> {
    let head = serde_json::to_vec(head).map_err(|error| unusable(error.to_string()))?;
    let length = u32::try_from(head.len()).map_err(|_| unusable("the head is too long"))?;
    let body_bytes: usize = body.iter().map(|part| part.len()).sum();
    let mut frame = BytesMut::with_capacity(FIXED_BYTES + head.len() + body_bytes);
    frame.put_u32_le(FORMAT);
    frame.put_u32_le(0);
    frame.put_u32_le(to);
    frame.put_u32_le(length);
    frame.put_slice(&head);
    body.iter().for_each(|part| frame.put_slice(part));
    let crc32 = crc32fast::hash(&frame[8..]);
    frame[4..8].copy_from_slice(&crc32.to_le_bytes());
    Ok(frame.freeze())
}

/// The head and the body of what has to answer `to`.
pub(crate) fn decode<T: DeserializeOwned>(to: u32, frame: &Bytes) -> Result<(T, Body)> {
    let [format, crc32, told, length] = [0, 4, 8, 12].map(|at| number(frame, at));
    let (Some(format), Some(crc32), Some(told), Some(length)) = (format, crc32, told, length) else {
        return Err(unusable("it is cut off"));
    };
    if format != FORMAT {
        return Err(unusable(format!("it has format {format}, this version knows {FORMAT}")));
    }
    if crc32fast::hash(&frame[8..]) != crc32 {
        return Err(unusable("it is damaged"));
    }
    if told != to {
        return Err(unusable("it answers something else"));
    }
    let end = FIXED_BYTES.saturating_add(length as usize);
    let head = frame.get(FIXED_BYTES..end).ok_or_else(|| unusable("its head is cut off"))?;
    let head = serde_json::from_slice(head).map_err(|error| unusable(error.to_string()))?;
    Ok((head, Body(frame.slice(end..))))
}

/// What is left of a body.
#[derive(Debug)]
pub(crate) struct Body(Bytes);

impl Body {
    /// The next bytes.
    pub(crate) fn bytes(&mut self, length: usize) -> Result<Bytes> {
        if length > self.0.len() {
            return Err(unusable("its body is cut off"));
        }
        Ok(self.0.split_to(length))
    }

    /// The next numbers.
    pub(crate) fn numbers<const N: usize, T>(&mut self, count: usize, number: fn([u8; N]) -> T) -> Result<Vec<T>> {
        let bytes = self.bytes(count.checked_mul(N).ok_or_else(|| unusable("its body is cut off"))?)?;
        Ok(bytes.as_chunks::<N>().0.iter().map(|bytes| number(*bytes)).collect())
    }

    /// All that is left.
    pub(crate) fn rest(self) -> Bytes {
        self.0
    }

    /// Columns, to the end.
    pub(crate) fn columns(self) -> Result<Vec<ArrayRef>> {
        let read = || -> std::result::Result<Vec<ArrayRef>, ArrowError> {
            let mut reader = StreamReader::try_new(Cursor::new(&self.0[..]), None)?;
            let batch = reader.next().transpose()?;
            Ok(batch.map(|batch| batch.columns().to_vec()).unwrap_or_default())
        };
        read().map_err(|error| unusable(error.to_string()))
    }
}

/// Columns of `rows` rows as the end of a body.
pub(crate) fn columns_bytes(rows: usize, columns: &[ArrayRef]) -> Result<Vec<u8>> {
    let write = || -> std::result::Result<Vec<u8>, ArrowError> {
        let field = |column: &ArrayRef| Field::new("", column.data_type().clone(), true);
        let schema = Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()));
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let batch = RecordBatch::try_new_with_options(schema.clone(), columns.to_vec(), &options)?;
        let mut writer = StreamWriter::try_new(Vec::new(), &schema)?;
        writer.write(&batch)?;
        writer.into_inner()
    };
    write().map_err(|error| unusable(error.to_string()))
}

#[cfg(test)]
mod tests {
    use arrow_array::{Int64Array, StringArray};

    use super::*;

    fn frame() -> (Bytes, Vec<ArrayRef>) {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from(vec![Some(1), None, Some(3)])),
            Arc::new(StringArray::from(vec!["a", "", "ä"])),
        ];
        let numbers = [7u64, 8].map(u64::to_le_bytes).concat();
        (encode(3, &"head", &[&numbers, &columns_bytes(3, &columns).unwrap()]).unwrap(), columns)
    }

    #[test]
    fn what_is_written_is_read() {
        let (frame, columns) = frame();
        let (head, mut body) = decode::<String>(3, &frame).unwrap();
        assert_ne!(id(&frame), 0);
        assert_eq!(head, "head");
        assert_eq!(body.numbers(2, u64::from_le_bytes).unwrap(), [7, 8]);
        assert_eq!(body.columns().unwrap(), columns);
    }

    #[test]
    fn what_was_cut_or_changed_is_refused() {
        let (frame, _) = frame();
        for end in 0..frame.len() {
            assert!(decode::<String>(3, &frame.slice(..end)).is_err(), "{end}");
        }
        for at in 0..frame.len() {
            let mut changed = frame.to_vec();
            changed[at] ^= 1 << (at % 8);
            assert!(decode::<String>(3, &changed.into()).is_err(), "{at}");
        }
        assert!(decode::<u32>(3, &frame).is_err(), "another head");
        assert!(decode::<String>(4, &frame).is_err(), "another request");
        let mut body = decode::<String>(3, &frame).unwrap().1;
        assert!(body.numbers(usize::MAX, u64::from_le_bytes).is_err());
        assert!(body.bytes(1 << 40).is_err());
    }
}
