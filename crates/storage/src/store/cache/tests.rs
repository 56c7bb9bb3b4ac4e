//! The cache's bound, order of eviction, restart and damage; a store in memory stands for the remote one.

use object_store::memory::InMemory;
use tempfile::TempDir;

use super::super::options::StorageOptions;
use super::*;

struct Setup {
    dir: TempDir,
    store: ObjectBackend,
}

const FILE_BYTES: usize = 1_000;

/// A store with the files `a` to `f` of 1,000 bytes each.
async fn setup() -> Setup {
    let store = ObjectBackend::new(Arc::new(InMemory::new()), "", &StorageOptions::new("memory://"));
    let files = ["a", "b", "c", "d", "e", "f"].map(|path| (path.to_owned(), content(path)));
    store.put_all(files.into()).await.unwrap();
    Setup { dir: tempfile::tempdir().unwrap(), store }
}

fn content(path: &str) -> Bytes {
    path.repeat(FILE_BYTES / path.len()).into()
}

fn info(path: &str) -> FileInfo {
    let bytes = content(path);
    FileInfo { size: bytes.len() as u64, crc32: Some(crc32fast::hash(&bytes)) }
}

async fn open(setup: &Setup, bytes_max: u64) -> NodeCache {
    NodeCache::open(setup.dir.path().to_owned(), "s3://bucket", bytes_max).await.unwrap()
}

async fn read(setup: &Setup, cache: &NodeCache, paths: &[&str]) {
    for path in paths {
        assert_eq!(cache.open_file(&setup.store, path, &info(path)).await.unwrap(), content(path));
    }
}

/// Which of the files have copies, in the state and on disk.
fn copies(setup: &Setup, cache: &NodeCache) -> String {
    let all = ["a", "b", "c", "d", "e", "f"];
    let on_disk = fs::read_dir(setup.dir.path()).unwrap().count();
    let state = cache.0.state.lock();
    let pinned = state.pinned.iter().filter(|name| state.copies.contains_key(*name)).count();
    assert_eq!((state.copies.len(), state.by_use.len()), (on_disk, on_disk - pinned));
    assert_eq!(state.bytes, (on_disk * FILE_BYTES) as u64);
    all.into_iter().filter(|path| state.copies.contains_key(&cache.0.name_of(path))).collect()
}

#[tokio::test]
async fn the_least_recently_used_go_first() {
    let setup = setup().await;
    let cache = open(&setup, 3 * FILE_BYTES as u64).await;
    read(&setup, &cache, &["a", "b", "c"]).await;
    assert_eq!(copies(&setup, &cache), "abc");
    read(&setup, &cache, &["a", "d"]).await;
    assert_eq!(copies(&setup, &cache), "acd");
    read(&setup, &cache, &["e", "f", "a"]).await;
    assert_eq!(copies(&setup, &cache), "aef");
}

#[tokio::test]
async fn copies_survive_a_restart_and_half_ones_do_not() {
    let setup = setup().await;
    let cache = open(&setup, 10 * FILE_BYTES as u64).await;
    read(&setup, &cache, &["a", "b", "c"]).await;
    drop(cache);
    fs::write(setup.dir.path().join("0123.copy.7.tmp"), b"half").unwrap();
    let cache = open(&setup, 2 * FILE_BYTES as u64).await;
    assert_eq!(copies(&setup, &cache).len(), 2);
    read(&setup, &cache, &["a", "b", "c"]).await;
}

#[tokio::test]
async fn copies_of_another_store_are_not_taken_for_ours() {
    let setup = setup().await;
    let cache = open(&setup, 10 * FILE_BYTES as u64).await;
    read(&setup, &cache, &["a"]).await;
    let other = NodeCache::open(setup.dir.path().to_owned(), "s3://other", u64::MAX).await.unwrap();
    assert!(!other.0.state.lock().touch(&other.0.name_of("a")));
}

#[tokio::test]
async fn a_copy_that_lost_bytes_is_downloaded_again() {
    let setup = setup().await;
    let cache = open(&setup, 10 * FILE_BYTES as u64).await;
    read(&setup, &cache, &["a"]).await;
    fs::write(setup.dir.path().join(cache.0.name_of("a")), b"short").unwrap();
    read(&setup, &cache, &["a"]).await;
    fs::remove_file(setup.dir.path().join(cache.0.name_of("a"))).unwrap();
    read(&setup, &cache, &["a"]).await;
    assert_eq!(copies(&setup, &cache), "a");
}

#[tokio::test]
async fn a_file_larger_than_the_cache_is_served_but_not_kept() {
    let setup = setup().await;
    let cache = open(&setup, FILE_BYTES as u64 / 2).await;
    read(&setup, &cache, &["a", "b"]).await;
    assert_eq!(copies(&setup, &cache), "");
}

#[tokio::test]
async fn what_is_not_as_expected_is_not_kept() {
    let setup = setup().await;
    let cache = open(&setup, 10 * FILE_BYTES as u64).await;
    let short = FileInfo { size: 999, crc32: None };
    let long = FileInfo { size: 1_001, crc32: None };
    let other = FileInfo { size: 1_000, crc32: Some(0) };
    for expected in [short, long, other] {
        let error = cache.open_file(&setup.store, "a", &expected).await.unwrap_err();
        assert!(matches!(error, Error::Corrupt { .. }), "{error}");
        assert_eq!(copies(&setup, &cache), "");
    }
    let missing = cache.open_file(&setup.store, "g", &info("a")).await.unwrap_err();
    assert_eq!(missing, Error::Missing { path: "g".to_owned() });
    assert!(cache.0.state.lock().downloads.is_empty());
}

#[tokio::test]
async fn forgotten_copies_are_gone_but_stay_readable() {
    let setup = setup().await;
    let cache = open(&setup, 10 * FILE_BYTES as u64).await;
    let opened = cache.open_file(&setup.store, "a", &info("a")).await.unwrap();
    cache.forget("a").await.unwrap();
    cache.forget("a").await.unwrap();
    assert_eq!(copies(&setup, &cache), "");
    assert_eq!(opened, content("a"));
}

#[tokio::test]
async fn a_download_nobody_waits_for_any_more_leaves_nothing() {
    let setup = setup().await;
    let cache = open(&setup, 10 * FILE_BYTES as u64).await;
    let expected = info("a");
    let mut given_up = Box::pin(cache.open_file(&setup.store, "a", &expected));
    assert!(futures::poll!(&mut given_up).is_pending());
    drop(given_up);
    read(&setup, &cache, &["a", "b"]).await;
    assert_eq!(cache.0.state.lock().downloads.len(), 0);
}

#[tokio::test]
async fn what_is_pinned_stays() {
    let setup = setup().await;
    let cache = open(&setup, 3 * FILE_BYTES as u64).await;
    read(&setup, &cache, &["a"]).await;
    cache.pin(&["a".to_owned(), "b".to_owned()], true);
    for path in ["b", "b", "c", "d", "e"] {
        assert!(cache.fetch(&setup.store, path, &info(path)).await.unwrap());
    }
    assert_eq!(copies(&setup, &cache), "abe");
    cache.pin(&["f".to_owned()], true);
    read(&setup, &cache, &["f"]).await;
    assert_eq!(copies(&setup, &cache), "abf", "full of what is pinned");
    cache.pin(&["a".to_owned()], false);
    read(&setup, &cache, &["c"]).await;
    assert_eq!(copies(&setup, &cache), "bcf");
    cache.forget("b").await.unwrap();
    cache.pin(&["b".to_owned(), "f".to_owned()], false);
    read(&setup, &cache, &["d", "e"]).await;
    assert_eq!(copies(&setup, &cache), "cde");
    assert!(cache.0.state.lock().pinned.is_empty());
}

#[tokio::test]
async fn what_had_to_make_room_is_not_here_any_more() {
    let setup = setup().await;
    let cache = open(&setup, 2 * FILE_BYTES as u64).await;
    cache.pin(&["a".to_owned()], true);
    for path in ["a", "b", "c"] {
        assert!(cache.fetch(&setup.store, path, &info(path)).await.unwrap());
    }
    let here = ["a", "b", "c"].map(|path| cache.has(path, &info(path)));
    assert_eq!(here, [true, false, true]);
    assert!(!cache.has("a", &FileInfo { size: 1, crc32: None }));
}

#[tokio::test]
async fn what_is_larger_than_the_cache_is_not_fetched() {
    let setup = setup().await;
    let cache = open(&setup, FILE_BYTES as u64 - 1).await;
    assert!(!cache.fetch(&setup.store, "a", &info("a")).await.unwrap());
    let missing = FileInfo { size: 1, crc32: None };
    assert!(matches!(cache.fetch(&setup.store, "none", &missing).await, Err(Error::Missing { .. })));
}

#[tokio::test]
async fn what_was_just_put_is_here() {
    let setup = setup().await;
    let cache = open(&setup, 2 * FILE_BYTES as u64).await;
    let nowhere = ObjectBackend::new(Arc::new(InMemory::new()), "", &StorageOptions::new("memory://"));
    cache.keep_put(["a", "b"].map(|path| (path.to_owned(), content(path))).into());
    while cache.0.keeping.load(Ordering::Relaxed) > 0 {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    for path in ["a", "b"] {
        assert_eq!(cache.open_file(&nowhere, path, &info(path)).await.unwrap(), content(path));
    }
    // As anything else it makes room, and is there once.
    cache.keep_put(["a", "c"].map(|path| (path.to_owned(), content(path))).into());
    while cache.0.keeping.load(Ordering::Relaxed) > 0 {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    assert_eq!(copies(&setup, &cache), "bc");
    // What is deleted before its copy is made gets none.
    cache.keep_put(vec![("d".to_owned(), content("d"))]);
    cache.forget("d").await.unwrap();
    while cache.0.keeping.load(Ordering::Relaxed) > 0 {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    assert_eq!(copies(&setup, &cache), "bc");
    assert!(cache.0.state.lock().keeping.is_empty());
    // More than the cache holds is left alone.
    cache.keep_put(["d", "e", "f"].map(|path| (path.to_owned(), content(path))).into());
    assert_eq!((cache.0.keeping.load(Ordering::Relaxed), copies(&setup, &cache).as_str()), (0, "bc"));
}
