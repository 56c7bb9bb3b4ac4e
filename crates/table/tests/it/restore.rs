//! Metadata from a dump in another store, whatever happens on the way.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use redkite_meta::base;
use redkite_meta::keys::{USER_LIST, UserKeys};
use redkite_meta::{KeyRange, MemoryStore, MetaStore, Op, RangeRequest, Txn};
use redkite_storage::{DataStore, StorageOptions};
use redkite_table::commit::{Commit, CommitResult, floor_value};
use redkite_table::restore::{AUTO_IDS_SKIPPED, DumpedUser, Plan, Restore, RestoreError, STEP};
use redkite_table::{Ambient, Error, Horizon, Moment, Visibility};
use redkite_types::{CommitId, Revision, UserName};
use tokio::task::JoinHandle;

use crate::faulty_meta::FaultyMeta;
use crate::world::{Node, Stores, collection};

fn keys() -> UserKeys {
    UserKeys::new(&UserName::new("u").unwrap())
}

async fn entries(meta: &dyn MetaStore) -> Vec<(String, Bytes)> {
    let found = meta.range(RangeRequest::new(KeyRange::Prefix("/".into()))).await.unwrap();
    found.kvs.into_iter().map(|kv| (kv.key, kv.value)).collect()
}

async fn dump(meta: &dyn MetaStore) -> DumpedUser {
    let all = meta.range(RangeRequest::new(KeyRange::Prefix(keys().all().to_owned()))).await.unwrap();
    let entries = all.kvs.into_iter().map(|kv| (kv.key, kv.value)).collect();
    DumpedUser { user: UserName::new("u").unwrap(), revision: all.revision, entries }
}

/// What a node has put that made two collections and dropped one, and more keys than one transaction takes.
async fn dumped() -> DumpedUser {
    let stores = Stores::new();
    let node = stores.node(1).await;
    for name in ["a", "b"] {
        node.database.create_collection(collection(name, 2)).await.unwrap();
    }
    node.database.drop_collection("b").await.unwrap();
    node.database.auto_ids.take(1).await.unwrap();
    let mut dumped = dump(stores.meta.as_ref()).await;
    // Their size is not looked at: they are of no collection that is there.
    let many = (0..250).map(|at| (keys().data("old", &format!("f/{at:03}")), Bytes::from_static(b"{}")));
    dumped.entries.extend(many);
    dumped
}

fn clock() -> Ambient {
    Ambient::new(|| UNIX_EPOCH + Duration::from_secs(1_900_000_000), || 7)
}

async fn object_store() -> DataStore {
    DataStore::connect(StorageOptions::new("memory://")).await.unwrap()
}

async fn restore(meta: &dyn MetaStore, dumped: DumpedUser) -> Result<(), RestoreError> {
    restore_over(&object_store().await, meta, dumped).await
}

async fn restore_over(data: &DataStore, meta: &dyn MetaStore, dumped: DumpedUser) -> Result<(), RestoreError> {
    let ambient = clock();
    let restore = Restore { meta, data, ambient: &ambient, dump: "d".into() };
    restore.run(&mut Plan::of(vec![dumped])?).await
}

fn started(meta: Arc<FaultyMeta>, dumped: DumpedUser) -> JoinHandle<Result<(), RestoreError>> {
    tokio::spawn(async move { restore(meta.as_ref(), dumped).await })
}

async fn node_over(stores: &Stores) -> Node {
    let meta = base::open(stores.meta.clone(), &keys()).await.unwrap();
    stores.node_over(1, true, FaultyMeta::new(meta)).await
}

fn value<'e>(entries: &'e [(String, Bytes)], key: &str) -> &'e str {
    let found = entries.iter().find(|(known, _)| known == key);
    std::str::from_utf8(&found.unwrap_or_else(|| panic!("{key}")).1).unwrap()
}

#[tokio::test]
async fn everything_lasting_is_there_and_the_rest_goes_on_from_it() {
    let dumped = dumped().await;
    let stores = Stores::new();
    restore(stores.meta.as_ref(), dumped.clone()).await.unwrap();
    let found = entries(stores.meta.as_ref()).await;
    let anew = [keys().id_floor(), keys().horizon(), keys().auto_id(), keys().claim(), keys().base()];
    let want = dumped.entries.iter().filter(|(key, _)| !anew.contains(key) && !key.starts_with(&keys().nodes()));
    assert!(want.clone().count() > 250);
    for (key, value) in want {
        assert!(found.contains(&(key.clone(), value.clone())), "{key}");
    }
    let base = 2 * STEP;
    assert_eq!(value(&found, USER_LIST), r#"["u"]"#);
    assert_eq!(value(&found, &keys().id_floor()), floor_value(Revision(base)));
    let next: i64 = value(&dumped.entries, &keys().auto_id()).parse().unwrap();
    assert_eq!(value(&found, &keys().auto_id()), (next + AUTO_IDS_SKIPPED).to_string());

    let node = node_over(&stores).await;
    let catalog = node.database.newest();
    assert!(catalog.revision > Revision(base));
    let names: Vec<&str> = catalog.names.iter().map(|record| record.name.as_str()).collect();
    assert_eq!(names, ["a"]);
    // Leases of outcomes run anew.
    let outcomes = |entries: &[(String, Bytes)]| entries.iter().filter(|(key, _)| key.contains("/.commit/")).count();
    assert_eq!((outcomes(&found), outcomes(&dumped.entries)), (3, 3));
    stores.pass(Duration::from_secs(27 * 3_600));
    assert_eq!(outcomes(&entries(stores.meta.as_ref()).await), 0);
}

#[tokio::test]
async fn the_past_begins_at_the_restored_state() {
    let stores = Stores::new();
    restore(stores.meta.as_ref(), dumped().await).await.unwrap();
    let node = node_over(&stores).await;
    let Horizon { revision: horizon, .. } = node.database.horizon().await.unwrap();
    assert!(node.database.newest().graves.collections().all(|dropped| dropped.dropped <= horizon));
    let restored = node.database.newest();
    node.database.drop_collection("a").await.unwrap();
    for revision in [horizon, restored.revision] {
        let past = node.database.as_of("a", Moment::Revision(revision)).await.unwrap();
        assert_eq!(past.collection.record, restored.collection("a").unwrap().record);
    }
    for revision in [Revision(1), Revision(horizon.0 - 1)] {
        let gone = node.database.as_of("a", Moment::Revision(revision)).await;
        assert!(matches!(gone, Err(Error::TooOld { .. })), "{gone:?}");
    }
}

#[tokio::test]
async fn what_is_left_of_a_dropped_collection_is_older_than_its_tombstone() {
    let stores = Stores::new();
    restore(stores.meta.as_ref(), dumped().await).await.unwrap();
    let range = RangeRequest::new(KeyRange::Prefix(keys().all().to_owned()));
    let found = stores.meta.range(range).await.unwrap().kvs;
    let (tombstones, entries): (Vec<_>, Vec<_>) = found
        .into_iter()
        .filter(|kv| kv.key.contains("/.tomb/") || kv.key.contains("/data/"))
        .partition(|kv| kv.key.contains("/.tomb/"));
    assert!(!tombstones.is_empty() && entries.len() > 200);
    for kv in tombstones {
        assert!(entries.iter().all(|entry| entry.create_revision <= kv.create_revision), "{}", kv.key);
    }
}

#[tokio::test]
async fn what_was_begun_before_cannot_land() {
    let dumped = dumped().await;
    let before = dumped.revision;
    let stores = Stores::new();
    restore(stores.meta.as_ref(), dumped).await.unwrap();
    let node = node_over(&stores).await;
    let commit = |id: CommitId| Commit {
        id,
        oldest: id.revision(),
        compares: Vec::new(),
        ops: vec![Op::put("/u/a/data/x", "{}")],
        touched: vec!["a".into()],
        flush: None,
    };
    for late in [before, Revision(before.0 + 1_000_000)] {
        let lost = node.database.committer.commit(&commit(node.database.commit_id(late))).await.unwrap();
        assert!(matches!(lost, CommitResult::Lost { floor, .. } if floor == Revision(2 * STEP)), "{lost:?}");
    }
    let now = node.database.newest().revision;
    let committed = node.database.committer.commit(&commit(node.database.commit_id(now))).await.unwrap();
    assert!(matches!(committed, CommitResult::Committed(revision) if revision > now), "{committed:?}");
}

/// Calls of one undisturbed restore.
async fn calls() -> usize {
    let meta = FaultyMeta::new(Arc::new(MemoryStore::new()));
    restore(meta.as_ref(), dumped().await).await.unwrap();
    use crate::faulty_meta::Call;
    [Call::Read, Call::Commit, Call::Settle, Call::Write, Call::Lease].into_iter().map(|call| meta.count(call)).sum()
}

#[tokio::test]
async fn one_that_dies_at_any_step_serves_nobody_and_is_run_again() {
    let dumped = dumped().await;
    for step in 1..=calls().await {
        let stores = Stores::new();
        let meta = FaultyMeta::new(stores.meta.clone());
        meta.stop_before(step);
        let dying = started(meta.clone(), dumped.clone());
        meta.stopped().await;
        meta.die();
        dying.abort();
        let begun = !entries(stores.meta.as_ref()).await.is_empty();
        let opened = base::open(stores.meta.clone(), &keys()).await;
        assert_eq!(begun, matches!(opened, Err(redkite_meta::Error::HalfRestored { .. })), "step {step}: {opened:?}");
        restore(stores.meta.as_ref(), dumped.clone()).await.unwrap_or_else(|error| panic!("step {step}: {error}"));
        assert_eq!(node_over(&stores).await.database.newest().names.len(), 1);
    }
}

#[tokio::test]
async fn of_two_at_once_one_wins_whole() {
    let first = dumped().await;
    let mut second = first.clone();
    second.entries.retain(|(key, _)| !key.ends_with("/f/007"));
    second.entries.push((keys().data("old", "f/other"), Bytes::from_static(b"{}")));
    for step in 1..=calls().await {
        let stores = Stores::new();
        let meta = FaultyMeta::new(stores.meta.clone());
        meta.stop_before(step);
        let slow = started(meta.clone(), first.clone());
        meta.stopped().await;
        restore(stores.meta.as_ref(), second.clone()).await.unwrap_or_else(|error| panic!("step {step}: {error}"));
        let won = entries(stores.meta.as_ref()).await;
        meta.resume();
        let lost = slow.await.unwrap();
        let is_told = matches!(lost, Err(RestoreError::Overtaken | RestoreError::UserExists { .. }));
        assert!(is_told, "step {step}: {lost:?}");
        assert_eq!(entries(stores.meta.as_ref()).await, won, "step {step}");
    }
}

#[tokio::test]
async fn a_user_that_comes_first_stays() {
    let put = |meta: Arc<MemoryStore>| async move {
        let txn = Txn { then: vec![Op::put(keys().id_floor(), floor_value(Revision::ZERO))], ..Txn::default() };
        meta.txn(txn).await.unwrap();
    };
    // The restore looks at the list, the mark and the keys, and then puts its mark.
    for step in 1..=4 {
        let stores = Stores::new();
        let meta = FaultyMeta::new(stores.meta.clone());
        meta.stop_before(step);
        let restoring = started(meta.clone(), dumped().await);
        meta.stopped().await;
        put(stores.meta.clone()).await;
        meta.resume();
        let refused = restoring.await.unwrap();
        assert!(matches!(refused, Err(RestoreError::UserExists { .. })), "{refused:?}");
        let left: Vec<String> = entries(stores.meta.as_ref()).await.into_iter().map(|(key, _)| key).collect();
        assert_eq!(left, [keys().id_floor()]);
    }
}

#[tokio::test]
async fn marks_of_a_start_that_was_refused_do_not_stand_in_the_way() {
    let stores = Stores::new();
    let marks = vec![Op::put(keys().store(), "1"), Op::put(keys().claim(), "1")];
    stores.meta.txn(Txn { then: marks, ..Txn::default() }).await.unwrap();
    restore(stores.meta.as_ref(), dumped().await).await.unwrap();
    let left = entries(stores.meta.as_ref()).await;
    // The dump has no store, so there is none.
    assert!(!left.iter().any(|(key, _)| *key == keys().store()) && value(&left, &keys().claim()) != "1");
}

#[tokio::test]
async fn a_node_that_is_just_starting_notices() {
    let stores = Stores::new();
    // It has found no base, and goes on once all is restored.
    let meta = base::open(stores.meta.clone(), &keys()).await.unwrap();
    restore(stores.meta.as_ref(), dumped().await).await.unwrap();
    let node = stores.node_over(1, true, FaultyMeta::new(meta)).await;
    let read = node.database.snapshot(Visibility::Strong).await;
    assert!(matches!(read, Err(Error::Restored)), "{read:?}");
    // Nor is what it knows served to those who do without the newest.
    let read = node.database.snapshot(Visibility::Eventual).await;
    assert!(matches!(read, Err(Error::Restored)), "{read:?}");
}

#[tokio::test]
async fn a_node_that_starts_meanwhile_leaves_nothing_in_what_is_restored() {
    for key in [keys().claim(), keys().id_floor()] {
        let stores = Stores::new();
        let meta = FaultyMeta::new(stores.meta.clone());
        // Three calls are left: it puts what the user goes on from, reads the list of users, and makes the user whole.
        meta.stop_before(calls().await - 2);
        let restoring = started(meta.clone(), dumped().await);
        meta.stopped().await;
        // Of one that has found no mark.
        stores.meta.txn(Txn { then: vec![Op::put(key, "x")], ..Txn::default() }).await.unwrap();
        meta.resume();
        let refused = restoring.await.unwrap();
        assert!(matches!(refused, Err(RestoreError::Overtaken)), "{refused:?}");
        let opened = base::open(stores.meta.clone(), &keys()).await;
        assert!(matches!(opened, Err(redkite_meta::Error::HalfRestored { .. })), "{opened:?}");
        restore(stores.meta.as_ref(), dumped().await).await.unwrap();
        assert_eq!(node_over(&stores).await.database.newest().names.len(), 1);
    }
}

#[tokio::test]
async fn a_dump_that_is_restored_twice_repeats_nothing_of_the_first_time() {
    let (data, dumped) = (object_store().await, dumped().await);
    let next: i64 = value(&dumped.entries, &keys().auto_id()).parse().unwrap();
    for times in 1..=3 {
        let stores = Stores::new();
        restore_over(&data, stores.meta.as_ref(), dumped.clone()).await.unwrap();
        let base = base::of(stores.meta.as_ref(), &keys()).await.unwrap();
        assert_eq!(base, Revision(2 * STEP * times));
        let found = entries(stores.meta.as_ref()).await;
        assert_eq!(value(&found, &keys().id_floor()), floor_value(base));
        assert_eq!(value(&found, &keys().auto_id()), (next + AUTO_IDS_SKIPPED * times).to_string());
    }
}

#[tokio::test]
async fn what_cannot_be_restored_is_told_before_anything_is_put() {
    let user = |entries: &[(&str, &'static str)], revision| DumpedUser {
        user: UserName::new("u").unwrap(),
        revision: Revision(revision),
        entries: entries.iter().map(|(key, value)| ((*key).to_owned(), Bytes::from_static(value.as_bytes()))).collect(),
    };
    let check = |dumped: Vec<DumpedUser>, want: &str| {
        let error = Plan::of(dumped).unwrap_err().to_string();
        assert!(error.contains(want), "{want}: {error}");
    };
    check(vec![], "no user");
    check(vec![user(&[("/u/.hologram", "1")], 9)], "/u/.hologram in the dump is no key");
    check(vec![user(&[("/u/.autoid", "x")], 9)], "/u/.autoid is damaged");
    check(vec![user(&[("/u/.horizon", "x")], 9)], "/u/.horizon is damaged");
    check(vec![user(&[("/u/a/schema", "{}"), ("/u/a/data/f/v", "{}")], 9)], "/u/a/data/f/v is damaged");
    check(vec![user(&[], i64::MAX)], "beyond");
    check(vec![user(&[], -1)], "beyond");
    for (revision, base) in [(0, 2), (1, 2), (STEP - 1, 2), (STEP, 3), (5 * STEP + 1, 7)] {
        assert_eq!(Plan::of(vec![user(&[], revision)]).unwrap().users[0].base, Revision(base * STEP));
    }
}
