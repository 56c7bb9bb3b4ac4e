//! The loops that keep a node's data in shape, and the same work on request.
//!
//! One loop merges: it looks at the collections that changed since it looked last ([`agenda`]), however long the merges take
//! that run meanwhile. One collects. One renews what the node tells the others, which must not wait for either. A failure is
//! logged and tried again, and so is a panic; nothing waits for any of the loops.

mod agenda;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use agenda::{Agenda, Looked};
use futures::FutureExt;
use futures::stream::{FuturesUnordered, StreamExt};
use parking_lot::Mutex;
use redkite_table::presence::RENEWAL_PAUSE;
use redkite_table::{Catalog, Database};
use redkite_types::{CollectionId, FragmentId, Revision};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::collect::{Scope, collect, sweep};
use crate::merge::{Next, Wanted, merge_next, unmerged};
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
/// Pause before the list of collections, which could not be read, is looked at again.
const UNREADABLE_PAUSE: Duration = Duration::from_secs(30);
/// Pause before a loop that panicked goes on.
const PANIC_PAUSE: Duration = Duration::from_secs(5);
/// Longest time from a start to its first search for files that were never committed: a server that does not run for long
/// leaves such files, too.
const FIRST_SWEEP_MAX: Duration = Duration::from_secs(300);
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
    /// Fragments that merges found to be unreadable.
    unreadable: Mutex<HashMap<CollectionId, BTreeSet<FragmentId>>>,
    collecting: tokio::sync::Mutex<()>,
}

impl Maintenance {
    /// Starts the loops. Must be called within a runtime.
    pub fn start(database: Arc<Database>, options: MaintenanceOptions) -> Result<Self> {
        let pool = Pool::new(options.merge.threads)?;
        let work = Arc::new(Work {
            database,
            options,
            pool,
            merging: Mutex::default(),
            unreadable: Mutex::default(),
            collecting: Default::default(),
        });
        let loops = vec![
            tokio::spawn(forever("merging", work.clone(), Work::merge_loop)),
            tokio::spawn(forever("collecting", work.clone(), Work::collect_loop)),
            tokio::spawn(forever("renewing what this node reads", work.clone(), Work::renew_loop)),
        ];
        Ok(Self { work, loops: Mutex::new(loops) })
    }

    /// Merges all that can be merged of one collection, or of all, as it is now, and returns what was done by collection.
    /// What is flushed while this runs is left for later, so this ends however much that is. [`Error::Input`] for the first
    /// fragment that cannot be read, once everything else has been merged.
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
        // What is committed by now was made before.
        let before = Some(catalog.revision);
        drop(catalog);
        let (mut done, mut unreadable) = (Vec::new(), None);
        for (name, id) in wanted {
            let mut reports = Vec::new();
            let _merging = self.work.enter(id).await;
            loop {
                match self.work.merge_once(id, Eagerness::All, before).await {
                    Ok(Next::Merged(report)) => reports.push(report),
                    // Another node works on it.
                    Ok(Next::Overtaken) => tokio::time::sleep(GATHER).await,
                    Ok(Next::Nothing | Next::Unsettled) => break,
                    // It is left out from here on.
                    Err(error @ Error::Input { .. }) => _ = unreadable.get_or_insert(error),
                    Err(error) => return Err(error),
                }
            }
            done.push((name, reports));
        }
        unreadable.map_or(Ok(done), Err)
    }

    /// Removes all that nobody needs any more of one collection, or of all, files that were never committed included.
    pub async fn collect(&self, collection: Option<&str>) -> Result<CollectReport> {
        let scope = match collection {
            None => Scope::All,
            Some(name) => {
                let catalog = self.work.database.snapshot(redkite_table::Visibility::Strong).await?;
                Scope::named(&catalog, name)?
            }
        };
        self.work.collect_now(&scope, true).await
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

/// Runs a loop, and again if it panicked.
async fn forever<F: Future<Output = ()>>(what: &'static str, work: Arc<Work>, run: fn(Arc<Work>) -> F) {
    while AssertUnwindSafe(run(work.clone())).catch_unwind().await.is_err() {
        tracing::error!(what, "background work met a defect, which is described above, and starts again");
        tokio::time::sleep(PANIC_PAUSE).await;
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

    async fn merge_once(
        &self,
        collection: CollectionId,
        eagerness: Eagerness,
        before: Option<Revision>,
    ) -> Result<Next> {
        let started = Instant::now();
        let without = self.unreadable.lock().get(&collection).cloned().unwrap_or_default();
        let wanted = Wanted { eagerness, before, without };
        let mut read_again = BTreeSet::new();
        let result = loop {
            let result = merge_next(&self.database, collection, &self.options.merge, &wanted, &self.pool).await;
            match &result {
                // A damaged copy in the cache is none in the store.
                Err(Error::Input { fragment, source }) if read_again.insert(*fragment) => {
                    self.database.readers.forget_damaged(source).await;
                }
                _ => break result,
            }
        };
        match &result {
            Ok(Next::Merged(report)) => {
                metrics::counter!("redkite_merges_total").increment(1);
                metrics::counter!("redkite_merged_rows_total").increment(report.rows);
                metrics::counter!("redkite_merged_bytes_total").increment(report.bytes);
                metrics::histogram!("redkite_merge_seconds").record(started.elapsed().as_secs_f64());
                let catalog = self.database.newest();
                let collection = catalog.name_of(collection).unwrap_or_default();
                let MergeReport { inputs, rows, bytes, revision } = report;
                tracing::info!(collection, inputs, rows, bytes, %revision, "merged fragments");
            }
            Ok(Next::Nothing | Next::Unsettled | Next::Overtaken) => {}
            Err(error) => {
                metrics::counter!("redkite_merge_failures_total").increment(1);
                if let Error::Input { fragment, .. } = error {
                    let catalog = self.database.newest();
                    let name = catalog.name_of(collection).unwrap_or_default();
                    tracing::error!(collection = name, %error, "it is left out of merges until the next start");
                    self.unreadable.lock().entry(collection).or_default().insert(*fragment);
                }
            }
        }
        result
    }

    async fn merge_loop(self: Arc<Self>) {
        let mut agenda = Agenda::default();
        let (mut due, mut running) = (VecDeque::new(), FuturesUnordered::new());
        loop {
            let catalog = self.database.newest();
            let revision = catalog.revision;
            let readable = match self.due(&catalog, &mut agenda) {
                Ok(found) => {
                    due.extend(found);
                    true
                }
                Err(error) => {
                    tracing::error!(%error, "nothing can be merged");
                    false
                }
            };
            // Not held while merging: it would keep what is merged away from being removed.
            drop(catalog);
            while running.len() < self.options.merge.threads.max(1)
                && let Some(id) = due.pop_front()
            {
                running.push(self.clone().look(id));
            }
            let next = agenda.next();
            tokio::select! {
                Some((id, looked)) = running.next() => agenda.looked(id, looked, Instant::now()),
                stopped = self.something_to_look_at(revision, next), if readable => if stopped { return },
                () = tokio::time::sleep(UNREADABLE_PAUSE), if !readable => {}
            }
        }
    }

    /// Waits until something has changed since `seen`, and for what changes soon after, or until `at`. Whether the node stops.
    async fn something_to_look_at(&self, seen: Revision, at: Option<Instant>) -> bool {
        // The catalog is not held: there may be a newer one by the time it is looked at.
        let changed = self.database.changed_since(seen).map(|changed| changed.map(drop));
        let changed = match at {
            Some(at) => tokio::time::timeout_at(at, changed).await,
            None => Ok(changed.await),
        };
        if let Ok(Err(_)) = changed {
            return true;
        }
        tokio::time::sleep(GATHER).await;
        false
    }

    /// Collections to be looked at now. Sets how much flushes into those that changed are slowed down.
    fn due(&self, catalog: &Catalog, agenda: &mut Agenda) -> Result<Vec<CollectionId>> {
        let collections = catalog.live_collections()?;
        let now = Instant::now();
        let mut due = Vec::new();
        let mut live = BTreeSet::new();
        for (name, collection) in &collections {
            let Some(id) = collection.record.as_ref().map(|record| record.id) else { continue };
            live.insert(id);
            if agenda.has_changed(id, collection.head, now) && self.options.merge.enabled {
                self.slow_down(name, id, unmerged(collection, &self.options.merge));
            }
            if agenda.is_due(id, now) {
                due.push(id);
            }
        }
        if agenda.len() > live.len() {
            agenda.retain(&live);
            self.database.slowdowns.retain(|id| live.contains(&id));
            self.unreadable.lock().retain(|id, _| live.contains(id));
        }
        Ok(due)
    }

    fn slow_down(&self, name: &str, id: CollectionId, unmerged: usize) {
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

    /// Looks at one collection. A defect met there is a failure of that one.
    async fn look(self: Arc<Self>, id: CollectionId) -> (CollectionId, Looked) {
        let looked = AssertUnwindSafe(self.merge_some(id)).catch_unwind().await;
        let looked = looked.unwrap_or_else(|_| {
            tracing::error!(%id, "a merge met a defect, which is described above, and is tried again; the data is as it was");
            Looked::Failed
        });
        (id, looked)
    }

    /// Merges of one collection.
    async fn merge_some(&self, id: CollectionId) -> Looked {
        if !self.options.merge.enabled {
            return Looked::Done;
        }
        // Whoever merges it now changes it, or has seen what there is.
        let Some(_merging) = self.try_enter(id) else { return Looked::Unsettled };
        let mut progress = false;
        for _ in 0..MERGES_IN_A_ROW {
            match self.merge_once(id, Eagerness::Tiered, None).await {
                Ok(Next::Merged(_) | Next::Overtaken) => progress = true,
                Ok(Next::Nothing) => return Looked::Done,
                // What it waits for now is something else than before.
                Ok(Next::Unsettled) if progress => return Looked::More,
                Ok(Next::Unsettled) => return Looked::Unsettled,
                // The others are merged.
                Err(Error::Input { .. }) => {}
                Err(error) => {
                    let catalog = self.database.newest();
                    let collection = catalog.name_of(id).unwrap_or_default();
                    tracing::warn!(collection, %error, "a merge failed and is tried again; the data is as it was");
                    return Looked::Failed;
                }
            }
        }
        Looked::More
    }

    async fn renew_loop(self: Arc<Self>) {
        loop {
            tokio::time::sleep(self.options.collect_interval.clamp(COLLECT_PAUSE_MIN, RENEWAL_PAUSE)).await;
            if let Err(error) = self.database.tell_needs().await {
                tracing::warn!(%error, "what this node reads could not be told to the others");
            }
        }
    }

    async fn collect_loop(self: Arc<Self>) {
        let mut sweep_at = Instant::now() + self.options.sweep_interval.min(FIRST_SWEEP_MAX);
        let mut history: Vec<(Instant, Revision)> = Vec::new();
        let mut holder = String::new();
        loop {
            tokio::time::sleep(self.options.collect_interval.max(COLLECT_PAUSE_MIN)).await;
            let sweep = Instant::now() >= sweep_at;
            if self.options.collect.enabled && (sweep || !self.database.newest().graves.is_empty()) {
                match self.collect_now(&Scope::All, sweep).await {
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
                    sweep_at = Instant::now() + self.options.sweep_interval;
                }
            }
            if self.options.compact_metadata {
                self.compact(&mut history).await;
            }
            match self.standing().await {
                Ok(standing) => standing.publish(&mut holder),
                Err(error) => tracing::debug!(%error, "the figures of the data could not be worked out"),
            }
        }
    }

    async fn collect_now(&self, scope: &Scope, and_sweep: bool) -> Result<CollectReport> {
        let _collecting = self.collecting.lock().await;
        let mut report = CollectReport::default();
        // What a first round removes may leave a delete log that nothing names any more.
        loop {
            let round = collect(&self.database, &self.options.collect, scope).await?;
            if round == CollectReport::default() {
                break;
            }
            report.add(round);
        }
        if and_sweep {
            report.add(sweep(&self.database, scope).await?);
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
