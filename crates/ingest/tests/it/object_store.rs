//! Object stores that fail: the flush fails with a clear error, the block stays, a second try succeeds.

use std::sync::Arc;

use redkite_ingest::Error;
use redkite_meta::MemoryStore;
use redkite_storage::{DataStore, StorageOptions};
use redkite_types::ErrorKind;

use crate::fake_s3::{FakeS3, Fault};
use crate::plain::Write;
use crate::world::{FILMS, Stores};

async fn stores_on(server: &FakeS3, cache: &std::path::Path) -> Stores {
    let data = DataStore::connect(server.options(cache)).await.unwrap();
    Stores::over(Arc::new(MemoryStore::new()), data)
}

#[tokio::test]
async fn a_flush_that_cannot_upload_keeps_its_block() {
    let cases = [
        (Fault::Status(500, "Internal Server Error"), ErrorKind::Unavailable),
        (Fault::Status(507, "Insufficient Storage"), ErrorKind::Exhausted),
        (Fault::Status(403, "Forbidden"), ErrorKind::Unavailable),
        (Fault::Stall, ErrorKind::Unavailable),
    ];
    let checks = cases.map(|(fault, kind)| async move {
        let server = FakeS3::start().await;
        let cache = tempfile::tempdir().unwrap();
        let stores = stores_on(&server, cache.path()).await;
        let node = stores.node(1).await;
        node.create(FILMS).await;
        let client = node.client();
        client.insert(&[(1, 1), (2, 2)]).await;
        client.flush().await;
        client.insert(&[(3, 3)]).await;
        client.delete(&[1]).await;
        server.fail_always("PUT", fault);
        let error = client.try_flush().await.unwrap_err();
        assert_eq!(error.kind(), kind, "{fault:?}: {error}");
        assert!(error.to_string().contains("u/films/data/"), "{error}");
        // Queries go on, and nothing is visible in part.
        assert_eq!(node.rows(FILMS).await, [(1, 1), (2, 2)]);
        server.recover();
        assert_eq!(client.try_flush().await.unwrap().ops, 2);
        assert_eq!(node.rows(FILMS).await, [(2, 2), (3, 3)]);
    });
    futures::future::join_all(checks).await;
}

#[tokio::test]
async fn an_upload_whose_answer_is_lost_is_no_failure() {
    let server = FakeS3::start().await;
    let cache = tempfile::tempdir().unwrap();
    let node = stores_on(&server, cache.path()).await.node(1).await;
    node.create(FILMS).await;
    let client = node.client();
    client.insert(&[(1, 1)]).await;
    server.fail("PUT", &[Fault::LoseAnswer, Fault::Status(500, "Internal Server Error"), Fault::LoseAnswer]);
    client.flush().await;
    assert_eq!(node.rows(FILMS).await, [(1, 1)]);
}

/// The rows are uploaded and then the delete log is not: still all or nothing.
#[tokio::test]
async fn a_flush_that_fails_half_way_is_not_seen() {
    let server = FakeS3::start().await;
    let cache = tempfile::tempdir().unwrap();
    let node = stores_on(&server, cache.path()).await.node(1).await;
    node.create(FILMS).await;
    let client = node.client();
    client.insert(&[(1, 1)]).await;
    client.flush().await;
    client.upsert(&[(1, 2)]).await;
    // Three files of rows, then the delete log.
    let before = server.requests("PUT");
    assert_eq!(before, 3);
    let watch = server.clone();
    let breaker = tokio::spawn(async move {
        while watch.requests("PUT") < 6 {
            tokio::task::yield_now().await;
        }
        watch.fail_always("PUT", Fault::Status(500, "Internal Server Error"));
    });
    let result = client.try_flush().await;
    breaker.await.unwrap();
    server.recover();
    if result.is_err() {
        assert_eq!(node.rows(FILMS).await, [(1, 1)]);
        client.flush().await;
    }
    assert_eq!(node.rows(FILMS).await, [(1, 2)]);
}

#[tokio::test]
async fn rows_that_cannot_be_uploaded_early_stay_in_memory() {
    let server = FakeS3::start().await;
    let cache = tempfile::tempdir().unwrap();
    let options = redkite_ingest::IngestOptions { memory_soft_bytes: 1, ..Default::default() };
    let node = stores_on(&server, cache.path()).await.node_with(1, options).await;
    node.create(FILMS).await;
    let client = node.client();
    client.insert(&[(1, 1)]).await;
    server.fail_always("PUT", Fault::Status(500, "Internal Server Error"));
    client.insert(&[(2, 2)]).await;
    server.recover();
    client.insert(&[(3, 3)]).await;
    client.delete(&[2]).await;
    client.flush().await;
    assert_eq!(node.rows(FILMS).await, [(1, 1), (3, 3)]);
}

/// A data directory that something else stands in the way of: one collection fails, the others do not.
#[tokio::test]
async fn a_directory_that_cannot_be_written_fails_one_collection_only() {
    let directory = tempfile::tempdir().unwrap();
    let data = DataStore::connect(StorageOptions::new(directory.path().to_str().unwrap())).await.unwrap();
    let node = Stores::over(Arc::new(MemoryStore::new()), data).node(1).await;
    node.create(FILMS).await;
    node.create("other").await;
    std::fs::create_dir_all(directory.path().join("u")).unwrap();
    std::fs::write(directory.path().join("u/films"), "in the way").unwrap();
    let client = node.client();
    client.insert(&[(1, 1)]).await;
    client.write("other", &Write::Insert(vec![(1, 1)])).await.unwrap();
    let error = client.try_flush().await.unwrap_err();
    assert!(matches!(error, Error::Table(_)) && error.to_string().contains("u/films"), "{error}");
    assert!(node.rows("other").await.is_empty());
    let unhurt = node.client();
    unhurt.write("other", &Write::Insert(vec![(2, 2)])).await.unwrap();
    unhurt.flush().await;
    std::fs::remove_file(directory.path().join("u/films")).unwrap();
    client.flush().await;
    assert_eq!(node.rows(FILMS).await, [(1, 1)]);
    assert_eq!(node.rows("other").await, [(1, 1), (2, 2)]);
}
