//! The slow-query log: one line for each search or query that took longer than it may, whatever came of it.

use std::time::Duration;

use tokio::time::Instant;

/// As much of a filter as the log tells.
const FILTER_BYTES_MAX: usize = 1_000;

/// How long a read may take before the log tells of it; none for never.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct SlowLog(pub(super) Option<Duration>);

/// A read that is under way.
#[derive(Debug)]
pub(super) struct Watched {
    limit: Duration,
    started: Instant,
    rpc: &'static str,
    collection: String,
    filter: String,
}

impl SlowLog {
    /// Watches a read until what is returned is dropped: also one that fails, or that nobody waits for any more.
    pub(super) fn watch(self, rpc: &'static str, collection: &str, filter: &str) -> Option<Watched> {
        let limit = self.0?;
        let (collection, filter) = (collection.to_owned(), beginning(filter).to_owned());
        Some(Watched { limit, started: Instant::now(), rpc, collection, filter })
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let took = self.started.elapsed();
        if took > self.limit {
            let Self { rpc, collection, filter, .. } = self;
            let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
            tracing::warn!(rpc, collection, filter, took_ms, "a slow query");
        }
    }
}

fn beginning(filter: &str) -> &str {
    let mut end = filter.len().min(FILTER_BYTES_MAX);
    while !filter.is_char_boundary(end) {
        end -= 1;
    }
    &filter[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_filters_are_cut_between_characters() {
        assert_eq!(beginning("id > 1"), "id > 1");
        let long = format!("a{}", "ä".repeat(FILTER_BYTES_MAX));
        assert_eq!(beginning(&long).len(), FILTER_BYTES_MAX - 1);
    }
}
