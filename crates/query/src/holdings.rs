//! What this node holds: the fragments that placement gives it, fetched before anybody asks for them (S42).
//!
//! On a local store every node has everything; there is nothing to fetch, and only counting is left. Otherwise the files go
//! into the node cache and are pinned there. What is asked for first is fetched first: what the node is the best holder of, and
//! of that the newest. What would not fit is left out and told as missing; it can be read all the same, only slower.
//!
//! No catalog is held meanwhile, so what is merged away can be collected; fetching it fails then, and it is not wanted any more.

mod plan;

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use redkite_storage::FileInfo;
use redkite_table::Database;
use redkite_types::{FragmentId, Revision};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use crate::fanout::Peers;
use crate::layout::Layout;
use plan::{Piece, Plan};

/// Fragments fetched at the same time.
const FETCHES_MAX: usize = 4;
/// Most of the node cache that is pinned, in hundredths: the rest is for what comes and goes.
const PINNED_PERCENT: u64 = 90;
/// How often it is looked whether the nodes of the cluster have changed.
const LOOK_PAUSE: Duration = Duration::from_millis(200);
/// Shortest pause between two looks at what is wanted, however often that changes: a look costs about a microsecond a fragment.
const PLAN_PAUSE: Duration = Duration::from_millis(100);
/// Pause before what could not be fetched is tried again.
const RETRY_PAUSE: Duration = Duration::from_secs(5);

/// How things stand with what a node holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Standing {
    /// Fragments that are held.
    pub fragments: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Fragments that shall be held and are still to be fetched.
    pub pending: u64,
    /// Fragments that shall be held and are not: no room, or they could not be fetched.
    pub missing: u64,
    /// All fragments of the user.
    pub total: u64,
    /// The revision of the layout that this goes by.
    pub layout: Revision,
    /// The revision of the catalog.
    pub catalog: Revision,
    /// Whether everything that was wanted has been tried once since the node started.
    pub warm: bool,
}

/// The fragments that a node of a cluster holds.
pub struct Holdings {
    database: Arc<Database>,
    peers: Arc<dyn Peers>,
    standing: watch::Sender<Standing>,
}

impl fmt::Debug for Holdings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Holdings").field("standing", &*self.standing.borrow()).finish_non_exhaustive()
    }
}

/// How it stands with a fragment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Held,
    Fetching,
    /// To be tried again then.
    Failed(Instant),
}

/// What one loop of a node knows.
#[derive(Default)]
struct Work {
    plan: Plan,
    tried: HashMap<FragmentId, (Arc<Piece>, Outcome)>,
    /// What is to be fetched, first of all the first.
    waiting: VecDeque<Arc<Piece>>,
    fetching: FuturesUnordered<BoxFuture<'static, (Arc<Piece>, redkite_table::Result<bool>)>>,
    counts: Counts,
}

/// Of the fragments that are chosen.
#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    held: u64,
    held_bytes: u64,
    untried: u64,
    untried_due: u64,
    failed_due: u64,
}

impl Holdings {
    /// Nothing yet.
    pub fn new(database: Arc<Database>, peers: Arc<dyn Peers>) -> Self {
        Self { database, peers, standing: watch::Sender::new(Standing::default()) }
    }

    /// How things stand.
    pub fn standing(&self) -> Standing {
        *self.standing.borrow()
    }

    /// Waits until that is so.
    pub async fn wait_for(&self, wanted: impl FnMut(&Standing) -> bool) {
        // The sender lives as long as this.
        _ = self.standing.subscribe().wait_for(wanted).await;
    }

    /// Fetches what the node is to hold, and follows what that is, until dropped.
    pub async fn run(&self) {
        let mut work = Work::default();
        loop {
            let seen = self.take_up(&mut work);
            self.fetch_more(&mut work);
            self.tell(&work);
            let mut changed = std::pin::pin!(self.changed(seen, work.next_retry()));
            loop {
                tokio::select! {
                    () = &mut changed => break,
                    Some((piece, fetched)) = work.fetching.next() => {
                        work.note(&piece, fetched);
                        self.fetch_more(&mut work);
                        self.tell(&work);
                    }
                }
            }
        }
    }

    /// Plans anew; the revision of the catalog and the layout it went by.
    fn take_up(&self, work: &mut Work) -> (Revision, Arc<Layout>) {
        let catalog = self.database.newest();
        let layout = self.peers.layout();
        let options = &self.database.options;
        let room = self.database.data.cache_bytes_max().map(|max| max / 100 * PINNED_PERCENT);
        // Of dropped ones nothing is wanted.
        let live = catalog.segments().filter(|collection| collection.record.is_some());
        let change = work.plan.follow((catalog.revision, live), &layout, (&options.cluster, options.node), room);
        let path = |(segment, path): (&str, &str)| self.database.object_path(segment, path);
        let released: Vec<String> = work.plan.released(&change.gone).into_iter().map(path).collect();
        let files = |piece: &'_ Arc<Piece>| piece.files().map(|file| path((&piece.segment, &file.path))).collect();
        let wanted: Vec<String> = change.new.iter().flat_map::<Vec<String>, _>(files).collect();
        // In this order: one that changed has files in both.
        self.database.data.pin(&released, false);
        self.database.data.pin(&wanted, true);
        for piece in change.gone {
            work.tried.remove(&piece.id());
        }
        work.take_stock(Instant::now());
        (catalog.revision, layout)
    }

    /// Starts what may be fetched now.
    fn fetch_more(&self, work: &mut Work) {
        let is_local = self.database.data.is_local();
        while is_local || work.fetching.len() < FETCHES_MAX {
            let Some(piece) = work.waiting.pop_front() else { return };
            if is_local {
                work.set(&piece, Outcome::Held);
                continue;
            }
            work.set(&piece, Outcome::Fetching);
            work.fetching.push(fetch(self.database.clone(), piece).boxed());
        }
    }

    fn tell(&self, work: &Work) {
        let (plan, counts) = (work.plan.standing(), work.counts);
        self.standing.send_if_modified(|standing| {
            let now = Standing {
                fragments: counts.held,
                bytes: counts.held_bytes,
                pending: counts.untried_due,
                missing: plan.missing + counts.failed_due,
                warm: standing.warm || counts.untried == 0,
                ..plan
            };
            let is_new = *standing != now;
            *standing = now;
            is_new
        });
    }

    /// Waits until something else may be wanted than by what was seen, or what failed is to be tried again.
    async fn changed(&self, (seen, layout): (Revision, Arc<Layout>), retry: Option<Instant>) {
        sleep(PLAN_PAUSE).await;
        let looking = async {
            while Arc::ptr_eq(&self.peers.layout(), &layout) {
                sleep(LOOK_PAUSE).await;
            }
        };
        let retrying = async {
            match retry {
                Some(retry) => sleep_until(retry).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            // It ends with the node.
            _ = self.database.changed_since(seen) => {}
            () = looking => {}
            () = retrying => {}
        }
    }
}

impl Work {
    /// Counts anew, and finds out what is to be fetched.
    fn take_stock(&mut self, now: Instant) {
        self.counts = Counts::default();
        self.waiting.clear();
        for piece in self.plan.chosen() {
            let outcome = self.tried.get(&piece.id()).map(|(_, outcome)| *outcome);
            let outcome = outcome.filter(|outcome| !matches!(outcome, Outcome::Failed(until) if *until <= now));
            if outcome.is_none() {
                self.waiting.push_back(piece.clone());
            }
            self.counts.add(piece, outcome);
        }
    }

    fn set(&mut self, piece: &Arc<Piece>, outcome: Outcome) {
        let before = self.tried.insert(piece.id(), (piece.clone(), outcome)).map(|(_, outcome)| outcome);
        let before = before.filter(|before| !matches!(before, Outcome::Failed(_)));
        self.counts.remove(piece, before);
        self.counts.add(piece, Some(outcome));
    }

    fn note(&mut self, piece: &Arc<Piece>, fetched: redkite_table::Result<bool>) {
        // It may be another one by now, or none.
        if !self.tried.get(&piece.id()).is_some_and(|(tried, _)| Arc::ptr_eq(tried, piece)) {
            return;
        }
        let outcome = match fetched {
            Ok(true) => Outcome::Held,
            Ok(false) => Outcome::Failed(Instant::now() + RETRY_PAUSE),
            Err(error) => {
                let fragment = piece.id();
                tracing::debug!(%fragment, %error, "a fragment that this node is to hold cannot be fetched for the moment");
                Outcome::Failed(Instant::now() + RETRY_PAUSE)
            }
        };
        self.set(piece, outcome);
    }

    fn next_retry(&self) -> Option<Instant> {
        let until = |(_, outcome): &(Arc<Piece>, Outcome)| match outcome {
            Outcome::Failed(until) => Some(*until),
            Outcome::Held | Outcome::Fetching => None,
        };
        self.tried.values().filter_map(until).min()
    }
}

impl Counts {
    /// None: it is not tried yet, or to be tried again.
    fn add(&mut self, piece: &Piece, outcome: Option<Outcome>) {
        self.count(piece, outcome, u64::wrapping_add);
    }

    fn remove(&mut self, piece: &Piece, outcome: Option<Outcome>) {
        self.count(piece, outcome, u64::wrapping_sub);
    }

    fn count(&mut self, piece: &Piece, outcome: Option<Outcome>, by: fn(u64, u64) -> u64) {
        let due = u64::from(piece.is_due);
        match outcome {
            Some(Outcome::Held) => {
                self.held = by(self.held, 1);
                self.held_bytes = by(self.held_bytes, piece.bytes);
            }
            Some(Outcome::Failed(_)) => self.failed_due = by(self.failed_due, due),
            Some(Outcome::Fetching) | None => {
                self.untried = by(self.untried, 1);
                self.untried_due = by(self.untried_due, due);
            }
        }
    }
}

/// Fetches the files of a fragment; false if one of them cannot be kept.
async fn fetch(database: Arc<Database>, piece: Arc<Piece>) -> (Arc<Piece>, redkite_table::Result<bool>) {
    let fetched = async {
        for file in piece.files() {
            let path = database.object_path(&piece.segment, &file.path);
            let info = FileInfo { size: file.entry.size, crc32: Some(file.entry.crc32) };
            if !database.data.fetch(&path, &info).await? {
                return Ok(false);
            }
        }
        Ok(true)
    };
    let fetched = fetched.await;
    (piece.clone(), fetched)
}

#[cfg(test)]
mod tests;
