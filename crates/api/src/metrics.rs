//! What this crate counts. Names are part of the product; change them only with the change log.

use metrics::{counter, gauge};

/// A connection was accepted.
pub(crate) fn connection_opened() {
    counter!("redkite_connections_accepted_total").increment(1);
    gauge!("redkite_connections_open").increment(1.0);
}

/// An accepted connection ended.
pub(crate) fn connection_closed() {
    gauge!("redkite_connections_open").decrement(1.0);
}

/// There were too many of them.
pub(crate) fn connection_turned_away() {
    counter!("redkite_connections_turned_away_total").increment(1);
}

/// A handler panicked.
pub(crate) fn request_panicked() {
    counter!("redkite_requests_panicked_total").increment(1);
}
