//! Giving space back: files and entries that no reader can need any more.
//!
//! Deleting files still in use is the easiest way to lose data, so nothing here rests on timing, listing or on who runs
//! it. The order of steps is what safety rests on:
//!
//! *What was dropped or replaced* ([`collect`]).
//! 1. A catalog is read, then what all nodes need. Whatever node tells its needs later reads a newer catalog.
//! 2. [`horizon::decide`] (pure): the newest revision that nobody reads before, and that lies behind the retention.
//! 3. One transaction raises the horizon to it. It compares the horizon and that no new pin was put since step 1; a new
//!    pin in turn compares the horizon. From here on what was dropped at or before the horizon is garbage for ever.
//! 4. Objects go first, then the tombstones that name them: a collector that dies between is followed by one that finds
//!    the same tombstones. Names are never reused, so one that wakes up late removes what is gone already.
//! 5. A delete log that neither a fragment nor a remaining tombstone names was superseded at or before the horizon; no
//!    commit ever names it again.
//!
//! *What was never committed* ([`sweep`]).
//! 1. The floor under ids is raised: nothing with an older id can commit from here on.
//! 2. A catalog is read that holds every commit up to there.
//! 3. Only then the store is listed. A file with an id below the floor that neither an entry nor a tombstone names will
//!    never be named. What does not look like one of our files is left alone.
//!
//! A node that meets metadata of a newer format, or a tombstone it cannot read, removes nothing.

pub mod horizon;
mod remove;
mod sweep;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use redkite_meta::{Compare, Op, Txn};
use redkite_table::{Catalog, Database, Visibility};

use crate::failpoint::step;
use crate::{Error, Result};
pub use sweep::sweep;

/// How to collect.
#[derive(Debug, Clone)]
pub struct CollectOptions {
    /// Whether to collect at all without being asked.
    pub enabled: bool,
    /// How long what was dropped stays readable.
    pub retention: Duration,
}

impl Default for CollectOptions {
    fn default() -> Self {
        Self { enabled: true, retention: Duration::from_secs(3_600) }
    }
}

/// Of what to remove.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// Whatever there is.
    All,
    /// Only what lies in these segments.
    Segments(HashSet<String>),
}

impl Scope {
    /// The collection of that name, and those that were called so and are dropped.
    pub fn named(catalog: &Catalog, name: &str) -> redkite_table::Result<Self> {
        let dropped = catalog.graves.collections().filter(|dropped| dropped.tombstone.name == name);
        let mut segments: HashSet<String> = dropped.map(|dropped| dropped.tombstone.segment.clone()).collect();
        match catalog.collection(name) {
            Ok(collection) => _ = segments.insert(collection.segment.to_string()),
            Err(error) if segments.is_empty() => return Err(error),
            Err(_) => {}
        }
        Ok(Self::Segments(segments))
    }

    fn has(&self, segment: &str) -> bool {
        match self {
            Self::All => true,
            Self::Segments(segments) => segments.contains(segment),
        }
    }
}

/// What was removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CollectReport {
    /// Objects removed from the store.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Metadata keys removed.
    pub keys: u64,
    /// Files that were never committed, among `files`.
    pub abandoned: u64,
}

impl CollectReport {
    /// Adds what another one says.
    pub fn add(&mut self, other: Self) {
        self.files += other.files;
        self.bytes += other.bytes;
        self.keys += other.keys;
        self.abandoned += other.abandoned;
    }
}

/// Removes what was dropped or replaced and is needed by nobody any more. Any number of collectors may do so at once. The
/// horizon is raised for all collections, whatever the scope.
pub async fn collect(database: &Arc<Database>, options: &CollectOptions, scope: &Scope) -> Result<CollectReport> {
    let catalog = safe_catalog(database).await?;
    database.tell_needs().await?;
    let needs = database.needs().await?;
    let stored = database.meta.get(&database.keys.horizon()).await?;
    let old = database.horizon().await?;
    let now_ms = database.ambient.now_ms();
    let decided = horizon::decide(&catalog, &needs, now_ms, options.retention, old);
    let mut horizon = old;
    if let Some(wanted) = decided {
        let since = |revision| Compare::unchanged_since(database.keys.horizon(), revision);
        let txn = Txn {
            compares: vec![
                since(stored.map_or(redkite_types::Revision::ZERO, |kv| kv.mod_revision)),
                Compare::unchanged_since(database.keys.pins_head(), needs.pins_head),
            ],
            then: vec![Op::put(database.keys.horizon(), wanted.value())],
            otherwise: Vec::new(),
        };
        step("collect-before-horizon")?;
        match database.meta.txn(txn).await {
            Ok(response) if response.succeeded => horizon = wanted,
            // Another collector, or a new pin: what may go by the old horizon may still go; the rest is for the next round.
            Ok(_) | Err(redkite_meta::Error::OutcomeUnknown(_)) => horizon = database.horizon().await?,
            Err(error) => return Err(error.into()),
        }
        step("collect-after-horizon")?;
    }
    let mut report = CollectReport::default();
    report.add(remove::graves(database, &catalog, horizon.revision, scope).await?);
    report.add(remove::superseded_logs(database, &catalog, horizon.revision, scope).await?);
    if report != CollectReport::default() {
        database.readers.retain(&fragments_of(&catalog, horizon.revision));
    }
    Ok(report)
}

/// A catalog as new as anything committed, in which everything could be read that decides what may be removed.
async fn safe_catalog(database: &Database) -> Result<Arc<Catalog>> {
    let catalog = database.snapshot(Visibility::Strong).await?;
    if let Some(error) = catalog.newer_format() {
        return Err(Error::Newer { detail: error.to_string() });
    }
    if let Some(error) = catalog.graves.damage().next() {
        return Err(Error::Unreadable { detail: error.to_string() });
    }
    Ok(catalog)
}

/// The fragments that readers may still open.
fn fragments_of(catalog: &Catalog, horizon: redkite_types::Revision) -> HashSet<redkite_types::FragmentId> {
    let live = catalog.segments().flat_map(|collection| collection.fragments.keys().copied());
    let retained = catalog.graves.entries().filter(|grave| grave.dropped > horizon);
    live.chain(retained.filter_map(|grave| grave.fragment)).collect()
}
