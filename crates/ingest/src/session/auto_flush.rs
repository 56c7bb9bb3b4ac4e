//! When data becomes visible by itself (S15..S18).

use std::sync::Arc;
use std::time::Duration;

use redkite_table::entry::CollectionRecord;

use super::{SETTLE_PAUSE, Turn, Unsettled, Work};
use crate::flush::Failure;
use crate::options::{AUTO_FLUSH_PROPERTY, FLUSH_INTERVAL_PROPERTY};
use crate::{Error, Flushed, IngestOptions, Result};

/// What automatic flushing asks of the block as a whole: a block is flushed whole, so the most impatient of its
/// collections decides.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Policy {
    /// Longest wait until the next automatic flush; none if flushing is the client's.
    pub(super) interval: Option<Duration>,
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
        self.interval = Self::sooner(self.interval, other);
    }

    /// The more impatient of two wishes.
    pub(super) fn sooner(a: Option<Duration>, b: Option<Duration>) -> Option<Duration> {
        match (a, b) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
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
            loop {
                let (Some(ingest), Some(session)) = (ingest.upgrade(), session.upgrade()) else { return };
                match session.turn(ingest).await {
                    Ok(turn) => {
                        if turn.state.policy.generation == generation && !turn.state.block.is_empty() {
                            turn.flush_automatically("flush_interval").await;
                        }
                        return;
                    }
                    // The block waits for the outcome of an earlier flush, and so does its timer.
                    Err(Error::OutcomeUnknown { .. }) => tokio::time::sleep(interval.max(SETTLE_PAUSE)).await,
                    // A session that is gone has nothing to flush any more.
                    Err(_) => return,
                }
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
        loop {
            let ops = self.state.block.acknowledged();
            let result = self.publish(None).await;
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
                }
            }
            return result;
        }
    }

    /// The flush of a write that is committed before it is answered: if it fails, so does the write.
    pub(super) async fn flush_written(&mut self) -> Result<Flushed> {
        let failure = match self.try_publish(None).await {
            Ok(flushed) => return Ok(flushed),
            Err(failure) => failure,
        };
        if let Failure::Unknown { id, detail } = failure {
            self.state.unsettled = Some(Unsettled { id, written: true });
            return Err(Error::OutcomeUnknown { id, detail });
        }
        // First of all, while it is the last one: a failure may discard others.
        self.take_back();
        Err(self.failed(failure))
    }
}
