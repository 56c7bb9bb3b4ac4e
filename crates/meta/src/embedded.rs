//! The metadata store of one process: the state machine in memory, made durable in one local file by redb.
//!
//! Flow: a request joins the writer's queue; the writer runs all that queued up on a copy of the state, commits what
//! changed (one fsync for all of them), publishes the copy and answers. Reads and watches are served from the published
//! state in memory. See `writer.rs` for why that order, `disk.rs` for the file.
//!
//! Invariants: nothing is visible or answered before it is durable; a request whose commit failed has not happened
//! unless it says [`Error::OutcomeUnknown`]; memory and file never differ; one process at a time has the file.
//!
//! Leases expire by the time the store has been running, which the file remembers: a lease granted for a day ends after a
//! day of running, however often the process is restarted, and never earlier than a day of the world's.

mod codec;
mod disk;
mod file;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use async_trait::async_trait;
use redkite_types::Revision;
use tokio::sync::{Semaphore, oneshot};

use self::disk::Disk;
use self::writer::{Queued, Reply, Request, Writer};
use crate::clock::{Clock, MonotonicClock, RunningTime};
use crate::published::Published;
use crate::{
    Error, KeyRange, KeyValue, LeaseId, MetaStore, RangeRequest, RangeResponse, Result, Txn, TxnResponse, WatchStream,
    metrics, validate,
};

/// Memory of the requests that wait for the writer at most; further ones wait outside.
const QUEUE_BYTES_MAX: usize = 64 << 20;
/// The unit in which that memory is shared out: every request takes at least one.
const QUEUE_SHARE_BYTES: usize = 1 << 10;

/// How to open an [`EmbeddedStore`].
#[derive(Debug, Clone)]
pub struct EmbeddedOptions {
    /// By which leases expire while the process runs.
    pub clock: Arc<dyn Clock>,
}

impl Default for EmbeddedOptions {
    fn default() -> Self {
        Self { clock: Arc::new(MonotonicClock::new()) }
    }
}

/// A metadata store in one local file.
#[derive(Debug)]
pub struct EmbeddedStore {
    published: Arc<Published>,
    /// [`None`] only while the store is dropped.
    queue: Option<mpsc::Sender<Queued>>,
    shares: Arc<Semaphore>,
    commits: Arc<AtomicU64>,
    waiting: Arc<AtomicUsize>,
    writer: Option<JoinHandle<()>>,
}

impl EmbeddedStore {
    /// Opens the file, creating it if it does not exist. Reads and verifies all of it: blocks for some milliseconds.
    ///
    /// [`Error::Locked`] if another process has it, [`Error::NewerFormat`], [`Error::Corrupt`].
    pub fn open(path: &Path, options: EmbeddedOptions) -> Result<Self> {
        let (disk, state, ran) = Disk::open(path)?;
        let published = Arc::new(Published::new(state));
        let commits = Arc::new(AtomicU64::new(0));
        let waiting = Arc::new(AtomicUsize::new(0));
        let (sender, queue) = mpsc::channel();
        let writer = Writer {
            disk,
            published: Arc::clone(&published),
            queue,
            clock: Arc::new(RunningTime::resume(options.clock, ran)),
            commits: Arc::clone(&commits),
            waiting: Arc::clone(&waiting),
            unsettled: None,
            failing: false,
        };
        let thread = std::thread::Builder::new()
            .name("meta-writer".to_owned())
            .spawn(move || writer.run())
            .map_err(|source| Error::Io { what: "start the metadata writer thread".to_owned(), source })?;
        Ok(Self {
            published,
            queue: Some(sender),
            shares: Arc::new(Semaphore::new(QUEUE_BYTES_MAX / QUEUE_SHARE_BYTES)),
            commits,
            waiting,
            writer: Some(thread),
        })
    }

    /// Durable commits since it was opened; at most one for each request that changed something, fewer under load.
    pub fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }

    /// Requests that the writer has not taken up yet.
    pub fn queued(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Ends the leases whose term is over now instead of within half a second.
    pub async fn expire_leases(&self) -> Result<()> {
        self.ask(0, Request::ExpireLeases).await
    }

    async fn ask<T>(&self, bytes: usize, request: impl FnOnce(Reply<T>) -> Request) -> Result<T> {
        let stopped = || Error::Unavailable("the metadata writer has stopped; restart the process".to_owned());
        let shares = u32::try_from(bytes / QUEUE_SHARE_BYTES + 1).unwrap_or(u32::MAX);
        let share = Arc::clone(&self.shares).acquire_many_owned(shares).await.map_err(|_| stopped())?;
        let (reply, answer) = oneshot::channel();
        let queue = self.queue.as_ref().ok_or_else(stopped)?;
        self.waiting.fetch_add(1, Ordering::Relaxed);
        queue.send(Queued { request: request(reply), share }).map_err(|_| stopped())?;
        match answer.await {
            Ok(answer) => answer,
            Err(_) => Err(Error::OutcomeUnknown("the metadata writer stopped on the way".to_owned())),
        }
    }
}

impl Drop for EmbeddedStore {
    /// Waits for what was queued and for the file to be closed, so that it can be opened again at once.
    fn drop(&mut self) {
        self.queue = None;
        if self.writer.take().is_some_and(|writer| writer.join().is_err()) {
            tracing::error!("the metadata writer had died");
        }
    }
}

#[async_trait]
impl MetaStore for EmbeddedStore {
    async fn get(&self, key: &str) -> Result<Option<KeyValue>> {
        Ok(self.published.snapshot().get(key))
    }

    async fn range(&self, request: RangeRequest) -> Result<RangeResponse> {
        self.published.snapshot().range(&request)
    }

    async fn txn(&self, txn: Txn) -> Result<TxnResponse> {
        let answer = match validate::check_txn(&txn) {
            Ok(bytes) => self.ask(bytes, |reply| Request::Txn(txn, reply)).await,
            Err(error) => Err(error),
        };
        metrics::txn_done("embedded", &answer);
        answer
    }

    async fn watch(&self, range: KeyRange, from: Revision) -> Result<WatchStream> {
        self.published.watch(range, from)
    }

    async fn lease_grant(&self, ttl: Duration) -> Result<LeaseId> {
        validate::check_ttl(ttl)?;
        self.ask(0, |reply| Request::LeaseGrant(ttl, reply)).await
    }

    async fn lease_keep_alive(&self, lease: LeaseId) -> Result<()> {
        self.ask(0, |reply| Request::LeaseKeepAlive(lease, reply)).await
    }

    async fn lease_revoke(&self, lease: LeaseId) -> Result<()> {
        self.ask(0, |reply| Request::LeaseRevoke(lease, reply)).await
    }

    async fn compact(&self, revision: Revision) -> Result<()> {
        self.ask(0, |reply| Request::Compact(revision, reply)).await
    }
}
