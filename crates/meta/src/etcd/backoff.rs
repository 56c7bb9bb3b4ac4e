//! Waiting between tries: twice as long each time, up to a limit, and a random part of that, so that many clients do
//! not come back in step.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::time::Duration;

/// The first wait at most.
const FIRST: Duration = Duration::from_millis(50);
/// Any wait at most: about how long etcd takes to elect a new leader.
const LONGEST: Duration = Duration::from_secs(2);

/// How long to wait after so many failures in a row (counted from 1).
pub(super) fn wait_after(failures: u32) -> Duration {
    jittered(failures, random())
}

/// A number that other processes do not have.
pub(super) fn random() -> u64 {
    // A hasher's fresh random keys are all the randomness this needs.
    RandomState::new().hash_one(0)
}

fn jittered(failures: u32, random: u64) -> Duration {
    let most = FIRST.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(LONGEST);
    let half = most / 2;
    half + half.mul_f64(random as f64 / u64::MAX as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_up_to_the_limit() {
        for (failures, random, want_ms) in
            [(1, 0, 25), (1, u64::MAX, 50), (2, u64::MAX, 100), (6, 0, 800), (7, u64::MAX, 2000), (u32::MAX, 0, 1000)]
        {
            assert_eq!(jittered(failures, random), Duration::from_millis(want_ms), "{failures} {random}");
        }
    }
}
