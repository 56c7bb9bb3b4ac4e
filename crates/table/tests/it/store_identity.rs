//! Metadata and object store stay together.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::UNIX_EPOCH;

use bytes::Bytes;
use redkite_meta::keys::UserKeys;
use redkite_meta::{MemoryStore, MetaStore, Op, Txn};
use redkite_storage::{DataStore, StorageOptions};
use redkite_table::store_identity::{FILE, check};
use redkite_table::{Ambient, Error};
use redkite_types::UserName;
use serde_json::{Value, json};

use crate::faulty_meta::{Call, Fault, FaultyMeta};
use crate::world::{Stores, collection};

fn keys() -> UserKeys {
    UserKeys::new(&UserName::new("u").unwrap())
}

/// Every one begins at another number, as generators of different processes do.
fn ambient() -> Ambient {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    Ambient::new(|| UNIX_EPOCH, || NEXT.fetch_add(1, Ordering::Relaxed))
}

async fn store() -> DataStore {
    DataStore::connect(StorageOptions::new("memory://")).await.unwrap()
}

async fn start(meta: &dyn MetaStore, data: &DataStore) -> Result<(), Error> {
    check(meta, &keys(), data, &ambient()).await
}

async fn in_store(data: &DataStore) -> Option<Value> {
    let bytes = data.read(FILE, 1000).await.unwrap();
    bytes.map(|bytes| serde_json::from_slice(&bytes).unwrap())
}

async fn in_meta(meta: &dyn MetaStore) -> Option<Value> {
    let stored = meta.get(&keys().store()).await.unwrap();
    stored.map(|kv| serde_json::from_slice(&kv.value).unwrap())
}

async fn put(data: &DataStore, value: &Value) {
    data.put_all(vec![(FILE.to_owned(), Bytes::from(value.to_string()))]).await.unwrap();
}

async fn record(meta: &dyn MetaStore, value: &Value) {
    let txn = Txn { then: vec![Op::put(keys().store(), value.to_string())], ..Txn::default() };
    meta.txn(txn).await.unwrap();
}

#[tokio::test]
async fn the_first_start_gives_both_one_identity_and_later_ones_keep_it() {
    let (meta, data) = (MemoryStore::new(), store().await);
    start(&meta, &data).await.unwrap();
    let identity = in_store(&data).await.unwrap();
    assert_eq!(identity["format"], 1);
    assert_eq!(identity["id"].as_str().map(str::len), Some(32), "{identity}");
    for _ in 0..2 {
        start(&meta, &data).await.unwrap();
        assert_eq!(in_store(&data).await.as_ref(), Some(&identity));
        assert_eq!(in_meta(&meta).await.as_ref(), Some(&identity));
    }
}

#[tokio::test]
async fn another_store_is_refused_and_left_alone() {
    let (meta, data, empty, other) = (MemoryStore::new(), store().await, store().await, store().await);
    start(&meta, &data).await.unwrap();
    start(&MemoryStore::new(), &other).await.unwrap();
    let [known, foreign] = [&data, &other].map(in_store);
    let (known, foreign) = (known.await.unwrap(), foreign.await.unwrap());
    for (data, words) in [(&empty, "it has no "), (&other, foreign["id"].as_str().unwrap())] {
        let before = in_store(data).await;
        let error = start(&meta, data).await.unwrap_err().to_string();
        for word in [words, known["id"].as_str().unwrap(), "set storage.url", FILE] {
            assert!(error.contains(word), "no {word} in {error}");
        }
        assert_eq!(in_store(data).await, before);
        assert_eq!(in_meta(&meta).await.as_ref(), Some(&known));
    }
    start(&meta, &data).await.unwrap();
}

#[tokio::test]
async fn metadata_without_an_identity_takes_the_store_it_finds() {
    for found in [None, Some(json!({"format": 1, "id": "somebody's", "later": true}))] {
        let world = Stores::new();
        world.node(1).await.database.create_collection(collection("c", 2)).await.unwrap();
        let data = store().await;
        if let Some(found) = &found {
            put(&data, found).await;
        }
        start(world.meta.as_ref(), &data).await.unwrap();
        let id = in_meta(world.meta.as_ref()).await.unwrap()["id"].take();
        assert_eq!(in_store(&data).await.unwrap()["id"], id);
        assert!(found.is_none_or(|found| found["id"] == id));
    }
}

#[tokio::test]
async fn a_second_user_of_a_store_shares_its_identity() {
    let data = store().await;
    let metas = [MemoryStore::new(), MemoryStore::new()];
    for meta in &metas {
        start(meta, &data).await.unwrap();
    }
    assert_eq!(in_meta(&metas[0]).await, in_meta(&metas[1]).await);
}

/// One start is held up before each of its calls in turn while another one runs from beginning to end.
#[tokio::test]
async fn first_starts_at_the_same_time_end_with_one_identity() {
    for number in 1..=2 {
        let (inner, data) = (Arc::new(MemoryStore::new()), store().await);
        let slow = FaultyMeta::new(inner.clone());
        slow.stop_before(number);
        let held = {
            let (slow, data) = (slow.clone(), data.clone());
            tokio::spawn(async move { start(slow.as_ref(), &data).await })
        };
        slow.stopped().await;
        start(inner.as_ref(), &data).await.unwrap();
        slow.resume();
        held.await.unwrap().unwrap();
        assert_eq!(in_store(&data).await, in_meta(inner.as_ref()).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_first_starts_over_one_directory_end_with_one_identity() {
    let scratch = tempfile::tempdir().unwrap();
    let data = DataStore::connect(StorageOptions::new(scratch.path().to_str().unwrap())).await.unwrap();
    let metas: Vec<_> = (0..16).map(|_| Arc::new(MemoryStore::new())).collect();
    let starts: Vec<_> = metas
        .iter()
        .map(|meta| {
            let (meta, data) = (meta.clone(), data.clone());
            tokio::spawn(async move { start(meta.as_ref(), &data).await })
        })
        .collect();
    for start in starts {
        start.await.unwrap().unwrap();
    }
    let identity = in_store(&data).await;
    for meta in metas {
        assert_eq!(in_meta(meta.as_ref()).await, identity);
    }
}

#[tokio::test]
async fn a_lost_answer_is_looked_up() {
    for fault in [Fault::AnswerLost, Fault::NeverSent] {
        let (meta, data) = (FaultyMeta::new(Arc::new(MemoryStore::new())), store().await);
        meta.fail_next(Call::Write, fault);
        start(meta.as_ref(), &data).await.unwrap();
        assert_eq!(in_store(&data).await, in_meta(meta.as_ref()).await);
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_no_identity() {
    let newer = json!({"format": 2, "what": "ever"});
    let damaged = json!({"format": 1});
    for (value, want) in [(&newer, "use a newer redkite"), (&damaged, "is damaged")] {
        let (meta, data) = (MemoryStore::new(), store().await);
        put(&data, value).await;
        let error = start(&meta, &data).await.unwrap_err().to_string();
        assert!(error.contains(want) && error.contains(FILE), "{error}");
        assert_eq!(in_meta(&meta).await, None);
        let (meta, data) = (MemoryStore::new(), store().await);
        record(&meta, value).await;
        let error = start(&meta, &data).await.unwrap_err().to_string();
        assert!(error.contains(want) && error.contains("/u/.store"), "{error}");
    }
}
