//! Kill everything and start again over the files: what was flushed is there, what was not is not.

use std::path::Path;
use std::sync::Arc;

use redkite_meta::{EmbeddedOptions, EmbeddedStore};
use redkite_storage::{DataStore, StorageOptions};
use redkite_types::Metric;

use crate::asking::{ask, count_of, nearest};
use crate::plain::{Plain, Write};
use crate::world::{FILMS, Node, Stores};

async fn open(directory: &Path) -> (Stores, Node) {
    let meta = EmbeddedStore::open(&directory.join("meta.redb"), EmbeddedOptions::default()).unwrap();
    let data = StorageOptions::new(directory.join("data").to_str().unwrap());
    let stores = Stores::over(Arc::new(meta), DataStore::connect(data).await.unwrap());
    let node = stores.node(1).await;
    (stores, node)
}

/// Waits until nothing holds the metadata file any more.
async fn closed(stores: Stores, node: Node) {
    let meta = Arc::downgrade(&stores.meta);
    drop((stores, node));
    crate::world::until(|| async { meta.strong_count() == 0 }).await;
}

#[tokio::test]
async fn what_was_flushed_survives_and_what_was_not_does_not() {
    let directory = tempfile::tempdir().unwrap();
    let mut plain = Plain::default();
    let (stores, node) = open(directory.path()).await;
    node.create(FILMS).await;
    closed(stores, node).await;
    for round in 0..6 {
        let (stores, node) = open(directory.path()).await;
        assert_eq!(node.rows(FILMS).await, plain.sorted());
        let client = node.client();
        let writes = [
            Write::Insert((0..20).map(|at| (round * 20 + at, round)).collect()),
            Write::Upsert(vec![(0, 100 + round), (round * 20, 200)]),
            Write::DeleteKeys(vec![round * 20 + 3, round * 7]),
            Write::DeleteTags(200, 201),
        ];
        for write in &writes {
            client.films(write.clone()).await;
            plain.apply(write);
        }
        client.flush().await;
        client.insert(&[(9_999, 9)]).await;
        client.delete(&[5]).await;
        assert_eq!(node.rows(FILMS).await, plain.sorted());
        drop(client);
        closed(stores, node).await;
    }
    let (_stores, node) = open(directory.path()).await;
    assert_eq!(count_of(&node, FILMS, "").await, plain.0.len() as u64);
    assert_eq!(ask(&node, FILMS, "id == 9999").await, []);
    let (score, key, tag) = nearest(&node, FILMS, Metric::L2, [41.0, 2.0], "", 1).await[0];
    assert_eq!((score, key, tag), (0.0, 41, 2));
}

#[tokio::test]
async fn s30_metadata_and_files_lie_where_the_statement_says() {
    let directory = tempfile::tempdir().unwrap();
    let (stores, node) = open(directory.path()).await;
    node.create(FILMS).await;
    let client = node.client();
    client.insert(&[(1, 1), (2, 2)]).await;
    client.flush().await;
    client.delete(&[1]).await;
    client.flush().await;
    let range = redkite_meta::RangeRequest::new(redkite_meta::KeyRange::Prefix("/u/films/data/".into()));
    let entries = stores.meta.range(range).await.unwrap().kvs;
    let mut types = Vec::new();
    let anchor = entries.iter().find(|kv| kv.key.ends_with("/v102.arrow")).unwrap().key.clone();
    for kv in &entries {
        let path = kv.key.strip_prefix("/u/films/data/").unwrap();
        let value: serde_json::Value = serde_json::from_slice(&kv.value).unwrap();
        let file = directory.path().join("data/u/films/data").join(path);
        assert_eq!(std::fs::metadata(&file).unwrap().len(), value["size"].as_u64().unwrap());
        assert_eq!(
            (value["format"].as_u64(), value["node"].as_u64(), value["cluster"].as_str()),
            (Some(1), Some(1), Some("c"))
        );
        let kind = value["type"].as_str().unwrap().to_owned();
        if kind == "scalar" {
            // S31: which column, and which raw vector file it belongs to.
            assert!(matches!(value["column"].as_str(), Some("id" | "tag")));
            assert_eq!(format!("/u/films/data/{}", value["vector_file"].as_str().unwrap()), anchor);
        }
        types.push(kind);
    }
    types.sort();
    assert_eq!(types, ["delete_log", "raw_vector", "scalar", "scalar"]);
}
