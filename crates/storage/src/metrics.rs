//! The counters of this crate.

use metrics::{counter, gauge};

/// A file was put durably.
pub(crate) fn put(bytes: usize) {
    counter!("redkite_storage_puts_total").increment(1);
    counter!("redkite_storage_put_bytes_total").increment(bytes as u64);
}

/// A file could not be put.
pub(crate) fn put_failed() {
    counter!("redkite_storage_put_failures_total").increment(1);
}

/// A file was opened on a local store or downloaded from a remote one.
pub(crate) fn get(bytes: usize) {
    counter!("redkite_storage_gets_total").increment(1);
    counter!("redkite_storage_get_bytes_total").increment(bytes as u64);
}

/// A file was opened from the node cache.
pub(crate) fn cache_hit(bytes: usize) {
    counter!("redkite_storage_cache_hits_total").increment(1);
    counter!("redkite_storage_cache_hit_bytes_total").increment(bytes as u64);
}

/// What the node cache holds now.
pub(crate) fn cache_size(bytes: u64, files: usize) {
    gauge!("redkite_storage_cache_bytes").set(bytes as f64);
    gauge!("redkite_storage_cache_files").set(files as f64);
}
