//! When data becomes visible by itself (S15..S18).

use std::sync::{Arc, Weak};
use std::time::Duration;

use redkite_table::entry::CollectionRecord;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::{How, SETTLE_PAUSE, SETTLE_PAUSE_MAX, Session, Turn, Unsettled, Work};
use crate::flush::Failure;
use crate::options::{AUTO_FLUSH_PROPERTY, FLUSH_INTERVAL_PROPERTY};
use crate::{Error, Flushed, Ingest, IngestOptions, Result};

/// What automatic flushing asks of the block as a whole: a block is flushed whole, so the most impatient of its
/// collections decides. An empty block asks for nothing.
#[derive(Debug, Default)]
pub(super) struct Policy {
    /// Longest wait until the next automatic flush; none if flushing is the client's.
    interval: Option<Duration>,
    /// When the block got its first operation that asks for one.
    since: Option<Instant>,
    timer: Option<Timer>,
}

/// A task that flushes the block when it is due; there is none any more once this is dropped.
#[derive(Debug)]
struct Timer {
    due: Instant,
    task: AbortHandle,
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Policy {
    /// What one collection asks for: its properties, else the node's options.
    pub(super) fn of(record: &CollectionRecord, options: &IngestOptions) -> Option<Duration> {
        let on = match record.properties.get(AUTO_FLUSH_PROPERTY) {
            Some(value) => value.eq_ignore_ascii_case("true"),
            None => options.auto_flush,
        };
        let own = record.properties.get(FLUSH_INTERVAL_PROPERTY).and_then(|text| text.parse().ok());
        on.then(|| own.map_or(options.flush_interval, Duration::from_millis))
    }

    /// One more operation asks for this.
    pub(super) fn join(&mut self, other: Option<Duration>) {
        self.interval = sooner(self.interval, other);
        if self.interval.is_some() {
            self.since.get_or_insert_with(Instant::now);
        }
    }

    /// Operations are gone, and what is left asks for these. A timer that only the others wanted goes with them.
    fn leave(&mut self, left: impl Iterator<Item = Option<Duration>>) {
        let interval = left.fold(None, sooner);
        if interval != self.interval {
            self.interval = interval;
            self.timer = None;
        }
        self.since = self.since.filter(|_| self.is_on());
    }

    pub(super) fn is_on(&self) -> bool {
        self.interval.is_some()
    }

    pub(super) fn is_immediate(&self) -> bool {
        self.interval == Some(Duration::ZERO)
    }

    /// Whether it will be with one more operation, which asks for `other`.
    pub(super) fn is_immediate_with(&self, other: Option<Duration>) -> bool {
        sooner(self.interval, other) == Some(Duration::ZERO)
    }

    /// Whether the calling task is the block's timer, and not one that was dropped while it waited for the turn.
    fn is_timed_by_this_task(&self) -> bool {
        self.timer.as_ref().is_some_and(|timer| timer.task.id() == tokio::task::id())
    }
}

/// The more impatient of two wishes.
fn sooner(a: Option<Duration>, b: Option<Duration>) -> Option<Duration> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

/// The task of a [`Timer`].
async fn flush_when_due(ingest: Weak<Ingest>, session: Weak<Session>, due: Instant) {
    tokio::time::sleep_until(due).await;
    let mut pause = SETTLE_PAUSE;
    loop {
        let (Some(ingest), Some(session)) = (ingest.upgrade(), session.upgrade()) else { return };
        match session.turn(ingest).await {
            Ok(mut turn) => {
                if turn.state.policy.is_timed_by_this_task() {
                    // With its timer the block gives up this task: the flush needs one of its own.
                    turn.state.policy.timer = None;
                    tokio::spawn(turn.flush_automatically("flush_interval"));
                }
                return;
            }
            // The block waits for the outcome of an earlier flush, and so does its timer.
            Err(Error::OutcomeUnknown { .. }) => tokio::time::sleep(pause).await,
            // A session that is gone has nothing to flush any more.
            Err(_) => return,
        }
        pause = (pause * 2).min(SETTLE_PAUSE_MAX);
    }
}

impl Turn {
    /// After operations were taken out of the block: what they asked of automatic flushing goes with them.
    pub(super) fn relax_policy(&mut self) {
        let (state, options) = (&mut *self.state, self.ingest.options());
        state.policy.leave(state.block.ops().iter().map(|op| Policy::of(&op.record, &options)));
        if let Some(since) = self.state.policy.since {
            self.arm_timer(since);
        }
    }

    /// Sees to it that the block is flushed within the interval from `since`, if not before.
    pub(super) fn arm_timer(&mut self, since: Instant) {
        let Some(interval) = self.state.policy.interval else { return };
        // One that is due beyond what time can say never is.
        let Some(due) = since.checked_add(interval) else { return };
        if self.state.policy.timer.as_ref().is_some_and(|timer| timer.due <= due) {
            return;
        }
        let session = Arc::downgrade(&self.session);
        let task = tokio::spawn(flush_when_due(Arc::downgrade(&self.ingest), session, due)).abort_handle();
        self.state.policy.timer = Some(Timer { due, task });
    }

    /// Flushes the block if automatic flushing would in a while.
    pub(crate) async fn flush_owed(self) {
        if self.state.policy.is_on() && !self.state.block.is_empty() {
            self.flush_automatically("shutdown").await;
        }
    }

    /// An automatic flush: one that fails loses the data, tells the client nothing, and says so in the log and a metric.
    pub(crate) async fn flush_automatically(self, why: &'static str) {
        let ops = self.state.block.acknowledged();
        let rows: u64 = self.state.block.rows_by_collection().values().sum();
        if let Err(error) = self.run(Work::Automatic).await {
            metrics::counter!("redkite_auto_flush_failures_total").increment(1);
            tracing::error!(%error, why, ops, rows, "an automatic flush failed; its operations are lost");
        }
    }

    pub(super) async fn flush_or_drop(&mut self) -> Result<Flushed> {
        loop {
            let ops = self.state.block.acknowledged();
            let result = self.publish(How::Together).await;
            match &result {
                Ok(_) => {}
                // Only the operations of the collection that is gone are lost; the others may still be published.
                Err(Error::CollectionDropped { ops: dropped, .. }) => {
                    self.state.counted = self.state.counted.saturating_sub(*dropped);
                    if !self.state.block.is_empty() {
                        continue;
                    }
                }
                Err(_) => {
                    // An open outcome stays open: it has to be settled before this client's next operation.
                    self.emptied();
                    self.state.counted = self.state.counted.saturating_sub(ops);
                    // Nobody has heard of it, should the client have been elsewhere and come back.
                    self.state.arrival.told = false;
                    if let Some(unsettled) = &mut self.state.unsettled {
                        unsettled.uncounted = ops;
                    }
                }
            }
            return result;
        }
    }

    /// The flush of a write that is committed before it is answered: if it fails, so does the write.
    pub(super) async fn flush_written(&mut self) -> Result<Flushed> {
        let failure = match self.try_publish(How::Together).await {
            Ok(flushed) => return Ok(flushed),
            Err(failure) => failure,
        };
        // The client hears that the write failed, whatever became of it.
        self.state.counted = self.state.counted.saturating_sub(1);
        if let Failure::Unknown { id, detail } = failure {
            self.state.unsettled = Some(Unsettled { id, written: true, uncounted: 0 });
            return Err(Error::OutcomeUnknown { id, detail });
        }
        // First of all, while it is the last one: a failure may discard others.
        self.take_back();
        Err(self.failed(failure))
    }
}
