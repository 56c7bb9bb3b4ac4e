//! Random histories against a plain map of every revision: two or three nodes write, merge, collect, drop, re-create and
//! read the past, stop anywhere, die there or go on much later; answers get lost, or transactions land late.
//!
//! What a step did is never guessed from what it answered: a commit happened if and only if the user's head moved, and
//! then all of it did. After that the answer has to fit.
//!
//! A seed makes one history. `REDKITE_MODEL_SEEDS=n` runs n of them, `REDKITE_TEST_SEED=s` only that one.

mod checks;
mod chronicle;
mod running;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use rand::RngExt as _;
use rand::distr::Distribution as _;
use rand::distr::weighted::WeightedIndex;
use rand::rngs::StdRng;
use redkite_ingest::IngestOptions;
use redkite_jobs::collect::{collect, sweep};
use redkite_jobs::{CollectReport, Eagerness, MergeReport, Scope};
use redkite_table::{Catalog, Horizon, Past, Visibility};
use redkite_testkit::Seeded;
use redkite_types::{CollectionId, Revision};
use tokio::task::JoinHandle;

use crate::faulty_meta::{Fault, FaultyMeta};
use crate::plain::{Row, Write};
use crate::work::{check_files, id_of, no_retention};
use crate::world::{Client, Node, Stores};
use chronicle::Chronicle;

/// Histories unless the environment says otherwise.
const SEEDS: u64 = 10_000;
/// Steps of one history.
const STEPS: usize = 10;
/// Threads that share the seeds.
const THREADS: usize = 2;
const NAMES: [&str; 2] = ["a", "b"];
/// Keys are few, so that they meet.
const KEYS: i64 = 6;
/// A lease lasts for twice as long, see [`redkite_table::presence`].
const HALF_A_LEASE: Duration = Duration::from_secs(31);

/// What has to happen in all histories together for them to mean anything: at least once in so many of them.
const HAPPENINGS: [(&str, u64); 24] = [
    ("merges", 5),
    ("merges that went on later", 50),
    ("crashes in a flush", 20),
    ("crashes in a merge", 50),
    ("crashes in a collection", 30),
    ("crashes in a change", 100),
    ("commits that landed late", 200),
    ("horizons that rose late", 500),
    ("outcomes learnt later", 20),
    ("flushes into what was dropped", 2_000),
    ("leases that ended", 50),
    ("commits of nodes taken for dead", 100),
    ("ends of nodes taken for dead", 100),
    ("risen horizons", 10),
    ("files collected", 1),
    ("files of a collector that died", 2_000),
    ("files swept", 2),
    ("too old", 25),
    ("old catalogs read", 10),
    ("pinned pasts read", 50),
    ("pins that keep the past", 20),
    ("pasts by time", 50),
    ("revived fragments", 20),
    ("revived collections", 30),
];

/// Something a node does that may stop anywhere.
#[derive(Debug, Clone)]
enum Op {
    /// Writes, each for the collection that had the name then.
    Flush(Vec<(&'static str, u32, Write)>),
    Create(&'static str),
    Drop(&'static str),
    Alter(&'static str, String),
    Merge(&'static str, CollectionId, Eagerness),
    Collect(Duration),
    Sweep,
}

/// How it ended.
#[derive(Debug)]
enum Ended {
    Flushed(redkite_ingest::Result<redkite_ingest::Flushed>),
    Changed(redkite_table::Result<()>),
    Merged(redkite_jobs::Result<Option<MergeReport>>),
    Collected(redkite_jobs::Result<CollectReport>),
}

/// An operation and what became of it.
#[derive(Debug, Clone)]
struct Work {
    op: Op,
    /// The newest commit when it began...
    began: Revision,
    /// ... and the time.
    began_ms: u64,
    fault: Option<Fault>,
    /// Whether its node was taken for dead meanwhile: what it reads or has uploaded may be gone.
    lapsed: bool,
    committed: Option<Revision>,
}

/// An operation on its way.
#[derive(Debug)]
struct Running {
    work: Work,
    client: Option<Client>,
    task: JoinHandle<Ended>,
    settle_fails: bool,
    /// Whether it stopped at least once.
    stopped: bool,
    /// The metadata store as its node has it.
    meta: Arc<FaultyMeta>,
}

/// A transaction that nobody was told of and that lands some time.
struct Late {
    meta: Arc<FaultyMeta>,
    work: Work,
    /// Whether it may still happen: nobody knows what became of it.
    open: bool,
}

/// A node and what goes on there.
struct Seat {
    node: Node,
    running: Option<Running>,
    /// A client whose last flush has an open outcome.
    frozen: Option<(Client, Work)>,
    /// Its lease ended while it did not speak: what it reads may be gone.
    lapsed: bool,
}

impl Seat {
    fn is_free(&self) -> bool {
        self.running.is_none() && self.frozen.is_none()
    }
}

/// One history.
struct History {
    random: Seeded,
    stores: Stores,
    seats: Vec<Seat>,
    late: Vec<Late>,
    chronicle: Chronicle,
    /// Catalogs that a node holds.
    catalogs: Vec<(usize, Arc<Catalog>)>,
    /// Past states that a node holds.
    pasts: Vec<(usize, &'static str, Past)>,
    horizon: Horizon,
    /// By tag of a row: the newest commit when its flush began, and that of its flush.
    spans: HashMap<i64, (Revision, Revision)>,
    /// Paths of files that were committed at some time.
    named_before: HashSet<String>,
    /// Flushes that no merge has followed.
    unmerged: u32,
    /// Whether something was dropped or replaced, perhaps, and nobody has collected since.
    is_garbage_left: bool,
    next_tag: i64,
    next_generation: u32,
    /// How often what happened.
    counts: BTreeMap<&'static str, u64>,
    log: Vec<String>,
}

impl History {
    async fn new(seed: u64) -> Self {
        let mut random = Seeded::from_seed(seed);
        let stores = Stores::new().await;
        let mut seats = Vec::new();
        let nodes = if random.rng.random_bool(0.25) { 3 } else { 2 };
        for number in 0..nodes {
            let node = stores.node_with(number, ingest_options(&mut random.rng)).await;
            seats.push(Seat { node, running: None, frozen: None, lapsed: false });
        }
        let mut history = Self {
            random,
            stores,
            seats,
            late: Vec::new(),
            chronicle: Chronicle::new(),
            catalogs: Vec::new(),
            pasts: Vec::new(),
            horizon: Horizon::default(),
            spans: HashMap::new(),
            named_before: HashSet::new(),
            unmerged: 0,
            is_garbage_left: false,
            next_tag: 0,
            next_generation: 0,
            counts: BTreeMap::new(),
            log: Vec::new(),
        };
        history.run_whole(0, Op::Create(NAMES[0])).await;
        history
    }

    fn chance(&mut self, share: f64) -> bool {
        self.random.rng.random_bool(share)
    }

    fn below(&mut self, end: usize) -> usize {
        self.random.rng.random_range(0..end)
    }

    fn count(&mut self, what: &'static str) {
        self.counted(what, 1);
    }

    fn counted(&mut self, what: &'static str, times: u64) {
        *self.counts.entry(what).or_default() += times;
    }

    fn now_ms(&self) -> u64 {
        self.seats[0].node.database.ambient.now_ms()
    }

    /// The revision of the newest commit.
    async fn head(&self) -> Revision {
        let key = self.seats[0].node.database.keys.head();
        self.stores.meta.get(&key).await.unwrap().map_or(Revision::ZERO, |kv| kv.mod_revision)
    }

    async fn step(&mut self) {
        let at = self.below(self.seats.len());
        match self.below(100) {
            0..77 => self.work(at).await,
            77..83 => {
                let lapse = self.chance(0.3);
                self.advance(lapse).await;
            }
            83..87 => self.hold(at).await,
            87..90 => self.check_held().await,
            90..94 => self.read_past(at).await,
            94..97 => self.land().await,
            97..98 => {
                self.log.push(format!("crash {at}"));
                self.crash(at).await;
            }
            98..99 => self.stores.meta.compact(self.head().await).await.unwrap_or_default(),
            _ => self.check_now().await,
        }
    }

    /// Something new on an idle node; on another one what it does goes on, or not.
    async fn work(&mut self, at: usize) {
        if self.seats[at].running.is_some() {
            return if self.chance(0.6) { self.resume(at).await } else { self.crash(at).await };
        }
        if self.seats[at].frozen.is_some() {
            return self.ask_again(at).await;
        }
        let op = self.any_op(at).await;
        if matches!(op, Op::Merge(..) | Op::Collect(_) | Op::Sweep) && self.chance(0.8) {
            self.tell_all().await;
        }
        self.begin(at, op).await;
    }

    async fn any_op(&mut self, at: usize) -> Op {
        let state = self.chronicle.newest();
        let live: Vec<&'static str> = state.keys().copied().collect();
        let free: Vec<&'static str> = NAMES.into_iter().filter(|name| !state.contains_key(name)).collect();
        let weights = [
            if self.unmerged < 2 { 60 } else { 30 },
            if self.unmerged < 2 { 6 } else { 40 },
            if self.is_garbage_left { 24 } else { 6 },
            3,
            3,
            6,
            if free.is_empty() { 0 } else { 3 },
        ];
        let kind = WeightedIndex::new(weights).unwrap().sample(&mut self.random.rng);
        if live.is_empty() || kind == 6 {
            return Op::Create(free[self.below(free.len())]);
        }
        let name = live[self.below(live.len())];
        match kind {
            0 => {
                let writes = if self.chance(0.3) { 2 } else { 1 };
                Op::Flush((0..writes).map(|_| self.any_write(&live)).collect())
            }
            1 => {
                let id = id_of(&self.seats[at].node, name).await.unwrap();
                Op::Merge(name, id, if self.chance(0.6) { Eagerness::All } else { Eagerness::Tiered })
            }
            2 => Op::Collect(Duration::from_secs([0, 0, 0, 20][self.below(4)])),
            3 => Op::Sweep,
            4 => Op::Alter(name, format!("color {}", self.random.rng.random::<u32>())),
            _ => Op::Drop(name),
        }
    }

    fn any_write(&mut self, live: &[&'static str]) -> (&'static str, u32, Write) {
        let name = live[self.below(live.len())];
        let generation = self.chronicle.newest()[name].generation;
        let random = &mut self.random.rng;
        let mut keys: Vec<i64> = (0..random.random_range(1..4)).map(|_| random.random_range(0..KEYS)).collect();
        let kind = random.random_range(0..10);
        if (4..7).contains(&kind) {
            // Keys of one upsert are unique.
            keys.sort_unstable();
            keys.dedup();
        }
        let low = random.random_range(0..self.next_tag + 2);
        let high = low + random.random_range(1..12);
        let mut rows = || -> Vec<Row> {
            let tags = self.next_tag + 1..;
            self.next_tag += keys.len() as i64;
            keys.iter().copied().zip(tags).collect()
        };
        let write = match kind {
            0..4 => Write::Insert(rows()),
            4..7 => Write::Upsert(rows()),
            7..9 => Write::DeleteKeys(keys),
            _ => Write::DeleteTags(low, high),
        };
        (name, generation, write)
    }

    /// Time passes, and nodes speak often enough; if it lapses, not where something has stopped,
    /// so that its lease ends.
    async fn advance(&mut self, lapse: bool) {
        let by = if lapse { HALF_A_LEASE } else { Duration::from_millis(self.random.rng.random_range(1..31_000)) };
        self.log.push(format!("advance by {by:?}, lapse: {lapse}"));
        for _ in 0..if lapse { 2 } else { 1 } {
            self.stores.advance(by);
            for at in 0..self.seats.len() {
                if !lapse || self.seats[at].running.is_none() {
                    self.tell(at).await;
                }
            }
        }
        if lapse {
            for (at, seat) in self.seats.iter_mut().enumerate().filter(|(_, seat)| seat.running.is_some()) {
                seat.lapsed = true;
                *self.counts.entry("leases that ended").or_default() += 1;
                self.catalogs.retain(|(holder, _)| *holder != at);
                self.pasts.retain(|(holder, ..)| *holder != at);
            }
        }
    }

    async fn tell_all(&mut self) {
        for at in (0..self.seats.len()).filter(|at| !self.seats[*at].lapsed).collect::<Vec<_>>() {
            self.tell(at).await;
        }
    }

    /// The node tells the others what it needs, unless what has stopped there is in the way.
    async fn tell(&mut self, at: usize) {
        let told = tokio::time::timeout(Duration::from_secs(1), self.seats[at].node.database.tell_needs()).await;
        if let Ok(told) = told {
            told.unwrap();
        }
    }

    /// Everything ends that can; then nothing is kept that nobody needs.
    async fn end(&mut self) {
        for at in 0..self.seats.len() {
            while self.seats[at].running.is_some() {
                self.resume(at).await;
            }
            self.ask_again(at).await;
        }
        while !self.late.is_empty() {
            self.land().await;
        }
        self.check_held().await;
        self.check_now().await;
        let at = self.below(self.seats.len());
        self.read_past(at).await;
        self.catalogs.clear();
        self.pasts.clear();
        // Pins of nodes that died end with their leases, others when nobody has used them for a while.
        if !self.seats[0].node.database.needs().await.unwrap().pins.is_empty() {
            for _ in 0..2 {
                self.stores.advance(HALF_A_LEASE);
                self.tell_all().await;
            }
        }
        // So that every id made so far is older than the newest revision.
        let op = match self.chronicle.newest().keys().next() {
            Some(name) => Op::Alter(name, "last".into()),
            None => Op::Create(NAMES[0]),
        };
        self.run_whole(0, op).await;
        for seat in &self.seats {
            seat.node.database.snapshot(Visibility::Strong).await.unwrap();
        }
        self.tell_all().await;
        let node = self.seats[self.seats.len() - 1].node.clone();
        self.named_before.extend(self.named().await);
        loop {
            let report = collect(&node.database, &no_retention(), &Scope::All).await.unwrap();
            self.counted("files collected", report.files);
            if report == CollectReport::default() {
                break;
            }
        }
        self.check_nothing_is_forgotten().await;
        let report = sweep(&node.database, &Scope::All).await.unwrap();
        self.counted("files swept", report.files);
        self.check_horizon().await;
        check_files(&node).await;
        self.check_logs_and_keys(&node).await;
        self.check_from_files().await;
    }
}

/// Some nodes upload early all the time, some never.
fn ingest_options(random: &mut StdRng) -> IngestOptions {
    let memory_soft_bytes = if random.random_bool(0.2) { 1 } else { 256 << 20 };
    IngestOptions { memory_soft_bytes, ..IngestOptions::default() }
}

impl Drop for History {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.log.iter().for_each(|line| eprintln!("{line}"));
        }
    }
}

async fn run_history(seed: u64) -> BTreeMap<&'static str, u64> {
    let mut history = History::new(seed).await;
    for _ in 0..STEPS {
        history.step().await;
    }
    history.end().await;
    std::mem::take(&mut history.counts)
}

#[test]
fn random_histories_mean_what_the_plain_model_of_every_revision_means() {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let only = number("REDKITE_TEST_SEED");
    let seeds: Vec<u64> = match only {
        Some(seed) => vec![seed],
        None => (0..number("REDKITE_MODEL_SEEDS").unwrap_or(SEEDS)).collect(),
    };
    let share = |thread: usize| {
        let mut counts = BTreeMap::new();
        for seed in seeds.iter().skip(thread).step_by(THREADS) {
            // A history leaves nothing behind for the next one.
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
            for (what, count) in runtime.block_on(run_history(*seed)) {
                *counts.entry(what).or_insert(0) += count;
            }
        }
        counts
    };
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|thread| scope.spawn(move || share(thread))).collect();
        for thread in threads {
            for (what, count) in thread.join().unwrap() {
                *counts.entry(what).or_insert(0) += count;
            }
        }
    });
    println!("{counts:?}");
    if seeds.len() as u64 >= SEEDS {
        for (what, once_in) in HAPPENINGS {
            let count = counts.get(what).copied().unwrap_or_default();
            assert!(count * once_in >= seeds.len() as u64, "{what} happened {count} times only");
        }
    }
}
