//! How far the horizon may be raised. Pure.

use std::time::Duration;

use redkite_table::presence::Needs;
use redkite_table::{Catalog, Horizon};
use redkite_types::Revision;

/// The new horizon, if raising it makes anything garbage.
///
/// It is the newest drop such that every drop up to it lies behind the retention, and nobody reads a revision before it. A
/// drop that lies in the future was made by a clock that was ahead: it is taken to have happened when the next one did that
/// does not, or just now.
pub fn decide(catalog: &Catalog, needs: &Needs, now_ms: u64, retention: Duration, old: Horizon) -> Option<Horizon> {
    let entries = catalog.graves.entries().map(|grave| (grave.dropped, grave.dropped_ms));
    let collections = catalog.graves.collections().map(|dropped| (dropped.dropped, dropped.tombstone.dropped_ms));
    let drops = entries.chain(collections).filter(|(dropped, _)| *dropped > old.revision).collect();
    let oldest_read = needs.oldest_read().map_or(catalog.revision, |(oldest, _)| oldest.min(catalog.revision));
    newest_due(drops, oldest_read, now_ms, retention, old.time_ms)
}

fn newest_due(
    mut drops: Vec<(Revision, u64)>,
    oldest_read: Revision,
    now_ms: u64,
    retention: Duration,
    mut time_ms: u64,
) -> Option<Horizon> {
    let retention_ms = u64::try_from(retention.as_millis()).unwrap_or(u64::MAX);
    drops.sort_unstable();
    let mut next_ms = now_ms;
    for (_, dropped_ms) in drops.iter_mut().rev() {
        if *dropped_ms > now_ms {
            *dropped_ms = next_ms;
        }
        next_ms = *dropped_ms;
    }
    let mut horizon = None;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_drop_behind_the_retention_is_due() {
        let check = |drops: &[(i64, u64)], oldest_read: i64, want: Option<(i64, u64)>| {
            let drops = drops.iter().map(|(revision, ms)| (Revision(*revision), *ms)).collect();
            let due = newest_due(drops, Revision(oldest_read), 1_000, Duration::from_millis(100), 50);
            assert_eq!(due.map(|horizon| (horizon.revision.0, horizon.time_ms)), want);
        };
        check(&[], 9, None);
        check(&[(1, 900), (2, 901)], 9, Some((1, 900)));
        check(&[(2, 901), (1, 800)], 9, Some((1, 800)));
        check(&[(1, 800), (2, 850), (3, 860)], 2, Some((2, 850)));
        // The horizon's time never goes back.
        check(&[(1, 10)], 9, Some((1, 50)));
        // A clock that is ahead keeps nothing for longer than the drop after it, and nothing for shorter.
        check(&[(1, 700), (2, 9_999), (3, 800)], 9, Some((3, 800)));
        check(&[(1, 700), (2, 9_999), (3, 950)], 9, Some((1, 700)));
        check(&[(1, 700), (2, 9_999)], 9, Some((1, 700)));
    }
}
