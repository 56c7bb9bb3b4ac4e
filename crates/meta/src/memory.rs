//! The metadata store in memory, for tests: the state machine behind a lock.
//!
//! Leases expire at the first call after their term, or when [`MemoryStore::expire_leases`] is called.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use redkite_types::Revision;

use crate::clock::{Clock, MonotonicClock};
use crate::published::Published;
use crate::state::State;
use crate::{
    KeyRange, KeyValue, LeaseId, MetaStore, RangeRequest, RangeResponse, Result, Txn, TxnResponse, WatchStream,
    metrics, validate,
};

/// A metadata store that lives and dies with the process.
#[derive(Debug)]
pub struct MemoryStore {
    published: Published,
    writer: Mutex<()>,
    clock: Arc<dyn Clock>,
}

impl MemoryStore {
    /// An empty store at revision 1.
    pub fn new() -> Self {
        Self::with_clock(Arc::new(MonotonicClock::new()))
    }

    /// An empty store whose leases expire by `clock`.
    pub fn with_clock(clock: Arc<dyn Clock>) -> Self {
        Self { published: Published::new(State::new()), writer: Mutex::new(()), clock }
    }

    /// Ends the leases whose term is over and deletes their keys.
    pub fn expire_leases(&self) {
        let now = self.clock.now();
        if self.published.snapshot().next_expiry().is_none_or(|expiry| expiry > now) {
            return;
        }
        let _writing = self.writer.lock();
        let mut state = self.published.snapshot().as_ref().clone();
        for lease in state.expired_leases(now) {
            // Found a moment ago under the same lock.
            let _ = state.revoke_lease(lease);
        }
        self.published.publish(state);
    }

    fn write<T>(&self, change: impl FnOnce(&mut State) -> Result<T>) -> Result<T> {
        self.expire_leases();
        let _writing = self.writer.lock();
        let mut state = self.published.snapshot().as_ref().clone();
        let answer = change(&mut state)?;
        if let Some(revision) = state.overflow() {
            state.compact(revision)?;
        }
        self.published.publish(state);
        Ok(answer)
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl MetaStore for MemoryStore {
    async fn get(&self, key: &str) -> Result<Option<KeyValue>> {
        self.expire_leases();
        Ok(self.published.snapshot().get(key))
    }

    async fn range(&self, request: RangeRequest) -> Result<RangeResponse> {
        self.expire_leases();
        self.published.snapshot().range(&request)
    }

    async fn txn(&self, txn: Txn) -> Result<TxnResponse> {
        let answer = self.write(|state| state.apply(&txn)).map(|(response, _)| response);
        metrics::txn_done("memory", &answer);
        answer
    }

    async fn watch(&self, range: KeyRange, from: Revision) -> Result<WatchStream> {
        self.expire_leases();
        self.published.watch(range, from)
    }

    async fn lease_grant(&self, ttl: Duration) -> Result<LeaseId> {
        validate::check_ttl(ttl)?;
        self.write(|state| state.grant_lease(ttl, self.clock.now()))
    }

    async fn lease_keep_alive(&self, lease: LeaseId) -> Result<()> {
        self.write(|state| state.keep_lease_alive(lease, self.clock.now())).map(|_| ())
    }

    async fn lease_revoke(&self, lease: LeaseId) -> Result<()> {
        self.write(|state| state.revoke_lease(lease)).map(|_| ())
    }

    async fn compact(&self, revision: Revision) -> Result<()> {
        self.write(|state| state.compact(revision))
    }
}
