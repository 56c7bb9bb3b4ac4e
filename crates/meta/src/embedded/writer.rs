//! The thread that alone changes the embedded store, a batch at a time.
//!
//! A batch is whatever has queued up while the last one was made durable. Its requests run in order on a clone of the
//! published state, each seeing those before it; then everything that changed becomes durable in one commit; then the
//! clone is published; then everybody gets their answer. So nobody sees or hears of anything that is not durable, and
//! if the commit fails the clone is dropped and nothing has happened.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use redkite_types::Revision;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::disk::{self, CommitFailed, Counters, Disk, Durable, Failure};
use crate::clock::Clock;
use crate::published::Published;
use crate::state::State;
use crate::{Error, LeaseId, Result, Txn, TxnResponse, metrics};

/// Most requests of one commit, so that the first of them does not wait for too many others.
const BATCH_REQUESTS_MAX: usize = 256;
/// A batch takes no further requests once it changed this much.
const BATCH_BYTES_MAX: usize = 8 << 20;
/// Leases are looked at this often at least; a term ends at most this much late.
const LEASE_SWEEP_INTERVAL: Duration = Duration::from_millis(500);
/// While nothing else is committed, the time that has passed is written this often, so that a restart sets leases back by
/// no more.
const RUNNING_TIME_INTERVAL: Duration = Duration::from_secs(600);

/// What a caller wants done, and where the answer goes.
#[derive(Debug)]
pub(super) enum Request {
    Txn(Txn, Reply<TxnResponse>),
    LeaseGrant(Duration, Reply<LeaseId>),
    LeaseKeepAlive(LeaseId, Reply<()>),
    LeaseRevoke(LeaseId, Reply<()>),
    Compact(Revision, Reply<()>),
    ExpireLeases(Reply<()>),
}

pub(super) type Reply<T> = oneshot::Sender<Result<T>>;

/// A request and the share of the queue's memory it holds until it is answered.
#[derive(Debug)]
pub(super) struct Queued {
    pub(super) request: Request,
    pub(super) share: OwnedSemaphorePermit,
}

/// An answer that waits for the commit.
enum Answer {
    Txn(Reply<TxnResponse>, Result<TxnResponse>),
    Lease(Reply<LeaseId>, Result<LeaseId>),
    Done(Reply<()>, Result<()>),
}

impl Answer {
    fn send(self, failed: Option<&dyn Fn() -> Error>) {
        // Nobody may be waiting any more; the request counts all the same.
        let _ = match (self, failed) {
            (Answer::Txn(reply, answer), None) => reply.send(answer).is_ok(),
            (Answer::Lease(reply, answer), None) => reply.send(answer).is_ok(),
            (Answer::Done(reply, answer), None) => reply.send(answer).is_ok(),
            (Answer::Txn(reply, _), Some(error)) => reply.send(Err(error())).is_ok(),
            (Answer::Lease(reply, _), Some(error)) => reply.send(Err(error())).is_ok(),
            (Answer::Done(reply, _), Some(error)) => reply.send(Err(error())).is_ok(),
        };
    }
}

/// A batch while its requests run.
struct Batch {
    state: State,
    durable: Vec<Durable>,
    bytes: usize,
    answers: Vec<(Answer, OwnedSemaphorePermit)>,
}

/// The writer thread's own things.
pub(super) struct Writer {
    pub(super) disk: Disk,
    pub(super) published: Arc<Published>,
    pub(super) queue: Receiver<Queued>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) commits: Arc<AtomicU64>,
    /// Requests in the queue.
    pub(super) waiting: Arc<AtomicUsize>,
    /// A state of which is not known whether it is in the file, because the file could not be opened again.
    pub(super) unsettled: Option<State>,
    /// The last commit failed: nothing is tried again in a hurry.
    pub(super) failing: bool,
}

impl Writer {
    /// Runs until the store is dropped.
    pub(super) fn run(mut self) {
        while let Some(first) = self.wait() {
            self.do_batch(first);
        }
    }

    /// The next request, or none but leases to look after; [`None`] once the store is gone.
    fn wait(&self) -> Option<Option<Queued>> {
        let Some(expiry) = self.published.snapshot().next_expiry() else {
            return self.queue.recv().ok().map(Some);
        };
        let term = match self.failing {
            true => LEASE_SWEEP_INTERVAL,
            false => expiry.saturating_sub(self.clock.now()).min(LEASE_SWEEP_INTERVAL),
        };
        match self.queue.recv_timeout(term) {
            Ok(request) => Some(Some(request)),
            Err(RecvTimeoutError::Timeout) => Some(None),
            Err(RecvTimeoutError::Disconnected) => None,
        }
    }

    fn do_batch(&mut self, first: Option<Queued>) {
        if let Err(failure) = self.settle() {
            self.failing = true;
            if let Some(queued) = first {
                self.waiting.fetch_sub(1, Ordering::Relaxed);
                let mut refused = self.begin();
                refused.take(queued, &self.clock);
                refused.answer(Some(&|| Error::Unavailable(failure.not_done().to_string())));
            }
            return;
        }
        let mut batch = self.begin();
        batch.expire(self.clock.now());
        let mut next = first;
        while let Some(queued) = next {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            batch.take(queued, &self.clock);
            let full = batch.answers.len() >= BATCH_REQUESTS_MAX || batch.bytes >= BATCH_BYTES_MAX;
            next = if full { None } else { self.queue.try_recv().ok() };
        }
        batch.trim();
        self.finish(batch);
        self.keep_running_time();
    }

    fn begin(&self) -> Batch {
        let state = self.published.snapshot().as_ref().clone();
        Batch { state, durable: Vec::new(), bytes: 0, answers: Vec::new() }
    }

    /// Finds out about a commit whose end is unknown, if there is one.
    fn settle(&mut self) -> std::result::Result<(), Failure> {
        if let Some(state) = &self.unsettled {
            if self.disk.settle()? {
                self.published.publish(state.clone());
            }
            self.unsettled = None;
        }
        Ok(())
    }

    fn finish(&mut self, batch: Batch) {
        if batch.durable.is_empty() {
            // Nothing but reads, refusals and further renewals, whose deadlines live in memory only.
            self.published.publish(batch.state.clone());
            return batch.answer(None);
        }
        self.commit(batch);
    }

    /// Writes the time that has passed, if leases wait for it and no commit has for long.
    fn keep_running_time(&mut self) {
        let due = self.clock.now().saturating_sub(self.disk.saved_running()) >= RUNNING_TIME_INTERVAL;
        if due && self.unsettled.is_none() && self.published.snapshot().next_expiry().is_some() {
            let batch = self.begin();
            self.commit(batch);
        }
    }

    fn commit(&mut self, batch: Batch) {
        if let Err(text) = disk::before_commit() {
            return batch.answer(Some(&|| Error::Unavailable(text.clone())));
        }
        let counters = Counters { lease_last: batch.state.lease_last(), running: self.clock.now() };
        let committed = self.disk.commit(&batch.durable, counters);
        self.failing = committed.is_err();
        match committed {
            Ok(()) => {
                self.commits.fetch_add(1, Ordering::Relaxed);
                metrics::commit_done();
                self.published.publish(batch.state.clone());
                match disk::after_commit() {
                    Ok(()) => batch.answer(None),
                    Err(text) => batch.answer(Some(&|| Error::OutcomeUnknown(text.clone()))),
                }
            }
            Err(CommitFailed::NotDone(failure)) => batch.answer(Some(&|| failure.not_done())),
            Err(CommitFailed::Done(failure)) => {
                self.published.publish(batch.state.clone());
                batch.answer(Some(&|| failure.unknown()));
            }
            Err(CommitFailed::Unknown(failure)) => {
                self.unsettled = Some(batch.state.clone());
                batch.answer(Some(&|| failure.unknown()));
            }
        }
    }
}

impl Batch {
    /// Ends the leases whose term is over.
    fn expire(&mut self, now: Duration) {
        for lease in self.state.expired_leases(now) {
            // Found a moment ago in the same state.
            let _ = self.revoke(lease);
        }
    }

    fn take(&mut self, queued: Queued, clock: &Arc<dyn Clock>) {
        let answer = match queued.request {
            Request::Txn(txn, reply) => {
                let answer = self.state.apply(&txn).map(|(response, change)| {
                    self.bytes += change.as_ref().map_or(0, |change| change.bytes());
                    self.durable.extend(change.map(Durable::Change));
                    response
                });
                Answer::Txn(reply, answer)
            }
            Request::LeaseGrant(ttl, reply) => {
                let granted = self.state.grant_lease(ttl, clock.now());
                if let Ok(id) = granted {
                    self.durable.push(Durable::LeaseGranted(id, ttl));
                    self.durable.push(Durable::LeaseEnds(id, self.state.lease_deadline(id)));
                }
                Answer::Lease(reply, granted)
            }
            Request::LeaseKeepAlive(lease, reply) => {
                let renewed = self.state.keep_lease_alive(lease, clock.now());
                if let Ok(true) = renewed {
                    self.durable.push(Durable::LeaseEnds(lease, None));
                }
                Answer::Done(reply, renewed.map(|_| ()))
            }
            Request::LeaseRevoke(lease, reply) => Answer::Done(reply, self.revoke(lease)),
            Request::Compact(revision, reply) => Answer::Done(reply, self.compact(revision)),
            Request::ExpireLeases(reply) => {
                self.expire(clock.now());
                Answer::Done(reply, Ok(()))
            }
        };
        self.answers.push((answer, queued.share));
    }

    fn revoke(&mut self, lease: LeaseId) -> Result<()> {
        let change = self.state.revoke_lease(lease)?;
        self.durable.extend(change.map(Durable::Change));
        self.durable.push(Durable::LeaseEnded(lease));
        Ok(())
    }

    fn compact(&mut self, revision: Revision) -> Result<()> {
        self.state.compact(revision)?;
        self.durable.push(Durable::Compacted(revision));
        Ok(())
    }

    /// Compacts a history that has outgrown its limit.
    fn trim(&mut self) {
        if let Some(revision) = self.state.overflow() {
            // Lies between the last compaction and now, by construction.
            let _ = self.compact(revision);
        }
    }

    fn answer(self, failed: Option<&dyn Fn() -> Error>) {
        for (answer, _share) in self.answers {
            answer.send(failed);
        }
    }
}
