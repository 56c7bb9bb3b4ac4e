//! A store whose revisions go on where those of a lost one ended.
//!
//! Revisions are more than numbers of the store: ids begin with them, so that they sort by time; the floor under ids and the
//! horizon are compared with them; nodes hold them. Metadata that is restored into a new etcd, whose revisions begin at 1, would
//! have ids that sort before all older ones, and floors and horizons that lie in the future. So everything above this store sees
//! the store's own revisions with a *base* added, which is above any revision of the lost store. Plain arithmetic on what goes
//! in and comes out; nothing else is changed.
//!
//! What the lost store knew of the past nobody knows: revisions up to the base are compacted.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use redkite_types::Revision;

use crate::{
    Compare, CompareOp, CompareTarget, Error, Event, KeyRange, KeyValue, LeaseId, MetaStore, Op, OpResult,
    RangeRequest, RangeResponse, Result, Txn, TxnResponse, WatchBatch, WatchStream,
};

/// Another store, with a base added to its revisions.
#[derive(Debug)]
pub struct Rebased {
    inner: Arc<dyn MetaStore>,
    base: Revision,
}

impl Rebased {
    /// `inner`, which has no base of its own, with `base` added.
    pub fn new(inner: Arc<dyn MetaStore>, base: Revision) -> Self {
        Self { inner, base }
    }

    fn up(&self, revision: Revision) -> Revision {
        Revision(revision.0 + self.base.0)
    }

    /// The inner store's number of a revision that is asked for.
    fn down(&self, revision: Revision) -> Result<Revision> {
        match revision.0 {
            // No revision at all: the inner store says so.
            ..=0 => Ok(revision),
            asked if asked <= self.base.0 => Err(Error::Compacted { asked: revision, oldest: self.base.next() }),
            asked => Ok(Revision(asked - self.base.0)),
        }
    }

    /// What the inner store compares with to the same effect. Its keys have revisions from 1 on, and 0 where they are absent;
    /// seen from here that is above the base, and 0.
    fn compared(&self, op: CompareOp, revision: Revision) -> Revision {
        match (op, revision.0 - self.base.0) {
            _ if revision.0 <= 0 => revision,
            (_, above) if above > 0 => Revision(above),
            // Of the time of the lost store: no key has it, keys that are there are above it, absent ones are below.
            (CompareOp::Equal | CompareOp::NotEqual, _) => Revision(-1),
            (CompareOp::Less, _) => Revision(1),
            (CompareOp::Greater, _) => Revision::ZERO,
        }
    }

    fn compare(&self, Compare { key, op, target }: Compare) -> Compare {
        let target = match target {
            CompareTarget::CreateRevision(revision) => CompareTarget::CreateRevision(self.compared(op, revision)),
            CompareTarget::ModRevision(revision) => CompareTarget::ModRevision(self.compared(op, revision)),
            other @ (CompareTarget::Version(_) | CompareTarget::Value(_)) => other,
        };
        Compare { key, op, target }
    }

    fn ops(&self, ops: Vec<Op>) -> Vec<Op> {
        let op = |op| match op {
            Op::Txn(txn) => Op::Txn(self.transaction(txn)),
            other => other,
        };
        ops.into_iter().map(op).collect()
    }

    fn transaction(&self, Txn { compares, then, otherwise }: Txn) -> Txn {
        let compares = compares.into_iter().map(|compare| self.compare(compare)).collect();
        Txn { compares, then: self.ops(then), otherwise: self.ops(otherwise) }
    }

    fn response(&self, response: TxnResponse) -> TxnResponse {
        let result = |result| match result {
            OpResult::Range(kvs) => OpResult::Range(self.kvs(kvs)),
            OpResult::Txn(nested) => OpResult::Txn(self.response(nested)),
            other @ (OpResult::Put | OpResult::Deleted(_)) => other,
        };
        let results = response.results.into_iter().map(result).collect();
        TxnResponse { revision: self.up(response.revision), results, ..response }
    }

    fn kv(&self, kv: KeyValue) -> KeyValue {
        KeyValue { create_revision: self.up(kv.create_revision), mod_revision: self.up(kv.mod_revision), ..kv }
    }

    fn kvs(&self, kvs: Vec<KeyValue>) -> Vec<KeyValue> {
        kvs.into_iter().map(|kv| self.kv(kv)).collect()
    }

    fn batch(&self, batch: WatchBatch) -> WatchBatch {
        let event = |event| match event {
            Event::Put(kv) => Event::Put(self.kv(kv)),
            Event::Delete { key, revision } => Event::Delete { key, revision: self.up(revision) },
        };
        WatchBatch { revision: self.up(batch.revision), events: batch.events.into_iter().map(event).collect() }
    }

    fn error(&self, error: Error) -> Error {
        match error {
            Error::Compacted { asked, oldest } => {
                let oldest = if oldest == Revision::ZERO { oldest } else { self.up(oldest) };
                Error::Compacted { asked: self.up(asked), oldest }
            }
            Error::FutureRevision { asked } => Error::FutureRevision { asked: self.up(asked) },
            other => other,
        }
    }
}

#[async_trait]
impl MetaStore for Rebased {
    fn base(&self) -> Revision {
        self.base
    }

    async fn range(&self, request: RangeRequest) -> Result<RangeResponse> {
        let revision = request.revision.map(|revision| self.down(revision)).transpose()?;
        let answer = self.inner.range(RangeRequest { revision, ..request }).await;
        let RangeResponse { kvs, revision, more } = answer.map_err(|error| self.error(error))?;
        Ok(RangeResponse { kvs: self.kvs(kvs), revision: self.up(revision), more })
    }

    async fn txn(&self, txn: Txn) -> Result<TxnResponse> {
        self.inner.txn(self.transaction(txn)).await.map(|response| self.response(response))
    }

    async fn watch(&self, range: KeyRange, from: Revision) -> Result<WatchStream> {
        let here = Self { inner: self.inner.clone(), base: self.base };
        let stream = self.inner.watch(range, self.down(from)?).await.map_err(|error| self.error(error))?;
        Ok(stream.map(move |batch| batch.map(|batch| here.batch(batch)).map_err(|error| here.error(error))).boxed())
    }

    async fn lease_grant(&self, ttl: Duration) -> Result<LeaseId> {
        self.inner.lease_grant(ttl).await
    }

    async fn lease_keep_alive(&self, lease: LeaseId) -> Result<()> {
        self.inner.lease_keep_alive(lease).await
    }

    async fn lease_revoke(&self, lease: LeaseId) -> Result<()> {
        self.inner.lease_revoke(lease).await
    }

    async fn compact(&self, revision: Revision) -> Result<()> {
        self.inner.compact(self.down(revision)?).await.map_err(|error| self.error(error))
    }
}

#[cfg(test)]
mod tests;
