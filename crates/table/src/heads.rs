//! Which revision a reader has to have seen (S08).
//!
//! A request may use only a read that was sent after the request arrived. Requests join the next read, never the one
//! in flight, so at most one is in flight and the cost does not grow with the load. Where a read costs no more than a
//! look into memory, each request makes its own.
//!
//! The head only ever moves forward. Should it not, the metadata has been put back to an earlier state, by a backup that was
//! restored under the running node. What the node knows of it is then another history: it may neither serve it nor, above all,
//! remove what was garbage there and is live again. So from then on nothing is read until the node has been restarted.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};

use redkite_meta::MetaStore;
use redkite_types::Revision;
use tokio::sync::{mpsc, oneshot};

use crate::{Error, Result};

/// Most requests waiting for the next read; beyond it callers wait for a place.
const WAITING_MAX: usize = 65_536;

type Answer = oneshot::Sender<std::result::Result<Revision, Arc<redkite_meta::Error>>>;

/// Reads the newest revision any reader has to have seen.
#[derive(Debug)]
pub struct HeadReader {
    head: Arc<Head>,
    queue: Option<mpsc::Sender<Answer>>,
}

/// The key that every commit puts.
#[derive(Debug)]
struct Head {
    meta: Arc<dyn MetaStore>,
    key: String,
    /// The newest revision that was read.
    newest: AtomicI64,
    /// From where to where it has gone back, if it ever has.
    went_back: OnceLock<(Revision, Revision)>,
}

impl HeadReader {
    /// Reads `key`, which every commit puts. `shared`: whether requests share reads (for a store across a network).
    pub fn new(meta: Arc<dyn MetaStore>, key: String, shared: bool) -> Self {
        let head = Arc::new(Head { meta, key, newest: AtomicI64::new(0), went_back: OnceLock::new() });
        let queue = shared.then(|| {
            let (sender, receiver) = mpsc::channel(WAITING_MAX);
            tokio::spawn(serve(head.clone(), receiver));
            sender
        });
        Self { head, queue }
    }

    /// The mod revision of the head, read after this call. [`Error::WentBack`] if it is older than one read before, and for
    /// ever after.
    pub async fn read(&self) -> Result<Revision> {
        let Some(queue) = &self.queue else {
            let revision = self.head.read().await?;
            return self.head.check().map(|()| revision);
        };
        let (answer, answered) = oneshot::channel();
        queue.send(answer).await.map_err(|_| Error::ShuttingDown)?;
        let read = answered.await.map_err(|_| Error::ShuttingDown)?;
        self.head.check()?;
        read.map_err(|error| Error::Meta(redkite_meta::Error::Unavailable(error.to_string())))
    }
}

impl Head {
    async fn read(&self) -> redkite_meta::Result<Revision> {
        // Of reads at the same time an older one may return last; one that is sent after another returned is newer.
        let before = Revision(self.newest.load(Ordering::Acquire));
        let revision = self.meta.get(&self.key).await?.map_or(Revision::ZERO, |kv| kv.mod_revision);
        if revision < before && self.went_back.set((before, revision)).is_ok() {
            tracing::error!(%before, %revision, "the metadata went back to an earlier state; this node has to be restarted");
        }
        self.newest.fetch_max(revision.0, Ordering::AcqRel);
        Ok(revision)
    }

    fn check(&self) -> Result<()> {
        match self.went_back.get() {
            None => Ok(()),
            Some(&(seen, found)) => Err(Error::WentBack { seen, found }),
        }
    }
}

async fn serve(head: Arc<Head>, mut queue: mpsc::Receiver<Answer>) {
    let mut batch = Vec::new();
    while queue.recv_many(&mut batch, WAITING_MAX).await > 0 {
        metrics::counter!("redkite_head_reads_total").increment(1);
        let result = head.read().await.map_err(Arc::new);
        for answer in batch.drain(..) {
            // A requester that went away needs no answer.
            let _ = answer.send(result.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use redkite_meta::{KeyRange, MemoryStore, Op, Txn};

    use super::*;

    #[tokio::test]
    async fn metadata_that_went_back_is_read_no_more() {
        for shared in [false, true] {
            let meta = Arc::new(MemoryStore::new());
            let heads = HeadReader::new(meta.clone(), "head".into(), shared);
            let put = async |op: Op| meta.txn(Txn { then: vec![op], ..Txn::default() }).await.unwrap();
            assert_eq!(heads.read().await.unwrap(), Revision::ZERO);
            put(Op::put("other", "x")).await;
            let revision = put(Op::put("head", "x")).await.revision;
            assert_eq!(heads.read().await.unwrap(), revision);
            // As if from before the first commit.
            put(Op::Delete(KeyRange::Exact("head".into()))).await;
            let error = heads.read().await.unwrap_err();
            assert!(
                matches!(error, Error::WentBack { seen, found } if (seen, found) == (revision, Revision::ZERO)),
                "{error}"
            );
            // What is written now belongs to another history.
            put(Op::put("head", "x")).await;
            heads.read().await.unwrap_err();
        }
    }
}
