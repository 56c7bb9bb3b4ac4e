//! What a node knows of how others answer it: how long one is waited for before somebody else is asked, too, and who is left
//! alone for a while. Of no meaning for what is answered.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use redkite_types::{Incarnation, NodeId};
use tokio::time::Instant;

use crate::Peer;

/// A peer is waited for this long at least before the next holder is asked, too.
const PATIENCE_MIN: Duration = Duration::from_millis(20);
/// And, but for the time that reading takes, at most this long.
const PATIENCE_MAX: Duration = Duration::from_secs(1);
/// But at most this long where all are so busy that they are slow without end: others would only get busier.
const BUSY_PATIENCE_MAX: Duration = Duration::from_secs(20);
/// So many times as long as a peer has taken of late is too long.
const PATIENCE_FACTOR: u32 = 3;
/// Bytes a second that a peer is expected to read at least; what it has to fetch first takes longer, and then the other holder
/// may well be faster.
const BYTES_PER_SECOND: u64 = 1 << 30;
/// With each answer the longest time of late counts for so much less: after 100 answers a third is left, so that it is about
/// the time that one of a hundred exceeds.
const FORGETTING: f64 = 0.99;
/// Times in a row that others were faster although they were asked later, after which a peer is avoided.
const OUTRUN_MAX: u32 = 3;
/// How long a peer is avoided that failed.
const AVOIDED_FOR: Duration = Duration::from_secs(10);

/// Of so many sub-requests one may be given to a second node because the first one is slow ...
const SENT_PER_HEDGE: f64 = 10.0;
/// ... and as many more, so that a node that freezes is outrun at once. Where all nodes are busy, more would only make them
/// busier; then a peer is waited for as long as the longest.
const HEDGES_SPARED_MAX: f64 = 32.0;

/// How the peers answer.
#[derive(Debug)]
pub(crate) struct Health {
    states: Mutex<HashMap<NodeId, State>>,
    /// How many hedges are left.
    spared: Mutex<f64>,
}

impl Default for Health {
    fn default() -> Self {
        Self { states: Mutex::default(), spared: Mutex::new(HEDGES_SPARED_MAX) }
    }
}

#[derive(Debug, Default)]
struct State {
    run: Incarnation,
    /// About the longest it took of late.
    slowest: Duration,
    /// Times in a row that it was outrun.
    outrun: u32,
    avoided_until: Option<Instant>,
}

impl Health {
    /// Those of `peers` that are to be avoided now. Others than these are forgotten, and so is what was known of an earlier run.
    pub(crate) fn avoided(&self, peers: &[Peer], now: Instant) -> Vec<NodeId> {
        let mut states = self.states.lock();
        states.retain(|node, state| peers.iter().any(|peer| peer.node == *node && peer.run == state.run));
        let avoided = |(node, state): (&NodeId, &mut State)| {
            let until = state.avoided_until?;
            if now < until {
                return Some(*node);
            }
            // Tried again, and at once given up if it is no better.
            *state = State { run: state.run, outrun: OUTRUN_MAX - 1, ..State::default() };
            None
        };
        states.iter_mut().filter_map(avoided).collect()
    }

    /// How long to wait for an answer that takes reading `bytes`.
    pub(crate) fn patience(&self, peer: Peer, bytes: u64) -> Duration {
        let reading = Duration::from_millis(bytes.saturating_mul(1_000) / BYTES_PER_SECOND);
        self.slowest(peer).saturating_mul(PATIENCE_FACTOR).clamp(PATIENCE_MIN, PATIENCE_MAX) + reading
    }

    /// How much longer to wait for a peer before somebody else is asked, too: none at all unless that happens too often, then
    /// until it takes far longer than it does of late.
    pub(crate) fn more_patience(&self, peer: Peer) -> Duration {
        {
            let mut spared = self.spared.lock();
            if *spared >= 1.0 {
                *spared -= 1.0;
                return Duration::ZERO;
            }
        }
        self.slowest(peer).saturating_mul(PATIENCE_FACTOR).clamp(PATIENCE_MAX, BUSY_PATIENCE_MAX)
    }

    fn slowest(&self, peer: Peer) -> Duration {
        let states = self.states.lock();
        states.get(&peer.node).filter(|state| state.run == peer.run).map_or(Duration::ZERO, |state| state.slowest)
    }

    /// A sub-request was sent.
    pub(crate) fn sent(&self) {
        let mut spared = self.spared.lock();
        *spared = (*spared + 1.0 / SENT_PER_HEDGE).min(HEDGES_SPARED_MAX);
    }

    /// It answered after that time.
    pub(crate) fn answered(&self, peer: Peer, took: Duration) {
        self.change(peer, |state| {
            state.slowest = state.slowest.mul_f64(FORGETTING).max(took);
            (state.outrun, state.avoided_until) = (0, None);
        });
    }

    /// Others answered first, and it had not after that time.
    pub(crate) fn outrun(&self, peer: Peer, after: Duration, now: Instant) {
        self.change(peer, |state| {
            state.slowest = state.slowest.max(after);
            state.outrun += 1;
            if state.outrun >= OUTRUN_MAX {
                state.avoided_until = Some(now + AVOIDED_FOR);
            }
        });
    }

    /// It did not answer, or not what it was asked. Whether that is news.
    pub(crate) fn failed(&self, peer: Peer, now: Instant) -> bool {
        self.change(peer, |state| {
            let is_new = state.outrun < OUTRUN_MAX - 1;
            (state.outrun, state.avoided_until) = (OUTRUN_MAX, Some(now + AVOIDED_FOR));
            is_new
        })
    }

    fn change<T>(&self, peer: Peer, change: impl FnOnce(&mut State) -> T) -> T {
        let mut states = self.states.lock();
        let state = states.entry(peer.node).or_default();
        if state.run != peer.run {
            *state = State { run: peer.run, ..State::default() };
        }
        change(state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: Peer = Peer { node: NodeId(2), run: Incarnation(1) };
    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn patience_follows_how_long_a_peer_takes() {
        let health = Health::default();
        assert_eq!(health.patience(PEER, 0), 20 * MS);
        health.answered(PEER, 50 * MS);
        assert_eq!(health.patience(PEER, 0), 150 * MS);
        assert_eq!(health.patience(PEER, 2 << 30), 2_150 * MS);
        for _ in 0..1_000 {
            health.answered(PEER, MS);
        }
        assert_eq!(health.patience(PEER, 0), 20 * MS);
        health.answered(PEER, 5_000 * MS);
        assert_eq!(health.patience(PEER, 0), 1_000 * MS);
    }

    #[test]
    fn who_fails_is_avoided_for_a_while_and_gets_one_try_then() {
        let (health, now) = (Health::default(), Instant::now());
        assert!(health.avoided(&[PEER], now).is_empty());
        assert!(health.failed(PEER, now));
        assert_eq!(health.avoided(&[PEER], now), [PEER.node]);
        let later = now + AVOIDED_FOR;
        assert!(health.avoided(&[PEER], later).is_empty());
        assert!(!health.failed(PEER, later), "it is known");
        let later = later + AVOIDED_FOR;
        assert!(health.avoided(&[PEER], later).is_empty());
        health.outrun(PEER, MS, later);
        assert_eq!(health.avoided(&[PEER], later), [PEER.node]);
        health.answered(PEER, MS);
        assert!(health.avoided(&[PEER], later).is_empty());
    }

    #[test]
    fn who_is_outrun_again_and_again_is_avoided() {
        let (health, now) = (Health::default(), Instant::now());
        for _ in 1..OUTRUN_MAX {
            health.outrun(PEER, MS, now);
        }
        health.answered(PEER, MS);
        for _ in 1..OUTRUN_MAX {
            health.outrun(PEER, MS, now);
        }
        assert!(health.avoided(&[PEER], now).is_empty());
        health.outrun(PEER, MS, now);
        assert_eq!(health.avoided(&[PEER], now), [PEER.node]);
    }

    #[test]
    fn hedges_stay_few_among_all() {
        let health = Health::default();
        let at_once = |_| health.more_patience(PEER) == Duration::ZERO;
        assert_eq!((0..100).filter(|_| at_once(())).count(), HEDGES_SPARED_MAX as usize);
        let hedged = (0..1_000).filter(|_| {
            health.sent();
            at_once(())
        });
        assert!((98..=100).contains(&hedged.count()));
        while health.more_patience(PEER) == Duration::ZERO {}
        // With none left a peer is waited for as long as its slowness of late makes likely.
        for (slowest, more) in [(50 * MS, 1_000 * MS), (4_000 * MS, 12_000 * MS), (9_000 * MS, 20_000 * MS)] {
            health.answered(PEER, slowest);
            assert_eq!(health.more_patience(PEER), more);
        }
    }

    #[test]
    fn the_next_run_of_a_node_begins_anew() {
        let (health, now) = (Health::default(), Instant::now());
        health.failed(PEER, now);
        let next = Peer { run: Incarnation(2), ..PEER };
        assert!(health.avoided(&[next], now).is_empty());
        health.failed(next, now);
        assert_eq!(health.avoided(&[next], now), [next.node]);
        assert!(health.avoided(&[], now).is_empty() && health.states.lock().is_empty());
    }
}
