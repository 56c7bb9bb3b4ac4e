//! The state machine against the plainest model there is: a full copy of the map for every revision.

use std::collections::BTreeMap;

use rand::RngExt as _;
use redkite_testkit::Seeded;

use super::*;
use crate::{Compare, Op, Txn};

type Map = BTreeMap<String, KeyValue>;

/// All revisions, each whole.
struct Model {
    revisions: BTreeMap<Revision, Map>,
}

impl Model {
    fn newest(&self) -> (Revision, &Map) {
        let (revision, map) = self.revisions.last_key_value().unwrap();
        (*revision, map)
    }

    fn run(&mut self, ops: &[Op]) -> bool {
        let (revision, map) = self.newest();
        let next = revision.next();
        let mut map = map.clone();
        let mut changed = false;
        for op in ops {
            match op {
                Op::Put { key, value, lease } => {
                    let old = map.get(key);
                    let kv = KeyValue {
                        key: key.clone(),
                        value: value.clone(),
                        create_revision: old.map_or(next, |kv| kv.create_revision),
                        mod_revision: next,
                        version: old.map_or(1, |kv| kv.version + 1),
                        lease: *lease,
                    };
                    map.insert(key.clone(), kv);
                    changed = true;
                }
                Op::Delete(range) => {
                    let before = map.len();
                    map.retain(|key, _| !range.contains(key));
                    changed |= map.len() != before;
                }
                Op::Range(_) | Op::Txn(_) => {}
            }
        }
        if changed {
            self.revisions.insert(next, map);
        }
        changed
    }

    /// What changed at a revision, by comparing it with the one before.
    fn events(&self, revision: Revision) -> Vec<Event> {
        let (old, new) = (&self.revisions[&Revision(revision.0 - 1)], &self.revisions[&revision]);
        let puts = new.values().filter(|kv| kv.mod_revision == revision).map(|kv| Event::Put(kv.clone()));
        let gone = old.keys().filter(|key| !new.contains_key(*key));
        let mut events: Vec<_> = puts.chain(gone.map(|key| Event::Delete { key: key.clone(), revision })).collect();
        events.sort_by_key(|event| match event {
            Event::Put(kv) => kv.key.clone(),
            Event::Delete { key, .. } => key.clone(),
        });
        events
    }
}

fn random_ops(random: &mut Seeded) -> Vec<Op> {
    let key = |random: &mut Seeded| format!("/{}", random.rng.random_range(0..12));
    (0..random.rng.random_range(1..4))
        .map(|_| match random.rng.random_range(0..10) {
            0 | 1 => Op::Delete(KeyRange::Exact(key(random))),
            2 => Op::Delete(KeyRange::Between(key(random), "/7".to_owned())),
            3 => Op::Delete(KeyRange::Prefix("/1".to_owned())),
            _ => Op::put(key(random), random.rng.random_range(0..100).to_string()),
        })
        .collect()
}

fn everything() -> KeyRange {
    KeyRange::Prefix("/".to_owned())
}

fn check(state: &State, model: &Model) {
    let (newest, _) = model.newest();
    assert_eq!(state.revision(), newest);
    for (revision, map) in model.revisions.range(state.compacted().max(Revision(1))..) {
        let answer = state.range(&RangeRequest::new(everything()).at(*revision)).unwrap();
        assert!(answer.kvs.iter().eq(map.values()), "at {revision}");
    }
    let from = state.compacted().max(Revision(1)).next();
    let watched: Vec<_> = state.changes(from).unwrap().map(|change| change.batch(&everything()).unwrap()).collect();
    let wanted: Vec<_> = (from.0..=newest.0)
        .map(Revision)
        .map(|revision| WatchBatch { revision, events: model.events(revision) })
        .collect();
    assert_eq!(watched, wanted);
    for (key, kv) in model.newest().1 {
        assert_eq!(state.get(key).as_ref(), Some(kv));
    }
}

#[test]
fn random_transactions_agree_with_the_model() {
    for seed in 0..20 {
        let mut random = Seeded::new(seed);
        let mut state = State::new();
        let mut model = Model { revisions: BTreeMap::from([(Revision(1), Map::new())]) };
        for round in 0..150 {
            let txn = Txn { then: random_ops(&mut random), ..Txn::default() };
            let before = state.clone();
            match state.apply(&txn) {
                Ok((response, change)) => {
                    assert_eq!(change.is_some(), model.run(&txn.then));
                    assert_eq!(response.revision, model.newest().0);
                }
                Err(Error::Invalid(_)) => assert_eq!(state.revision(), before.revision()),
                Err(error) => panic!("{error}"),
            }
            if random.rng.random_range(0..40) == 0 {
                let at = Revision(random.rng.random_range(1..=state.revision().0));
                assert_eq!(state.compact(at).is_ok(), at > before.compacted());
            }
            if round % 10 == 0 {
                check(&state, &model);
            }
        }
        check(&state, &model);
    }
}

#[test]
fn a_clone_stays_as_it_was() {
    let mut state = State::new();
    let put = |value: &str| Txn { then: vec![Op::put("/a", value.to_owned())], ..Txn::default() };
    state.apply(&put("1")).unwrap();
    let before = state.clone();
    state.apply(&put("2")).unwrap();
    state.compact(state.revision()).unwrap();
    assert_eq!(before.get("/a").unwrap().value.as_ref(), b"1");
    assert_eq!(before.range(&RangeRequest::new(everything()).at(Revision(1))).unwrap().kvs, []);
}

#[test]
fn history_is_halved_when_it_outgrows_a_limit() {
    let mut state = State::new();
    let put = |size: usize| Txn { then: vec![Op::put("/a", "x".repeat(size))], ..Txn::default() };
    for _ in 0..HISTORY_REVISIONS_MAX {
        state.apply(&put(1)).unwrap();
    }
    assert_eq!(state.overflow(), None);
    state.apply(&put(1)).unwrap();
    let at = state.overflow().unwrap();
    assert_eq!(at.0, 1 + 1 + HISTORY_REVISIONS_MAX as i64 / 2);
    state.compact(at).unwrap();
    assert_eq!(state.overflow(), None);
    assert_eq!(state.changes(at.next()).unwrap().count(), HISTORY_REVISIONS_MAX / 2);

    for _ in 0..=HISTORY_BYTES_MAX / 1_000_000 {
        state.apply(&put(1_000_000)).unwrap();
    }
    state.compact(state.overflow().unwrap()).unwrap();
    let left: usize = state.changes(state.compacted().next()).unwrap().map(|change| change.bytes()).sum();
    assert!(left <= HISTORY_BYTES_MAX / 2, "{left}");
    assert_eq!(left, state.log_bytes);
}

#[test]
fn a_replay_with_a_hole_is_refused() {
    let change = |revision| Change {
        revision: Revision(revision),
        records: vec![Arc::new(Record::deletion(Arc::from("/a"), Revision(revision)))],
    };
    let mut state = State::restore(Revision(5), 0);
    state.replay(change(6)).unwrap();
    assert!(matches!(state.replay(change(8)), Err(Error::Corrupt(_))));
    assert!(matches!(state.replay(Change { revision: Revision(7), records: Vec::new() }), Err(Error::Corrupt(_))));
}

#[test]
fn a_key_under_a_lost_lease_is_refused() {
    let mut state = State::new();
    let lease = state.grant_lease(Duration::from_secs(1), Duration::ZERO).unwrap();
    let op = Op::Put { key: "/a".to_owned(), value: "1".into(), lease: Some(lease) };
    let txn = Txn { compares: vec![Compare::absent("/a")], then: vec![op], otherwise: Vec::new() };
    state.apply(&txn).unwrap();
    let stored = StoredLease { id: lease, ttl: Duration::from_secs(1), deadline: None };
    assert!(state.clone().finish(vec![stored], Duration::ZERO).is_ok());
    assert!(matches!(state.finish(Vec::new(), Duration::ZERO), Err(Error::Corrupt(_))));
}
