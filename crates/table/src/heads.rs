//! Which revision a reader has to have seen (S08).
//!
//! A request may use only a read that was sent after the request arrived. Requests join the next read, never the one
//! in flight, so at most one is in flight and the cost does not grow with the load. Where a read costs no more than a
//! look into memory, each request makes its own.
//!
//! Revisions only ever grow. Should the store be at an older one than this node has seen of it, the metadata has been put back
//! to an earlier state, by a backup that was restored under the running node. What the node knows of it is then another
//! history: it may neither serve it nor, above all, remove what was garbage there and is live again. So from then on nothing is
//! read until the node has been restarted. Only a read of the head finds out: reads that do without go on until there is one.
//! The same holds if the metadata was restored from a dump under the running node: its revisions are counted from another base
//! then, which stands beside the head and is read with it.

use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};

use redkite_meta::base::Base;
use redkite_meta::{KeyRange, KeyValue, MetaStore, RangeRequest};
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

/// The newest revision that is known here by other ways.
type Known = Box<dyn Fn() -> Revision + Send + Sync>;

/// The key that every commit puts.
struct Head {
    meta: Arc<dyn MetaStore>,
    key: String,
    known: Known,
    /// The newest revision that the store was at when it was read.
    newest: AtomicI64,
    /// What has become of the store that was read first, if anything.
    gone: OnceLock<Gone>,
}

/// Why what is known of the store is not true of it any more.
#[derive(Debug, Clone, Copy)]
enum Gone {
    /// It is at an older revision than it was.
    Back { seen: Revision, found: Revision },
    /// Its revisions are counted from another base.
    Restored,
}

impl HeadReader {
    /// Reads `key`, which every commit puts. `shared`: whether requests share reads (for a store across a network). `known`:
    /// the newest revision that is known by other ways, by which it is noticed that the store went back.
    pub fn new(
        meta: Arc<dyn MetaStore>,
        key: String,
        shared: bool,
        known: impl Fn() -> Revision + Send + Sync + 'static,
    ) -> Self {
        let (known, newest) = (Box::new(known), AtomicI64::new(0));
        let head = Arc::new(Head { meta, key, known, newest, gone: OnceLock::new() });
        let queue = shared.then(|| {
            let (sender, receiver) = mpsc::channel(WAITING_MAX);
            tokio::spawn(serve(head.clone(), receiver));
            sender
        });
        Self { head, queue }
    }

    /// The mod revision of the head, read after this call. [`Error::WentBack`] if the store is at an older revision than was
    /// known before, [`Error::Restored`] if it was restored from a dump; and for ever after.
    pub async fn read(&self) -> Result<Revision> {
        let Some(queue) = &self.queue else {
            let revision = self.head.read().await?;
            return self.check().map(|()| revision);
        };
        let (answer, answered) = oneshot::channel();
        queue.send(answer).await.map_err(|_| Error::ShuttingDown)?;
        let read = answered.await.map_err(|_| Error::ShuttingDown)?;
        self.check()?;
        read.map_err(|error| {
            let text = match &*error {
                redkite_meta::Error::Unavailable(text) => text.clone(),
                other => other.to_string(),
            };
            Error::Meta(redkite_meta::Error::Unavailable(text))
        })
    }

    /// The error of [`HeadReader::read`], if one of the reads before found out. Asks nobody.
    pub(crate) fn check(&self) -> Result<()> {
        match self.head.gone.get() {
            None => Ok(()),
            Some(&Gone::Back { seen, found }) => Err(Error::WentBack { seen, found }),
            Some(Gone::Restored) => Err(Error::Restored),
        }
    }
}

impl Head {
    async fn read(&self) -> redkite_meta::Result<Revision> {
        // Of reads at the same time an older one may return last; one that is sent after another returned is newer.
        let before = Revision(self.newest.load(Ordering::Acquire)).max((self.known)());
        let read = self.meta.range(RangeRequest::new(KeyRange::Prefix(self.key.clone()))).await?;
        let at = read.revision;
        let (head, beside): (Vec<KeyValue>, _) = read.kvs.into_iter().partition(|kv| kv.key == self.key);
        if !self.counts_from(&beside)? && self.gone.set(Gone::Restored).is_ok() {
            tracing::error!("the metadata was restored from a dump; this node has to be restarted");
        }
        if at < before && self.gone.set(Gone::Back { seen: before, found: at }).is_ok() {
            tracing::error!(%before, %at, "the metadata went back to an earlier state; this node has to be restarted");
        }
        self.newest.fetch_max(at.0, Ordering::AcqRel);
        Ok(head.first().map_or(Revision::ZERO, |head| head.mod_revision))
    }

    /// Whether what stands beside the head says that revisions are counted as this process does.
    fn counts_from(&self, beside: &[KeyValue]) -> redkite_meta::Result<bool> {
        let bases = beside.iter().map(|kv| Ok(Base::read(kv)?.of_whole(&kv.key).ok()));
        let bases = bases.collect::<redkite_meta::Result<Vec<_>>>()?;
        Ok(match bases[..] {
            [] => self.meta.base() == Revision::ZERO,
            [base] => base == Some(self.meta.base()),
            _ => false,
        })
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

impl fmt::Debug for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Head").field("key", &self.key).field("newest", &self.newest).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use redkite_meta::base::State;
    use redkite_meta::{MemoryStore, Op, Rebased, Txn};

    use super::*;

    async fn put(meta: &MemoryStore, key: &str) -> Revision {
        meta.txn(Txn { then: vec![Op::put(key, "x")], ..Txn::default() }).await.unwrap().revision
    }

    #[tokio::test]
    async fn the_head_is_where_it_was_put_however_far_the_store_is() {
        for shared in [false, true] {
            let meta = Arc::new(MemoryStore::new());
            let heads = HeadReader::new(meta.clone(), "head".into(), shared, || Revision::ZERO);
            assert_eq!(heads.read().await.unwrap(), Revision::ZERO);
            put(&meta, "other").await;
            assert_eq!(heads.read().await.unwrap(), Revision::ZERO);
            let revision = put(&meta, "head").await;
            put(&meta, "other").await;
            assert_eq!(heads.read().await.unwrap(), revision);
        }
    }

    #[tokio::test]
    async fn metadata_that_was_restored_is_read_no_more_by_who_ran_before() {
        for shared in [false, true] {
            let meta = Arc::new(MemoryStore::new());
            let opened = |meta: Arc<dyn MetaStore>| HeadReader::new(meta, "head".into(), shared, || Revision::ZERO);
            let before = opened(meta.clone());
            put(&meta, "head").await;
            before.read().await.unwrap();
            for (state, base) in [(State::Restoring, 0), (State::Restored, 1_000)] {
                let value = serde_json::to_vec(&Base::new(state, Revision(base), String::new(), 0)).unwrap();
                let head = put(&meta, "head").await;
                let beside = Txn { then: vec![Op::put("head/base", value)], ..Txn::default() };
                meta.txn(beside).await.unwrap();
                assert!(matches!(before.read().await, Err(Error::Restored)));
                let after = opened(Arc::new(Rebased::new(meta.clone(), Revision(1_000)))).read().await;
                match state {
                    State::Restoring => assert!(matches!(after, Err(Error::Restored))),
                    State::Restored => assert_eq!(after.unwrap(), Revision(1_000 + head.0)),
                }
            }
        }
    }

    #[tokio::test]
    async fn metadata_that_went_back_is_read_no_more() {
        for shared in [false, true] {
            let meta = Arc::new(MemoryStore::new());
            let seen = Arc::new(AtomicI64::new(0));
            let known = {
                let seen = seen.clone();
                move || Revision(seen.load(Ordering::Relaxed))
            };
            let heads = HeadReader::new(meta.clone(), "head".into(), shared, known);
            let found = put(&meta, "head").await;
            heads.read().await.unwrap();
            // Seen by other ways only, and of something else than the head.
            seen.store(found.0 + 1, Ordering::Relaxed);
            let error = heads.read().await.unwrap_err();
            let went_back = matches!(error, Error::WentBack { seen, found: at } if (seen, at) == (found.next(), found));
            assert!(went_back, "{error}");
            // What is written now belongs to another history.
            put(&meta, "head").await;
            put(&meta, "head").await;
            heads.read().await.unwrap_err();
        }
    }
}
