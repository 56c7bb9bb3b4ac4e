//! The loops that keep a node's data in shape, and the same work on request.
//!
//! One loop merges: it looks at the collections that changed since it looked last. One collects, and renews what the node
//! tells the others. A failure is logged and tried again; nothing waits for either loop.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, StreamExt};
use parking_lot::Mutex;
use redkite_table::presence::RENEWAL_PAUSE;
use redkite_table::{Catalog, Database};
use redkite_types::{CollectionId, Revision};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::collect::{collect, sweep};
use crate::merge::{merge_next, unmerged};
use crate::metrics::standing;
use crate::pool::Pool;
use crate::{CollectOptions, CollectReport, Eagerness, Error, MergeOptions, MergeReport, Result, Standing};

/// Unmerged fragments of a collection beyond which flushes into it are slowed down.
pub const UNMERGED_MAX: usize = 200;
/// How much a flush is slowed down for each fragment beyond, and at most.
const SLOWDOWN_STEP: Duration = Duration::from_millis(5);
const SLOWDOWN_MAX: Duration = Duration::from_secs(1);
/// How long changes gather before the merge loop looks at them.
const GATHER: Duration = Duration::from_millis(50);
/// Pause after a failed merge or collection.
const FAILURE_PAUSE: Duration = Duration::from_secs(5);
/// Least pause between two collections, whatever is configured.
const COLLECT_PAUSE_MIN: Duration = Duration::from_millis(100);
/// Merges of one collection without looking at the others.
const MERGES_IN_A_ROW: usize = 16;
/// How much of the metadata's history is left for watchers that fell behind.
const HISTORY_KEPT: Duration = Duration::from_secs(300);

/// How a node keeps its data in shape.
#[derive(Debug, Clone)]
pub struct MaintenanceOptions {
    /// How to merge.
    pub merge: MergeOptions,
    /// How to collect.
    pub collect: CollectOptions,
    /// Pause between two collections.
    pub collect_interval: Duration,
    /// Pause between two searches for files that were never committed.
    pub sweep_interval: Duration,
    /// Whether the metadata store's history is forgotten from time to time.
    pub compact_metadata: bool,
}

impl Default for MaintenanceOptions {
    fn default() -> Self {
        Self {
            merge: MergeOptions::default(),
            collect: CollectOptions::default(),
            collect_interval: Duration::from_secs(10),
            sweep_interval: Duration::from_secs(3_600),
            compact_metadata: true,
        }
    }
}

/// Background work of one node. Stops when dropped.
#[derive(Debug)]
pub struct Maintenance {
    work: Arc<Work>,
    loops: Mutex<Vec<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Work {
    database: Arc<Database>,
    options: MaintenanceOptions,
    pool: Pool,
    /// Collections being merged: two merges of one would only overtake each other.
    merging: Mutex<BTreeSet<CollectionId>>,
    collecting: tokio::sync::Mutex<()>,
}

impl Maintenance {
    /// Starts the loops. Must be called within a runtime.
    pub fn start(database: Arc<Database>, options: MaintenanceOptions) -> Result<Self> {
        let pool = Pool::new(options.merge.threads)?;
        let work =
            Arc::new(Work { database, options, pool, merging: Mutex::default(), collecting: Default::default() });
        let loops = vec![tokio::spawn(work.clone().merge_loop()), tokio::spawn(work.clone().collect_loop())];
        Ok(Self { work, loops: Mutex::new(loops) })
    }

    /// Merges all that can be merged of one collection, or of all, and returns what was done by collection.
    pub async fn merge(&self, collection: Option<&str>) -> Result<Vec<(String, Vec<MergeReport>)>> {
        let catalog = self.work.database.snapshot(redkite_table::Visibility::Strong).await?;
        let mut wanted = Vec::new();
        match collection {
            Some(name) => wanted.push((name.to_owned(), catalog.collection(name)?.record()?.id)),
            None => {
                for (name, found) in catalog.live_collections()? {
                    if let Some(record) = &found.record {
                        wanted.push((name.to_owned(), record.id));
                    }
                }
            }
        }
        drop(catalog);
        let mut done = Vec::new();
        for (name, id) in wanted {
            let mut reports = Vec::new();
            let _merging = self.work.enter(id).await;
            while let Some(report) = self.work.merge_once(id, Eagerness::All).await? {
                reports.push(report);
            }
            done.push((name, reports));
        }
        Ok(done)
    }

    /// Removes all that nobody needs any more, files that were never committed included.
    pub async fn collect(&self) -> Result<CollectReport> {
        self.work.collect_now(true).await
    }

    /// How things stand now.
    pub async fn standing(&self) -> Result<Standing> {
        self.work.standing().await
    }

    /// Ends the loops; what runs is cut off, which does no harm. Nothing of them is left when this returns.
    pub async fn stop(&self) {
        let loops = std::mem::take(&mut *self.loops.lock());
        for task in loops {
            task.abort();
            // Ended or cut off: either way it no longer holds anything.
            _ = task.await;
        }
        if let Err(error) = self.work.database.leave().await {
            tracing::debug!(%error, "what this node told the others expires by itself");
        }
    }
}

impl Drop for Maintenance {
    fn drop(&mut self) {
        self.loops.lock().iter().for_each(JoinHandle::abort);
    }
}

/// Marks a collection as being merged until dropped.
struct Merging<'w> {
    work: &'w Work,
    collection: CollectionId,
}

impl Drop for Merging<'_> {
    fn drop(&mut self) {
        self.work.merging.lock().remove(&self.collection);
    }
}

impl Work {
    fn try_enter(&self, collection: CollectionId) -> Option<Merging<'_>> {
        // The mark is made only by who entered: dropping one takes the collection off the list.
        let entered = self.merging.lock().insert(collection);
        if entered { Some(Merging { work: self, collection }) } else { None }
    }

    async fn enter(&self, collection: CollectionId) -> Merging<'_> {
        loop {
            if let Some(merging) = self.try_enter(collection) {
                return merging;
            }
            tokio::time::sleep(GATHER).await;
        }
    }

    async fn merge_once(&self, collection: CollectionId, eagerness: Eagerness) -> Result<Option<MergeReport>> {
        let started = Instant::now();
        let result = merge_next(&self.database, collection, &self.options.merge, eagerness, &self.pool).await;
        match &result {
            Ok(Some(report)) => {
                metrics::counter!("redkite_merges_total").increment(1);
                metrics::counter!("redkite_merged_rows_total").increment(report.rows);
                metrics::counter!("redkite_merged_bytes_total").increment(report.bytes);
                metrics::histogram!("redkite_merge_seconds").record(started.elapsed().as_secs_f64());
                let catalog = self.database.newest();
                let collection = catalog.name_of(collection).unwrap_or_default();
                let MergeReport { inputs, rows, bytes, revision } = report;
                tracing::info!(collection, inputs, rows, bytes, %revision, "merged fragments");
            }
            Ok(None) => {}
            Err(_) => metrics::counter!("redkite_merge_failures_total").increment(1),
        }
        result
    }

    async fn merge_loop(self: Arc<Self>) {
        let mut seen: HashMap<CollectionId, Revision> = HashMap::new();
        let mut catalog = self.database.newest();
        loop {
            let revision = catalog.revision;
            let changed = self.changed(&catalog, &mut seen);
            // Not held while merging: it would keep what is merged away from being removed.
            drop(catalog);
            let failed = stream::iter(changed)
                .map(|id| self.clone().merge_some(id))
                .buffer_unordered(self.options.merge.threads.max(1))
                .filter_map(|left| async move { left })
                .collect::<Vec<CollectionId>>()
                .await;
            if !failed.is_empty() {
                tokio::time::sleep(FAILURE_PAUSE).await;
                failed.iter().for_each(|id| _ = seen.remove(id));
                catalog = self.database.newest();
                continue;
            }
            match self.database.changed_since(revision).await {
                Ok(_) => {}
                // The node stops.
                Err(_) => return,
            }
            tokio::time::sleep(GATHER).await;
            catalog = self.database.newest();
        }
    }

    /// Collections that changed since they were looked at last. Sets how much flushes into them are slowed down.
    fn changed(&self, catalog: &Catalog, seen: &mut HashMap<CollectionId, Revision>) -> Vec<CollectionId> {
        let collections = match catalog.live_collections() {
            Ok(collections) => collections,
            Err(error) => {
                tracing::error!(%error, "nothing can be merged");
                return Vec::new();
            }
        };
        let mut changed = Vec::new();
        for (name, collection) in &collections {
            let Some(id) = collection.record.as_ref().map(|record| record.id) else { continue };
            if seen.insert(id, collection.head) != Some(collection.head) {
                changed.push(id);
                self.slow_down(name, id, unmerged(collection, &self.options.merge));
            }
        }
        if seen.len() > collections.len() {
            let ids: BTreeSet<CollectionId> =
                collections.iter().filter_map(|(_, collection)| Some(collection.record.as_ref()?.id)).collect();
            seen.retain(|id, _| ids.contains(id));
            self.database.slowdowns.retain(|id| ids.contains(&id));
        }
        changed
    }

    fn slow_down(&self, name: &str, id: CollectionId, unmerged: usize) {
        if !self.options.merge.enabled {
            return;
        }
        let beyond = u32::try_from(unmerged.saturating_sub(UNMERGED_MAX)).unwrap_or(u32::MAX);
        let pause = (SLOWDOWN_STEP.saturating_mul(beyond)).min(SLOWDOWN_MAX);
        if self.database.slowdowns.set(id, pause) {
            if pause.is_zero() {
                tracing::info!(collection = name, unmerged, "flushes are at full speed again");
            } else {
                tracing::warn!(
                    collection = name,
                    unmerged,
                    pause_ms = pause.as_millis() as u64,
                    "merging is behind: flushes into this collection are slowed down; fewer and larger flushes help"
                );
            }
        }
    }

    /// Merges of one collection; its id if it has to be tried again.
    async fn merge_some(self: Arc<Self>, id: CollectionId) -> Option<CollectionId> {
        if !self.options.merge.enabled {
            return None;
        }
        let _merging = self.try_enter(id)?;
        for _ in 0..MERGES_IN_A_ROW {
            match self.merge_once(id, Eagerness::Tiered).await {
                Ok(Some(_)) => {}
                Ok(None) => return None,
                Err(error) => {
                    let catalog = self.database.newest();
                    let collection = catalog.name_of(id).unwrap_or_default();
                    tracing::warn!(collection, %error, "a merge failed and is tried again; the data is as it was");
                    return Some(id);
                }
            }
        }
        None
    }

    async fn collect_loop(self: Arc<Self>) {
        let mut renewed = Instant::now();
        let mut swept = Instant::now();
        let mut history: Vec<(Instant, Revision)> = Vec::new();
        loop {
            tokio::time::sleep(self.options.collect_interval.clamp(COLLECT_PAUSE_MIN, RENEWAL_PAUSE)).await;
            if renewed.elapsed() >= RENEWAL_PAUSE.min(self.options.collect_interval) {
                if let Err(error) = self.database.tell_needs().await {
                    tracing::warn!(%error, "what this node reads could not be told to the others");
                }
                renewed = Instant::now();
            }
            let sweep = swept.elapsed() >= self.options.sweep_interval;
            if self.options.collect.enabled && (sweep || !self.database.newest().graves.is_empty()) {
                match self.collect_now(sweep).await {
                    Ok(report) if report == CollectReport::default() => {}
                    Ok(report) => {
                        let CollectReport { files, bytes, keys, abandoned } = report;
                        tracing::info!(files, bytes, keys, abandoned, "removed what nobody needs any more");
                    }
                    Err(error @ (Error::Newer { .. } | Error::Unreadable { .. })) => {
                        tracing::error!(%error, "nothing can be removed");
                    }
                    Err(error) => tracing::warn!(%error, "removing garbage failed and is tried again"),
                }
                if sweep {
                    swept = Instant::now();
                }
            }
            if self.options.compact_metadata {
                self.compact(&mut history).await;
            }
            match self.standing().await {
                Ok(standing) => standing.publish(),
                Err(error) => tracing::debug!(%error, "the figures of the data could not be worked out"),
            }
        }
    }

    async fn collect_now(&self, and_sweep: bool) -> Result<CollectReport> {
        let _collecting = self.collecting.lock().await;
        let mut report = CollectReport::default();
        // What a first round removes may leave a delete log that nothing names any more.
        loop {
            let round = collect(&self.database, &self.options.collect).await?;
            if round == CollectReport::default() {
                break;
            }
            report.add(round);
        }
        if and_sweep {
            report.add(sweep(&self.database).await?);
        }
        metrics::counter!("redkite_collected_files_total").increment(report.files);
        metrics::counter!("redkite_collected_bytes_total").increment(report.bytes);
        Ok(report)
    }

    /// Forgets the metadata's history up to where it was a while ago.
    async fn compact(&self, history: &mut Vec<(Instant, Revision)>) {
        let revision = self.database.newest().revision;
        if history.last().is_none_or(|(_, last)| *last < revision) {
            history.push((Instant::now(), revision));
        }
        let old = history.iter().take_while(|(at, _)| at.elapsed() >= HISTORY_KEPT).count();
        let Some((_, until)) = history.drain(..old).next_back() else { return };
        match self.database.meta.compact(until).await {
            Ok(()) | Err(redkite_meta::Error::Compacted { .. }) => {}
            Err(error) => tracing::warn!(%error, %until, "the metadata's history could not be compacted"),
        }
    }

    async fn standing(&self) -> Result<Standing> {
        let needs = self.database.needs().await?;
        let horizon = self.database.horizon().await?;
        Ok(standing(&self.database.newest(), &needs, horizon, &self.options.merge))
    }
}
