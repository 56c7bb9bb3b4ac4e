//! Files that are missing, cut short or flipped: the query fails and names the file, the rest goes on.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use redkite_meta::MemoryStore;
use redkite_query::search;
use redkite_storage::{DataStore, StorageOptions};
use redkite_types::{ErrorKind, Metric};

use crate::asking::{ask, count_of, request, try_ask};
use crate::plain::Write;
use crate::world::{FILMS, Node, Stores, VECTOR};

async fn stores(directory: &Path) -> Stores {
    let data = DataStore::connect(StorageOptions::new(directory.to_str().unwrap())).await.unwrap();
    Stores::over(Arc::new(MemoryStore::new()), data)
}

async fn fill(stores: &Stores) {
    let node = stores.node(1).await;
    let client = node.client();
    for name in [FILMS, "other"] {
        node.create(name).await;
        for start in [0, 100] {
            let rows = (start..start + 50).map(|key| (key, key)).collect();
            client.write(name, &Write::Insert(rows)).await.unwrap();
            client.flush().await;
        }
        client.write(name, &Write::DeleteKeys(vec![7, 107])).await.unwrap();
        client.flush().await;
    }
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![directory.join("u").join(FILMS)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    found
}

/// Reads everything there is in the collection.
async fn read_all(node: &Node, name: &str) -> redkite_query::Result<usize> {
    let collection = node.collection(name).await;
    let rows = try_ask(node, &collection, "tag >= 0", 0, None).await?.len();
    let keyed = try_ask(node, &collection, "id in [1, 101, 7]", 0, None).await?.len();
    assert_eq!(keyed, 2);
    let found = search(&node.database, request(&collection, Metric::L2, &[[1.0, 1.0]], "", 1_000)).await?;
    assert_eq!(found.scores.len(), rows);
    Ok(rows)
}

#[tokio::test]
async fn a_damaged_file_is_named_and_hurts_its_collection_only() {
    let directory = tempfile::tempdir().unwrap();
    let stores = stores(directory.path()).await;
    fill(&stores).await;
    let all = files(directory.path());
    assert_eq!(all.len(), 7, "two fragments of three files, one delete log");
    for file in all {
        let whole = std::fs::read(&file).unwrap();
        let shown = file.strip_prefix(directory.path()).unwrap().to_str().unwrap().to_owned();
        for damage in ["missing", "empty", "truncated", "longer", "flipped"] {
            // Never in place: the test's own process has files mapped.
            std::fs::remove_file(&file).unwrap();
            let mut bytes = whole.clone();
            match damage {
                "empty" => bytes.clear(),
                "truncated" => bytes.truncate(whole.len() - 1),
                "longer" => bytes.push(0),
                _ => {
                    let middle = bytes.len() / 2;
                    bytes[middle] ^= 4;
                }
            }
            if damage != "missing" {
                std::fs::write(&file, bytes).unwrap();
            }
            let node = stores.node(2).await;
            let error = read_all(&node, FILMS).await.unwrap_err();
            assert!(error.to_string().contains(&shown), "{damage} {shown}: {error}");
            let want = if damage == "missing" { ErrorKind::NotFound } else { ErrorKind::Corrupt };
            assert_eq!(error.kind(), want, "{damage} {shown}: {error}");
            assert_eq!(read_all(&node, "other").await.unwrap(), 98);
            // Of the metadata alone.
            assert_eq!(count_of(&node, FILMS, "").await, 98);
            std::fs::remove_file(&file).unwrap_or_default();
            std::fs::write(&file, &whole).unwrap();
            // The same node, which has met the damage.
            assert_eq!(read_all(&node, FILMS).await.unwrap(), 98, "restored, it is read again");
        }
    }
}

/// Every byte of every file is under some checksum, or of no meaning.
#[tokio::test]
async fn a_flipped_bit_anywhere_never_changes_an_answer() {
    let directory = tempfile::tempdir().unwrap();
    let stores = stores(directory.path()).await;
    fill(&stores).await;
    let node = stores.node(2).await;
    let want = node.rows(FILMS).await;
    let mut noticed = 0;
    for file in files(directory.path()) {
        let whole = std::fs::read(&file).unwrap();
        // A prime step meets all kinds of places.
        for at in (0..whole.len()).step_by(41) {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << (at % 8);
            std::fs::remove_file(&file).unwrap();
            std::fs::write(&file, bytes).unwrap();
            let node = stores.node(3).await;
            match read_all(&node, FILMS).await {
                Ok(_) => assert_eq!(node.rows(FILMS).await, want, "{file:?} byte {at}"),
                Err(_) => noticed += 1,
            }
        }
        std::fs::remove_file(&file).unwrap();
        std::fs::write(&file, &whole).unwrap();
    }
    assert!(noticed > 100, "{noticed}");
}

#[tokio::test]
async fn a_delete_that_meets_a_damaged_file_fails_and_keeps_its_block() {
    let directory = tempfile::tempdir().unwrap();
    let stores = stores(directory.path()).await;
    fill(&stores).await;
    let keys = files(directory.path()).into_iter().find(|file| file.ends_with("s100.arrow")).unwrap();
    let whole = std::fs::read(&keys).unwrap();
    std::fs::remove_file(&keys).unwrap();
    let node = stores.node(2).await;
    let client = node.client();
    client.delete(&[1]).await;
    client.insert(&[(500, 500)]).await;
    let error = client.try_flush().await.unwrap_err();
    assert!(error.to_string().contains("s100.arrow"), "{error}");
    std::fs::write(&keys, whole).unwrap();
    assert_eq!(client.try_flush().await.unwrap().ops, 2);
    assert_eq!(ask(&node, FILMS, "id in [1, 2, 500]").await, [(2, 2), (500, 500)]);
}

/// What a count or a lookup does not need it does not open: they work although the vectors are gone.
#[tokio::test]
async fn counts_and_lookups_do_not_read_vectors() {
    let directory = tempfile::tempdir().unwrap();
    let stores = stores(directory.path()).await;
    fill(&stores).await;
    for file in files(directory.path()).iter().filter(|file| file.ends_with(format!("v{VECTOR}.arrow"))) {
        std::fs::remove_file(file).unwrap();
    }
    let node = stores.node(2).await;
    assert_eq!(count_of(&node, FILMS, "").await, 98);
    assert_eq!(count_of(&node, FILMS, "tag < 10").await, 9);
    assert_eq!(ask(&node, FILMS, "id == 42").await, [(42, 42)]);
    let client = node.client();
    client.delete(&[42]).await;
    client.flush().await;
    assert_eq!(count_of(&node, FILMS, "").await, 97);
}

/// A keyed upsert opens only fragments whose bounds and filter allow the key.
#[tokio::test]
async fn a_keyed_write_opens_few_of_many_fragments() {
    let directory = tempfile::tempdir().unwrap();
    let stores = stores(directory.path()).await;
    let node = stores.node(1).await;
    node.create(FILMS).await;
    let client = node.client();
    for start in 0..40 {
        client.insert(&[(start * 10, 0), (start * 10 + 5, 0)]).await;
        client.flush().await;
    }
    // All key files but one fragment's are gone; the fragment is found by its key's bounds.
    let collection = node.collection(FILMS).await;
    let wanted = collection.fragments.values().nth(17).unwrap().id.to_string();
    for file in files(directory.path()).iter().filter(|file| file.ends_with("s100.arrow")) {
        if !file.to_str().unwrap().contains(&wanted) {
            std::fs::remove_file(file).unwrap();
        }
    }
    let node = stores.node(2).await;
    let client = node.client();
    client.upsert(&[(170, 9)]).await;
    client.flush().await;
    assert_eq!(ask(&node, FILMS, "id == 170").await, [(170, 9)]);
    assert_eq!(count_of(&node, FILMS, "").await, 80);
}

/// Metadata that cannot be read is no empty collection either.
#[tokio::test]
async fn damaged_or_newer_metadata_is_named_and_hurts_its_collection_only() {
    let directory = tempfile::tempdir().unwrap();
    let stores = stores(directory.path()).await;
    fill(&stores).await;
    let range = redkite_meta::RangeRequest::new(redkite_meta::KeyRange::Prefix("/u/films/".into()));
    let put = |key: &str, value: bytes::Bytes| {
        let put = redkite_meta::Op::put(key, value);
        stores.meta.txn(redkite_meta::Txn { then: vec![put], ..Default::default() })
    };
    for kv in stores.meta.range(range).await.unwrap().kvs.iter().filter(|kv| !kv.key.ends_with("/head")) {
        for (value, kind) in [
            (&b"{"[..], ErrorKind::Corrupt),
            (br#"{"format":1}"#, ErrorKind::Corrupt),
            (br#"{"format":2,"whatever":0}"#, ErrorKind::Unsupported),
        ] {
            put(&kv.key, bytes::Bytes::copy_from_slice(value)).await.unwrap();
            let node = stores.node(2).await;
            for error in [
                try_ask(&node, &node.collection(FILMS).await, "", 0, None).await.unwrap_err(),
                redkite_query::count(
                    &node.database,
                    &node.collection(FILMS).await,
                    &redkite_expr::Predicate::always_true().into(),
                )
                .await
                .unwrap_err(),
            ] {
                assert_eq!(error.kind(), kind, "{}: {error}", kv.key);
                assert!(error.to_string().contains(&kv.key), "{}: {error}", kv.key);
            }
            assert_eq!(read_all(&node, "other").await.unwrap(), 98);
            put(&kv.key, kv.value.clone()).await.unwrap();
            assert_eq!(read_all(&stores.node(2).await, FILMS).await.unwrap(), 98);
        }
    }
    // What cannot be read can still be dropped.
    put("/u/films/schema", "{".into()).await.unwrap();
    let node = stores.node(2).await;
    node.drop_collection(FILMS).await;
    node.create(FILMS).await;
    assert!(ask(&node, FILMS, "").await.is_empty());
}

/// A raw vector file's entry speaks for its fragment: without it the rows are not zero, they are unknown.
#[tokio::test]
async fn a_fragment_without_its_anchor_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let stores = stores(directory.path()).await;
    fill(&stores).await;
    let range = redkite_meta::RangeRequest::new(redkite_meta::KeyRange::Prefix("/u/films/data/".into()));
    let anchor = stores.meta.range(range).await.unwrap().kvs.into_iter().find(|kv| kv.key.contains("/v102")).unwrap();
    let delete = redkite_meta::Op::Delete(redkite_meta::KeyRange::Exact(anchor.key));
    stores.meta.txn(redkite_meta::Txn { then: vec![delete], ..Default::default() }).await.unwrap();
    let node = stores.node(2).await;
    let collection = node.collection(FILMS).await;
    for text in ["", "id == 1"] {
        let filter = crate::world::filter(&collection.record().unwrap().schema, text);
        assert!(redkite_query::count(&node.database, &collection, &filter).await.is_err());
        assert!(try_ask(&node, &collection, text, 0, None).await.is_err());
    }
}
