//! Opens fragments, and caches what is worth it: open column files, decoded batches of compressed columns, deleted rows.
//!
//! Files are immutable and ids never repeat, so nothing cached here gets out of date. What is dropped is what is of no more use,
//! and what turned out to be damaged.

use std::collections::HashSet;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef};
use futures::future::try_join_all;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use redkite_storage::{DataStore, DeleteLog, FileInfo};
use redkite_types::{FieldId, FragmentId, UserName};

use super::FragmentReader;
use super::open_column::OpenColumn;
use crate::catalog::{Collection, File, Fragment};
use crate::database::object_path;
use crate::entry::CollectionRecord;
use crate::{Error, Result};

/// What readers may keep.
#[derive(Debug, Clone)]
pub struct ReaderOptions {
    /// Most column files held open; each is one memory map of at most 65,530 a process may have.
    pub open_files_max: usize,
    /// Most bytes of decoded batches of compressed columns.
    pub decoded_bytes_max: u64,
    /// Most fragments whose deleted rows are held.
    pub delete_sections_max: usize,
}

impl Default for ReaderOptions {
    fn default() -> Self {
        Self { open_files_max: 16_384, decoded_bytes_max: 64 << 20, delete_sections_max: 16_384 }
    }
}

/// A batch of a column: the fragment, the field, the batch's number.
pub(super) type BatchId = (FragmentId, FieldId, u32);
pub(super) type DecodedCache = Cache<BatchId, ArrayRef, ArrayWeighter>;

/// Weighs an array by its bytes.
#[derive(Debug, Clone)]
pub(super) struct ArrayWeighter;

impl Weighter<BatchId, ArrayRef> for ArrayWeighter {
    fn weight(&self, _: &BatchId, array: &ArrayRef) -> u64 {
        array.get_array_memory_size() as u64
    }
}

/// Opens fragments of one user's collections.
#[derive(Debug)]
pub struct Readers {
    data: DataStore,
    user: UserName,
    files: Cache<(FragmentId, FieldId), Arc<OpenColumn>>,
    decoded: Arc<DecodedCache>,
    deletes: Cache<(Arc<str>, FragmentId), Arc<[u64]>>,
}

impl Readers {
    /// Readers of files of `user` in `data`.
    pub fn new(data: DataStore, user: UserName, options: ReaderOptions) -> Self {
        let decoded = Cache::with_weighter(1_024, options.decoded_bytes_max, ArrayWeighter);
        Self {
            data,
            user,
            files: Cache::new(options.open_files_max),
            decoded: Arc::new(decoded),
            deletes: Cache::new(options.delete_sections_max),
        }
    }

    /// Opens the files of `fields` and the delete log in force. Files opened before cost nothing.
    pub async fn open(
        &self,
        collection: &Collection,
        fragment: &Arc<Fragment>,
        fields: impl IntoIterator<Item = FieldId>,
    ) -> Result<FragmentReader> {
        let record = collection.record()?.clone();
        let deleted = self.deleted(collection, fragment).await?;
        self.open_with(&collection.segment, record, fragment, fields, deleted).await
    }

    /// Opens a fragment that is uploaded but not committed; none of its rows is deleted.
    pub async fn open_uncommitted(
        &self,
        collection: &Collection,
        fragment: &Arc<Fragment>,
        fields: impl IntoIterator<Item = FieldId>,
    ) -> Result<FragmentReader> {
        let record = collection.record()?.clone();
        self.open_with(&collection.segment, record, fragment, fields, None).await
    }

    /// Drops what is kept of a file that an error found damaged, so that the next reader finds it restored, or a fresh copy
    /// of it. Other files that were open are opened again, which is cheap beside what happened.
    pub async fn forget_damaged(&self, error: &Error) {
        let Error::Storage(redkite_storage::Error::Corrupt { path, .. }) = error else { return };
        self.files.clear();
        self.deletes.clear();
        if let Err(error) = self.data.forget(path).await {
            tracing::warn!(path, %error, "the node's copy of a damaged file could not be dropped");
        }
    }

    /// Drops what is kept of a fragment that was not committed.
    pub fn forget(&self, fragment: FragmentId) {
        self.files.retain(|(kept, _), _| *kept != fragment);
    }

    /// Drops what is kept of fragments that no reader can ask for any more, so that their disk space is given back.
    pub fn retain(&self, fragments: &HashSet<FragmentId>) {
        self.files.retain(|(fragment, _), _| fragments.contains(fragment));
        self.deletes.retain(|(_, fragment), _| fragments.contains(fragment));
        self.decoded.retain(|(fragment, ..), _| fragments.contains(fragment));
    }

    async fn open_with(
        &self,
        segment: &str,
        record: Arc<CollectionRecord>,
        fragment: &Arc<Fragment>,
        fields: impl IntoIterator<Item = FieldId>,
        deleted: Option<Arc<[u64]>>,
    ) -> Result<FragmentReader> {
        let rows = u32::try_from(fragment.anchor()?.entry.rows).map_err(|_| Error::Damaged {
            what: format!("fragment {}", fragment.id),
            detail: "it says it has more than 2^32 rows".into(),
        })?;
        let mut columns = Vec::new();
        let mut missing = Vec::new();
        for field in fields {
            if columns.iter().any(|(known, _)| *known == field) || missing.iter().any(|(known, _)| *known == field) {
                continue;
            }
            match fragment.file(field) {
                None => columns.push((field, None)),
                Some(file) => match self.files.get(&(fragment.id, field)) {
                    Some(open) => columns.push((field, Some(open))),
                    None => missing.push((field, file)),
                },
            }
        }
        let opened = try_join_all(
            missing.into_iter().map(|(field, file)| self.open_column(segment, &record, fragment, field, file)),
        );
        columns.extend(opened.await?);
        Ok(FragmentReader::new(fragment.clone(), record, rows, columns, deleted, self.decoded.clone()))
    }

    async fn open_column(
        &self,
        segment: &str,
        record: &CollectionRecord,
        fragment: &Fragment,
        field: FieldId,
        file: &File,
    ) -> Result<(FieldId, Option<Arc<OpenColumn>>)> {
        let path = object_path(&self.user, segment, &file.path);
        let definition = record
            .schema
            .field_by_id(field)
            .ok_or_else(|| Error::Internal { detail: format!("field {field} is not in the schema") })?;
        let bytes = self.data.open(&path, &info_of(file)).await?;
        let column = Arc::new(OpenColumn::new(definition, bytes, &path, fragment.rows())?);
        self.files.insert((fragment.id, field), column.clone());
        Ok((field, Some(column)))
    }

    /// Bits of the rows of `fragment` that are deleted; none if no row is.
    async fn deleted(&self, collection: &Collection, fragment: &Fragment) -> Result<Option<Arc<[u64]>>> {
        let anchor = fragment.anchor()?;
        let Some(log) = anchor.entry.delete_log.as_deref() else {
            return Ok(None);
        };
        let key = (Arc::<str>::from(log), fragment.id);
        if let Some(known) = self.deletes.get(&key) {
            return Ok(Some(known));
        }
        let file = collection.delete_logs.get(log).ok_or_else(|| Error::Damaged {
            what: format!("fragment {}", fragment.id),
            detail: format!("its delete log {log} has no entry"),
        })?;
        let path = object_path(&self.user, &collection.segment, log);
        let bytes = self.data.open(&path, &info_of(file)).await?;
        let bitmap = DeleteLog::open(bytes, &path)?.section(&anchor.path)?;
        let damaged = |detail: &str| Error::Damaged { what: path.clone(), detail: detail.to_owned() };
        if bitmap.len() != anchor.entry.deleted {
            return Err(damaged("it does not delete as many rows as the entry says"));
        }
        let rows = anchor.entry.rows;
        let mut words = vec![0u64; (rows as usize).div_ceil(64)];
        for row in &bitmap {
            if u64::from(row) >= rows {
                return Err(damaged("it deletes rows the fragment does not have"));
            }
            words[row as usize / 64] |= 1 << (row % 64);
        }
        let words: Arc<[u64]> = words.into();
        self.deletes.insert(key, words.clone());
        Ok(Some(words))
    }
}

/// What the entry says of the file.
fn info_of(file: &File) -> FileInfo {
    FileInfo { size: file.entry.size, crc32: Some(file.entry.crc32) }
}
