//! A change of a collection's entries under construction: what it puts, and the tombstones of what it drops or replaces.
//!
//! A commit that drops or replaces an entry leaves the old value behind, outside of everything that is ever deleted by a
//! range. So the state of every retained revision follows from entries and tombstones alone, whatever history the
//! metadata store has forgotten. Commits change entries through this module only; that is what makes it so.

use std::sync::Arc;

use bytes::Bytes;
use redkite_meta::keys::UserKeys;
use redkite_meta::{Compare, KeyRange, Op};
use redkite_types::CommitId;

use crate::catalog::{Collection, Fragment};
use crate::entry::{
    self, AnchorState, CollectionRecord, CollectionTombstone, Dropped, DroppedFragment, FORMAT, FileEntry, FileType,
    NameRecord, Tombstone,
};
use crate::{Error, Result};

/// What stands for the anchors of one commit in a tombstone's key.
const ANCHORS: &str = "anchors";
/// What stands for the record in a tombstone's key.
const RECORD: &str = "record";

/// Compares and operations of one commit. Plain data.
#[derive(Debug)]
pub struct Change<'k> {
    keys: &'k UserKeys,
    commit: CommitId,
    now_ms: u64,
    /// What it rests on.
    pub compares: Vec<Compare>,
    /// What it does.
    pub ops: Vec<Op>,
    /// The segments it touches and that still exist after it.
    pub touched: Vec<String>,
}

impl<'k> Change<'k> {
    /// An empty change, to be published as `commit`, planned at `now_ms` milliseconds since 1970.
    pub fn new(keys: &'k UserKeys, commit: CommitId, now_ms: u64) -> Self {
        Self { keys, commit, now_ms, compares: Vec::new(), ops: Vec::new(), touched: Vec::new() }
    }

    /// Adds the entry of a new file.
    pub fn add_file(&mut self, segment: &str, path: &str, entry: &FileEntry) -> Result<()> {
        let mut entry = entry.clone();
        if matches!(entry.file_type, FileType::RawVector | FileType::DeleteLog) {
            entry.committed_ms = self.now_ms;
        }
        self.ops.push(Op::put(self.keys.data(segment, path), entry::encode(&entry)?));
        Ok(())
    }

    /// Replaces the entries of anchors of committed fragments: another delete log is in force for them.
    ///
    /// Does not compare the anchors; the commit has to rest on something that keeps them as they are in `collection`.
    pub fn replace_anchors(&mut self, collection: &Collection, anchors: &[(Arc<Fragment>, FileEntry)]) -> Result<()> {
        if anchors.is_empty() {
            return Ok(());
        }
        let mut replaced = Vec::with_capacity(anchors.len());
        for (fragment, entry) in anchors {
            let old = fragment.anchor()?;
            replaced.push(AnchorState {
                path: old.path.to_string(),
                since: old.modified,
                committed_ms: old.entry.committed_ms,
                delete_log: old.entry.delete_log.clone(),
                deleted: old.entry.deleted,
            });
            self.add_file(&collection.segment, &old.path, entry)?;
        }
        self.leave(collection, ANCHORS, Dropped::Anchors(replaced))
    }

    /// Drops a fragment with all its entries, if its anchor is still as it is in `collection`.
    ///
    /// Entries of a fragment are put together, and later only its anchor is put again; so the anchor speaks for them.
    pub fn drop_fragment(&mut self, collection: &Collection, fragment: &Fragment) -> Result<()> {
        let segment = &*collection.segment;
        let anchor = fragment.anchor()?;
        self.compares.push(Compare::unchanged_since(self.keys.data(segment, &anchor.path), anchor.modified));
        let folder = format!("{}/", fragment.id);
        for file in &fragment.files {
            if !file.path.starts_with(&folder) {
                let detail = format!("file {} of fragment {} lies in another folder", file.path, fragment.id);
                return Err(Error::Internal { detail });
            }
        }
        self.ops.push(Op::Delete(KeyRange::Prefix(self.keys.data(segment, &folder))));
        let files = fragment.files.iter().map(|file| (file.path.to_string(), file.entry.clone())).collect();
        let (created, since) = (anchor.created, anchor.modified);
        let dropped = DroppedFragment { id: fragment.id, created, since, files };
        self.leave(collection, &fragment.id.to_string(), Dropped::Fragment(dropped))
    }

    /// Replaces the record of a collection, if it is still as it is in `collection`.
    pub fn replace_record(&mut self, collection: &Collection, mut record: CollectionRecord) -> Result<()> {
        let segment = &*collection.segment;
        let old = CollectionRecord::clone(collection.record()?);
        record.committed_ms = self.now_ms;
        let key = self.keys.schema(segment);
        self.compares.push(Compare::unchanged_since(&key, collection.schema_revision));
        self.ops.push(Op::put(key, entry::encode(&record)?));
        self.touched.push(segment.to_owned());
        let since = collection.schema_revision;
        self.leave(collection, RECORD, Dropped::Record { since, record: Box::new(old) })
    }

    /// Drops the collection that `name` names, if its record is still as it is in `collection`. Its file entries stay for
    /// readers of older revisions until they are collected.
    pub fn drop_collection(&mut self, collection: &Collection, name: &NameRecord) -> Result<()> {
        let segment = &*collection.segment;
        let key = self.keys.schema(segment);
        self.compares.push(Compare::unchanged_since(&key, collection.schema_revision));
        self.ops.push(Op::Delete(KeyRange::Exact(key)));
        self.ops.push(Op::Delete(KeyRange::Exact(self.keys.collection_head(segment))));
        let tombstone = CollectionTombstone {
            format: FORMAT,
            name: name.name.clone(),
            segment: segment.to_owned(),
            record: collection.record.as_deref().cloned(),
            created: collection.created,
            since: collection.schema_revision,
            dropped_ms: self.now_ms,
        };
        self.ops.push(Op::put(self.keys.collection_tombstone(name.id), entry::encode(&tombstone)?));
        Ok(())
    }

    fn leave(&mut self, collection: &Collection, what: &str, dropped: Dropped) -> Result<()> {
        let tombstone = Tombstone { format: FORMAT, dropped_ms: self.now_ms, dropped };
        let value: Bytes = entry::encode(&tombstone)?;
        self.ops.push(Op::put(self.keys.tombstone(&collection.segment, &self.commit, what), value));
        Ok(())
    }
}
