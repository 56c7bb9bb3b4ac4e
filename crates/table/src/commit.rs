//! The one way anything changes: one transaction that publishes a change, and the settling of unknown outcomes.
//!
//! Why this is safe, and why in this order:
//! 1. Everything a commit refers to (files) is durable before [`Committer::commit`] is called.
//! 2. The transaction compares that the commit's own outcome key is absent, that the floor under ids is not above its
//!    id nor those of its files, and whatever its planner rests on (schema, heads, raw entries, names). It puts the entries, the heads of the
//!    touched collections, the user's head and the commit's outcome: all or nothing.
//! 3. A reply that does not come is settled, never guessed: one more transaction puts `aborted` under the outcome key
//!    if that is absent, else reads what is there. A transaction that arrives after that finds the key and fails.
//! 4. Changes of collections rest on less than flushes do: one that is late may find everything it compares as it was, and
//!    drop what was flushed meanwhile. So they go one at a time, on tasks that end whatever becomes of their requests, and
//!    nothing is published on this node while one is on its way or its outcome is open.
//!
//! Nothing here depends on time or leases: a lease only bounds how long an outcome is remembered.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use redkite_meta::keys::UserKeys;
use redkite_meta::{
    Compare, CompareOp, CompareTarget, KeyRange, KeyValue, LeaseId, MetaStore, Op, OpResult, TXN_BYTES_MAX,
    TXN_OPS_MAX, Txn, TxnResponse,
};
use redkite_types::{CommitId, Revision};
use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::entry::{self, FORMAT, Outcome};
use crate::outcome_lease::OutcomeLease;
use crate::{Error, Result};

/// For how long it is tried to settle an unknown outcome before the client is told that it is unknown: a store that has stopped
/// answering takes its time with every try.
const SETTLE_WITHIN: Duration = Duration::from_secs(15);
/// Pause before the second try to settle; doubles from there ...
const SETTLE_PAUSE: Duration = Duration::from_millis(50);
/// ... up to this.
const SETTLE_PAUSE_MAX: Duration = Duration::from_secs(3);
/// Renewals of the outcome lease within one commit.
const LEASE_TRIES: u32 = 3;
/// What one operation costs in a request besides its key and value, from above.
const OP_OVERHEAD_BYTES: usize = 64;

/// A flush the client gave a name to (S37).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedFlush {
    /// Up to 128 bytes of the client's choice.
    pub name: Vec<u8>,
    /// Digest of the block, so that the same name with another block is found out.
    pub digest: u128,
}

impl NamedFlush {
    fn digest_text(&self) -> String {
        format!("{:032x}", self.digest)
    }
}

/// A change ready to be published: plain data.
#[derive(Debug, Clone)]
pub struct Commit {
    /// Its id; of no other commit, ever.
    pub id: CommitId,
    /// The oldest revision in its own id and the ids of the files it adds: those below the floor may be collected.
    pub oldest: Revision,
    /// What it rests on, beyond what every commit compares.
    pub compares: Vec<Compare>,
    /// What it changes, heads and outcome left out.
    pub ops: Vec<Op>,
    /// The segments of the collections it touches and that still exist after it.
    pub touched: Vec<String>,
    /// The client's name for it.
    pub flush: Option<NamedFlush>,
}

/// What became of a commit.
#[derive(Debug, Clone, PartialEq)]
pub enum CommitResult {
    /// Published at that revision.
    Committed(Revision),
    /// Something it rests on has changed; nothing happened. Plan again from a catalog of at least this revision.
    Lost {
        /// The store's revision when it lost.
        revision: Revision,
        /// The floor under ids then: what has an older one has to be made anew.
        floor: Revision,
    },
    /// It was settled as not committed and never will be.
    Aborted,
    /// The client's name for the flush has an outcome already, at that revision.
    NameTaken(Outcome, Revision),
}

/// What asking for the outcome of a commit or a named flush gave. Asking settles.
#[derive(Debug, Clone, PartialEq)]
pub struct Settled {
    /// The outcome, final.
    pub outcome: Outcome,
    /// The revision it was recorded at: of a commit, the commit's own.
    pub revision: Revision,
}

/// Publishes commits of one user. A clone is the same committer.
#[derive(Debug, Clone)]
pub struct Committer {
    meta: Arc<dyn MetaStore>,
    keys: UserKeys,
    lease: Arc<OutcomeLease>,
    /// Held by the change of collections that is on its way. Of one whose outcome stayed open, the id: one at most, as that
    /// is settled before the next.
    change: Arc<Mutex<Option<CommitId>>>,
}

/// The right to change collections: one change at a time on a node, and none whose outcome is open before it.
#[derive(Debug)]
pub struct ChangeTurn {
    committer: Committer,
    open: OwnedMutexGuard<Option<CommitId>>,
}

impl ChangeTurn {
    /// Publishes a change, as [`Committer::commit`] does. It runs to its end even if the caller goes away, and the turn with
    /// it. If its outcome stays unknown, it is settled before anything else is published.
    pub async fn commit(mut self, commit: Commit) -> Result<(Self, CommitResult)> {
        let sent = tokio::spawn(async move {
            *self.open = Some(commit.id);
            let result = self.committer.send(&commit).await;
            if !matches!(result, Err(Error::OutcomeUnknown { .. })) {
                *self.open = None;
            }
            Ok((self, result?))
        });
        sent.await.unwrap_or_else(|error| Err(Error::Internal { detail: format!("a change was cut off: {error}") }))
    }
}

impl Committer {
    /// A committer over `meta` for the user of `keys`.
    pub fn new(meta: Arc<dyn MetaStore>, keys: UserKeys, lease: OutcomeLease) -> Self {
        Self { meta, keys, lease: Arc::new(lease), change: Arc::default() }
    }

    /// Waits for the changes before, and settles the last one if its outcome is open; [`Error::OutcomeUnknown`] if that
    /// fails. To be called before a change is planned, as its plan may rest on what the other did.
    pub async fn change_turn(&self) -> Result<ChangeTurn> {
        let mut open = self.change.clone().lock_owned().await;
        if let Some(id) = *open {
            let settled = self.settle(&id).await;
            settled.map_err(|error| Error::OutcomeUnknown { id, detail: error.to_string() })?;
            *open = None;
        }
        Ok(ChangeTurn { committer: self.clone(), open })
    }

    /// Publishes. [`Error::OutcomeUnknown`] only if the outcome could not even be settled; then [`Self::settle`] later.
    pub async fn commit(&self, commit: &Commit) -> Result<CommitResult> {
        self.changes_ended().await?;
        self.send(commit).await
    }

    /// Waits until no change that was sent before can land any more.
    async fn changes_ended(&self) -> Result<()> {
        match self.change_turn().await {
            Ok(_turn) => Ok(()),
            // Of the caller's own commit the outcome is known: it was not sent.
            Err(Error::OutcomeUnknown { id, detail }) => {
                let text = format!("it is not known yet what became of an earlier change, commit {id}: {detail}");
                Err(redkite_meta::Error::Unavailable(text).into())
            }
            Err(error) => Err(error),
        }
    }

    async fn send(&self, commit: &Commit) -> Result<CommitResult> {
        for _ in 0..LEASE_TRIES {
            let lease = self.lease.current().await?;
            let txn = self.transaction(commit, lease)?;
            return match self.meta.txn(txn).await {
                Ok(response) if response.succeeded => {
                    metrics::counter!("redkite_commits_total").increment(1);
                    Ok(CommitResult::Committed(response.revision))
                }
                Ok(response) => {
                    metrics::counter!("redkite_commit_conflicts_total").increment(1);
                    self.read_loss(commit, response)
                }
                Err(redkite_meta::Error::LeaseNotFound(_)) => {
                    self.lease.forget(lease).await;
                    continue;
                }
                Err(redkite_meta::Error::OutcomeUnknown(detail)) => {
                    metrics::counter!("redkite_commit_unknown_total").increment(1);
                    self.settle_unknown(commit, format!("the metadata store has not answered: {detail}")).await
                }
                Err(error) => Err(error.into()),
            };
        }
        Err(redkite_meta::Error::Unavailable("the lease for outcomes keeps expiring".into()).into())
    }

    fn transaction(&self, commit: &Commit, lease: LeaseId) -> Result<Txn> {
        let outcome_key = self.keys.commit(&commit.id);
        let mut compares = commit.compares.clone();
        compares.push(Compare::absent(&outcome_key));
        compares.push(floor_allows(&self.keys, commit.oldest.min(commit.id.revision())));

        let head: Bytes = entry::encode(&serde_json::json!({ "format": FORMAT, "commit": commit.id }))?;
        let outcome = entry::encode(&Outcome {
            format: FORMAT,
            committed: true,
            commit: Some(commit.id),
            digest: commit.flush.as_ref().map(NamedFlush::digest_text),
        })?;
        let mut ops = commit.ops.clone();
        ops.extend(commit.touched.iter().map(|segment| Op::put(self.keys.collection_head(segment), head.clone())));
        ops.push(Op::put(self.keys.head(), head));
        ops.push(Op::Put { key: outcome_key.clone(), value: outcome.clone(), lease: Some(lease) });
        let mut otherwise =
            vec![Op::Range(KeyRange::Exact(outcome_key)), Op::Range(KeyRange::Exact(self.keys.id_floor()))];
        if let Some(flush) = &commit.flush {
            let key = self.keys.flush(&flush.name);
            compares.push(Compare::absent(&key));
            ops.push(Op::Put { key: key.clone(), value: outcome, lease: Some(lease) });
            otherwise.push(Op::Range(KeyRange::Exact(key)));
        }
        let bytes: usize = ops.iter().map(op_bytes).sum();
        if bytes > TXN_BYTES_MAX {
            return Err(Error::LimitReached {
                what: "metadata bytes changed by one flush",
                limit: TXN_BYTES_MAX,
                advice: "flush more often and into fewer collections, or delete fewer rows at a time",
            });
        }
        let (entries, rests_on) = (ops.len(), compares.len());
        Txn::packed(compares, ops, otherwise).map_err(|error| {
            tracing::warn!(commit = %commit.id, entries, rests_on, %error, "a commit does not fit into a transaction");
            Error::LimitReached {
                what: "what one flush may touch",
                limit: TXN_OPS_MAX,
                advice: "flush more often and into fewer collections",
            }
        })
    }

    fn read_loss(&self, commit: &Commit, response: TxnResponse) -> Result<CommitResult> {
        let found = |at: usize| match response.results.get(at) {
            Some(OpResult::Range(kvs)) => kvs.first(),
            _ => None,
        };
        if let Some(kv) = found(0) {
            let outcome: Outcome = entry::parse(&kv.key, &kv.value)?;
            return Ok(if outcome.committed {
                CommitResult::Committed(kv.mod_revision)
            } else {
                CommitResult::Aborted
            });
        }
        if let (Some(_), Some(kv)) = (&commit.flush, found(2)) {
            return Ok(CommitResult::NameTaken(entry::parse(&kv.key, &kv.value)?, kv.mod_revision));
        }
        let floor = found(1).map_or(Ok(Revision::ZERO), read_floor)?;
        Ok(CommitResult::Lost { revision: response.revision, floor })
    }

    async fn settle_unknown(&self, commit: &Commit, detail: String) -> Result<CommitResult> {
        tracing::warn!(commit = %commit.id, detail, "no answer to a commit, settling its outcome");
        let settling = async {
            let mut pause = SETTLE_PAUSE;
            loop {
                match self.settle(&commit.id).await {
                    Ok(Settled { outcome, revision }) if outcome.committed => return CommitResult::Committed(revision),
                    Ok(_) => return CommitResult::Aborted,
                    Err(error) => tracing::warn!(commit = %commit.id, %error, "settling failed, trying again"),
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(SETTLE_PAUSE_MAX);
            }
        };
        let settled = tokio::time::timeout(SETTLE_WITHIN, settling).await;
        settled.map_err(|_| Error::OutcomeUnknown { id: commit.id, detail })
    }

    /// The final outcome of a commit; one without outcome is recorded as not committed and can then no longer commit.
    pub async fn settle(&self, id: &CommitId) -> Result<Settled> {
        let aborted = Outcome { format: FORMAT, committed: false, commit: Some(*id), digest: None };
        self.settle_key(self.keys.commit(id), aborted).await
    }

    /// The final outcome of a flush its client named; see [`Self::settle`].
    pub async fn settle_flush(&self, name: &[u8]) -> Result<Settled> {
        let aborted = Outcome { format: FORMAT, committed: false, commit: None, digest: None };
        self.settle_key(self.keys.flush(name), aborted).await
    }

    /// The outcome of a named flush, if it has one yet. Does not settle.
    pub async fn flush_outcome(&self, name: &[u8]) -> Result<Option<Settled>> {
        let Some(kv) = self.meta.get(&self.keys.flush(name)).await? else {
            return Ok(None);
        };
        Ok(Some(settled(&kv)?))
    }

    /// Puts `value` under `key`, which still is as it was at `since` (zero: absent), for at least a day. Returns the revision;
    /// none if it was not. Not a commit: it publishes nothing.
    pub async fn put_for_a_day(&self, key: &str, since: Revision, value: Bytes) -> Result<Option<Revision>> {
        for _ in 0..LEASE_TRIES {
            let lease = self.lease.current().await?;
            let txn = Txn {
                compares: vec![Compare::unchanged_since(key, since)],
                then: vec![Op::Put { key: key.to_owned(), value: value.clone(), lease: Some(lease) }],
                otherwise: Vec::new(),
            };
            match self.meta.txn(txn).await {
                Err(redkite_meta::Error::LeaseNotFound(_)) => self.lease.forget(lease).await,
                other => {
                    let response = other?;
                    return Ok(response.succeeded.then_some(response.revision));
                }
            }
        }
        Err(redkite_meta::Error::Unavailable("the lease for outcomes keeps expiring".into()).into())
    }

    async fn settle_key(&self, key: String, aborted: Outcome) -> Result<Settled> {
        for _ in 0..LEASE_TRIES {
            let lease = self.lease.current().await?;
            let value = entry::encode(&aborted)?;
            let txn = Txn {
                compares: vec![Compare::absent(&key)],
                then: vec![Op::Put { key: key.clone(), value, lease: Some(lease) }],
                otherwise: vec![Op::Range(KeyRange::Exact(key.clone()))],
            };
            let response = match self.meta.txn(txn).await {
                Err(redkite_meta::Error::LeaseNotFound(_)) => {
                    self.lease.forget(lease).await;
                    continue;
                }
                other => other?,
            };
            if response.succeeded {
                return Ok(Settled { outcome: aborted, revision: response.revision });
            }
            return match response.results.first() {
                Some(OpResult::Range(kvs)) if !kvs.is_empty() => settled(&kvs[0]),
                _ => Err(Error::Internal { detail: format!("{key} is neither absent nor present") }),
            };
        }
        Err(redkite_meta::Error::Unavailable("the lease for outcomes keeps expiring".into()).into())
    }
}

fn settled(kv: &KeyValue) -> Result<Settled> {
    Ok(Settled { outcome: entry::parse(&kv.key, &kv.value)?, revision: kv.mod_revision })
}

/// The floor's stored form: zero-padded, so that comparing bytes compares revisions.
pub fn floor_value(floor: Revision) -> String {
    format!("{:019}", floor.0)
}

/// The floor as it is stored.
pub fn read_floor(kv: &KeyValue) -> Result<Revision> {
    let text = std::str::from_utf8(&kv.value).unwrap_or_default();
    let floor = text
        .parse()
        .map_err(|_| Error::Damaged { what: kv.key.clone(), detail: format!("want a revision, found {text:?}") })?;
    Ok(Revision(floor))
}

/// The floor under ids is not above `oldest`.
fn floor_allows(keys: &UserKeys, oldest: Revision) -> Compare {
    let above = floor_value(oldest.next());
    Compare { key: keys.id_floor(), op: CompareOp::Less, target: CompareTarget::Value(Bytes::from(above)) }
}

fn op_bytes(op: &Op) -> usize {
    let payload = match op {
        Op::Put { key, value, .. } => key.len() + value.len(),
        Op::Delete(KeyRange::Exact(key)) | Op::Range(KeyRange::Exact(key)) => key.len(),
        Op::Delete(_) | Op::Range(_) | Op::Txn(_) => 0,
    };
    OP_OVERHEAD_BYTES + payload
}
