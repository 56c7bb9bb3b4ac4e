//! Time and randomness, passed in: nothing in the engine reads a global clock or generator.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A clock and a source of random numbers.
#[derive(Clone)]
pub struct Ambient {
    now: Arc<dyn Fn() -> SystemTime + Send + Sync>,
    random: Arc<dyn Fn() -> u64 + Send + Sync>,
}

impl Ambient {
    /// The machine's clock and generator.
    pub fn system() -> Self {
        Self { now: Arc::new(SystemTime::now), random: Arc::new(rand::random::<u64>) }
    }

    /// Any clock and generator.
    pub fn new(
        now: impl Fn() -> SystemTime + Send + Sync + 'static,
        random: impl Fn() -> u64 + Send + Sync + 'static,
    ) -> Self {
        Self { now: Arc::new(now), random: Arc::new(random) }
    }

    /// The time now.
    pub fn now(&self) -> SystemTime {
        (self.now)()
    }

    /// Milliseconds since 1970.
    pub fn now_ms(&self) -> u64 {
        self.now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_millis() as u64
    }

    /// 64 random bits.
    pub fn random(&self) -> u64 {
        (self.random)()
    }
}

impl fmt::Debug for Ambient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ambient")
    }
}
