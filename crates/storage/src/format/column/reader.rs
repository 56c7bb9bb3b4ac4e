//! Reads a column file in place.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow_array::{Array, ArrayRef, UInt32Array};
use arrow_buffer::{Buffer, MutableBuffer};
use arrow_ipc::reader::RecordBatchDecoder;
use arrow_ipc::{CompressionType, MetadataVersion, RecordBatch, root_as_message};
use arrow_schema::SchemaRef;
use bytes::Bytes;
use redkite_types::DataType;

use super::footer::{BatchBlock, Footer, SectionBlock};
use super::{
    BATCH_ROWS, BODY_ALIGNMENT, CONTINUATION, END_OF_STREAM, MAGIC, MAGIC_END, ROWS_MAX, SEAL_BYTES, SEAL_MAGIC,
    SECTION_ALIGNMENT, TAIL_BYTES,
};
use crate::format::little_endian::{i64_at, slice_at, u32_at};
use crate::{Error, Result};

/// LZ4 cannot shrink more than this; a size beyond it is a lie that would cost memory.
const LZ4_RATIO_MAX: i64 = 256;

/// An open column file. Cheap to clone.
///
/// Opening reads head and footer only. A batch's checksum is verified the first time it is read through this object or
/// a clone of it.
#[derive(Debug, Clone)]
pub struct ColumnFile(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: String,
    bytes: Bytes,
    footer: Footer,
    compressed: bool,
    batches_verified: Vec<AtomicBool>,
    sections_verified: Vec<AtomicBool>,
}

impl ColumnFile {
    /// Opens the file in `bytes`; `path` is what errors call it. The column must be of `data_type`.
    ///
    /// Fails with [`Error::NewerFormat`], or [`Error::Corrupt`] if anything does not fit.
    pub fn open(bytes: Bytes, path: &str, data_type: DataType) -> Result<Self> {
        let bytes = aligned(bytes);
        let (footer, footer_start) = read_footer(&bytes, path)?;
        let bad = |detail: String| Error::corrupt(path, detail);
        let wanted = data_type.arrow();
        match &footer.schema.fields()[..] {
            [field] if *field.data_type() == wanted => {}
            [field] => return Err(bad(format!("holds a column of {}, not {wanted}", field.data_type()))),
            fields => return Err(bad(format!("holds {} columns, not one", fields.len()))),
        }
        check_tiling(&bytes, &footer, footer_start - SEAL_BYTES).map_err(|detail| bad(detail.to_owned()))?;
        let unverified = |count: usize| (0..count).map(|_| AtomicBool::new(false)).collect();
        Ok(Self(Arc::new(Inner {
            path: path.to_owned(),
            batches_verified: unverified(footer.batches.len()),
            sections_verified: unverified(footer.sections.len()),
            compressed: !data_type.is_fixed_width(),
            bytes,
            footer,
        })))
    }

    /// What errors call the file.
    pub fn path(&self) -> &str {
        &self.0.path
    }

    /// Rows of the file.
    pub fn rows(&self) -> usize {
        self.0.footer.rows as usize
    }

    /// Number of batches: all of [`BATCH_ROWS`] rows but the last.
    pub fn batch_count(&self) -> usize {
        self.0.footer.batches.len()
    }

    /// The rows of batch `index`.
    pub fn batch_rows(&self, index: usize) -> Range<usize> {
        let start = (index * BATCH_ROWS).min(self.rows());
        start..(start + BATCH_ROWS).min(self.rows())
    }

    /// The column's batch `index`. Points into the file for columns of fixed width, is unpacked at each call for the
    /// others: the caller caches those.
    pub fn batch(&self, index: usize) -> Result<ArrayRef> {
        let Some(block) = self.0.footer.batches.get(index) else {
            return Err(Error::misuse(self.path(), format!("batch {index} of {}", self.batch_count())));
        };
        let whole = self.0.bytes.slice(block.offset..block.offset + block.message_len + block.body_len);
        self.verify_once(&self.0.batches_verified[index], &whole, block.crc32, || format!("batch {index}"))?;
        let rows = self.batch_rows(index).len();
        decode_batch(&whole, block, rows, &self.0.footer.schema, self.0.compressed)
            .map_err(|detail| Error::corrupt(self.path(), format!("batch {index}: {detail}")))
    }

    /// The values of `rows`, in that order, repetitions allowed. Reads only the batches they lie in.
    pub fn take(&self, rows: &[u32]) -> Result<ArrayRef> {
        self.take_from(rows, |index| self.batch(index))
    }

    /// As [`ColumnFile::take`], with batches from `batch`: the caller's cache, which falls back to [`ColumnFile::batch`].
    pub fn take_from(&self, rows: &[u32], batch: impl FnMut(usize) -> Result<ArrayRef>) -> Result<ArrayRef> {
        if let Some(row) = rows.iter().find(|row| **row as usize >= self.rows()) {
            return Err(Error::misuse(self.path(), format!("row {row} of {}", self.rows())));
        }
        let mut needed: Vec<usize> = rows.iter().map(|row| *row as usize / BATCH_ROWS).collect();
        needed.sort_unstable();
        needed.dedup();
        let arrays = needed.iter().copied().map(batch).collect::<Result<Vec<_>>>()?;
        let gathered = match (&needed[..], &arrays[..]) {
            ([], _) => return Ok(arrow_array::new_empty_array(self.0.footer.schema.field(0).data_type())),
            ([index], [array]) => {
                let start = (index * BATCH_ROWS) as u32;
                let within = UInt32Array::from_iter_values(rows.iter().map(|row| row - start));
                arrow_select::take::take(array, &within, None)
            }
            _ => {
                let slot = |row: u32| needed.partition_point(|index| *index < row as usize / BATCH_ROWS);
                let pairs: Vec<_> = rows.iter().map(|row| (slot(*row), *row as usize % BATCH_ROWS)).collect();
                let arrays: Vec<&dyn Array> = arrays.iter().map(|array| array.as_ref()).collect();
                arrow_select::interleave::interleave(&arrays, &pairs)
            }
        };
        gathered.map_err(|error| Error::misuse(self.path(), error.to_string()))
    }

    /// The extra section `name`, verified; none if the file has no such section.
    pub(crate) fn section(&self, name: &str) -> Result<Option<Bytes>> {
        let Some(index) = self.0.footer.sections.iter().position(|section| section.name == name) else {
            return Ok(None);
        };
        let section = &self.0.footer.sections[index];
        let range = section_range(section);
        let padded = range.start..range.end.next_multiple_of(SECTION_ALIGNMENT);
        let verified = &self.0.sections_verified[index];
        self.verify_once(verified, &self.0.bytes[padded], section.crc32, || format!("section {name}"))?;
        Ok(Some(self.0.bytes.slice(range)))
    }

    /// Where the extra section `name` lies in the file, for reading it alone.
    pub fn section_bytes(&self, name: &str) -> Option<Range<u64>> {
        let section = self.0.footer.sections.iter().find(|section| section.name == name)?;
        Some(section.offset..section.offset + section.length)
    }

    fn verify_once(&self, seen: &AtomicBool, part: &[u8], crc32: u32, name: impl Fn() -> String) -> Result<()> {
        // Two threads may both verify at first; the flag only spares work, so relaxed order is enough.
        if seen.load(Ordering::Relaxed) {
            return Ok(());
        }
        if crc32fast::hash(part) != crc32 {
            return Err(Error::corrupt(self.path(), format!("the checksum of {} does not match", name())));
        }
        seen.store(true, Ordering::Relaxed);
        Ok(())
    }
}

/// The same bytes at an address where flatbuffers can be read; copies only if they are not there already.
fn aligned(bytes: Bytes) -> Bytes {
    if (bytes.as_ptr() as usize).is_multiple_of(SECTION_ALIGNMENT) {
        return bytes;
    }
    let mut copy = MutableBuffer::with_capacity(bytes.len());
    copy.extend_from_slice(&bytes);
    Bytes::from_owner(Buffer::from(copy))
}

/// The footer, its checksum and the head's verified, and where it starts.
fn read_footer(bytes: &Bytes, path: &str) -> Result<(Footer, usize)> {
    let bad = |detail: &str| Error::corrupt(path, detail);
    let truncated = || bad("the end of the file is missing or no Arrow file");
    let tail = bytes.len().checked_sub(TAIL_BYTES).ok_or_else(truncated)?;
    if &bytes[tail + 4..] != MAGIC_END {
        return Err(truncated());
    }
    let footer_len = u32_at(bytes, tail).ok_or_else(truncated)?;
    let start = tail.checked_sub(footer_len as usize).ok_or_else(|| bad("the footer's length does not fit"))?;
    let seal = start.checked_sub(SEAL_BYTES).ok_or_else(|| bad("the footer's length does not fit"))?;
    let sealed_len = u32_at(bytes, seal + 8);
    if sealed_len != Some(footer_len) || slice_at(bytes, seal + 12, 4) != Some(SEAL_MAGIC) {
        return Err(bad("the footer is not sealed by Redkite"));
    }
    let footer = &bytes[start..tail];
    if u32_at(bytes, seal + 4) != Some(crc32fast::hash(footer)) {
        return Err(bad("the checksum of the footer does not match"));
    }
    let footer = Footer::decode(footer, path)?;
    let head_end = footer.batches.first().map(|batch| batch.offset).or_else(|| empty_head_end(&footer, seal));
    let head = head_end.and_then(|end| bytes.get(..end)).ok_or_else(|| bad("the head does not fit"))?;
    if !head.starts_with(MAGIC) || u32_at(bytes, seal) != Some(crc32fast::hash(head)) {
        return Err(bad("the checksum of the head does not match"));
    }
    Ok((footer, start))
}

/// Where the head of a file without batches ends: before the end-of-stream mark, which sections or the seal follow.
fn empty_head_end(footer: &Footer, seal: usize) -> Option<usize> {
    let after = match footer.sections.first() {
        Some(section) => usize::try_from(section.offset).ok()?,
        None => seal,
    };
    after.checked_sub(END_OF_STREAM.len())
}

/// Checks that batches, end mark and sections follow each other without gap up to `end` and have the sizes they must.
fn check_tiling(bytes: &[u8], footer: &Footer, end: usize) -> std::result::Result<(), &'static str> {
    if footer.rows > ROWS_MAX || footer.batches.len() as u64 != footer.rows.div_ceil(BATCH_ROWS as u64) {
        return Err("the number of batches does not fit the rows");
    }
    let mut at = match footer.batches.first() {
        Some(batch) => batch.offset,
        None => empty_head_end(footer, end).ok_or("the head does not fit")?,
    };
    for batch in &footer.batches {
        let fits = batch.offset == at
            && batch.message_len >= 8
            && (batch.offset + batch.message_len).is_multiple_of(BODY_ALIGNMENT);
        at = batch.end().filter(|at| fits && *at <= end).ok_or("a batch does not fit")?;
    }
    if slice_at(bytes, at, END_OF_STREAM.len()) != Some(&END_OF_STREAM[..]) {
        return Err("the end of the batches is not marked");
    }
    at += END_OF_STREAM.len();
    for section in &footer.sections {
        let length =
            usize::try_from(section.length).ok().and_then(|len| len.checked_next_multiple_of(SECTION_ALIGNMENT));
        let fits = section.offset == at as u64;
        let next = length.and_then(|length| at.checked_add(length));
        at = next.filter(|at| fits && *at <= end).ok_or("a section does not fit")?;
    }
    if at != end { Err("bytes that belong to nothing") } else { Ok(()) }
}

fn section_range(section: &SectionBlock) -> Range<usize> {
    section.offset as usize..(section.offset + section.length) as usize
}

/// Decodes one batch of `rows` rows. Arrow's decoder slices by offsets it finds, so these are checked first.
pub(super) fn decode_batch(
    whole: &Bytes,
    block: &BatchBlock,
    rows: usize,
    schema: &SchemaRef,
    compressed: bool,
) -> std::result::Result<ArrayRef, String> {
    let declared = u32_at(whole, 4).map(|len| len as usize + 8);
    if whole.get(..4) != Some(&CONTINUATION) || declared != Some(block.message_len) {
        return Err("the message's prefix does not fit".to_owned());
    }
    let message = root_as_message(&whole[8..block.message_len]).map_err(|error| error.to_string())?;
    if message.version() != MetadataVersion::V5 || message.bodyLength() != block.body_len as i64 {
        return Err("the message does not fit its position".to_owned());
    }
    let batch = message.header_as_record_batch().ok_or("not a record batch")?;
    let body = whole.slice(block.message_len..);
    check_record_batch(&batch, &body, rows, compressed, offset_buffers(schema.field(0).data_type()))?;
    let body = Buffer::from(body);
    let no_dictionaries = HashMap::new();
    let version = message.version();
    let batch = RecordBatchDecoder::try_new(&body, batch, schema.clone(), &no_dictionaries, &version)
        .and_then(RecordBatchDecoder::read_record_batch)
        .map_err(|error| error.to_string())?;
    Ok(batch.column(0).clone())
}

/// Which buffers of a column hold 32-bit offsets: Arrow takes it for granted that they are whole.
fn offset_buffers(data_type: &arrow_schema::DataType) -> &'static [usize] {
    use arrow_schema::DataType::{List, Utf8};
    match data_type {
        Utf8 => &[1],
        List(item) if *item.data_type() == Utf8 => &[1, 3],
        List(_) => &[1],
        _ => &[],
    }
}

fn check_record_batch(
    batch: &RecordBatch<'_>,
    body: &[u8],
    rows: usize,
    compressed: bool,
    offsets: &[usize],
) -> std::result::Result<(), String> {
    if batch.length() != rows as i64 {
        return Err(format!("{} rows, not {rows}", batch.length()));
    }
    let codec = batch.compression().map(|compression| compression.codec());
    if codec != compressed.then_some(CompressionType::LZ4_FRAME) {
        return Err(format!("unexpected compression {codec:?}"));
    }
    let nodes = batch.nodes().ok_or("no field nodes")?;
    let node_fits =
        |length: i64, nulls: i64| (0..=i64::from(i32::MAX)).contains(&length) && (0..=length).contains(&nulls);
    if nodes.is_empty() || nodes.get(0).length() != rows as i64 {
        return Err("the column's length is not the batch's".to_owned());
    }
    if nodes.iter().any(|node| !node_fits(node.length(), node.null_count())) {
        return Err("a field node does not fit".to_owned());
    }
    for (at, buffer) in batch.buffers().ok_or("no buffers")?.iter().enumerate() {
        let (offset, length) = (usize::try_from(buffer.offset()), usize::try_from(buffer.length()));
        let bytes = offset.ok().zip(length.ok()).and_then(|(offset, length)| slice_at(body, offset, length));
        let bytes = bytes.ok_or("a buffer does not fit")?;
        let mut plain_len = bytes.len();
        if compressed && !bytes.is_empty() {
            let unpacked = i64_at(bytes, 0).ok_or("a compressed buffer is too short")?;
            if !(-1..=bytes.len() as i64 * LZ4_RATIO_MAX).contains(&unpacked) {
                return Err(format!("a buffer of {} bytes cannot unpack to {unpacked}", bytes.len()));
            }
            // -1: it is not compressed after all.
            plain_len = usize::try_from(unpacked).unwrap_or(bytes.len() - size_of::<i64>());
        }
        if offsets.contains(&at) && !plain_len.is_multiple_of(size_of::<i32>()) {
            return Err(format!("offsets of {plain_len} bytes"));
        }
    }
    Ok(())
}
