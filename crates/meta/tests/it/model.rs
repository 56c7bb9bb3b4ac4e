//! The embedded store against the pure state machine: the same requests, the same answers, restarts in between.

use std::sync::Arc;
use std::time::Duration;

use rand::RngExt as _;
use redkite_meta::state::State;
use redkite_meta::{
    Clock, Compare, EmbeddedOptions, EmbeddedStore, KeyRange, LeaseId, ManualClock, MetaStore, Op, RangeRequest,
    Result, Txn,
};
use redkite_testkit::Seeded;
use redkite_types::Revision;

use crate::{FAILPOINTS, everything, next_batch};

fn key(random: &mut Seeded) -> String {
    format!("/{}", random.rng.random_range(0..20))
}

fn ops(random: &mut Seeded, leases: &[LeaseId], depth: usize) -> Vec<Op> {
    (0..random.rng.random_range(0..4))
        .map(|_| match random.rng.random_range(0..10) {
            0 => Op::Delete(KeyRange::Exact(key(random))),
            1 => Op::Delete(KeyRange::Between(key(random), "/8".to_owned())),
            2 => Op::Range(KeyRange::Prefix("/1".to_owned())),
            3 if depth < 2 => Op::Txn(txn(random, leases, depth + 1)),
            4 => {
                let lease = leases.get(random.rng.random_range(0..leases.len().max(1))).copied();
                Op::Put { key: key(random), value: "leased".into(), lease }
            }
            _ => Op::put(key(random), random.rng.random_range(0..1_000).to_string()),
        })
        .collect()
}

fn txn(random: &mut Seeded, leases: &[LeaseId], depth: usize) -> Txn {
    let compares = if random.rng.random_range(0..2) == 0 { vec![Compare::absent(key(random))] } else { Vec::new() };
    Txn { compares, then: ops(random, leases, depth), otherwise: ops(random, leases, depth) }
}

fn same<T: PartialEq + std::fmt::Debug>(store: Result<T>, model: Result<T>) {
    match (store, model) {
        (Ok(store), Ok(model)) => assert_eq!(store, model),
        (Err(store), Err(model)) => assert_eq!(store.to_string(), model.to_string()),
        (store, model) => panic!("{store:?} but {model:?}"),
    }
}

/// What is there, at every revision and in every watch.
async fn check(store: &EmbeddedStore, model: &State) {
    let first = model.compacted().0.max(1);
    for revision in first..=model.revision().0 {
        let request = RangeRequest::new(everything()).at(Revision(revision));
        same(store.range(request.clone()).await, model.range(&request));
    }
    let from = Revision(first + 1);
    let mut stream = store.watch(everything(), from).await.unwrap();
    for change in model.changes(from).unwrap() {
        assert_eq!(Some(next_batch(&mut stream).await), change.batch(&everything()));
    }
}

async fn step(
    random: &mut Seeded,
    store: &EmbeddedStore,
    model: &mut State,
    leases: &mut Vec<LeaseId>,
    clock: &ManualClock,
) {
    match random.rng.random_range(0..30) {
        0 => {
            let ttl = Duration::from_secs(random.rng.random_range(1..100));
            let lease = model.grant_lease(ttl, clock.now());
            leases.extend(lease.iter());
            same(store.lease_grant(ttl).await, lease);
        }
        1 if !leases.is_empty() => {
            let lease = leases[random.rng.random_range(0..leases.len())];
            same(store.lease_revoke(lease).await, model.revoke_lease(lease).map(|_| ()));
        }
        2 => {
            let revision = Revision(random.rng.random_range(0..model.revision().0 + 2));
            same(store.compact(revision).await, model.compact(revision));
        }
        _ => {
            let txn = txn(random, leases, 0);
            same(store.txn(txn.clone()).await, model.apply(&txn).map(|(response, _)| response));
        }
    }
}

#[tokio::test]
async fn random_requests_and_restarts() {
    let _shared = FAILPOINTS.read().await;
    for seed in 1..=4 {
        let mut random = Seeded::new(seed);
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("meta.redb");
        let clock = Arc::new(ManualClock::new());
        let open = || EmbeddedStore::open(&path, EmbeddedOptions { clock: Arc::<ManualClock>::clone(&clock) }).unwrap();
        let mut model = State::new();
        let mut leases = Vec::new();
        for _ in 0..8 {
            let store = open();
            check(&store, &model).await;
            for _ in 0..60 {
                step(&mut random, &store, &mut model, &mut leases, &clock).await;
            }
            check(&store, &model).await;
        }
    }
}
