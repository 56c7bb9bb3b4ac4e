//! The footer of a column file: what it holds, to bytes and back.

use arrow_ipc::convert::{IpcSchemaEncoder, metadata_to_fb, try_fb_to_schema};
use arrow_ipc::{Block, FooterBuilder, MetadataVersion, root_as_footer};
use arrow_schema::{Metadata, SchemaRef};
use flatbuffers::FlatBufferBuilder;
use serde::{Deserialize, Serialize};

use super::COLUMN_FORMAT;
use crate::{Error, Result};

const FORMAT_KEY: &str = "redkite.format";
const ROWS_KEY: &str = "redkite.rows";
const BATCHES_KEY: &str = "redkite.batches";
const SECTIONS_KEY: &str = "redkite.sections";

/// Where a record batch lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BatchBlock {
    /// Start of the message in the file.
    pub offset: usize,
    /// Length of the message, prefix and padding included.
    pub message_len: usize,
    /// Length of the body that follows.
    pub body_len: usize,
    /// CRC-32 of message and body.
    pub crc32: u32,
}

impl BatchBlock {
    /// The first byte after the batch; none on overflow.
    pub(super) fn end(&self) -> Option<usize> {
        self.offset.checked_add(self.message_len)?.checked_add(self.body_len)
    }
}

/// Where an extra section lies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SectionBlock {
    pub name: String,
    pub offset: u64,
    /// Without the padding.
    pub length: u64,
    /// CRC-32 of the section and its padding.
    pub crc32: u32,
}

/// Everything a footer says.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Footer {
    pub schema: SchemaRef,
    pub rows: u64,
    pub batches: Vec<BatchBlock>,
    pub sections: Vec<SectionBlock>,
}

impl Footer {
    /// The flatbuffer.
    pub(super) fn encode(&self, path: &str) -> Result<Vec<u8>> {
        let json = |result: serde_json::Result<String>| result.map_err(|error| Error::misuse(path, error.to_string()));
        let crcs: Vec<u32> = self.batches.iter().map(|batch| batch.crc32).collect();
        let metadata: Metadata = [
            (FORMAT_KEY.to_owned(), COLUMN_FORMAT.to_string()),
            (ROWS_KEY.to_owned(), self.rows.to_string()),
            (BATCHES_KEY.to_owned(), json(serde_json::to_string(&crcs))?),
            (SECTIONS_KEY.to_owned(), json(serde_json::to_string(&self.sections))?),
        ]
        .into_iter()
        .collect();
        let blocks: Vec<Block> = self
            .batches
            .iter()
            .map(|batch| Block::new(batch.offset as i64, batch.message_len as i32, batch.body_len as i64))
            .collect();
        let mut builder = FlatBufferBuilder::new();
        let dictionaries = builder.create_vector::<Block>(&[]);
        let batches = builder.create_vector(&blocks);
        let schema = IpcSchemaEncoder::new().schema_to_fb_offset(&mut builder, &self.schema);
        let metadata = metadata_to_fb(&mut builder, &metadata);
        let mut footer = FooterBuilder::new(&mut builder);
        footer.add_version(MetadataVersion::V5);
        footer.add_schema(schema);
        footer.add_dictionaries(dictionaries);
        footer.add_recordBatches(batches);
        footer.add_custom_metadata(metadata);
        let root = footer.finish();
        builder.finish(root, None);
        Ok(builder.finished_data().to_vec())
    }

    /// Reads the flatbuffer. Positions are numbers that fit, not yet checked against the file.
    pub(super) fn decode(bytes: &[u8], path: &str) -> Result<Footer> {
        let bad = |detail: String| Error::corrupt(path, format!("footer: {detail}"));
        let footer = root_as_footer(bytes).map_err(|error| bad(error.to_string()))?;
        let value = |key: &str| {
            let pairs = footer.custom_metadata().into_iter().flatten();
            pairs.filter(|pair| pair.key() == Some(key)).find_map(|pair| pair.value())
        };
        let required = |key: &str| value(key).ok_or_else(|| bad(format!("{key} is missing")));
        let format: u32 = required(FORMAT_KEY)?.parse().map_err(|_| bad("the format is no number".to_owned()))?;
        if format > COLUMN_FORMAT {
            return Err(Error::NewerFormat { what: path.to_owned(), found: format, supported: COLUMN_FORMAT });
        }
        let rows = required(ROWS_KEY)?.parse().map_err(|_| bad("the row count is no number".to_owned()))?;
        let crcs: Vec<u32> = serde_json::from_str(required(BATCHES_KEY)?).map_err(|error| bad(error.to_string()))?;
        let sections = serde_json::from_str(required(SECTIONS_KEY)?).map_err(|error| bad(error.to_string()))?;
        let schema = footer.schema().ok_or_else(|| bad("no schema".to_owned()))?;
        let schema = try_fb_to_schema(schema).map_err(|error| bad(error.to_string()))?;
        let blocks = footer.recordBatches().ok_or_else(|| bad("no batches".to_owned()))?;
        if blocks.len() != crcs.len() {
            return Err(bad(format!("{} batches but {} checksums", blocks.len(), crcs.len())));
        }
        let batches = blocks.iter().zip(crcs).map(|(block, crc32)| batch_block(block, crc32));
        let batches = batches.collect::<Option<Vec<_>>>().ok_or_else(|| bad("a negative position".to_owned()))?;
        Ok(Footer { schema: schema.into(), rows, batches, sections })
    }
}

fn batch_block(block: &Block, crc32: u32) -> Option<BatchBlock> {
    Some(BatchBlock {
        offset: usize::try_from(block.offset()).ok()?,
        message_len: usize::try_from(block.metaDataLength()).ok()?,
        body_len: usize::try_from(block.bodyLength()).ok()?,
        crc32,
    })
}
