//! What the operator can set.

use std::time::Duration;

/// Options of sessions and flushes. Names as in the configuration file.
#[derive(Debug, Clone)]
pub struct IngestOptions {
    /// `auto_flush` (S15): data becomes visible by itself.
    pub auto_flush: bool,
    /// `flush_interval` (S16): how long data may wait for that; zero commits every write before it is answered.
    pub flush_interval: Duration,
    /// `flush_limitition` (S17): an automatic flush happens when a block holds more than this.
    pub flush_limit_bytes: u64,
    /// `session.memory_soft`: a block larger than this has its finished rows uploaded early, still invisible.
    pub memory_soft_bytes: u64,
    /// `session.memory_hard`: all blocks of the node and the writes that wait for their turn together hold at most this;
    /// writes beyond it are refused.
    pub memory_hard_bytes: u64,
    /// `session.idle_timeout`: a session without requests for so long is dropped as if disconnected.
    pub idle_timeout: Duration,
}

impl Default for IngestOptions {
    fn default() -> Self {
        Self {
            auto_flush: false,
            flush_interval: Duration::from_millis(1_000),
            flush_limit_bytes: 16 << 20,
            memory_soft_bytes: 256 << 20,
            memory_hard_bytes: 2 << 30,
            idle_timeout: Duration::from_secs(3_600),
        }
    }
}

/// The property that sets `auto_flush` for one collection.
pub const AUTO_FLUSH_PROPERTY: &str = "auto_flush";
/// The property that sets `flush_interval` for one collection, in milliseconds.
pub const FLUSH_INTERVAL_PROPERTY: &str = "flush_interval";
