//! A metadata store that does as it is told: refuses, loses answers, lets a transaction land later, stops before a call.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt as _;
use parking_lot::Mutex;
use redkite_meta::{
    CompareTarget, Error, KeyRange, LeaseId, MetaStore, Op, RangeRequest, RangeResponse, Result, Txn, TxnResponse,
    WatchStream,
};
use redkite_types::Revision;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// What a call is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// A get or range.
    Read,
    /// A transaction that publishes something.
    Commit,
    /// A transaction that settles an outcome.
    Settle,
    /// Any other transaction.
    Write,
    /// Granting, renewing or revoking a lease.
    Lease,
}

/// What goes wrong with one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It is refused before anything happened.
    Refused,
    /// It happens; nobody is told.
    AnswerLost,
    /// It never happens; nobody is told.
    NeverSent,
    /// Nobody is told, and it happens when [`FaultyMeta::land`] is called.
    Late,
}

/// A store with faults, over one that has none. Every node of a test has one of its own.
#[derive(Debug)]
pub struct FaultyMeta {
    inner: Arc<dyn MetaStore>,
    script: Mutex<Script>,
    stopped: Notify,
    resumed: Notify,
}

#[derive(Debug, Default)]
struct Script {
    faults: VecDeque<(Call, Fault)>,
    always: Option<(Call, Fault)>,
    /// What goes wrong with the next transaction that puts a key with this in it.
    put_fault: Option<(&'static str, Fault)>,
    /// Whoever calls has died: nothing reaches the store any more.
    dead: bool,
    late: Vec<Txn>,
    calls: Vec<Call>,
    /// Keys that transactions put.
    puts: Vec<String>,
    /// Calls left until one stops.
    stop_in: Option<usize>,
    /// The next call of this kind stops.
    stop_at: Option<Call>,
    /// Whether other tasks get a turn before every call.
    yielding: bool,
    deaf: bool,
    /// How long calls of this kind take.
    slow: Option<(Call, Duration)>,
    /// How long answers of reads take on their way back.
    slow_answers: Duration,
}

impl FaultyMeta {
    pub fn new(inner: Arc<dyn MetaStore>) -> Arc<Self> {
        Arc::new(Self { inner, script: Mutex::default(), stopped: Notify::new(), resumed: Notify::new() })
    }

    /// The next call of that kind goes wrong; told several times, the next ones, in that order.
    pub fn fail_next(&self, call: Call, fault: Fault) {
        self.script.lock().faults.push_back((call, fault));
    }

    /// All calls of that kind go wrong.
    pub fn fail_always(&self, call: Call, fault: Fault) {
        self.script.lock().always = Some((call, fault));
    }

    /// The next transaction that puts a key with `part` in it goes wrong.
    #[allow(dead_code, reason = "not every test binary that includes this file needs it")]
    pub fn fail_next_put(&self, part: &'static str, fault: Fault) {
        self.script.lock().put_fault = Some((part, fault));
    }

    /// Nothing goes wrong any more.
    pub fn recover(&self) {
        let mut script = self.script.lock();
        script.always = None;
        script.put_fault = None;
        script.faults.clear();
    }

    /// What was late arrives at the store; whether each transaction's compares held.
    pub async fn land(&self) -> Vec<bool> {
        let late = std::mem::take(&mut self.script.lock().late);
        let mut succeeded = Vec::new();
        for txn in late {
            succeeded.push(self.inner.txn(txn).await.is_ok_and(|response| response.succeeded));
        }
        succeeded
    }

    /// The `number`-th call from now, counted from 1, stops until [`FaultyMeta::resume`].
    pub fn stop_before(&self, number: usize) {
        self.script.lock().stop_in = Some(number);
    }

    /// The next call of that kind stops until [`FaultyMeta::resume`].
    pub fn stop_at(&self, call: Call) {
        self.script.lock().stop_at = Some(call);
    }

    /// No call stops any more, unless it has already.
    pub fn stop_never(&self) {
        self.script.lock().stop_in = None;
    }

    /// Waits until a call has stopped.
    pub async fn stopped(&self) {
        self.stopped.notified().await;
    }

    /// Waits until a call has stopped (true) or the task has ended (false).
    pub async fn stopped_or_ended<T>(&self, task: &JoinHandle<T>) -> bool {
        tokio::select! {
            biased;
            () = self.stopped() => true,
            () = async { while !task.is_finished() { tokio::task::yield_now().await } } => false,
        }
    }

    /// Lets the stopped call go on.
    pub fn resume(&self) {
        self.resumed.notify_one();
    }

    /// Whoever calls dies here: a call that has stopped never reaches the store, nor does any later one. What is late
    /// may still land.
    #[allow(dead_code, reason = "not every test binary that includes this file needs it")]
    pub fn die(&self) {
        self.script.lock().dead = true;
        self.resume();
    }

    /// Calls of that kind take so long, before they reach the store.
    pub fn slow_down(&self, call: Call, by: Duration) {
        self.script.lock().slow = Some((call, by));
    }

    /// Answers of reads take so long after the store was read.
    pub fn slow_down_answers(&self, by: Duration) {
        self.script.lock().slow_answers = by;
    }

    /// Lets other tasks run before every call, so that flushes on one thread interleave.
    pub fn yield_always(&self) {
        self.script.lock().yielding = true;
    }

    /// Watches started from now on report nothing.
    pub fn go_deaf(&self) {
        self.script.lock().deaf = true;
    }

    /// How many calls of that kind there were.
    pub fn count(&self, call: Call) -> usize {
        self.script.lock().calls.iter().filter(|known| **known == call).count()
    }

    /// Whether a transaction tried to put a key with this in it.
    pub fn tried_to_put(&self, part: &str) -> bool {
        self.script.lock().puts.iter().any(|key| key.contains(part))
    }

    async fn pass(&self, call: Call) -> Option<Fault> {
        let (fault, stop, yielding, slow) = {
            let mut script = self.script.lock();
            if script.dead {
                return Some(Fault::Refused);
            }
            script.calls.push(call);
            let stop = script.stop_in == Some(1) || script.stop_at == Some(call);
            script.stop_at = script.stop_at.filter(|_| !stop);
            script.stop_in = script.stop_in.and_then(|left| left.checked_sub(1)).filter(|left| *left > 0);
            let next = script.faults.iter().position(|(wanted, _)| *wanted == call);
            let fault =
                next.and_then(|at| script.faults.remove(at)).or(script.always.filter(|(wanted, _)| *wanted == call));
            let slow = script.slow.filter(|(wanted, _)| *wanted == call).map(|(_, by)| by);
            (fault.map(|(_, fault)| fault), stop, script.yielding, slow)
        };
        if let Some(by) = slow {
            tokio::time::sleep(by).await;
        }
        if yielding {
            tokio::task::yield_now().await;
        }
        if stop {
            self.stopped.notify_one();
            self.resumed.notified().await;
            if self.script.lock().dead {
                return Some(Fault::Refused);
            }
        }
        fault
    }

    async fn pass_simple(&self, call: Call) -> Result<()> {
        match self.pass(call).await {
            None => Ok(()),
            Some(_) => Err(Error::Unavailable("told to".into())),
        }
    }
}

impl Script {
    /// Notes what a transaction puts; the fault that waited for one like it.
    fn note_puts(&mut self, txn: &Txn) -> Option<Fault> {
        let mut keys = Vec::new();
        puts(&txn.then, &mut keys);
        let meant = self.put_fault.filter(|(part, _)| keys.iter().any(|key| key.contains(part)));
        self.puts.extend(keys);
        meant.map(|(_, fault)| {
            self.put_fault = None;
            fault
        })
    }
}

/// Compares that an outcome is absent, and puts nothing else: it settles. Puts more: it publishes.
fn kind_of(txn: &Txn) -> Call {
    let outcome = |compare: &redkite_meta::Compare| {
        (compare.key.contains("/.commit/") || compare.key.contains("/.flush/"))
            && compare.target == CompareTarget::CreateRevision(Revision::ZERO)
    };
    match (txn.compares.iter().any(outcome), txn.then.len()) {
        (true, 1) if matches!(txn.then[0], Op::Put { .. }) => Call::Settle,
        (true, _) => Call::Commit,
        (false, _) => Call::Write,
    }
}

fn puts(ops: &[Op], out: &mut Vec<String>) {
    for op in ops {
        match op {
            Op::Put { key, .. } => out.push(key.clone()),
            Op::Txn(nested) => puts(&nested.then, out),
            Op::Delete(_) | Op::Range(_) => {}
        }
    }
}

#[async_trait]
impl MetaStore for FaultyMeta {
    fn base(&self) -> Revision {
        self.inner.base()
    }

    async fn range(&self, request: RangeRequest) -> Result<RangeResponse> {
        self.pass_simple(Call::Read).await?;
        let response = self.inner.range(request).await;
        let slow = self.script.lock().slow_answers;
        if !slow.is_zero() {
            tokio::time::sleep(slow).await;
        }
        response
    }

    async fn txn(&self, txn: Txn) -> Result<TxnResponse> {
        let fault_of_put = self.script.lock().note_puts(&txn);
        let lost = || Err(Error::OutcomeUnknown("told to".into()));
        match self.pass(kind_of(&txn)).await.or(fault_of_put) {
            None => self.inner.txn(txn).await,
            Some(Fault::Refused) => Err(Error::Unavailable("told to".into())),
            Some(Fault::NeverSent) => lost(),
            Some(Fault::AnswerLost) => self.inner.txn(txn).await.and_then(|_| lost()),
            Some(Fault::Late) => {
                self.script.lock().late.push(txn);
                lost()
            }
        }
    }

    async fn watch(&self, range: KeyRange, from: Revision) -> Result<WatchStream> {
        if self.script.lock().deaf {
            return Ok(futures::stream::pending().boxed());
        }
        self.inner.watch(range, from).await
    }

    async fn lease_grant(&self, ttl: Duration) -> Result<LeaseId> {
        self.pass_simple(Call::Lease).await?;
        self.inner.lease_grant(ttl).await
    }

    async fn lease_keep_alive(&self, lease: LeaseId) -> Result<()> {
        self.pass_simple(Call::Lease).await?;
        self.inner.lease_keep_alive(lease).await
    }

    async fn lease_revoke(&self, lease: LeaseId) -> Result<()> {
        self.pass_simple(Call::Lease).await?;
        self.inner.lease_revoke(lease).await
    }

    async fn compact(&self, revision: Revision) -> Result<()> {
        self.inner.compact(revision).await
    }
}
