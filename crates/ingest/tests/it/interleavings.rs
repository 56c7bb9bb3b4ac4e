//! Two operations on two nodes, interleaved at every call to the metadata store, checked against the order in which they
//! say they became visible.
//!
//! The first stops before its n-th call; the second runs up to its m-th; the first runs to its end; then the second. For
//! every n and every m, and with each way of losing the answer to the first one's commit.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use redkite_ingest::{Error, Flushed};
use redkite_table::entry::IndexRecord;
use redkite_types::{Metric, Revision};

use crate::faulty_meta::{Call, Fault};
use crate::plain::{Plain, Row, Write};
use crate::world::{Client, FILMS, Node, Stores, VECTOR};
use Write::{DeleteKeys, DeleteTags, Insert, Upsert};

/// What the collection is called after it was renamed.
const MOVIES: &str = "movies";

/// What runs against the first flush.
#[derive(Debug, Clone)]
enum Other {
    Flush(Vec<Write>),
    Drop,
    Recreate,
    Alter,
    Index,
    Rename,
}

/// What became of it.
enum Outcome {
    Flushed(Result<Flushed, Error>),
    Changed(Revision),
}

/// Two nodes over the same stores, rows committed and writes buffered.
struct Scene {
    first: Client,
    second: Client,
    node: Node,
}

impl Scene {
    async fn new(old: &[Row], first: &[Write], other: &Other) -> Self {
        let stores = Stores::new().await;
        let node = stores.node(9).await;
        node.create(FILMS).await;
        // Of one fragment, so that deletes of different rows meet in one delete log.
        let writer = node.client();
        writer.insert(old).await;
        writer.flush().await;
        let client = |number: u32| {
            let stores = stores.clone();
            async move { stores.node(number).await.client() }
        };
        let (a, b) = (client(1).await, client(2).await);
        for write in first {
            a.films(write.clone()).await;
        }
        if let Other::Flush(writes) = other {
            for write in writes {
                b.films(write.clone()).await;
            }
        }
        Self { first: a, second: b, node }
    }
}

async fn run_other(client: Client, other: Other) -> Outcome {
    let database = client.node.database.clone();
    match other {
        Other::Flush(_) => Outcome::Flushed(client.try_flush().await),
        Other::Drop => Outcome::Changed(database.drop_collection(FILMS).await.unwrap().1),
        Other::Recreate => {
            let (_, revision) = database.drop_collection(FILMS).await.unwrap();
            client.node.create(FILMS).await;
            Outcome::Changed(revision)
        }
        Other::Alter => {
            let set = BTreeMap::from([("color".to_owned(), "red".to_owned())]);
            Outcome::Changed(database.alter_properties(FILMS, &set, &[]).await.unwrap())
        }
        Other::Index => {
            let index = IndexRecord {
                name: "v".into(),
                field: VECTOR,
                index_type: "HNSW".into(),
                metric: Some(Metric::L2),
                params: BTreeMap::new(),
            };
            Outcome::Changed(database.create_index(FILMS, index).await.unwrap())
        }
        Other::Rename => Outcome::Changed(database.rename_collection(FILMS, MOVIES).await.unwrap()),
    }
}

/// Every interleaving of `first` with `other`, with every fault of its commit.
async fn interleave(old: &[Row], first: &[Write], other: Other) {
    for fault in [None, Some(Fault::AnswerLost), Some(Fault::NeverSent), Some(Fault::Late), Some(Fault::Refused)] {
        let mut most = (0, 0);
        for n in 1.. {
            let mut n_exists = false;
            let first_stop = if fault.is_some() { 1_000_000 } else { 1 };
            for m in first_stop.. {
                let scene = Scene::new(old, first, &other).await;
                let (a, b) = run(&scene, old, first, &other, fault, n, m).await;
                n_exists |= a;
                most = (most.0.max(n), if fault.is_some() { most.1 } else { most.1.max(m) });
                // With a fault the other one runs whole: what it could meet on its way it meets without a fault, too.
                if !b || fault.is_some() {
                    break;
                }
            }
            if !n_exists {
                break;
            }
        }
        // Not a test of nothing: at least the head and the commit are calls.
        assert!(most.0 >= 3 && (fault.is_some() || most.1 >= 3), "{most:?}");
    }
}

async fn run(
    scene: &Scene,
    old: &[Row],
    first: &[Write],
    other: &Other,
    fault: Option<Fault>,
    n: usize,
    m: usize,
) -> (bool, bool) {
    let what = format!("{first:?} stopped before call {n}, {other:?} before {m}, {fault:?}");
    let (a_meta, b_meta) = (&scene.first.node.meta, &scene.second.node.meta);
    if let Some(fault) = fault {
        a_meta.fail_next(Call::Commit, fault);
    }
    a_meta.stop_before(n);
    b_meta.stop_before(m);
    let a_client = scene.first.clone();
    let a = tokio::spawn(async move { a_client.try_flush().await });
    let a_stopped = a_meta.stopped_or_ended(&a).await;
    let b = tokio::spawn(run_other(scene.second.clone(), other.clone()));
    let b_stopped = b_meta.stopped_or_ended(&b).await;
    if a_stopped {
        a_meta.resume();
    }
    let mut a = a.await.unwrap();
    a_meta.stop_never();
    if b_stopped {
        b_meta.resume();
    }
    let b = b.await.unwrap();
    if fault == Some(Fault::Refused)
        && matches!(&a, Err(error) if error.kind() == redkite_types::ErrorKind::Unavailable)
    {
        // Nothing happened and the block is still there.
        a = scene.first.try_flush().await;
    }
    check(scene, old, first, other, a, b, &what).await;
    // What was settled as not committed never happens, however late it arrives.
    let before = scene.node.try_rows(FILMS).await.ok();
    assert!(a_meta.land().await.iter().all(|succeeded| !succeeded), "{what}");
    assert_eq!(scene.node.try_rows(FILMS).await.ok(), before, "{what}");
    (a_stopped, b_stopped)
}

async fn check(
    scene: &Scene,
    old: &[Row],
    first: &[Write],
    other: &Other,
    a: Result<Flushed, Error>,
    b: Outcome,
    what: &str,
) {
    match (other, b) {
        (Other::Flush(second), Outcome::Flushed(b)) => {
            let a = a.unwrap_or_else(|error| panic!("{what}: {error}")).revision;
            let b = b.unwrap_or_else(|error| panic!("{what}: {error}")).revision;
            assert_ne!(a, b, "{what}");
            let mut plain = Plain(old.to_vec());
            let ordered = if a < b { [first, second] } else { [second, first] };
            ordered.into_iter().flatten().for_each(|write| plain.apply(write));
            assert_eq!(scene.node.rows(FILMS).await, plain.sorted(), "{what}, first at {a}, second at {b}");
        }
        (Other::Drop | Other::Recreate, Outcome::Changed(dropped)) => {
            match a {
                Ok(flushed) => assert!(flushed.revision < dropped, "{what}"),
                Err(Error::CollectionDropped { .. }) => {}
                Err(error) => panic!("{what}: {error}"),
            }
            let rows = scene.node.try_rows(FILMS).await;
            match other {
                Other::Drop => assert!(rows.is_err(), "{what}"),
                _ => assert_eq!(rows.unwrap(), [], "{what}"),
            }
        }
        (other, Outcome::Changed(_)) => {
            a.unwrap_or_else(|error| panic!("{what}: {error}"));
            let mut plain = Plain(old.to_vec());
            first.iter().for_each(|write| plain.apply(write));
            let name = if matches!(other, Other::Rename) { MOVIES } else { FILMS };
            assert_eq!(scene.node.rows(name).await, plain.sorted(), "{what}");
        }
        _ => unreachable!(),
    }
}

const OLD: [Row; 3] = [(1, 1), (2, 2), (3, 3)];

macro_rules! interleavings {
    ($($name:ident: $first:expr, $other:expr;)*) => {$(
        #[tokio::test(start_paused = true)]
        async fn $name() {
            interleave(&OLD, &$first, $other).await;
        }
    )*};
}

interleavings! {
    insert_against_insert_of_one_key: [Insert(vec![(7, 1)])], Other::Flush(vec![Insert(vec![(7, 2)])]);
    s40_delete_against_insert_of_the_key: [DeleteKeys(vec![1, 7])], Other::Flush(vec![Insert(vec![(7, 7), (1, 9)])]);
    s40_insert_against_delete_of_the_key: [Insert(vec![(7, 7), (1, 9)])], Other::Flush(vec![DeleteKeys(vec![1, 7])]);
    s40_delete_by_filter_against_insert: [DeleteTags(2, 9)], Other::Flush(vec![Insert(vec![(7, 7), (8, 1)])]);
    s40_insert_against_delete_by_filter: [Insert(vec![(7, 7), (8, 1)])], Other::Flush(vec![DeleteTags(2, 9)]);
    s40_delete_against_delete_of_the_same_row: [DeleteKeys(vec![1, 2])], Other::Flush(vec![DeleteKeys(vec![2, 3])]);
    s40_delete_by_filter_against_delete: [DeleteTags(0, 3)], Other::Flush(vec![DeleteKeys(vec![2, 3])]);
    upsert_against_upsert_of_a_new_key: [Upsert(vec![(7, 1)])], Other::Flush(vec![Upsert(vec![(7, 2)])]);
    upsert_against_upsert_of_an_old_key: [Upsert(vec![(1, 8)])], Other::Flush(vec![Upsert(vec![(1, 9)])]);
    upsert_against_delete: [Upsert(vec![(1, 8)])], Other::Flush(vec![DeleteKeys(vec![1])]);
    upsert_against_insert: [Upsert(vec![(7, 8)])], Other::Flush(vec![Insert(vec![(7, 9)])]);
    whole_blocks: [Insert(vec![(7, 1)]), DeleteKeys(vec![1]), Upsert(vec![(2, 8), (8, 8)])],
        Other::Flush(vec![DeleteTags(1, 3), Upsert(vec![(8, 9)]), Insert(vec![(1, 9)])]);
    insert_against_drop: [Insert(vec![(7, 1)])], Other::Drop;
    delete_against_drop: [DeleteKeys(vec![1])], Other::Drop;
    insert_against_drop_and_recreation: [Insert(vec![(7, 1)])], Other::Recreate;
    upsert_against_drop_and_recreation: [Upsert(vec![(1, 7)])], Other::Recreate;
    insert_against_changed_properties: [Insert(vec![(7, 1)])], Other::Alter;
    delete_against_changed_properties: [DeleteKeys(vec![1])], Other::Alter;
    upsert_against_a_new_index: [Upsert(vec![(1, 7)])], Other::Index;
    insert_against_another_name: [Insert(vec![(7, 1)])], Other::Rename;
    upsert_against_another_name: [Upsert(vec![(1, 7), (8, 8)])], Other::Rename;
}

/// A delete rests on the newest revision of the collection, which writers without end keep changing.
#[tokio::test(start_paused = true)]
async fn a_delete_is_not_starved_by_inserts() {
    let stores = Stores::new().await;
    let node = stores.node(1).await;
    node.create(FILMS).await;
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let (client, stop) = (node.client(), stop.clone());
            tokio::spawn(async move {
                let mut at = 0;
                while !stop.load(Ordering::Relaxed) {
                    at += 1;
                    client.insert(&[(writer * 1_000 + at, at)]).await;
                    client.flush().await;
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                at
            })
        })
        .collect();
    // Between what a delete rests on and its commit there is always time for several inserts.
    let other = stores.node(2).await;
    other.meta.slow_down(Call::Commit, Duration::from_millis(5));
    let deleter = other.client();
    for round in 1..4 {
        deleter.films(DeleteTags(round, round + 1)).await;
        deleter.flush().await;
        assert!(other.rows(FILMS).await.iter().all(|(_, tag)| *tag > round));
    }
    stop.store(true, Ordering::Relaxed);
    let mut inserted = 0;
    for writer in writers {
        inserted += writer.await.unwrap();
    }
    assert_eq!(node.rows(FILMS).await.len() as i64, inserted - 4 * 3);
    assert!(other.meta.tried_to_put("/.intent/"), "no delete had to ask to be let pass: the test tests nothing");
    let intents = redkite_meta::KeyRange::Prefix("/u/.intent/".into());
    let left = stores.meta.range(redkite_meta::RangeRequest::new(intents)).await.unwrap();
    assert!(left.kvs.is_empty(), "an intent outlived its flush");
}

#[tokio::test(start_paused = true)]
async fn many_deletes_of_one_collection_all_pass() {
    let stores = Stores::new().await;
    let node = stores.node(1).await;
    node.meta.yield_always();
    node.create(FILMS).await;
    let client = node.client();
    client.insert(&(0..40).map(|key| (key, key)).collect::<Vec<_>>()).await;
    client.flush().await;
    let deletes = (0..40).map(|key| {
        let client = node.client();
        tokio::spawn(async move {
            client.upsert(&[(key, 100 + key), (1_000, key)]).await;
            client.flush().await
        })
    });
    let revisions = futures::future::join_all(deletes).await;
    let last = (0..40).max_by_key(|key| *revisions[*key as usize].as_ref().unwrap()).unwrap();
    let mut want: Vec<Row> = (0..40).map(|key| (key, 100 + key)).collect();
    want.push((1_000, last));
    assert_eq!(node.rows(FILMS).await, want);
}

/// An owner of an intent that died holds the others up for no longer than its lease.
#[tokio::test(start_paused = true)]
async fn the_intent_of_a_dead_node_expires() {
    use redkite_meta::{ManualClock, MemoryStore, MetaStore, Op, Txn};
    let clock = Arc::new(ManualClock::new());
    let meta = Arc::new(MemoryStore::with_clock(clock.clone()));
    let data = Stores::new().await.data;
    let stores = Stores::over(meta.clone(), data);
    let node = stores.node(1).await;
    node.create(FILMS).await;
    let lease = meta.lease_grant(Duration::from_secs(10)).await.unwrap();
    let put = Op::Put { key: node.database.keys.intent(FILMS), value: "dead".into(), lease: Some(lease) };
    meta.txn(Txn { then: vec![put], ..Txn::default() }).await.unwrap();
    let (inserts, deletes) = (node.client(), node.client());
    inserts.insert(&[(1, 1)]).await;
    deletes.delete(&[1]).await;
    let flushes = [inserts, deletes].map(|client| tokio::spawn(async move { client.try_flush().await }));
    for _ in 0..10 {
        assert!(flushes.iter().all(|flush| !flush.is_finished()));
        tokio::time::sleep(Duration::from_secs(1)).await;
        clock.advance(Duration::from_secs(1));
    }
    for flush in flushes {
        flush.await.unwrap().unwrap();
    }
}
