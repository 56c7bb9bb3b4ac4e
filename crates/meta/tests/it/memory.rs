//! What only the store in memory does.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use redkite_meta::{Error, ManualClock, MemoryStore, MetaStore, Op, Rebased, Txn, contract, dump};
use redkite_types::Revision;

use crate::{everything, next_batch, put};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn contract_holds() {
    contract::run(Arc::new(MemoryStore::new())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn contract_holds_above_a_base() {
    let store: Arc<dyn MetaStore> = Arc::new(Rebased::new(Arc::new(MemoryStore::new()), Revision(1_000_000)));
    // Those that ask for the first revisions by number: the numbers are what a base changes.
    let other = ["txns::first_revisions_are_those_of_a_fresh_etcd", "watches::from_the_past_and_from_the_future"];
    contract::run_but(&other, store).await;
}

#[tokio::test]
async fn leases_end_by_the_clock_given() {
    let clock = Arc::new(ManualClock::new());
    let store = MemoryStore::with_clock(Arc::<ManualClock>::clone(&clock));
    let lease = store.lease_grant(Duration::from_secs(10)).await.unwrap();
    let op = Op::Put { key: "/a".to_owned(), value: "1".into(), lease: Some(lease) };
    store.txn(Txn { then: vec![op], ..Txn::default() }).await.unwrap();
    clock.advance(Duration::from_millis(9_999));
    assert!(store.get("/a").await.unwrap().is_some());
    store.lease_keep_alive(lease).await.unwrap();
    clock.advance(Duration::from_millis(9_999));
    assert!(store.get("/a").await.unwrap().is_some());
    clock.advance(Duration::from_millis(1));
    assert!(matches!(store.lease_keep_alive(lease).await, Err(Error::LeaseNotFound(_))));
    assert!(store.get("/a").await.unwrap().is_none());
}

#[tokio::test]
async fn a_dump_shows_everything_below_a_prefix_at_one_revision() {
    let store = MemoryStore::new();
    for (key, value) in [("/b/x", "[1]"), ("/a", "{}"), ("/b/y", "{}")] {
        put(&store, key, value).await.unwrap();
    }
    let all = dump::dump(&store, dump::ROOT).await.unwrap();
    assert_eq!(all.revision.0, 4);
    let lines: Vec<_> = all.kvs.iter().map(dump::line).collect();
    assert_eq!(
        lines,
        [
            "/a\tcreated=3 modified=3 version=1\t{}",
            "/b/x\tcreated=2 modified=2 version=1\t[1]",
            "/b/y\tcreated=4 modified=4 version=1\t{}"
        ]
    );
    assert_eq!(dump::dump(&store, "/b/").await.unwrap().kvs.len(), 2);
    let lease = store.lease_grant(Duration::from_secs(60)).await.unwrap();
    let op = Op::Put { key: "/c".to_owned(), value: vec![0xff, 0xfe].into(), lease: Some(lease) };
    store.txn(Txn { then: vec![op], ..Txn::default() }).await.unwrap();
    let line = dump::line(&store.get("/c").await.unwrap().unwrap());
    assert_eq!(line, format!("/c\tcreated=5 modified=5 version=1 lease={:x}\t(2 bytes, not text)", lease.0));
}

#[tokio::test]
async fn a_watch_ends_with_its_store() {
    let store = MemoryStore::new();
    let mut stream = store.watch(everything(), Revision(1)).await.unwrap();
    put(&store, "/a", "1").await.unwrap();
    drop(store);
    assert_eq!(next_batch(&mut stream).await.revision, Revision(2));
    assert!(matches!(stream.next().await, Some(Err(Error::Unavailable(_)))));
    assert!(stream.next().await.is_none());
}

/// A watch nobody polls costs nothing and misses nothing, unless a compaction overtakes it.
#[tokio::test]
async fn a_slow_watch_catches_up_or_is_told() {
    let store = MemoryStore::new();
    let mut slow = store.watch(everything(), Revision(1)).await.unwrap();
    let mut slower = store.watch(everything(), Revision(1)).await.unwrap();
    for i in 0..5_000 {
        put(&store, "/a", &i.to_string()).await.unwrap();
    }
    for revision in 2..=5_001 {
        assert_eq!(next_batch(&mut slow).await.revision, Revision(revision));
    }
    store.compact(Revision(5_000)).await.unwrap();
    assert!(matches!(slower.next().await, Some(Err(Error::Compacted { asked: Revision(2), oldest: Revision(5_000) }))));
    assert!(slower.next().await.is_none());
}
