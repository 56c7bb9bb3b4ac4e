//! A user's files belong to one metadata store.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::UNIX_EPOCH;

use bytes::Bytes;
use redkite_meta::keys::UserKeys;
use redkite_meta::{MemoryStore, MetaStore};
use redkite_storage::{DataStore, StorageOptions};
use redkite_table::user_claim::{check, file};
use redkite_table::{Ambient, Error};
use redkite_types::UserName;
use serde_json::Value;
use tokio::task::JoinHandle;

use crate::faulty_meta::{Call, Fault, FaultyMeta};

async fn store() -> DataStore {
    DataStore::connect(StorageOptions::new("memory://")).await.unwrap()
}

fn user(name: &str) -> UserName {
    UserName::new(name).unwrap()
}

async fn start_as(name: &str, meta: &dyn MetaStore, data: &DataStore) -> Result<(), Error> {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let ambient = Ambient::new(|| UNIX_EPOCH, || NEXT.fetch_add(1, Ordering::Relaxed));
    check(meta, &UserKeys::new(&user(name)), &user(name), data, &ambient).await
}

async fn start(meta: &dyn MetaStore, data: &DataStore) -> Result<(), Error> {
    start_as("u", meta, data).await
}

/// A start that is held up before one of its calls.
async fn held_before(
    number: usize,
    inner: Arc<MemoryStore>,
    data: &DataStore,
) -> (Arc<FaultyMeta>, JoinHandle<Result<(), Error>>) {
    let meta = FaultyMeta::new(inner);
    meta.stop_before(number);
    let held = {
        let (meta, data) = (meta.clone(), data.clone());
        tokio::spawn(async move { start(meta.as_ref(), &data).await })
    };
    meta.stopped().await;
    (meta, held)
}

async fn id_in_store(data: &DataStore) -> Value {
    let bytes = data.read(&file(&user("u")), 1000).await.unwrap().unwrap();
    serde_json::from_slice::<Value>(&bytes).unwrap()["id"].take()
}

async fn claim_in_meta(meta: &dyn MetaStore) -> Value {
    let stored = meta.get(&UserKeys::new(&user("u")).claim()).await.unwrap().unwrap();
    serde_json::from_slice(&stored.value).unwrap()
}

fn is_refused(result: Result<(), Error>) -> bool {
    matches!(result, Err(Error::OtherMetadata { .. }))
}

#[tokio::test]
async fn the_first_metadata_has_the_files_and_no_other() {
    let (first, second, data) = (MemoryStore::new(), MemoryStore::new(), store().await);
    for _ in 0..3 {
        start(&first, &data).await.unwrap();
        let claim = claim_in_meta(&first).await;
        assert_eq!((&claim["id"], &claim["confirmed"]), (&id_in_store(&data).await, &Value::Bool(true)));
        let error = start(&second, &data).await.unwrap_err().to_string();
        for word in ["user u", &file(&user("u")), claim["id"].as_str().unwrap(), "another user"] {
            assert!(error.contains(word), "no {word} in {error}");
        }
    }
    // Another user has files of its own.
    start_as("v", &second, &data).await.unwrap();
    start_as("w", &first, &data).await.unwrap();
}

#[tokio::test]
async fn files_that_are_elsewhere_are_missed() {
    let (meta, data, empty) = (MemoryStore::new(), store().await, store().await);
    start(&meta, &data).await.unwrap();
    assert!(is_refused(start(&meta, &empty).await));
    assert!(empty.list("").await.unwrap().is_empty(), "a store that is refused is left alone");
    start(&meta, &data).await.unwrap();
}

/// A start that dies at any step is taken up by the next one.
#[tokio::test]
async fn a_start_that_died_is_taken_up() {
    for number in 1..=5 {
        let (inner, data) = (Arc::new(MemoryStore::new()), store().await);
        let (_, held) = held_before(number, inner.clone(), &data).await;
        held.abort();
        assert!(held.await.unwrap_err().is_cancelled());
        start(inner.as_ref(), &data).await.unwrap();
        assert_eq!(claim_in_meta(inner.as_ref()).await["id"], id_in_store(&data).await);
    }
}

/// One start is held up before each of its calls in turn while another one runs from beginning to end.
#[tokio::test]
async fn of_two_metadata_stores_at_the_same_time_one_gets_the_files() {
    for number in 1..=5 {
        let (quick, data) = (MemoryStore::new(), store().await);
        let (slow, held) = held_before(number, Arc::new(MemoryStore::new()), &data).await;
        let quick = start(&quick, &data).await;
        slow.resume();
        let slow = held.await.unwrap();
        assert!(quick.is_ok() != slow.is_ok(), "{number}: {quick:?} {slow:?}");
        assert!(is_refused(quick) || is_refused(slow));
    }
}

/// The same with two nodes of one metadata store.
#[tokio::test]
async fn two_first_starts_of_one_metadata_store_agree() {
    for number in 1..=5 {
        let (inner, data) = (Arc::new(MemoryStore::new()), store().await);
        let (slow, held) = held_before(number, inner.clone(), &data).await;
        start(inner.as_ref(), &data).await.unwrap();
        slow.resume();
        held.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_lost_answer_is_looked_up() {
    for fault in [Fault::AnswerLost, Fault::NeverSent] {
        let (meta, data) = (FaultyMeta::new(Arc::new(MemoryStore::new())), store().await);
        meta.fail_next(Call::Write, fault);
        start(meta.as_ref(), &data).await.unwrap();
        assert_eq!(claim_in_meta(meta.as_ref()).await["id"], id_in_store(&data).await);
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_no_claim() {
    for (content, want) in [(r#"{"format": 2}"#, "use a newer redkite"), (r#"{"format": 1}"#, "is damaged")] {
        let (meta, data) = (MemoryStore::new(), store().await);
        data.put_all(vec![(file(&user("u")), Bytes::from(content))]).await.unwrap();
        let error = start(&meta, &data).await.unwrap_err().to_string();
        assert!(error.contains(want) && error.contains(".redkite-user-u"), "{error}");
    }
}
