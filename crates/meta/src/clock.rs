//! Where lease expiry gets its time from. Time here only ever rises and means nothing outside the process.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A source of time that only rises.
pub trait Clock: Send + Sync + std::fmt::Debug + 'static {
    /// The time since some fixed moment.
    fn now(&self) -> Duration;
}

/// The operating system's monotonic clock.
#[derive(Debug)]
pub struct MonotonicClock {
    start: Instant,
}

impl MonotonicClock {
    /// A clock that starts at zero now.
    pub fn new() -> Self {
        Self { start: Instant::now() }
    }
}

impl Default for MonotonicClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for MonotonicClock {
    fn now(&self) -> Duration {
        self.start.elapsed()
    }
}

/// How long a store has been running, in all its processes together: goes on where the last one left off. Time that
/// passes while no process has the store does not count.
#[derive(Debug)]
pub(crate) struct RunningTime {
    clock: Arc<dyn Clock>,
    opened: Duration,
    before: Duration,
}

impl RunningTime {
    /// A store that ran for `before` until now, and goes on by `clock`.
    pub(crate) fn resume(clock: Arc<dyn Clock>, before: Duration) -> Self {
        Self { opened: clock.now(), clock, before }
    }
}

impl Clock for RunningTime {
    fn now(&self) -> Duration {
        self.before.saturating_add(self.clock.now().saturating_sub(self.opened))
    }
}

/// A clock that stands still until it is moved; for tests.
#[derive(Debug, Default)]
pub struct ManualClock {
    now_ms: AtomicU64,
}

impl ManualClock {
    /// A clock that stands at zero.
    pub fn new() -> Self {
        Self::default()
    }

    /// Moves the time on, by whole milliseconds.
    pub fn advance(&self, by: Duration) {
        self.now_ms.fetch_add(u64::try_from(by.as_millis()).unwrap_or(u64::MAX), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Duration {
        Duration::from_millis(self.now_ms.load(Ordering::SeqCst))
    }
}
