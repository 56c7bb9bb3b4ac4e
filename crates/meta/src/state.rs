//! The store's state machine: etcd's semantics as plain data, without IO, threads or a clock.
//!
//! A [`State`] is a value: a clone costs a few reference counts and shares everything, so a backend works on a clone,
//! makes what changed durable and then swaps it in; whoever holds the old one keeps reading it undisturbed.
//!
//! | part | holds |
//! |---|---|
//! | `keys` | every key's versions since the compaction, deletions included |
//! | `log` | for every revision since the compaction, the records it wrote; what watches read |
//! | `leases` | the living leases and the keys that hang on them |
//!
//! `keys` and `log` share their records. Invariants: `log` has an entry for each revision in `(compacted, revision]`
//! and no other; a lookup costs O(log keys), as does a change per key.

mod chain;
mod lease;
mod transaction;

use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use imbl::OrdMap;
use redkite_types::Revision;

use self::chain::Chain;
pub use self::chain::Record;
use self::lease::Lease;
use crate::{Error, Event, KeyRange, KeyValue, LeaseId, RangeRequest, RangeResponse, Result, WatchBatch, validate};

/// History kept at most, in revisions: some minutes of brisk commits, so that a watch that was interrupted finds its
/// place again, in a few megabytes.
pub const HISTORY_REVISIONS_MAX: usize = 10_000;
/// History kept at most, in bytes of keys and values.
pub const HISTORY_BYTES_MAX: usize = 16 << 20;

/// Everything one revision changed.
#[derive(Debug, PartialEq, Eq)]
pub struct Change {
    /// The revision.
    pub revision: Revision,
    /// In key order, each key once.
    pub records: Vec<Arc<Record>>,
}

impl Change {
    /// What a watch of `range` sees of it.
    pub fn batch(&self, range: &KeyRange) -> Option<WatchBatch> {
        let seen = self.records.iter().filter(|record| range.contains(&record.key));
        let events: Vec<Event> = seen.map(|record| record.event()).collect();
        (!events.is_empty()).then_some(WatchBatch { revision: self.revision, events })
    }

    /// What it costs to keep, roughly.
    pub fn bytes(&self) -> usize {
        self.records.iter().map(|record| record.bytes()).sum()
    }
}

/// A lease as an earlier process left it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StoredLease {
    pub(crate) id: LeaseId,
    pub(crate) ttl: Duration,
    /// When it ends; none if it was renewed since that was written.
    pub(crate) deadline: Option<Duration>,
}

/// All keys at all revisions since the last compaction.
#[derive(Clone)]
pub struct State {
    revision: Revision,
    compacted: Revision,
    keys: OrdMap<Arc<str>, Chain>,
    log: OrdMap<Revision, Arc<Change>>,
    log_bytes: usize,
    leases: OrdMap<LeaseId, Lease>,
    lease_last: i64,
}

impl State {
    /// An empty store at revision 1, as a fresh etcd.
    pub fn new() -> Self {
        Self {
            revision: Revision(1),
            compacted: Revision::ZERO,
            keys: OrdMap::new(),
            log: OrdMap::new(),
            log_bytes: 0,
            leases: OrdMap::new(),
            lease_last: 0,
        }
    }

    /// The newest revision.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// The revision of the last compaction; 0 if there was none.
    pub fn compacted(&self) -> Revision {
        self.compacted
    }

    /// The last lease id given out.
    pub fn lease_last(&self) -> i64 {
        self.lease_last
    }

    /// One key as it is now.
    pub fn get(&self, key: &str) -> Option<KeyValue> {
        self.live(key)?.key_value(false)
    }

    /// A set of keys as of one revision.
    pub fn range(&self, request: &RangeRequest) -> Result<RangeResponse> {
        validate::check_range(&request.range)?;
        let revision = request.revision.unwrap_or(self.revision);
        validate::check_revision(revision)?;
        if revision < self.compacted {
            return Err(Error::Compacted { asked: revision, oldest: self.compacted });
        }
        if revision > self.revision {
            return Err(Error::FutureRevision { asked: revision });
        }
        let limit = request.limit.unwrap_or(usize::MAX);
        let mut kvs = self
            .chains(&request.range)
            .filter_map(|chain| chain.at(revision)?.key_value(request.keys_only))
            .take(limit.saturating_add(1))
            .collect::<Vec<_>>();
        let more = kvs.len() > limit;
        kvs.truncate(limit);
        Ok(RangeResponse { kvs, revision, more })
    }

    /// What happened from `from` on, oldest first.
    pub fn changes(&self, from: Revision) -> Result<impl Iterator<Item = &Arc<Change>>> {
        if from <= self.compacted {
            return Err(Error::Compacted { asked: from, oldest: self.compacted });
        }
        Ok(self.log.range(from..).map(|(_, change)| change))
    }

    /// Forgets the history before `revision`, which stays readable; watches can start after it.
    pub fn compact(&mut self, revision: Revision) -> Result<()> {
        if revision <= self.compacted {
            return Err(Error::Compacted { asked: revision, oldest: self.compacted });
        }
        if revision > self.revision {
            return Err(Error::FutureRevision { asked: revision });
        }
        let gone = self.log.range(..=revision).map(|(_, change)| Arc::clone(change)).collect::<Vec<_>>();
        for change in gone {
            self.log.remove(&change.revision);
            self.log_bytes = self.log_bytes.saturating_sub(change.bytes());
            for record in &change.records {
                if self.keys.get_mut(&record.key).is_some_and(|chain| !chain.compact(revision)) {
                    self.keys.remove(&record.key);
                }
            }
        }
        self.compacted = revision;
        Ok(())
    }

    /// Where to compact if the history has outgrown its limits: half of it goes, so that this is rare.
    pub fn overflow(&self) -> Option<Revision> {
        if self.log.len() <= HISTORY_REVISIONS_MAX && self.log_bytes <= HISTORY_BYTES_MAX {
            return None;
        }
        let mut revisions = self.log.len();
        let mut bytes = self.log_bytes;
        for (revision, change) in &self.log {
            revisions -= 1;
            bytes = bytes.saturating_sub(change.bytes());
            if revisions <= HISTORY_REVISIONS_MAX / 2 && bytes <= HISTORY_BYTES_MAX / 2 {
                return Some(*revision);
            }
        }
        Some(self.revision)
    }

    /// The state of an earlier process: everything as of the compaction, then every change since (see
    /// [`State::replay`]), then the leases (see [`State::finish`]).
    pub(crate) fn restore(compacted: Revision, lease_last: i64) -> Self {
        Self { revision: compacted.max(Revision(1)), compacted, lease_last, ..Self::new() }
    }

    /// Adds a key as it was at the compaction.
    pub(crate) fn restore_key(&mut self, record: Record) -> Result<()> {
        if record.revision > self.compacted || record.value.is_none() {
            return Err(Error::Corrupt(format!(
                "key {:?} of revision {} lies in the base of revision {}",
                record.key, record.revision, self.compacted
            )));
        }
        self.push(Arc::new(record));
        Ok(())
    }

    /// Does a change again that an earlier process did.
    pub(crate) fn replay(&mut self, change: Change) -> Result<()> {
        let wanted = self.revision.next();
        if change.revision != wanted || change.records.is_empty() {
            return Err(Error::Corrupt(format!("revision {} is missing, {} comes instead", wanted, change.revision)));
        }
        for record in &change.records {
            self.push(Arc::clone(record));
        }
        self.close_revision(change.records);
        Ok(())
    }

    /// Adds the leases that were alive and hangs their keys on them. One whose end is not known starts a term now.
    pub(crate) fn finish(&mut self, leases: Vec<StoredLease>, now: Duration) -> Result<()> {
        let restore = |StoredLease { id, ttl, deadline }| match deadline {
            Some(deadline) => (id, Lease::until(ttl, deadline)),
            None => (id, Lease::new(ttl, now)),
        };
        self.leases = leases.into_iter().map(restore).collect();
        self.attach_restored()
    }

    fn live(&self, key: &str) -> Option<&Record> {
        self.keys.get(key).map(|chain| chain.newest().as_ref()).filter(|record| record.value.is_some())
    }

    fn chains<'s>(&'s self, range: &'s KeyRange) -> impl Iterator<Item = &'s Chain> {
        let start = match range {
            KeyRange::Exact(key) => key,
            KeyRange::Prefix(prefix) => prefix,
            KeyRange::Between(start, _) => start,
        };
        let from = (Bound::Included(start.as_str()), Bound::Unbounded);
        // Keys of a set stand side by side, so the first one outside ends it.
        self.keys.range::<_, str>(from).take_while(|(key, _)| range.contains(key)).map(|(_, chain)| chain)
    }

    /// Makes the records one revision, if there are any.
    fn close_revision(&mut self, mut records: Vec<Arc<Record>>) -> Option<Arc<Change>> {
        if records.is_empty() {
            return None;
        }
        records.sort_by(|a, b| a.key.cmp(&b.key));
        self.revision = self.revision.next();
        let change = Arc::new(Change { revision: self.revision, records });
        self.log_bytes += change.bytes();
        self.log.insert(self.revision, Arc::clone(&change));
        Some(change)
    }
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State")
            .field("revision", &self.revision)
            .field("compacted", &self.compacted)
            .field("keys", &self.keys.len())
            .finish_non_exhaustive()
    }
}

impl Default for State {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests;
