//! When data becomes visible by itself (S15..S18).

use std::sync::Arc;
use std::time::Duration;

use redkite_table::entry::CollectionRecord;

use super::{Turn, Work};
use crate::flush::Failure;
use crate::options::{AUTO_FLUSH_PROPERTY, FLUSH_INTERVAL_PROPERTY};
use crate::{Flushed, IngestOptions, Result};

/// What automatic flushing asks of the block as a whole: a block is flushed whole, so the most impatient of its
/// collections decides.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Policy {
    /// Longest wait until the next automatic flush; none if flushing is the client's.
    interval: Option<Duration>,
    /// Counts flushes, so that a timer of an earlier block does nothing.
    generation: u64,
    /// The interval a timer runs for already.
    armed: Option<Duration>,
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

    pub(super) fn join(&mut self, other: Option<Duration>) {
        self.interval = match (self.interval, other) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
    }

    pub(super) fn is_on(&self) -> bool {
        self.interval.is_some()
    }

    pub(super) fn is_immediate(&self) -> bool {
        self.interval == Some(Duration::ZERO)
    }

    /// The policy of the next, empty block.
    pub(super) fn after_flush(self) -> Self {
        Self { interval: None, generation: self.generation + 1, armed: None }
    }
}

impl Turn {
    /// Starts the timer of this block unless one runs that ends early enough.
    pub(super) fn arm_timer(mut self) {
        let Some(interval) = self.state.policy.interval else { return };
        if self.state.policy.armed.is_some_and(|armed| armed <= interval) {
            return;
        }
        self.state.policy.armed = Some(interval);
        let generation = self.state.policy.generation;
        let (ingest, session) = (Arc::downgrade(&self.ingest), Arc::downgrade(&self.session));
        tokio::spawn(async move {
            tokio::time::sleep(interval).await;
            let (Some(ingest), Some(session)) = (ingest.upgrade(), session.upgrade()) else { return };
            // A session that is gone has nothing to flush any more.
            let Ok(turn) = session.turn(ingest).await else { return };
            if turn.state.policy.generation == generation && !turn.state.block.is_empty() {
                turn.flush_automatically("flush_interval").await;
            }
        });
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
        let ops = self.state.block.acknowledged();
        let result = self.publish(None).await;
        if result.is_err() {
            // An open outcome stays open: it has to be settled before this client's next operation.
            self.emptied();
            self.state.counted = self.state.counted.saturating_sub(ops);
        }
        result
    }

    /// The flush of a write that is committed before it is answered: if it fails, so does the write.
    pub(super) async fn flush_written(&mut self) -> Result<Flushed> {
        let failure = match self.try_publish(None).await {
            Ok(flushed) => return Ok(flushed),
            Err(failure) => failure,
        };
        if !matches!(failure, Failure::Unknown { .. }) {
            // First of all, while it is the last one: a failure may discard others.
            self.state.block.pop();
            self.state.counted = self.state.counted.saturating_sub(1);
            self.changed();
        }
        Err(self.failed(failure))
    }
}
