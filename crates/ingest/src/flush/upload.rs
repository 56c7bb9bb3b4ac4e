//! Building and uploading the files of a block's inserts.

use std::sync::Arc;

use redkite_table::entry::FileEntry;
use redkite_table::fragment::{EncodedFragment, Origin, encode};
use redkite_table::{Collection, Database};
use redkite_types::{FragmentId, Revision};

use super::{Collections, Part};
use crate::block::{BlockOp, OpKind, UploadedFragment};
use crate::stage::{Staged, stage};
use crate::{Result, cpu};

/// The files of one collection's inserts, once they are stored.
#[derive(Debug, Default)]
pub(super) struct Uploaded {
    done: bool,
    /// The fragment they make up; none if there was no row to add.
    pub(super) fragment: Option<FragmentId>,
    entries: Vec<(String, FileEntry)>,
}

impl Uploaded {
    /// Entries of the stored files, by path.
    pub(super) fn entries(&self) -> impl Iterator<Item = &(String, FileEntry)> {
        self.entries.iter()
    }
}

/// Who this node is, for the entries of what it writes.
pub(crate) fn origin(database: &Database) -> Origin {
    Origin { node: database.options.node, cluster: database.options.cluster.clone() }
}

/// Uploads what is not uploaded yet: all files of all collections at once.
pub(super) async fn upload(
    database: &Arc<Database>,
    revision: Revision,
    collections: Collections,
    parts: &mut [Part],
) -> Result<()> {
    let mut files = Vec::new();
    let mut stored = Vec::new();
    for (at, part) in parts.iter().enumerate() {
        let segment = collections[at].segment.clone();
        if part.uploaded.done {
            continue;
        }
        let mut uploaded = Uploaded { done: true, ..Uploaded::default() };
        if part.staged.rows() > 0 {
            let encoded = encode_staged(database, revision, &part.staged).await?;
            uploaded.fragment = Some(encoded.id);
            for file in encoded.files {
                files.push((database.object_path(&segment, &file.path), file.bytes));
                uploaded.entries.push((file.path, file.entry));
            }
        }
        stored.push((at, uploaded));
    }
    if !files.is_empty() {
        database.put_files(files).await?;
    }
    for (at, uploaded) in stored {
        parts[at].uploaded = uploaded;
    }
    Ok(())
}

/// The rows as a fragment that sorts behind what the block uploaded before: of rows with one key the newest is shown.
async fn encode_staged(database: &Arc<Database>, revision: Revision, staged: &Staged) -> Result<EncodedFragment> {
    let previous = staged.uploaded.iter().map(|(uploaded, _)| uploaded.fragment.id).max();
    let id = database.fragment_id(revision, previous);
    let origin = origin(database);
    let (record, batches) = (staged.record.clone(), staged.batches.clone());
    let encoded = cpu::run(staged.rows(), move || encode(&record.schema, &batches, id, &origin)).await?;
    Ok(encoded?)
}

/// Uploads the rows a block holds for one collection and returns the operations that stand for them from then on:
/// the removals of older rows, then the uploaded fragment.
pub async fn upload_early(database: &Arc<Database>, collection: &Collection, ops: &[BlockOp]) -> Result<Vec<BlockOp>> {
    let mut replacement: Vec<BlockOp> = Vec::new();
    let ids = database.hold_ids();
    let revision = database.newest().revision;
    let owned = ops.to_vec();
    let rows = owned.iter().map(BlockOp::rows).sum();
    for staged in cpu::run(rows, move || stage(&owned)).await?? {
        let op = |kind| BlockOp { collection: staged.collection, record: staged.record.clone(), kind };
        for predicate in staged.removals.predicates(&staged.record)? {
            replacement.push(op(OpKind::Delete { predicate, text: String::new() }));
        }
        for (uploaded, removals) in &staged.uploaded {
            // An uploaded fragment, then what later operations removed from it, then the next one.
            replacement.push(op(OpKind::Uploaded(uploaded.clone())));
            for predicate in removals.predicates(&staged.record)? {
                replacement.push(op(OpKind::Delete { predicate, text: String::new() }));
            }
        }
        if staged.rows() == 0 {
            continue;
        }
        let encoded = encode_staged(database, revision, &staged).await?;
        let fragment = Arc::new(encoded.as_fragment());
        let mut files = Vec::new();
        let mut entries = Vec::new();
        for file in encoded.files {
            files.push((database.object_path(&collection.segment, &file.path), file.bytes));
            entries.push((file.path, file.entry));
        }
        database.put_files(files).await?;
        let uploaded = UploadedFragment { fragment, entries, ops: staged.ops as u64, ids: ids.clone() };
        replacement.push(op(OpKind::Uploaded(uploaded)));
    }
    Ok(replacement)
}
