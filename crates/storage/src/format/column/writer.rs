//! Writes a column file, batch by batch.

mod plain;

use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_ipc::CompressionType;
use arrow_ipc::writer::{DictionaryTracker, IpcDataGenerator, IpcWriteOptions, StreamWriter};
use arrow_schema::{ArrowError, Schema, SchemaRef};
use bytes::Bytes;
use crc32fast::Hasher;
use plain::PlainBatch;
use redkite_types::Field;

use super::footer::{BatchBlock, Footer, SectionBlock};
use super::{
    BATCH_ROWS, BODY_ALIGNMENT, CONTINUATION, END_OF_STREAM, MAGIC, MAGIC_END, ROWS_MAX, SEAL_MAGIC, SECTION_ALIGNMENT,
};
use crate::format::EncodedFile;
use crate::format::little_endian::u32_at;
use crate::{Error, Result};

/// Bytes of which smaller pieces are gathered before they are handed out.
pub const PIECE_BYTES: usize = 256 << 10;

/// Takes the bytes of a file, a piece at a time.
pub type Out<'o> = dyn FnMut(&[u8]) -> Result<()> + 'o;

/// Collects one column and encodes it as a column file.
///
/// Arrays of any length may be pushed; they are cut into batches of [`BATCH_ROWS`] and encoded as soon as one is whole.
/// Held are the rows of at most one batch, as slices that keep the arrays they were pushed in, and what was encoded since
/// [`ColumnWriter::take_encoded`] was called last; with [`ColumnWriter::push_into`] no more than [`PIECE_BYTES`] of what was
/// encoded, columns of variable width or with nulls aside. Besides that each batch costs some 40 bytes for the footer.
pub struct ColumnWriter {
    name: String,
    schema: SchemaRef,
    /// Writes batches straight into the file's bytes. Its messages are padded to 64 bytes from their own start; since the
    /// head is too, bodies are aligned within the file.
    stream: StreamWriter<Vec<u8>>,
    /// Bytes of the file taken before those in `stream`.
    taken: usize,
    /// CRC-32 of everything before byte `hashed` of `stream`.
    crc: Hasher,
    hashed: usize,
    head_crc32: u32,
    batches: Vec<BatchBlock>,
    pending: Vec<ArrayRef>,
    pending_rows: usize,
    rows: u64,
}

impl ColumnWriter {
    /// A file for a column of `field`, still empty.
    pub fn new(field: &Field) -> Result<Self> {
        let wrong = |error: ArrowError| Error::misuse(&field.name, error.to_string());
        let compression = (!field.data_type.is_fixed_width()).then_some(CompressionType::LZ4_FRAME);
        let options = IpcWriteOptions::default().try_with_compression(compression).map_err(wrong)?;
        let schema: SchemaRef = Schema::new(vec![field.arrow()]).into();
        let mut stream = StreamWriter::try_new_with_options(Vec::new(), &schema, options.clone()).map_err(wrong)?;
        // The head is ours: the magic, and the schema padded for the position after it.
        *stream.get_mut() = head(&schema, &options);
        let mut writer = Self {
            name: field.name.clone(),
            schema,
            stream,
            taken: 0,
            crc: Hasher::new(),
            hashed: 0,
            head_crc32: 0,
            batches: Vec::new(),
            pending: Vec::new(),
            pending_rows: 0,
            rows: 0,
        };
        writer.head_crc32 = writer.seal_part();
        Ok(writer)
    }

    /// Rows pushed so far.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Appends the rows of `array`, which must have the Arrow type of the field.
    pub fn push(&mut self, array: &ArrayRef) -> Result<()> {
        self.push_with(array, None)
    }

    /// As [`ColumnWriter::push`], and hands what is encoded to `out`, in pieces, straight from the arrays where they are plain:
    /// these pieces in order, then the bytes of the finished file, are the file.
    pub fn push_into(&mut self, array: &ArrayRef, out: &mut Out<'_>) -> Result<()> {
        self.push_with(array, Some(out))
    }

    fn push_with(&mut self, array: &ArrayRef, mut out: Option<&mut Out<'_>>) -> Result<()> {
        let field = self.schema.field(0);
        if array.data_type() != field.data_type() {
            let detail = format!("pushed {} into a column of {}", array.data_type(), field.data_type());
            return Err(Error::misuse(&self.name, detail));
        }
        if !field.is_nullable() && array.null_count() > 0 {
            return Err(Error::misuse(&self.name, "pushed a null into a column that is not nullable"));
        }
        let rows = self.rows + array.len() as u64;
        if rows > ROWS_MAX {
            return Err(Error::TooLarge { what: format!("column {}, rows", self.name), found: rows, limit: ROWS_MAX });
        }
        self.rows = rows;
        let mut from = 0;
        while from < array.len() {
            let count = (array.len() - from).min(BATCH_ROWS - self.pending_rows);
            self.pending.push(array.slice(from, count));
            self.pending_rows += count;
            from += count;
            if self.pending_rows == BATCH_ROWS {
                match &mut out {
                    None => self.put_batch()?,
                    Some(out) => self.put_batch_into(out)?,
                }
            }
        }
        Ok(())
    }

    /// The bytes of the file encoded since the last call, for writing them out while pushing: the pieces in order, then
    /// the bytes of the finished file, are what it would have been without taking. Empty if no batch became whole.
    pub fn take_encoded(&mut self) -> Bytes {
        let piece = std::mem::take(self.stream.get_mut());
        self.taken += piece.len();
        // Every part is sealed as soon as it is appended, so all of the piece is in the checksum.
        self.hashed = 0;
        Bytes::from(piece)
    }

    /// Ends the file: what was not taken of it, with size and checksum of the whole.
    pub fn finish(self) -> Result<EncodedFile> {
        self.finish_with(Vec::new())
    }

    /// Ends the file with extra sections of these names.
    pub(crate) fn finish_with(mut self, sections: Vec<(&'static str, Vec<u8>)>) -> Result<EncodedFile> {
        if self.pending_rows > 0 {
            self.put_batch()?;
        }
        self.put(&END_OF_STREAM);
        self.seal_part();
        let mut blocks = Vec::with_capacity(sections.len());
        for (name, bytes) in sections {
            let (offset, length) = (self.position(), bytes.len());
            self.put(&bytes);
            self.put(&[0; SECTION_ALIGNMENT][..length.next_multiple_of(SECTION_ALIGNMENT) - length]);
            let (name, offset, length) = (name.to_owned(), offset as u64, length as u64);
            blocks.push(SectionBlock { name, offset, length, crc32: self.seal_part() });
        }
        let batches = std::mem::take(&mut self.batches);
        let footer = Footer { schema: self.schema.clone(), rows: self.rows, batches, sections: blocks };
        let footer = footer.encode(&self.name)?;
        let footer_len = (footer.len() as u32).to_le_bytes();
        self.put(&self.head_crc32.to_le_bytes());
        self.put(&crc32fast::hash(&footer).to_le_bytes());
        self.put(&footer_len);
        self.put(SEAL_MAGIC);
        self.put(&footer);
        self.put(&footer_len);
        self.put(MAGIC_END);
        self.seal_part();
        let bytes = self.take_encoded();
        Ok(EncodedFile { size: self.taken as u64, crc32: self.crc.finalize(), rows: self.rows, bytes })
    }

    /// Encodes the pending rows as one batch.
    fn put_batch(&mut self) -> Result<()> {
        let wrong = |error: ArrowError| Error::misuse(&self.name, error.to_string());
        let (pending, rows) = (std::mem::take(&mut self.pending), std::mem::take(&mut self.pending_rows));
        let (offset, start) = (self.position(), self.stream.get_ref().len());
        if let Some(values) = plain::values_of(&pending) {
            let batch = PlainBatch::new(self.schema.field(0).data_type(), rows, &values);
            self.stream.get_mut().reserve(batch.message_len() + batch.body_len());
            batch.parts().for_each(|part| self.put(part));
            let (message_len, body_len) = (batch.message_len(), batch.body_len());
            let crc32 = self.seal_part();
            self.batches.push(BatchBlock { offset, message_len, body_len, crc32 });
            return Ok(());
        }
        let array = match &pending[..] {
            [only] => only.clone(),
            several => {
                let parts: Vec<&dyn Array> = several.iter().map(|array| array.as_ref()).collect();
                arrow_select::concat::concat(&parts).map_err(wrong)?
            }
        };
        let batch = RecordBatch::try_new(self.schema.clone(), vec![array]).map_err(wrong)?;
        self.stream.write(&batch).map_err(wrong)?;
        let written = &self.stream.get_ref()[start..];
        let message_len = u32_at(written, CONTINUATION.len()).map_or(0, |len| len as usize + 8);
        let body_len = written.len() - message_len;
        let crc32 = self.seal_part();
        self.batches.push(BatchBlock { offset, message_len, body_len, crc32 });
        Ok(())
    }

    /// Encodes the pending rows as one batch, and hands it out with all that was encoded before.
    fn put_batch_into(&mut self, out: &mut Out<'_>) -> Result<()> {
        let Some(values) = plain::values_of(&self.pending) else {
            self.put_batch()?;
            return self.hand_out(out);
        };
        let rows = std::mem::take(&mut self.pending_rows);
        self.pending.clear();
        let offset = self.position();
        let batch = PlainBatch::new(self.schema.field(0).data_type(), rows, &values);
        let (message_len, body_len) = (batch.message_len(), batch.body_len());
        let mut part = Hasher::new();
        for bytes in batch.parts() {
            part.update(bytes);
            if bytes.len() < PIECE_BYTES {
                self.put(bytes);
            } else {
                self.hand_out(out)?;
                out(bytes)?;
                self.taken += bytes.len();
            }
            if self.stream.get_ref().len() >= PIECE_BYTES {
                self.hand_out(out)?;
            }
        }
        // All of it is in the checksum, whatever of it is still here.
        self.crc.combine(&part);
        self.hashed = self.stream.get_ref().len();
        self.batches.push(BatchBlock { offset, message_len, body_len, crc32: part.finalize() });
        Ok(())
    }

    /// Hands out what was encoded and is still here. The memory is used again.
    fn hand_out(&mut self, out: &mut Out<'_>) -> Result<()> {
        let encoded = self.stream.get_mut();
        if encoded.is_empty() {
            return Ok(());
        }
        out(encoded)?;
        self.taken += encoded.len();
        encoded.clear();
        self.hashed = 0;
        Ok(())
    }

    /// Where in the file the next byte goes.
    fn position(&self) -> usize {
        self.taken + self.stream.get_ref().len()
    }

    fn put(&mut self, bytes: &[u8]) {
        self.stream.get_mut().extend_from_slice(bytes);
    }

    /// The checksum of everything appended since the last call; also carries the file's checksum on.
    fn seal_part(&mut self) -> u32 {
        let out = self.stream.get_ref();
        let mut part = Hasher::new();
        part.update(&out[self.hashed..]);
        self.hashed = out.len();
        self.crc.combine(&part);
        part.finalize()
    }
}

/// The magic and the schema message, padded so that the first batch's message starts at a multiple of 64.
fn head(schema: &Schema, options: &IpcWriteOptions) -> Vec<u8> {
    let mut tracker = DictionaryTracker::new(true);
    let generator = IpcDataGenerator::default();
    let message = generator.schema_to_bytes_with_dictionary_tracker(schema, &mut tracker, options).ipc_message;
    let unpadded = MAGIC.len() + 8 + message.len();
    let padded = unpadded.next_multiple_of(BODY_ALIGNMENT);
    let mut head = Vec::with_capacity(padded);
    head.extend_from_slice(MAGIC);
    head.extend_from_slice(&CONTINUATION);
    head.extend_from_slice(&((message.len() + padded - unpadded) as u32).to_le_bytes());
    head.extend_from_slice(&message);
    head.resize(padded, 0);
    head
}
