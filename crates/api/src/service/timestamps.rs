//! Milvus's timestamps: milliseconds in the upper 46 bits, a counter in the lower 18. Clients keep them for session
//! consistency and compare them; here they only have to be non-zero and never go backwards.

use std::sync::atomic::{AtomicU64, Ordering};

use redkite_table::Ambient;

/// Bits of the counter.
const LOGICAL_BITS: u32 = 18;

/// Hands out timestamps.
#[derive(Debug)]
pub(super) struct Timestamps {
    ambient: Ambient,
    last: AtomicU64,
}

impl Timestamps {
    pub(super) fn new(ambient: Ambient) -> Self {
        Self { ambient, last: AtomicU64::new(0) }
    }

    /// A timestamp greater than all before.
    pub(super) fn next(&self) -> u64 {
        let now = from_ms(self.ambient.now_ms());
        let before = self.last.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(now.max(last + 1)));
        now.max(before.unwrap_or(0) + 1)
    }
}

/// The first timestamp of a millisecond since 1970.
pub(super) fn from_ms(ms: u64) -> u64 {
    ms << LOGICAL_BITS
}
