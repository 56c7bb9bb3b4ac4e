//! Turns batches of rows into the files of a new fragment. Pure: bytes in memory, no IO.

use std::collections::BTreeMap;

use arrow_array::{ArrayRef, RecordBatch};
use bytes::Bytes;
use redkite_storage::{ColumnWriter, DeleteLog, EncodedFile, KeyColumnWriter, KeyRange, Out};
use redkite_types::{ClusterId, CommitId, Field, FragmentId, Key, NodeId, Revision, Schema};
use roaring::RoaringBitmap;

use crate::catalog::File;
use crate::entry::{FORMAT, FileEntry, FileType, KeyBounds};
use crate::{Error, Fragment, Result};

/// Most rows of one fragment: row offsets are 32 bits.
pub const FRAGMENT_ROWS_MAX: usize = u32::MAX as usize;

/// Who writes a file; told in its entry.
#[derive(Debug, Clone)]
pub struct Origin {
    /// The inserting node.
    pub node: NodeId,
    /// Its cluster.
    pub cluster: ClusterId,
}

/// A file that is not stored yet.
#[derive(Debug, Clone)]
pub struct NewFile {
    /// Relative to the collection's data folder.
    pub path: String,
    /// Its entry.
    pub entry: FileEntry,
    /// Its content.
    pub bytes: Bytes,
}

/// A fragment that is not stored yet.
#[derive(Debug, Clone)]
pub struct EncodedFragment {
    /// Its id.
    pub id: FragmentId,
    /// Its rows.
    pub rows: usize,
    /// Its files, one a field.
    pub files: Vec<NewFile>,
}

impl EncodedFragment {
    /// The fragment as a reader sees it, before it is committed.
    pub fn as_fragment(&self) -> Fragment {
        let file = |new: &NewFile| File {
            path: new.path.as_str().into(),
            entry: new.entry.clone(),
            created: Revision::ZERO,
            modified: Revision::ZERO,
        };
        Fragment::new(self.id, self.files.iter().map(file).collect())
    }
}

/// Encodes `batches`, each with the columns of [`Schema::arrow`], as the fragment `id`. CPU work: about the cost of one
/// copy of the rows plus a checksum.
pub fn encode(schema: &Schema, batches: &[RecordBatch], id: FragmentId, origin: &Origin) -> Result<EncodedFragment> {
    let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
    if rows > FRAGMENT_ROWS_MAX {
        return Err(Error::LimitReached {
            what: "rows of one flush into a collection",
            limit: FRAGMENT_ROWS_MAX,
            advice: "flush more often",
        });
    }
    let layout = FragmentLayout::new(schema, id)?;
    let mut files = Vec::with_capacity(schema.fields.len());
    for (at, field) in schema.fields.iter().enumerate() {
        let mut encoder = layout.encoder(field)?;
        for batch in batches {
            encoder.push(batch.column(at))?;
        }
        let (entry, bytes) = encoder.finish(&layout, field, origin)?;
        files.push(NewFile { path: layout.path(field), entry, bytes });
    }
    Ok(EncodedFragment { id, rows, files })
}

/// Which files a fragment consists of, and what their entries say of one another.
#[derive(Debug, Clone)]
pub struct FragmentLayout {
    id: FragmentId,
    anchor_path: String,
}

impl FragmentLayout {
    /// The layout of the fragment `id` of a collection with that schema.
    pub fn new(schema: &Schema, id: FragmentId) -> Result<Self> {
        let anchor = schema
            .vector_fields()
            .min_by_key(|field| field.id)
            .ok_or_else(|| Error::Internal { detail: "a schema without vector field".into() })?;
        Ok(Self { id, anchor_path: path_of(id, anchor) })
    }

    /// The path of a field's file, relative to the collection's data folder.
    pub fn path(&self, field: &Field) -> String {
        path_of(self.id, field)
    }

    /// An encoder of a field's file.
    pub fn encoder(&self, field: &Field) -> Result<FileEncoder> {
        let writer = match field.primary_key {
            true => ColumnEncoder::Key(Box::new(KeyColumnWriter::new(field)?)),
            false => ColumnEncoder::Plain(Box::new(ColumnWriter::new(field)?)),
        };
        Ok(FileEncoder(writer))
    }
}

/// Encodes one field's file of a fragment, an array at a time.
pub struct FileEncoder(ColumnEncoder);

enum ColumnEncoder {
    Plain(Box<ColumnWriter>),
    Key(Box<KeyColumnWriter>),
}

impl FileEncoder {
    /// Appends rows.
    pub fn push(&mut self, column: &ArrayRef) -> Result<()> {
        match &mut self.0 {
            ColumnEncoder::Plain(writer) => writer.push(column)?,
            ColumnEncoder::Key(writer) => writer.push(column)?,
        }
        Ok(())
    }

    /// Appends rows, and hands what is encoded to `out`, in pieces; what columns of fixed width hold goes there uncopied.
    pub fn push_into(&mut self, column: &ArrayRef, out: &mut Out<'_>) -> Result<()> {
        match &mut self.0 {
            ColumnEncoder::Plain(writer) => writer.push_into(column, out)?,
            ColumnEncoder::Key(writer) => writer.push_into(column, out)?,
        }
        Ok(())
    }

    /// What was encoded since it was asked last, for writing it out at once. Empty if no batch became whole.
    pub fn take_encoded(&mut self) -> Bytes {
        match &mut self.0 {
            ColumnEncoder::Plain(writer) => writer.take_encoded(),
            ColumnEncoder::Key(writer) => writer.take_encoded(),
        }
    }

    /// The entry of the file of `field`, and the bytes that were not taken.
    pub fn finish(self, layout: &FragmentLayout, field: &Field, origin: &Origin) -> Result<(FileEntry, Bytes)> {
        let (encoded, keys) = match self.0 {
            ColumnEncoder::Plain(writer) => (writer.finish()?, None),
            ColumnEncoder::Key(writer) => {
                let (encoded, range) = writer.finish()?;
                (encoded, range.as_ref().and_then(bounds))
            }
        };
        let vector = field.data_type.is_vector();
        let entry = FileEntry {
            file_type: if vector { FileType::RawVector } else { FileType::Scalar },
            field: Some(field.id),
            column: Some(field.name.clone()),
            vector_file: (!vector).then(|| layout.anchor_path.clone()),
            keys,
            ..plain_entry(&encoded, origin)
        };
        Ok((entry, encoded.bytes))
    }
}

fn path_of(id: FragmentId, field: &Field) -> String {
    let kind = if field.data_type.is_vector() { 'v' } else { 's' };
    format!("{id}/{kind}{}.arrow", field.id)
}

fn bounds(range: &KeyRange) -> Option<KeyBounds> {
    match (&range.min, &range.max) {
        (Key::Int(min), Key::Int(max)) => Some(KeyBounds::Int(*min, *max)),
        (Key::Text(min), Key::Text(max)) => Some(KeyBounds::text(min, max)),
        _ => None,
    }
}

fn plain_entry(encoded: &EncodedFile, origin: &Origin) -> FileEntry {
    FileEntry {
        format: FORMAT,
        file_type: FileType::Scalar,
        size: encoded.size,
        crc32: encoded.crc32,
        node: origin.node.0,
        cluster: origin.cluster.to_string(),
        rows: encoded.rows,
        field: None,
        column: None,
        vector_file: None,
        vector_files: Vec::new(),
        delete_log: None,
        deleted: 0,
        keys: None,
        committed_ms: 0,
    }
}

/// Encodes the delete log of one commit: per anchor path the whole set of its deleted rows.
pub fn encode_delete_log(
    sections: &BTreeMap<String, RoaringBitmap>,
    commit: CommitId,
    origin: &Origin,
) -> Result<NewFile> {
    let encoded = DeleteLog::encode(sections)?;
    let entry = FileEntry {
        file_type: FileType::DeleteLog,
        rows: sections.values().map(RoaringBitmap::len).sum(),
        ..plain_entry(&encoded, origin)
    };
    Ok(NewFile { path: format!("{commit}/deletes.rkd"), entry, bytes: encoded.bytes })
}
