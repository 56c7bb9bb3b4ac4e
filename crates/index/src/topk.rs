//! The k best hits of one query, and those tied with the last of them.
//!
//! Rows arrive in any order, block by block; the outcome depends on the set of them alone: the `k` best by score, every
//! further row whose score equals that of the k-th (so that the caller can order ties by key), and of these at most
//! `ties_max`, the lowest rows first. If there were more the outcome says so.
//!
//! Candidates gather in a buffer that is cut back to the best whenever it fills: amortised constant time a candidate,
//! and memory for no more rows than were offered, at most `1.5 x (k + ties_max) + k + 64` of 16 bytes.

use std::ops::RangeInclusive;

use redkite_types::Metric;

use crate::Window;
use crate::window::{EMPTY, Order};

/// How many rows tied with the k-th are kept unless told otherwise. Enough for what duplicates in real data amount to;
/// metrics that count (HAMMING) can exceed it, hence `ties_overflowed`.
pub const TIES_MAX: usize = 4_096;

/// Candidates gathered beyond those worth keeping before the buffer is cut, at least.
const SLACK_MIN: usize = 64;

/// One found row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hit {
    /// The score by the metric's convention.
    pub score: f32,
    /// The row's number, counted as the caller of the scan does.
    pub row: u64,
}

/// What a collector found.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TopHits {
    /// Best first, equal scores by row: the k best and, behind them, those tied with the k-th.
    pub hits: Vec<Hit>,
    /// More rows were tied with the k-th than were kept.
    pub ties_overflowed: bool,
}

/// A row under consideration; sorts best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Candidate {
    rank: u32,
    row: u64,
}

/// Collects the k best rows of one query.
#[derive(Debug, Clone)]
pub struct TopK {
    k: usize,
    ties_max: usize,
    order: Order,
    ranks: RangeInclusive<u32>,
    kept: Vec<Candidate>,
    /// The buffer is cut when it is this long.
    cut_at: usize,
    /// The worst candidate that could still matter.
    limit: Candidate,
    /// The score of `limit`; NaN while anything goes.
    bound: f32,
    /// The best rank at which ties had to be dropped.
    dropped: Option<u32>,
}

impl TopK {
    /// An empty collector of the `k` best by `metric`. Allocates nothing yet.
    pub fn new(metric: Metric, k: usize) -> Self {
        let order = if metric.larger_is_better() { Order::LargerFirst } else { Order::SmallerFirst };
        let collector = Self {
            k,
            ties_max: TIES_MAX,
            order,
            ranks: EMPTY,
            kept: Vec::new(),
            cut_at: k.saturating_add(k.max(SLACK_MIN)),
            limit: Candidate { rank: u32::MAX, row: u64::MAX },
            bound: f32::NAN,
            dropped: None,
        };
        collector.within(Window::ALL)
    }

    /// Keeps at most `ties_max` rows tied with the k-th. To be set before anything is offered.
    pub fn with_ties_max(mut self, ties_max: usize) -> Self {
        self.ties_max = ties_max;
        self
    }

    /// Takes only scores within `window`. To be set before anything is offered.
    pub fn within(mut self, window: Window) -> Self {
        self.ranks = if self.k == 0 { EMPTY } else { window.ranks(self.order) };
        self.limit.rank = *self.ranks.end();
        self.bound = self.order.score(self.limit.rank);
        self
    }

    /// The worst score that could still be kept, `None` while any can. It may only get better.
    pub fn threshold(&self) -> Option<f32> {
        (!self.bound.is_nan()).then_some(self.bound)
    }

    /// Considers one row.
    pub fn push(&mut self, score: f32, row: u64) {
        let candidate = Candidate { rank: self.order.rank(score), row };
        if self.ranks.contains(&candidate.rank) {
            self.consider(candidate);
        }
    }

    /// Considers the rows `first_row + ids[i]` with `scores[i]`.
    #[allow(clippy::neg_cmp_op_on_partial_ord)]
    pub(crate) fn offer(&mut self, scores: &[f32], ids: &[u32], first_row: u64) {
        // One pass without branches settles most of a scan: nothing here is good enough. The comparisons are negated
        // so that a NaN on either side goes on to the exact test.
        let bound = self.bound;
        let any = match self.order {
            Order::SmallerFirst => scores.iter().fold(false, |any, &score| any | !(score > bound)),
            Order::LargerFirst => scores.iter().fold(false, |any, &score| any | !(score < bound)),
        };
        if any {
            for (&score, &id) in scores.iter().zip(ids) {
                self.push(score, first_row + u64::from(id));
            }
        }
    }

    /// Takes over what another collector of the same query found elsewhere.
    pub fn merge(&mut self, other: TopK) {
        for candidate in other.kept {
            self.consider(candidate);
        }
        self.dropped = match (self.dropped, other.dropped) {
            (Some(own), Some(its)) => Some(own.min(its)),
            (own, its) => own.or(its),
        };
    }

    /// Takes over what a collector of the same query, with the same `k` and ties, found elsewhere: its [`TopHits`], the hits in
    /// any order.
    pub fn absorb(&mut self, hits: &[Hit], ties_overflowed: bool) {
        hits.iter().for_each(|hit| self.push(hit.score, hit.row));
        if ties_overflowed && (1..=hits.len()).contains(&self.k) {
            // What overflowed were ties with its k-th; what it dropped of worse ones cannot be among the outcome.
            let mut ranks: Vec<u32> = hits.iter().map(|hit| self.order.rank(hit.score)).collect();
            let rank = *ranks.select_nth_unstable(self.k - 1).1;
            self.dropped = Some(self.dropped.map_or(rank, |own| own.min(rank)));
        }
    }

    /// How many rows it holds, which may be more than the outcome will have.
    pub fn len(&self) -> usize {
        self.kept.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// What was found.
    pub fn into_sorted(mut self) -> TopHits {
        self.cut();
        self.kept.sort_unstable();
        let last = self.k.checked_sub(1).and_then(|last| self.kept.get(last));
        let ties_overflowed = self.dropped.is_some() && last.map(|last| last.rank) == self.dropped;
        let hit = |kept: &Candidate| Hit { score: self.order.score(kept.rank), row: kept.row };
        TopHits { hits: self.kept.iter().map(hit).collect(), ties_overflowed }
    }

    fn consider(&mut self, candidate: Candidate) {
        if candidate <= self.limit {
            self.kept.push(candidate);
            if self.kept.len() >= self.cut_at {
                self.cut();
                let length = self.kept.len();
                self.cut_at = length + self.k.max(length / 2).max(SLACK_MIN);
            }
        }
    }

    /// Drops what cannot be among the outcome any more.
    fn cut(&mut self) {
        if self.k == 0 || self.kept.len() <= self.k {
            return;
        }
        let (_, last, rest) = self.kept.select_nth_unstable(self.k - 1);
        let rank = last.rank;
        let mut ties = 0;
        for at in 0..rest.len() {
            if rest[at].rank == rank {
                rest.swap(at, ties);
                ties += 1;
            }
        }
        self.kept.truncate(self.k + ties);
        let most = self.k.saturating_add(self.ties_max);
        if self.kept.len() > most {
            self.kept.select_nth_unstable(most - 1);
            self.kept.truncate(most);
            self.dropped = Some(rank);
        }
        // With the ties full only a lower row can displace one; else any row with the k-th score is welcome.
        let full = self.dropped == Some(rank) && self.kept.len() == most;
        let row = if full { self.kept.iter().max().map_or(u64::MAX, |worst| worst.row) } else { u64::MAX };
        self.limit = Candidate { rank, row };
        self.bound = self.order.score(rank);
    }
}

#[cfg(test)]
mod tests;
