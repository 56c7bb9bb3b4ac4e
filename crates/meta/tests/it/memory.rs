use std::sync::Arc;
use std::time::Duration;

use redkite_meta::{Error, ManualClock, MemoryStore, MetaStore, Op, Txn, contract};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn contract_holds() {
    contract::run(Arc::new(MemoryStore::new())).await;
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
