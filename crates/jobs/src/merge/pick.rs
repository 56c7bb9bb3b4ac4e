//! Which fragments to merge: a pure function of a collection's fragments.
//!
//! Fragments are ordered, and a merge replaces neighbours only, so the order of rows never changes. Sizes form tiers, each
//! [`MergeOptions::fan_in`] times the one below; as soon as so many neighbours of one tier have gathered, they and the
//! smaller ones between them become one of the next. So a row is rewritten once a tier, and a collection that only grows
//! holds at most a few fragments of each. Fragments of half the target size or more are full and left alone.
//!
//! Source of the scheme: the log-structured merge tree, as Lucene's `LogMergePolicy` applies it to neighbouring segments.

use std::collections::BTreeSet;
use std::sync::Arc;

use redkite_table::entry::KeyBounds;
use redkite_table::{Collection, Fragment};
use redkite_types::{FragmentId, Revision};

use super::{MergeOptions, Wanted};

/// Most fragments of one merge: each is one compare of the commit, of which a stock etcd takes 128.
const INPUTS_MAX: usize = 100;
/// Most entries a merge drops: all of them are put again into tombstones, by one transaction of limited bytes.
const ENTRIES_MAX: usize = 1_800;

/// Memory that writing the key column takes for each row, and how often it holds the texts of keys, for a moment.
const SORT_BYTES_PER_ROW: u64 = 70;
const SORTED_TEXT_COPIES: u64 = 3;

/// Fragments that become one. They are neighbours, oldest first.
#[derive(Debug, Clone)]
pub struct MergePlan {
    /// What is merged; at least one.
    pub inputs: Vec<Arc<Fragment>>,
    /// The fragment that follows the last of them.
    pub next: Option<FragmentId>,
}

impl MergePlan {
    /// Rows that are left after the merge.
    pub fn live_rows(&self) -> u64 {
        self.inputs.iter().map(|fragment| fragment.live_rows()).sum()
    }
}

/// How eagerly to merge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Eagerness {
    /// Whenever a tier is full: the background's way.
    Tiered,
    /// Whatever two neighbours can become one: an operator asked.
    All,
}

/// The next merge of `collection`, if one is worth it. Fragments from revision `settled` on are left alone: an older one
/// may still be committed between them. Takes microseconds for a thousand fragments.
pub fn pick(collection: &Collection, settled: Revision, options: &MergeOptions, wanted: &Wanted) -> Option<MergePlan> {
    let fragments: Vec<&Arc<Fragment>> = collection.fragments.values().collect();
    let settled = fragments.partition_point(|fragment| fragment.id.revision() < settled);
    let picker = Picker { fragments: &fragments, settled, options, without: &wanted.without };
    let tiers = || match wanted.eagerness {
        Eagerness::Tiered => picker.full_tier(),
        Eagerness::All => picker.any_neighbours(),
    };
    picker.emptied().or_else(tiers).or_else(|| picker.trapped()).or_else(|| picker.mostly_deleted())
}

/// Fragments that a merge could still take: how far merging is behind.
pub fn unmerged(collection: &Collection, options: &MergeOptions) -> usize {
    let mut unmerged = 0;
    let mut run = 0;
    for fragment in collection.fragments.values() {
        run = if is_full(fragment, options) { 0 } else { run + 1 };
        // One alone has no neighbour to be merged with.
        unmerged += match run {
            0 | 1 => 0,
            2 => 2,
            _ => 1,
        };
    }
    unmerged
}

fn is_full(fragment: &Fragment, options: &MergeOptions) -> bool {
    load(fragment, options) >= 0.5
}

/// How much of the largest fragment there should be the live rows of this one are: by their number, or by the memory it
/// takes to sort their keys.
fn load(fragment: &Fragment, options: &MergeOptions) -> f64 {
    let rows = fragment.live_rows();
    let texts = fragment.files.iter().filter(|file| matches!(file.entry.keys, Some(KeyBounds::Text(..))));
    let text_bytes: u64 = texts.map(|file| file.entry.size).sum();
    let sort_bytes = rows * SORT_BYTES_PER_ROW + text_bytes * SORTED_TEXT_COPIES;
    let by_rows = rows as f64 / options.target_rows.max(1) as f64;
    by_rows.max(sort_bytes as f64 / options.memory_bytes.max(1) as f64)
}

struct Picker<'a> {
    fragments: &'a [&'a Arc<Fragment>],
    /// How many of them, from the first, may be merged.
    settled: usize,
    options: &'a MergeOptions,
    /// Those that are left alone.
    without: &'a BTreeSet<FragmentId>,
}

impl Picker<'_> {
    /// The tier of a fragment: tier 0 holds up to `fan_in` rows, each further one `fan_in` times as many.
    fn tier(&self, fragment: &Fragment) -> u32 {
        fragment.live_rows().max(1).ilog(self.options.fan_in.max(2) as u64)
    }

    /// Stretches of neighbours that may be merged and that `fits` holds for, as ranges.
    fn runs(&self, fits: impl Fn(&Fragment) -> bool) -> Vec<std::ops::Range<usize>> {
        let mut runs = Vec::new();
        let mut start = 0;
        for at in 0..=self.settled {
            let fragment = self.fragments.get(at).filter(|_| at < self.settled);
            if fragment.is_none_or(|fragment| self.without.contains(&fragment.id) || !fits(fragment)) {
                if at > start {
                    runs.push(start..at);
                }
                start = at + 1;
            }
        }
        runs
    }

    /// The first fragments of a run that fit into one merge; none if that is fewer than `least`.
    fn plan(&self, run: std::ops::Range<usize>, least: usize) -> Option<MergePlan> {
        let (mut loads, mut entries, mut end) = (0.0, 0, run.start);
        while end < run.end && end - run.start < INPUTS_MAX {
            loads += load(self.fragments[end], self.options);
            entries += self.fragments[end].files.len();
            if end > run.start && (loads > 1.0 || entries > ENTRIES_MAX) {
                break;
            }
            end += 1;
        }
        let inputs: Vec<Arc<Fragment>> =
            self.fragments[run.start..end].iter().map(|&fragment| fragment.clone()).collect();
        let next = self.fragments.get(end).map(|fragment| fragment.id);
        (inputs.len() >= least).then_some(MergePlan { inputs, next })
    }

    /// Fragments without a row left: they go, and nothing takes their place.
    fn emptied(&self) -> Option<MergePlan> {
        let runs = self.runs(|fragment| fragment.live_rows() == 0);
        runs.into_iter().find_map(|run| self.plan(run, 1))
    }

    fn full_tier(&self) -> Option<MergePlan> {
        let tiers = self.fragments[..self.settled].iter().filter(|fragment| !is_full(fragment, self.options));
        let mut tiers: Vec<u32> = tiers.map(|fragment| self.tier(fragment)).collect();
        tiers.sort_unstable();
        tiers.dedup();
        tiers.into_iter().find_map(|tier| {
            let fits = |fragment: &Fragment| !is_full(fragment, self.options) && self.tier(fragment) <= tier;
            self.runs(fits).into_iter().find_map(|run| {
                let of_tier = self.fragments[run.clone()].iter().filter(|fragment| self.tier(fragment) == tier);
                if of_tier.count() < self.options.fan_in { None } else { self.plan(run, 2) }
            })
        })
    }

    fn any_neighbours(&self) -> Option<MergePlan> {
        let runs = self.runs(|fragment| !is_full(fragment, self.options));
        runs.into_iter().find_map(|run| self.plan(run, 2))
    }

    /// Neighbours that a full fragment follows: nothing will ever be added to them, so they need not wait.
    fn trapped(&self) -> Option<MergePlan> {
        let runs = self.runs(|fragment| !is_full(fragment, self.options));
        runs.into_iter().filter(|run| run.end < self.settled).find_map(|run| self.plan(run, 2))
    }

    /// A fragment of which so many rows are deleted that rewriting it pays.
    fn mostly_deleted(&self) -> Option<MergePlan> {
        let pays = |fragment: &Fragment| {
            let (rows, live) = (fragment.rows(), fragment.live_rows());
            rows > live && (rows - live) as f64 >= rows as f64 * self.options.deleted_share
        };
        let pays = |fragment: &Fragment| pays(fragment) && !self.without.contains(&fragment.id);
        let at = self.fragments[..self.settled].iter().position(|fragment| pays(fragment))?;
        self.plan(at..at + 1, 1)
    }
}

#[cfg(test)]
mod tests;
