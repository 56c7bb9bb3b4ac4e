//! Random histories against a plain map: several clients on two nodes, several collections, rows that one node holds for the
//! other, faults, restarts.
//!
//! A seed makes one history. `REDKITE_MODEL_SEEDS=n` runs n of them, `REDKITE_TEST_SEED=s` only that one.

use std::collections::BTreeMap;
use std::sync::Arc;

use rand::RngExt as _;
use redkite_ingest::{Error, FlushRequest, IngestOptions};
use redkite_testkit::Seeded;
use redkite_types::ErrorKind;

use crate::faulty_meta::{Call, Fault};
use crate::plain::{Plain, Row, Write};
use crate::switch::Switch;
use crate::world::{Client, Node, Stores};

/// Histories unless the environment says otherwise.
const SEEDS: u64 = 1_500;
/// Steps of one history.
const STEPS: usize = 24;
/// Threads that share the seeds.
const THREADS: usize = 2;
const NAMES: [&str; 2] = ["a", "b"];

/// A client and what it should hold.
struct Actor {
    client: Client,
    /// Writes not flushed yet, with the generation of the collection they are for.
    pending: Vec<(&'static str, u32, Write)>,
    /// A name that a flush of exactly `pending` was tried with.
    named: Option<String>,
    node: usize,
    /// The other node has been restarted: `pending` may be lost, if rows of it were there.
    may_lose: bool,
}

/// One history.
struct History {
    random: Seeded,
    stores: Stores,
    nodes: Vec<Node>,
    /// From each node to the other one.
    switches: Vec<Arc<Switch>>,
    actors: Vec<Actor>,
    committed: BTreeMap<&'static str, Plain>,
    /// How often each collection was created.
    generations: BTreeMap<&'static str, u32>,
    next_tag: i64,
    next_name: u32,
}

impl History {
    async fn new(seed: u64) -> Self {
        let mut random = Seeded::from_seed(seed);
        let stores = Stores::new().await;
        let mut nodes = Vec::new();
        for number in 0..2 {
            nodes.push(stores.node_with(number, options(&mut random)).await);
        }
        for name in NAMES {
            nodes[0].create(name).await;
        }
        let switches = (0..2).map(|at| Switch::between(&nodes[at], &nodes[1 - at])).collect();
        let actors = (0..3)
            .map(|at| {
                let node = at % 2;
                Actor { client: nodes[node].client(), pending: Vec::new(), named: None, node, may_lose: false }
            })
            .collect();
        let committed = NAMES.map(|name| (name, Plain::default())).into();
        let generations = NAMES.map(|name| (name, 0)).into();
        Self { random, stores, nodes, switches, actors, committed, generations, next_tag: 0, next_name: 0 }
    }

    async fn step(&mut self) {
        let at = self.random.rng.random_range(0..self.actors.len());
        match self.random.rng.random_range(0..100) {
            0..60 => self.write(at).await,
            60..80 => self.flush(at, None).await,
            80..90 => {
                let fault = [Fault::AnswerLost, Fault::NeverSent, Fault::Late, Fault::Refused];
                let fault = fault[self.random.rng.random_range(0..4)];
                self.flush(at, Some(fault)).await;
            }
            90..93 => self.reconnect(at).await,
            93..95 => self.restart(at % 2).await,
            95..97 => self.recreate().await,
            97..98 => self.land().await,
            _ => self.check().await,
        }
    }

    fn any_write(&mut self) -> Write {
        let random = &mut self.random.rng;
        let keys = |random: &mut rand::rngs::StdRng| -> Vec<i64> {
            (0..random.random_range(1..4)).map(|_| random.random_range(0..8)).collect()
        };
        let mut rows = |keys: Vec<i64>| -> Vec<Row> {
            keys.into_iter()
                .map(|key| {
                    self.next_tag += 1;
                    (key, self.next_tag)
                })
                .collect()
        };
        match random.random_range(0..10) {
            0..4 => Write::Insert(rows(keys(random))),
            4..7 => {
                // Keys of one upsert are unique.
                let mut keys = keys(random);
                keys.sort_unstable();
                keys.dedup();
                Write::Upsert(rows(keys))
            }
            7..9 => Write::DeleteKeys(keys(random)),
            _ => {
                let low = random.random_range(0..self.next_tag + 2);
                Write::DeleteTags(low, low + random.random_range(1..20))
            }
        }
    }

    async fn write(&mut self, at: usize) {
        let write = self.any_write();
        let name = NAMES[self.random.rng.random_range(0..NAMES.len())];
        let generation = self.generations[name];
        let short = self.random.rng.random_bool(0.5);
        let actor = &mut self.actors[at];
        self.switches[actor.node].need(short);
        match actor.client.write(name, &write).await {
            Ok(_) => {
                actor.pending.push((name, generation, write));
                actor.named = None;
            }
            // It ended what another node held, and found that gone. Of several collections that had the name it tells of one:
            // from here on the client's count would differ from the model's.
            Err(Error::CollectionDropped { collection, .. }) => {
                self.forget(at, &collection);
                self.flush_plainly(at).await;
            }
            Err(error) => self.lose(at, error),
        }
    }

    /// A collection was dropped: what is pending for it was discarded. Whether that was anything: once for several that had
    /// its name.
    fn forget(&mut self, at: usize, dropped: &str) -> bool {
        let (generations, actor) = (&self.generations, &mut self.actors[at]);
        let before = actor.pending.len();
        actor.pending.retain(|(name, generation, _)| *name != dropped || generations[name] == *generation);
        actor.named = None;
        actor.pending.len() < before
    }

    /// An error tells that the block is lost with the other node, which was restarted.
    fn lose(&mut self, at: usize, error: Error) {
        let actor = &mut self.actors[at];
        let lost = matches!(&error, Error::Discarded { cause } if matches!(**cause, Error::ForwardedLost { .. }));
        assert!(lost && actor.may_lose && !actor.pending.is_empty(), "{error}");
        actor.pending.clear();
        (actor.named, actor.may_lose) = (None, false);
    }

    /// Flushes, with a fault of the commit perhaps, until it is clear what became of it.
    async fn flush(&mut self, at: usize, fault: Option<Fault>) {
        let settle_fails = self.random.rng.random_bool(0.3);
        let named = self.random.rng.random_bool(0.3);
        let counted = self.random.rng.random_bool(0.3);
        let actor = &mut self.actors[at];
        let meta = &self.nodes[actor.node].meta;
        if let Some(fault) = fault {
            meta.fail_next(Call::Commit, fault);
            if settle_fails {
                meta.fail_always(Call::Settle, Fault::Refused);
            }
        }
        let name = (named && !actor.pending.is_empty()).then(|| {
            self.next_name += 1;
            actor.named.get_or_insert_with(|| format!("flush {}", self.next_name)).clone()
        });
        let block_ops = counted.then_some(actor.pending.len() as u64);
        let request = FlushRequest { name: name.map(String::into_bytes), block_ops };
        let result = actor.client.flush_with(request).await;
        meta.recover();
        match result {
            Ok(_) => self.publish(at),
            Err(Error::CollectionDropped { collection, .. }) => {
                assert!(self.forget(at, &collection), "nothing of {collection} was outdated");
                // From here on the client's count would differ from the model's.
                self.flush_plainly(at).await;
            }
            Err(error) if error.kind() == ErrorKind::Unavailable => assert!(fault == Some(Fault::Refused), "{error}"),
            Err(Error::OutcomeUnknown { .. }) => {
                assert!(settle_fails && fault.is_some());
                if self.random.rng.random_bool(0.5) {
                    self.land().await;
                }
                // The client asks again.
                self.flush_plainly(at).await;
            }
            Err(error) => self.lose(at, error),
        }
    }

    /// Flushes without faults until it succeeds.
    async fn flush_plainly(&mut self, at: usize) {
        loop {
            match self.actors[at].client.try_flush().await {
                Ok(_) => return self.publish(at),
                Err(Error::CollectionDropped { collection, .. }) => {
                    self.forget(at, &collection);
                }
                Err(error) => self.lose(at, error),
            }
        }
    }

    fn publish(&mut self, at: usize) {
        (self.actors[at].named, self.actors[at].may_lose) = (None, false);
        for (name, generation, write) in self.actors[at].pending.drain(..) {
            // What was committed before its collection was dropped went with it.
            if self.generations[name] == generation
                && let Some(plain) = self.committed.get_mut(name)
            {
                plain.apply(&write);
            }
        }
    }

    async fn reconnect(&mut self, at: usize) {
        let actor = &mut self.actors[at];
        if self.random.rng.random_bool(0.5) {
            actor.client.disconnect();
        }
        actor.client = actor.client.reconnected();
        let lost = !actor.pending.is_empty();
        actor.pending.clear();
        (actor.named, actor.may_lose) = (None, false);
        match actor.client.try_flush().await {
            Ok(flushed) => assert!(!lost && flushed.ops == 0),
            Err(Error::SessionLost { .. }) => assert!(lost),
            Err(error) => panic!("{error}"),
        }
    }

    /// A node is killed and started again; its clients come back with the identifiers they had.
    async fn restart(&mut self, number: usize) {
        self.nodes[number] = self.stores.node_with(number as u32, options(&mut self.random)).await;
        self.switches[number] = Switch::between(&self.nodes[number], &self.nodes[1 - number]);
        self.switches[1 - number].restarted(&self.nodes[number]);
        self.actors.iter_mut().filter(|actor| actor.node != number).for_each(|actor| actor.may_lose = true);
        for actor in self.actors.iter_mut().filter(|actor| actor.node == number) {
            let node = &self.nodes[number];
            actor.client = node.client_on(node.connect(), actor.client.id.identifier);
            actor.pending.clear();
            (actor.named, actor.may_lose) = (None, false);
            assert!(matches!(actor.client.try_flush().await, Err(Error::SessionLost { .. })));
        }
    }

    async fn recreate(&mut self) {
        let name = NAMES[self.random.rng.random_range(0..NAMES.len())];
        let node = &self.nodes[self.random.rng.random_range(0..2)];
        node.drop_collection(name).await;
        node.create(name).await;
        *self.generations.entry(name).or_default() += 1;
        self.committed.insert(name, Plain::default());
    }

    /// Transactions that were on their way arrive.
    async fn land(&mut self) {
        for node in &self.nodes {
            node.meta.land().await;
        }
    }

    async fn check(&mut self) {
        for node in &self.nodes {
            for name in NAMES {
                assert_eq!(node.rows(name).await, self.committed[name].sorted(), "{name}");
            }
        }
    }
}

/// Some nodes upload early all the time, some never.
fn options(random: &mut Seeded) -> IngestOptions {
    let memory_soft_bytes = if random.rng.random_bool(0.3) { 1 } else { 256 << 20 };
    IngestOptions { memory_soft_bytes, ..IngestOptions::default() }
}

async fn run(seed: u64) {
    let mut history = History::new(seed).await;
    for _ in 0..STEPS {
        history.step().await;
    }
    for at in 0..history.actors.len() {
        history.flush_plainly(at).await;
    }
    history.land().await;
    history.check().await;
}

#[test]
fn random_histories_mean_what_the_plain_model_means() {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds: Vec<u64> = match number("REDKITE_TEST_SEED") {
        Some(seed) => vec![seed],
        None => (0..number("REDKITE_MODEL_SEEDS").unwrap_or(SEEDS)).collect(),
    };
    let share = |thread: usize| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        for seed in seeds.iter().skip(thread).step_by(THREADS) {
            runtime.block_on(run(*seed));
        }
    };
    std::thread::scope(|scope| (0..THREADS).for_each(|thread| drop(scope.spawn(move || share(thread)))));
}
