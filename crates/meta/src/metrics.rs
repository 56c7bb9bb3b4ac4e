//! What the metadata stores count, under one `backend` label: `memory`, `embedded` or `etcd`.
//!
//! | metric | counts |
//! |---|---|
//! | `redkite_meta_txns_total` | transactions answered |
//! | `redkite_meta_txn_conflicts_total` | of those, the ones whose compares did not hold |
//! | `redkite_meta_txn_failures_total` | transactions that ended with an error, by `kind` |
//! | `redkite_meta_commits_total` | durable commits of the embedded store, each for one or more transactions |
//! | `redkite_meta_watch_reconnects_total` | watches of etcd that were taken up again |

use crate::{Result, TxnResponse};

/// Counts a transaction.
pub(crate) fn txn_done(backend: &'static str, answer: &Result<TxnResponse>) {
    match answer {
        Ok(response) => {
            metrics::counter!("redkite_meta_txns_total", "backend" => backend).increment(1);
            if !response.succeeded {
                metrics::counter!("redkite_meta_txn_conflicts_total", "backend" => backend).increment(1);
            }
        }
        Err(error) => {
            let kind = format!("{:?}", error.kind()).to_lowercase();
            metrics::counter!("redkite_meta_txn_failures_total", "backend" => backend, "kind" => kind).increment(1);
        }
    }
}

/// Counts a durable commit.
pub(crate) fn commit_done() {
    metrics::counter!("redkite_meta_commits_total", "backend" => "embedded").increment(1);
}

/// Counts a watch taken up again.
pub(crate) fn watch_reconnected() {
    metrics::counter!("redkite_meta_watch_reconnects_total", "backend" => "etcd").increment(1);
}
