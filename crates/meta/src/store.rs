//! The `MetaStore` trait and its plain data: etcd's model exactly, nothing etcd lacks.
//!
//! Semantics every implementation shares (and the contract suite checks):
//! - Every transaction that changes at least one key raises the store's revision by exactly one; all its changes carry
//!   that revision. The first write gives revision 2, as on a fresh etcd (whose revision starts at 1).
//! - A key has a create revision, a mod revision and a version (1 on creation, reset by deletion).
//! - Compares see the state before the transaction; operations of one transaction see each other's effects in order
//!   only as etcd allows: the same key may be changed at most once in one transaction, nested ones included (two
//!   branches of which only one is taken may both change it, two deletes may overlap).
//! - A compare on an absent key sees create revision, mod revision and version 0; a compare on its *value* fails.
//! - `get`, `range` without a revision and `txn` are linearizable.
//! - A watch delivers whole revisions, in order, without gaps, from the revision asked for.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use redkite_types::Revision;

use crate::Result;

/// Most operations (and, apart from them, compares) of one flat transaction on a stock etcd. What is nested has as many
/// less as the level around it counts, so two levels hold 64 x 64 operations; [`Txn::packed`] nests as needed.
pub const TXN_OPS_MAX: usize = 128;
/// Largest request a stock etcd takes is 1.5 MiB; leave room for framing.
pub const TXN_BYTES_MAX: usize = 1_400_000;

/// A stored key with its value and revisions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyValue {
    /// The key, UTF-8 by convention.
    pub key: String,
    /// The value, JSON by convention.
    pub value: Bytes,
    /// Revision at which the key came into being.
    pub create_revision: Revision,
    /// Revision of the last put.
    pub mod_revision: Revision,
    /// Number of puts since creation.
    pub version: i64,
    /// The lease the key is attached to, if any.
    pub lease: Option<LeaseId>,
}

/// A lease: keys attached to it vanish when it expires.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LeaseId(pub i64);

/// A set of keys.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeyRange {
    /// One key.
    Exact(String),
    /// All keys that start with this text; never empty.
    Prefix(String),
    /// Keys from the first (included) to the second (excluded), which must be greater.
    Between(String, String),
}

impl KeyRange {
    /// Whether `key` belongs to the set.
    pub fn contains(&self, key: &str) -> bool {
        match self {
            KeyRange::Exact(exact) => key == exact,
            KeyRange::Prefix(prefix) => key.starts_with(prefix.as_str()),
            KeyRange::Between(start, end) => key >= start.as_str() && key < end.as_str(),
        }
    }
}

/// A read of a set of keys, in key order.
#[derive(Debug, Clone)]
pub struct RangeRequest {
    /// Which keys.
    pub range: KeyRange,
    /// As of which revision, at least 1; the newest if absent.
    pub revision: Option<Revision>,
    /// At most so many keys; all if absent (an implementation pages by itself, all pages at one revision).
    pub limit: Option<usize>,
    /// Leave the values empty.
    pub keys_only: bool,
}

impl RangeRequest {
    /// All of `range` as of now.
    pub fn new(range: KeyRange) -> Self {
        Self { range, revision: None, limit: None, keys_only: false }
    }

    /// As of `revision`.
    pub fn at(mut self, revision: Revision) -> Self {
        self.revision = Some(revision);
        self
    }
}

/// What a range read found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RangeResponse {
    /// In key order.
    pub kvs: Vec<KeyValue>,
    /// The revision that was read: the one asked for, else the store's newest.
    pub revision: Revision,
    /// Whether a limit cut the answer short.
    pub more: bool,
}

/// How a compare relates the stored thing to the given one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CompareOp {
    /// stored == given
    Equal,
    /// stored != given
    NotEqual,
    /// stored < given
    Less,
    /// stored > given
    Greater,
}

/// What of a key is compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CompareTarget {
    /// Its create revision; 0 if absent.
    CreateRevision(Revision),
    /// Its mod revision; 0 if absent.
    ModRevision(Revision),
    /// Its version; 0 if absent.
    Version(i64),
    /// Its value, by bytes. False whatever the operator if the key is absent.
    Value(Bytes),
}

/// A condition of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compare {
    /// The key.
    pub key: String,
    /// The relation: stored `op` given.
    pub op: CompareOp,
    /// What is compared, with what.
    pub target: CompareTarget,
}

impl Compare {
    /// The key does not exist.
    pub fn absent(key: impl Into<String>) -> Self {
        Self::created_at(key, Revision::ZERO)
    }

    /// The key was created at exactly that revision (and not deleted since).
    pub fn created_at(key: impl Into<String>, revision: Revision) -> Self {
        Self { key: key.into(), op: CompareOp::Equal, target: CompareTarget::CreateRevision(revision) }
    }

    /// The key was last put at exactly that revision.
    pub fn unchanged_since(key: impl Into<String>, revision: Revision) -> Self {
        Self { key: key.into(), op: CompareOp::Equal, target: CompareTarget::ModRevision(revision) }
    }
}

/// One operation of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// Write a key, under a lease if one is given.
    Put {
        /// The key.
        key: String,
        /// The value.
        value: Bytes,
        /// The lease it dies with.
        lease: Option<LeaseId>,
    },
    /// Remove all keys of a range. Of nothing it is no change.
    Delete(KeyRange),
    /// Read keys.
    Range(KeyRange),
    /// A transaction within the transaction; its compares see the state before the outer one.
    Txn(Txn),
}

impl Op {
    /// A put without lease.
    pub fn put(key: impl Into<String>, value: impl Into<Bytes>) -> Self {
        Op::Put { key: key.into(), value: value.into(), lease: None }
    }
}

/// If all compares hold do `then`, otherwise `otherwise`; one atom either way.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Txn {
    /// All must hold.
    pub compares: Vec<Compare>,
    /// Done if they do.
    pub then: Vec<Op>,
    /// Done if one does not.
    pub otherwise: Vec<Op>,
}

/// What one operation answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OpResult {
    /// Of a put.
    Put,
    /// Of a delete: how many keys went.
    Deleted(i64),
    /// Of a range.
    Range(Vec<KeyValue>),
    /// Of a nested transaction.
    Txn(TxnResponse),
}

/// What a transaction answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TxnResponse {
    /// Whether the compares held.
    pub succeeded: bool,
    /// The store's revision after it: the transaction's own if it changed something.
    pub revision: Revision,
    /// One result an operation of the branch that was taken.
    pub results: Vec<OpResult>,
}

/// A change a watch reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A key was put; all its new fields.
    Put(KeyValue),
    /// A key was deleted (or its lease expired).
    Delete {
        /// The key.
        key: String,
        /// When.
        revision: Revision,
    },
}

/// All changes of one revision within the watched range, never a part of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchBatch {
    /// The revision.
    pub revision: Revision,
    /// In key order, one event a key.
    pub events: Vec<Event>,
}

/// Batches in revision order. Ends after an error (then watch again from the last revision + 1); a watch that fell
/// behind a compaction ends with [`crate::Error::Compacted`] (then range again and watch from the revision after it).
pub type WatchStream = BoxStream<'static, Result<WatchBatch>>;

/// A store of keys with etcd's semantics. See the head of this file.
#[async_trait]
pub trait MetaStore: Send + Sync + std::fmt::Debug + 'static {
    /// What is added to the store's own revisions in all that comes from here: zero, unless it was restored from a dump.
    fn base(&self) -> Revision {
        Revision::ZERO
    }

    /// Reads one key, linearizably.
    async fn get(&self, key: &str) -> Result<Option<KeyValue>> {
        let response = self.range(RangeRequest::new(KeyRange::Exact(key.to_owned()))).await?;
        Ok(response.kvs.into_iter().next())
    }

    /// Reads a set of keys at one revision.
    async fn range(&self, request: RangeRequest) -> Result<RangeResponse>;

    /// Runs a transaction. [`crate::Error::OutcomeUnknown`] if no answer came after it was sent; inside it is retried only where
    /// it is known not to have been sent.
    async fn txn(&self, txn: Txn) -> Result<TxnResponse>;

    /// Watches `range` from `from` (included) on; a revision still to come is waited for.
    ///
    /// A place already compacted is [`crate::Error::Compacted`], from this call or as the stream's first item.
    async fn watch(&self, range: KeyRange, from: Revision) -> Result<WatchStream>;

    /// Grants a lease. A lost answer is [`crate::Error::Unavailable`]: a lease nobody knows ends by itself.
    async fn lease_grant(&self, ttl: Duration) -> Result<LeaseId>;

    /// Renews a lease for another of its terms; [`crate::Error::LeaseNotFound`] if it is gone.
    async fn lease_keep_alive(&self, lease: LeaseId) -> Result<()>;

    /// Ends a lease and deletes its keys.
    async fn lease_revoke(&self, lease: LeaseId) -> Result<()>;

    /// Forgets the history before `revision`: the oldest state that can still be read is the one at `revision`, the
    /// oldest change that can still be watched the one at `revision` + 1. [`crate::Error::Compacted`] if that is so
    /// already, [`crate::Error::FutureRevision`] if there is no such revision yet. A store may do so by itself when
    /// its history outgrows a limit.
    async fn compact(&self, revision: Revision) -> Result<()>;
}
