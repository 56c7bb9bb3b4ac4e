//! A column file: one column of one fragment, as an Arrow IPC file that pyarrow, polars and DuckDB open straight.
//!
//! | bytes | content |
//! |---|---|
//! | 8 | `ARROW1` and two zero bytes |
//! | .. | the schema message, padded so that it ends at a multiple of 64 |
//! | .. | record batches of exactly [`BATCH_ROWS`] rows, the last one shorter, one directly after the other; of each the message, padded so that its body starts at a multiple of 64, then the body, every buffer at a multiple of 64 |
//! | 8 | end of stream: `FF FF FF FF 00 00 00 00`; readers of streams stop here |
//! | .. | extra sections, one directly after the other, each zero padded to a multiple of 8 |
//! | 4 | CRC-32 of the head: everything before the first batch |
//! | 4 | CRC-32 of the footer |
//! | 4 | length of the footer |
//! | 4 | `RKC` and a zero byte |
//! | .. | the footer, a flatbuffer: schema, position of each batch, and the metadata below |
//! | 4 | length of the footer |
//! | 6 | `ARROW1` |
//!
//! | footer metadata | value |
//! |---|---|
//! | `redkite.format` | the format number: `1` |
//! | `redkite.rows` | rows of the file |
//! | `redkite.batches` | JSON array: CRC-32 of each batch, message and body |
//! | `redkite.sections` | JSON array of `{name, offset, length, crc32}`; the CRC-32 covers the padding |
//!
//! These parts tile the file without gaps and each is under a checksum or of fixed content, so every flipped bit is
//! noticed when its part is read. Columns of fixed width are stored as they are and read in place: the arrays point into
//! the bytes given to [`ColumnFile::open`]. Columns of variable width (texts, lists) are LZ4 compressed per batch.

mod footer;
mod reader;
mod writer;

pub use reader::ColumnFile;
pub use writer::{ColumnWriter, Out};

/// Rows of every record batch but the last. 16,384 rows of 768 floats are 48 MiB: large enough that per-batch costs
/// vanish, small enough that a lookup in a compressed column unpacks little.
pub const BATCH_ROWS: usize = 16_384;

/// The format number this version writes and the newest it reads.
pub const COLUMN_FORMAT: u32 = 1;

/// Most rows of one file: row offsets are `u32`.
pub const ROWS_MAX: u64 = u32::MAX as u64;

const MAGIC: &[u8; 8] = b"ARROW1\0\0";
const MAGIC_END: &[u8; 6] = b"ARROW1";
const CONTINUATION: [u8; 4] = [0xFF; 4];
const END_OF_STREAM: [u8; 8] = [0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0];
const SEAL_MAGIC: &[u8; 4] = b"RKC\0";
const SEAL_BYTES: usize = 16;
const TAIL_BYTES: usize = 10;
const BODY_ALIGNMENT: usize = 64;
const SECTION_ALIGNMENT: usize = 8;

#[cfg(test)]
mod tests;
