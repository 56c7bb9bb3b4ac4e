//! One key's versions: the newest at hand, those before it oldest first.
//!
//! Invariants: revisions rise; nothing but the newest is ever replaced; the oldest version is the one that was current
//! at the compaction, or the key's first.

use std::sync::Arc;

use bytes::Bytes;
use imbl::Vector;
use redkite_types::Revision;

use crate::{Event, KeyValue, LeaseId};

/// A key as one transaction left it.
#[derive(Debug, PartialEq, Eq)]
pub struct Record {
    /// The key.
    pub key: Arc<str>,
    /// When it was put or deleted.
    pub revision: Revision,
    /// Its value, [`None`] if this is a deletion.
    pub value: Option<Bytes>,
    /// When it came into being; 0 if this is a deletion.
    pub create_revision: Revision,
    /// Number of puts since then; 0 if this is a deletion.
    pub version: i64,
    /// The lease it dies with.
    pub lease: Option<LeaseId>,
}

impl Record {
    /// A deletion.
    pub(crate) fn deletion(key: Arc<str>, revision: Revision) -> Self {
        Self { key, revision, value: None, create_revision: Revision::ZERO, version: 0, lease: None }
    }

    /// The key as a reader sees it; [`None`] if this is a deletion.
    pub(crate) fn key_value(&self, keys_only: bool) -> Option<KeyValue> {
        let value = self.value.as_ref()?;
        Some(KeyValue {
            key: self.key.as_ref().to_owned(),
            value: if keys_only { Bytes::new() } else { value.clone() },
            create_revision: self.create_revision,
            mod_revision: self.revision,
            version: self.version,
            lease: self.lease,
        })
    }

    /// What a watch reports of it.
    pub(crate) fn event(&self) -> Event {
        match self.key_value(false) {
            Some(key_value) => Event::Put(key_value),
            None => Event::Delete { key: self.key.as_ref().to_owned(), revision: self.revision },
        }
    }

    /// What it costs to keep, roughly.
    pub(crate) fn bytes(&self) -> usize {
        size_of::<Self>() + self.key.len() + self.value.as_ref().map_or(0, Bytes::len)
    }
}

/// All versions of one key since the last compaction.
#[derive(Debug, Clone)]
pub(crate) struct Chain {
    newest: Arc<Record>,
    older: Option<Arc<Vector<Arc<Record>>>>,
}

impl Chain {
    pub(crate) fn new(first: Arc<Record>) -> Self {
        Self { newest: first, older: None }
    }

    pub(crate) fn newest(&self) -> &Arc<Record> {
        &self.newest
    }

    pub(crate) fn push(&mut self, record: Arc<Record>) {
        let replaced = std::mem::replace(&mut self.newest, record);
        Arc::make_mut(self.older.get_or_insert_default()).push_back(replaced);
    }

    /// The version that was current at `revision`; a deletion counts.
    pub(crate) fn at(&self, revision: Revision) -> Option<&Arc<Record>> {
        if self.newest.revision <= revision {
            return Some(&self.newest);
        }
        let older = self.older.as_ref()?;
        let (mut low, mut high) = (0, older.len());
        while low < high {
            let middle = (low + high) / 2;
            if older.get(middle)?.revision <= revision {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        older.get(low.checked_sub(1)?)
    }

    /// Forgets what was replaced at or before `revision`; false if nothing is left worth keeping.
    pub(crate) fn compact(&mut self, revision: Revision) -> bool {
        if self.newest.revision <= revision {
            self.older = None;
            return self.newest.value.is_some();
        }
        if let Some(older) = self.older.take() {
            // A version is still needed if the one after it came after `revision`.
            let first = older.iter().rposition(|record| record.revision <= revision).unwrap_or(0);
            let mut kept: Vector<_> = older.skip(first);
            if kept.front().is_some_and(|oldest| oldest.revision <= revision && oldest.value.is_none()) {
                kept.pop_front();
            }
            if !kept.is_empty() {
                self.older = Some(Arc::new(kept));
            }
        }
        true
    }
}
