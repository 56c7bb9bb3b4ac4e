//! The total order of scores and the window of scores a search may ask for.
//!
//! A score becomes a 32-bit *rank* that sorts best first whatever the metric: NaN last, both zeros equal. The collector
//! works on ranks only.

use std::ops::{Bound, RangeInclusive};

/// Which scores a hit may have; by default any. Bounds are scores of the metric: "best" is the end at which the better
/// hits lie, the small distances or the large similarities.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Window {
    /// Best score allowed.
    pub best: Bound<f32>,
    /// Worst score allowed.
    pub worst: Bound<f32>,
}

impl Window {
    /// Any score.
    pub const ALL: Window = Window { best: Bound::Unbounded, worst: Bound::Unbounded };

    /// A range search: strictly better than `radius` and no better than `range_filter`, which for a distance is
    /// `range_filter <= score < radius` and for a similarity `radius < score <= range_filter`.
    pub fn range(radius: f32, range_filter: Option<f32>) -> Self {
        Self { best: range_filter.map_or(Bound::Unbounded, Bound::Included), worst: Bound::Excluded(radius) }
    }

    /// Only what is strictly worse than `score`: the next page of an iteration.
    pub fn beyond(score: f32) -> Self {
        Self { best: Bound::Excluded(score), worst: Bound::Unbounded }
    }

    /// The ranks inside; an empty range where the bounds cross.
    pub(crate) fn ranks(&self, order: Order) -> RangeInclusive<u32> {
        let least = match self.best {
            Bound::Unbounded => Some(0),
            Bound::Included(score) => Some(order.rank(score)),
            Bound::Excluded(score) => order.rank(score).checked_add(1),
        };
        let most = match self.worst {
            Bound::Unbounded => Some(u32::MAX),
            Bound::Included(score) => Some(order.rank(score)),
            Bound::Excluded(score) => order.rank(score).checked_sub(1),
        };
        match (least, most) {
            (Some(least), Some(most)) => least..=most,
            _ => EMPTY,
        }
    }
}

impl Default for Window {
    fn default() -> Self {
        Self::ALL
    }
}

/// A range of ranks with nothing in it.
#[allow(clippy::reversed_empty_ranges)]
pub(crate) const EMPTY: RangeInclusive<u32> = 1..=0;

/// Which way scores get better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    SmallerFirst,
    LargerFirst,
}

impl Order {
    /// The place of a score among all scores: smaller is better, equal scores have equal ranks.
    pub(crate) fn rank(self, score: f32) -> u32 {
        if score.is_nan() {
            return u32::MAX;
        }
        // Adding zero turns the negative zero into the positive one.
        let bits = (self.flip(score) + 0.0).to_bits();
        if bits >> 31 == 1 { !bits } else { bits | 1 << 31 }
    }

    /// The score of a rank.
    pub(crate) fn score(self, rank: u32) -> f32 {
        if rank == u32::MAX {
            return f32::NAN;
        }
        let bits = if rank >> 31 == 1 { rank & !(1 << 31) } else { !rank };
        self.flip(f32::from_bits(bits)) + 0.0
    }

    fn flip(self, score: f32) -> f32 {
        match self {
            Order::SmallerFirst => score,
            Order::LargerFirst => -score,
        }
    }
}

#[cfg(test)]
mod tests;
