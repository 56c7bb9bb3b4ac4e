//! How far the horizon may be raised. Pure.

use std::time::Duration;

use redkite_table::presence::Needs;
use redkite_table::{Catalog, Horizon};

/// The new horizon, if raising it makes anything garbage.
///
/// It is the newest drop such that every drop up to it lies behind the retention, and nobody reads a revision before it.
pub fn decide(catalog: &Catalog, needs: &Needs, now_ms: u64, retention: Duration, old: Horizon) -> Option<Horizon> {
    let retention_ms = u64::try_from(retention.as_millis()).unwrap_or(u64::MAX);
    let entries = catalog.graves.entries().map(|grave| (grave.dropped, grave.dropped_ms));
    let collections = catalog.graves.collections().map(|dropped| (dropped.dropped, dropped.tombstone.dropped_ms));
    let mut drops: Vec<_> = entries.chain(collections).filter(|(dropped, _)| *dropped > old.revision).collect();
    drops.sort_unstable();
    let oldest_read = needs.oldest_read().map_or(catalog.revision, |(oldest, _)| oldest.min(catalog.revision));
    let mut horizon = None;
    let mut time_ms = old.time_ms;
    for (dropped, dropped_ms) in drops {
        let retained = now_ms.saturating_sub(dropped_ms) < retention_ms;
        if retained || dropped > oldest_read {
            break;
        }
        time_ms = time_ms.max(dropped_ms);
        horizon = Some(Horizon { revision: dropped, time_ms });
    }
    horizon
}
