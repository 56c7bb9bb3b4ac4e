//! The flush block: the ordered operations one client has not flushed. Pure data, no IO.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow_array::{Array, RecordBatch};
use redkite_expr::Predicate;
use redkite_table::entry::{CollectionRecord, FileEntry};
use redkite_table::{Fragment, IdGuard};
use redkite_types::{CollectionId, Keys, NodeId};
use xxhash_rust::xxh3::Xxh3;

/// What one operation does.
#[derive(Debug, Clone)]
pub enum OpKind {
    /// Adds rows, whatever rows of the same keys there are.
    Insert(RecordBatch),
    /// Removes the rows of the batch's keys and adds the batch. Keys are unique within the batch.
    Upsert(RecordBatch),
    /// Removes the rows of `keys` and adds the batch, whose keys are others.
    Replace {
        /// Keys of the rows to remove.
        keys: Keys,
        /// Rows to add.
        batch: RecordBatch,
    },
    /// Removes the rows that satisfy a filter.
    Delete {
        /// The filter.
        predicate: Arc<Predicate>,
        /// Its text with template values, for the digest.
        text: String,
    },
    /// Rows of earlier operations that were uploaded to keep the block small.
    Uploaded(UploadedFragment),
    /// An operation whose rows another node holds.
    Forwarded(ForwardedOp),
}

/// What is left here of an operation whose rows another node holds.
#[derive(Debug, Clone)]
pub struct ForwardedOp {
    /// That node.
    pub node: NodeId,
    /// Keys of the rows it removes, of whatever is older.
    pub removes: Option<Keys>,
    /// Rows it adds.
    pub rows: u64,
    /// Bytes it held in memory here.
    pub bytes: u64,
    /// Its part of the block's digest.
    pub digest: u128,
}

/// A fragment that lies in the object store and is not committed.
#[derive(Debug, Clone)]
pub struct UploadedFragment {
    /// As a reader sees it.
    pub fragment: Arc<Fragment>,
    /// Entries of its files, by path.
    pub entries: Vec<(String, FileEntry)>,
    /// Operations whose rows it holds.
    pub ops: u64,
    /// Keeps its files from being taken for abandoned.
    pub ids: Arc<IdGuard>,
}

/// One operation, bound to a collection when it was accepted.
#[derive(Debug, Clone)]
pub struct BlockOp {
    /// The collection's id: a re-created collection of the name is another one.
    pub collection: CollectionId,
    /// The collection as it was when the operation was accepted.
    pub record: Arc<CollectionRecord>,
    /// What to do.
    pub kind: OpKind,
}

pub(crate) fn keys_bytes(keys: &Keys) -> u64 {
    match keys {
        Keys::Int(keys) => keys.len() as u64 * 8,
        Keys::Text(keys) => keys.iter().map(|key| key.len() as u64 + 24).sum(),
    }
}

impl BlockOp {
    /// Bytes it holds in memory.
    pub(crate) fn bytes(&self) -> u64 {
        match &self.kind {
            OpKind::Insert(batch) | OpKind::Upsert(batch) => batch.get_array_memory_size() as u64,
            OpKind::Replace { keys, batch } => batch.get_array_memory_size() as u64 + keys_bytes(keys),
            OpKind::Delete { predicate, text } => text.len() as u64 + predicate.candidate_keys().map_or(0, keys_bytes),
            OpKind::Uploaded(_) => 0,
            OpKind::Forwarded(forwarded) => forwarded.removes.as_ref().map_or(0, keys_bytes),
        }
    }

    /// Bytes of what the client asked for.
    pub(crate) fn asked_bytes(&self) -> u64 {
        match &self.kind {
            OpKind::Forwarded(forwarded) => forwarded.bytes,
            _ => self.bytes(),
        }
    }

    /// Rows it adds.
    pub fn rows(&self) -> u64 {
        match &self.kind {
            OpKind::Insert(batch) | OpKind::Upsert(batch) | OpKind::Replace { batch, .. } => batch.num_rows() as u64,
            OpKind::Delete { .. } => 0,
            OpKind::Uploaded(uploaded) => uploaded.fragment.rows(),
            OpKind::Forwarded(forwarded) => forwarded.rows,
        }
    }

    /// Whether it may remove rows.
    pub(crate) fn removes(&self) -> bool {
        match &self.kind {
            OpKind::Insert(_) | OpKind::Uploaded(_) => false,
            OpKind::Forwarded(forwarded) => forwarded.removes.is_some(),
            OpKind::Upsert(_) | OpKind::Replace { .. } | OpKind::Delete { .. } => true,
        }
    }

    /// The operation that stands for this one while `node` holds its rows.
    pub(crate) fn forwarded(&self, node: NodeId, removes: Option<Keys>) -> Self {
        let (rows, bytes, digest) = (self.rows(), self.bytes(), digest_of(self).unwrap_or_default());
        Self { kind: OpKind::Forwarded(ForwardedOp { node, removes, rows, bytes, digest }), ..self.clone() }
    }
}

/// The ordered operations between two flushes of one client.
#[derive(Clone, Default)]
pub struct Block {
    ops: Vec<BlockOp>,
    bytes: u64,
    /// Rows to be added per collection, and operations that delete: kept up to date, as they are told after each operation.
    rows: HashMap<CollectionId, u64>,
    deletes: u64,
    /// Operations whose rows another node holds.
    forwarded: u64,
    /// What the client asked for, whatever became of it since; per collection, as one may be discarded.
    asked: BTreeMap<CollectionId, Asked>,
    /// How many of `ops` are in the digests of `asked`.
    digested: usize,
}

/// What the client asked for in one collection.
#[derive(Clone, Default)]
struct Asked {
    ops: u64,
    bytes: u64,
    digest: Xxh3,
}

impl std::fmt::Debug for Block {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Block").field("ops", &self.ops.len()).field("bytes", &self.bytes).finish()
    }
}

impl Block {
    /// Adds an operation at the end.
    pub fn push(&mut self, op: BlockOp) {
        let asked = self.asked.entry(op.collection).or_default();
        asked.ops += 1;
        asked.bytes += op.asked_bytes();
        self.count(&op);
        self.ops.push(op);
    }

    /// Takes back the operation added last, which must be in no digest yet unless it is the only one.
    pub fn pop(&mut self) {
        if self.acknowledged() == 1 {
            // Whatever has become of it: it may have been uploaded.
            *self = Self::default();
        } else if self.digested < self.ops.len()
            && let Some(op) = self.ops.pop()
        {
            if let Some(asked) = self.asked.get_mut(&op.collection) {
                asked.ops -= 1;
                asked.bytes = asked.bytes.saturating_sub(op.asked_bytes());
            }
            self.asked.retain(|_, asked| asked.ops > 0);
            self.recount();
        }
    }

    fn count(&mut self, op: &BlockOp) {
        self.bytes += op.bytes();
        *self.rows.entry(op.collection).or_default() += op.rows();
        self.deletes += u64::from(op.removes());
        self.forwarded += u64::from(matches!(op.kind, OpKind::Forwarded(_)));
    }

    fn recount(&mut self) {
        (self.bytes, self.deletes, self.forwarded) = (0, 0, 0);
        self.rows.clear();
        let ops = std::mem::take(&mut self.ops);
        ops.iter().for_each(|op| self.count(op));
        self.ops = ops;
    }

    /// The operations in order.
    pub fn ops(&self) -> &[BlockOp] {
        &self.ops
    }

    /// Whether there is nothing to flush.
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    /// Operations acknowledged to the client.
    pub fn acknowledged(&self) -> u64 {
        self.asked.values().map(|asked| asked.ops).sum()
    }

    /// Bytes of the operations acknowledged to the client, wherever they are now.
    pub(crate) fn asked_bytes(&self) -> u64 {
        self.asked.values().map(|asked| asked.bytes).sum()
    }

    /// Whether the client has asked for something in that collection.
    pub(crate) fn asks_of(&self, collection: CollectionId) -> bool {
        self.asked.contains_key(&collection)
    }

    /// Whether another node holds rows of it.
    pub(crate) fn is_forwarded(&self) -> bool {
        self.forwarded > 0
    }

    /// Bytes held in memory.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Operations that delete or replace rows.
    pub fn deletes(&self) -> u64 {
        self.deletes
    }

    /// Rows to be added per collection.
    pub fn rows_by_collection(&self) -> &HashMap<CollectionId, u64> {
        &self.rows
    }

    /// Drops the operations of one collection; returns how many the client had asked for.
    pub fn discard(&mut self, collection: CollectionId) -> u64 {
        self.replace(collection, Vec::new());
        self.asked.remove(&collection).map_or(0, |asked| asked.ops)
    }

    /// Replaces the operations of one collection by what is left to do for it: the deletes that concern rows committed
    /// before, and an uploaded fragment of its rows. The order against other collections does not matter.
    pub fn replace(&mut self, collection: CollectionId, replacement: Vec<BlockOp>) {
        self.absorb_digest();
        self.ops.retain(|op| op.collection != collection);
        self.ops.extend(replacement);
        self.recount();
        self.digested = self.ops.len();
    }

    fn absorb_digest(&mut self) {
        for op in &self.ops[self.digested..] {
            if let Some(digest) = digest_of(op) {
                self.asked.entry(op.collection).or_default().digest.update(&digest.to_le_bytes());
            }
        }
        self.digested = self.ops.len();
    }

    /// A digest of what the client asked for: the same operations, in the same order within each collection, give the
    /// same digest. Automatic keys are left out, for they differ when a client sends its rows again.
    pub fn digest(&mut self) -> u128 {
        self.absorb_digest();
        let mut whole = Xxh3::new();
        for (collection, asked) in &self.asked {
            whole.update(&collection.0.to_le_bytes());
            whole.update(&asked.ops.to_le_bytes());
            whole.update(&asked.digest.digest128().to_le_bytes());
        }
        whole.digest128()
    }
}

/// What tells an upsert from other operations in a digest.
const UPSERT: u8 = 2;

/// What an operation contributes to the digest; nothing, if those did that it stands for.
fn digest_of(op: &BlockOp) -> Option<u128> {
    let mut digest = Xxh3::new();
    match &op.kind {
        OpKind::Insert(batch) => digest_batch(&mut digest, 1, batch, &op.record),
        OpKind::Upsert(batch) => digest_batch(&mut digest, UPSERT, batch, &op.record),
        OpKind::Replace { keys, batch } => {
            digest.update(format!("{keys:?}").as_bytes());
            digest_batch(&mut digest, 4, batch, &op.record);
        }
        OpKind::Delete { text, .. } => {
            digest.update(&[3]);
            digest.update(&(text.len() as u64).to_le_bytes());
            digest.update(text.as_bytes());
        }
        OpKind::Uploaded(_) => return None,
        OpKind::Forwarded(forwarded) => return Some(forwarded.digest),
    }
    Some(digest.digest128())
}

fn digest_batch(digest: &mut Xxh3, tag: u8, batch: &RecordBatch, record: &CollectionRecord) {
    digest.update(&[tag]);
    digest.update(&(batch.num_rows() as u64).to_le_bytes());
    for (field, column) in record.schema.fields.iter().zip(batch.columns()) {
        // The keys of an upsert say which rows it replaces, whoever assigned them.
        if !(field.primary_key && field.auto_id) || tag == UPSERT {
            digest_data(digest, &column.to_data());
        }
    }
}

fn digest_data(digest: &mut Xxh3, data: &arrow_data::ArrayData) {
    // Buffers are taken whole, so where in them the values lie belongs to the content.
    digest.update(&(data.offset() as u64).to_le_bytes());
    digest.update(&(data.len() as u64).to_le_bytes());
    if let Some(nulls) = data.nulls() {
        digest.update(&(nulls.offset() as u64).to_le_bytes());
        digest.update(nulls.buffer().as_slice());
    }
    for buffer in data.buffers() {
        digest.update(&(buffer.len() as u64).to_le_bytes());
        digest.update(buffer.as_slice());
    }
    for child in data.child_data() {
        digest_data(digest, child);
    }
}

#[cfg(test)]
mod tests;
