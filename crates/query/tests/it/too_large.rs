//! Answers larger than allowed: refused before what they are made of is read, let alone put together.

use std::path::Path;
use std::sync::Arc;

use redkite_meta::MemoryStore;
use redkite_query::{Error, QueryRequest, SearchRequest, query, search};
use redkite_storage::{DataStore, StorageOptions};
use redkite_table::Collection;
use redkite_types::limits::{NQ_MAX, QUERY_OUTPUT_BYTES_MAX};
use redkite_types::{ErrorKind, Metric};

use crate::asking::request;
use crate::plain::Row;
use crate::world::{FILMS, Node, Stores, TAG, VECTOR, filter};

const ROWS: usize = 1_000;

/// A node that has read nothing yet, over a collection whose file of that name is damaged: who reads it fails.
async fn damaged(directory: &Path, file: &str) -> (Node, Arc<Collection>) {
    let data = DataStore::connect(StorageOptions::new(directory.to_str().unwrap())).await.unwrap();
    let stores = Stores::over(Arc::new(MemoryStore::new()), data);
    let node = stores.node(1).await;
    node.create(FILMS).await;
    let client = node.client();
    client.insert(&(0..ROWS as i64).map(|key| (key, key)).collect::<Vec<Row>>()).await;
    client.flush().await;
    let node = stores.node(2).await;
    let collection = node.collection(FILMS).await;
    let fragment = collection.fragments.keys().next().unwrap().to_string();
    let path = directory.join(node.database.object_path(&collection.segment, &fragment)).join(file);
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, bytes).unwrap();
    (node, collection)
}

fn assert_too_large<T: std::fmt::Debug>(result: redkite_query::Result<T>) {
    let limit_bytes = QUERY_OUTPUT_BYTES_MAX as u64;
    let refused = matches!(result, Err(Error::TooLarge { bytes, limit }) if limit == limit_bytes && bytes > limit);
    assert!(refused, "{result:?}");
}

fn assert_damaged<T: std::fmt::Debug>(result: redkite_query::Result<T>) {
    assert_eq!(result.unwrap_err().kind(), ErrorKind::Corrupt);
}

#[tokio::test]
async fn searches_too_large_are_refused_before_they_are_built() {
    let queries = vec![[1.0, 1.0]; NQ_MAX];
    // Scores and keys alone are too much: no vector is read.
    let directory = tempfile::tempdir().unwrap();
    let (node, collection) = damaged(directory.path(), "v102.arrow").await;
    assert_too_large(search(&node.database, request(&collection, Metric::L2, &queries, "", ROWS)).await);
    assert_damaged(search(&node.database, request(&collection, Metric::L2, &queries[..1], "", ROWS)).await);
    // With their columns twenty hits are too much: none of those is read.
    let directory = tempfile::tempdir().unwrap();
    let (node, collection) = damaged(directory.path(), "s101.arrow").await;
    let with = |columns: usize| SearchRequest {
        fields: vec![TAG; columns],
        ..request(&collection, Metric::L2, &queries[..2], "", 10)
    };
    assert_too_large(search(&node.database, with(QUERY_OUTPUT_BYTES_MAX / 8 / 20 + 1)).await);
    assert_damaged(search(&node.database, with(1)).await);
}

#[tokio::test]
async fn queries_too_large_are_refused_before_they_are_built() {
    let directory = tempfile::tempdir().unwrap();
    let (node, collection) = damaged(directory.path(), "v102.arrow").await;
    let ask = |columns: usize| QueryRequest {
        collection: collection.clone(),
        filter: filter(&collection.record().unwrap().schema, "tag >= 0"),
        offset: 0,
        limit: None,
        fields: vec![VECTOR; columns],
    };
    assert_too_large(query(&node.database, ask(QUERY_OUTPUT_BYTES_MAX / 8 / ROWS + 1)).await);
    assert_damaged(query(&node.database, ask(1)).await);
}
