//! One suite that every kind of store passes: memory, a local directory, S3.

use bytes::Bytes;
use redkite_storage::{DataStore, Error, FileInfo, ListedFile, StorageOptions};

fn info(bytes: &Bytes) -> FileInfo {
    FileInfo { size: bytes.len() as u64, crc32: Some(crc32fast::hash(bytes)) }
}

fn file(path: &str, bytes: impl Into<Bytes>) -> (String, Bytes) {
    (path.to_owned(), bytes.into())
}

async fn check_holds(store: &DataStore, files: &[(String, Bytes)]) {
    for (path, bytes) in files {
        let found = store.open(path, &info(bytes)).await.unwrap();
        assert!(found == *bytes, "{path} has other content");
    }
}

/// Runs the suite on a store that is empty.
async fn conformance(store: &DataStore) {
    store.probe().await.unwrap();
    files_are_put_and_opened(store).await;
    a_put_can_be_repeated(store).await;
    unexpected_files_are_told(store).await;
    small_files_are_read_as_they_are_now(store).await;
    folders_are_listed(store).await;
    files_are_deleted(store).await;
    files_are_deleted_together(store).await;
    large_files_come_back_whole(store).await;
    files_are_written_in_pieces(store).await;
    unfinished_files_leave_nothing(store).await;
    written_files_replace_nothing(store).await;
    bad_paths_are_refused(store).await;
    assert_eq!(store.list("").await.unwrap(), vec![], "the suite leaves nothing");
}

async fn clear(store: &DataStore) {
    let paths: Vec<String> = store.list("").await.unwrap().into_iter().map(|listed| listed.path).collect();
    store.delete_all(&paths).await.unwrap();
}

async fn files_are_put_and_opened(store: &DataStore) {
    let files: Vec<_> =
        (0..40).map(|i| file(&format!("u/c.1/data/f{}/v{i}.arrow", i % 4), vec![i as u8; i * 1000])).collect();
    store.put_all(files.clone()).await.unwrap();
    check_holds(store, &files).await;
    check_holds(store, &files).await;
    store.put_all(vec![]).await.unwrap();
    clear(store).await;
}

async fn a_put_can_be_repeated(store: &DataStore) {
    let files = [file("f/a", "one"), file("f/empty", "")];
    store.put_all(files.to_vec()).await.unwrap();
    store.put_all(files.to_vec()).await.unwrap();
    let more = [file("f/b", "two"), file("f/a", "one")];
    store.put_all(more.to_vec()).await.unwrap();
    let error = store.put_all(vec![file("f/a", "another")]).await.unwrap_err();
    assert_eq!(error, Error::Exists { path: "f/a".to_owned() });
    check_holds(store, &[files.as_slice(), &more].concat()).await;
    let twice = store.put_all(vec![file("f/c", "x"), file("f/c", "x")]).await;
    assert!(matches!(twice, Err(Error::Misuse { .. })), "{twice:?}");
    clear(store).await;
}

async fn unexpected_files_are_told(store: &DataStore) {
    let missing = store.open("f/none", &FileInfo { size: 3, crc32: None }).await;
    assert_eq!(missing, Err(Error::Missing { path: "f/none".to_owned() }));
    let missing = store.open("f/none", &FileInfo { size: 0, crc32: None }).await;
    assert_eq!(missing, Err(Error::Missing { path: "f/none".to_owned() }));
    store.put_all(vec![file("f/a", "abc"), file("f/empty", "")]).await.unwrap();
    for (path, size, want) in [
        ("f/a", 4, "truncated: it has 3 bytes, its entry says 4"),
        ("f/a", 2, "it has 3 bytes, its entry says 2"),
        ("f/a", 0, "it has 3 bytes, its entry says 0"),
        ("f/empty", 1, "truncated: it has 0 bytes, its entry says 1"),
    ] {
        let error = store.open(path, &FileInfo { size, crc32: None }).await.unwrap_err();
        assert_eq!(error, Error::Corrupt { path: path.to_owned(), detail: want.to_owned() });
    }
    clear(store).await;
}

async fn small_files_are_read_as_they_are_now(store: &DataStore) {
    assert_eq!(store.read(".note", 10).await, Ok(None));
    for text in ["one", "another", ""] {
        let (path, bytes) = file(".note", text);
        store.put_all(vec![(path.clone(), bytes.clone())]).await.unwrap();
        check_holds(store, &[(path.clone(), bytes.clone())]).await;
        assert_eq!(store.read(&path, 7).await, Ok(Some(bytes)));
        let too_large = store.read(&path, 2).await;
        assert_eq!(matches!(too_large, Err(Error::Corrupt { .. })), !text.is_empty(), "{too_large:?}");
        store.delete(&path).await.unwrap();
    }
    assert!(matches!(store.read("../a", 10).await, Err(Error::InvalidPath { .. })));
}

async fn folders_are_listed(store: &DataStore) {
    let files = ["a/c/1", "a/c/2/3", "a/cc/1", "a/c.1/1", "b/c/1"].map(|path| file(path, path.to_owned()));
    store.put_all(files.to_vec()).await.unwrap();
    for (prefix, want) in [
        ("a/c", &["a/c/1", "a/c/2/3"][..]),
        ("b", &["b/c/1"]),
        ("a", &["a/c.1/1", "a/c/1", "a/c/2/3", "a/cc/1"]),
        ("none", &[]),
        ("", &["a/c.1/1", "a/c/1", "a/c/2/3", "a/cc/1", "b/c/1"]),
    ] {
        let want: Vec<_> =
            want.iter().map(|path| ListedFile { path: path.to_string(), size: path.len() as u64 }).collect();
        assert_eq!(store.list(prefix).await.unwrap(), want, "{prefix:?}");
    }
    for (prefix, want) in [
        ("", &["a", "b"][..]),
        ("a", &["c", "c.1", "cc"]),
        ("a/c", &["2"]),
        ("a/c/2", &[]),
        ("a/c/1", &[]),
        ("none", &[]),
        ("none/x", &[]),
    ] {
        let mut found = Vec::new();
        for name in store.folders(prefix).await.unwrap() {
            let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}/{name}") };
            // SeaweedFS keeps some whose files were deleted.
            if !store.list(&path).await.unwrap().is_empty() {
                found.push(name);
            }
        }
        assert_eq!(found, want, "{prefix:?}");
    }
    clear(store).await;
}

async fn files_are_deleted(store: &DataStore) {
    let files = [file("f/a", "one"), file("f/b", vec![2; 100_000])];
    store.put_all(files.to_vec()).await.unwrap();
    let opened = store.open("f/b", &info(&files[1].1)).await.unwrap();
    for _ in 0..2 {
        store.delete("f/a").await.unwrap();
        store.delete("f/b").await.unwrap();
    }
    assert!(opened == files[1].1, "who has a file open keeps it");
    for (path, bytes) in &files {
        assert_eq!(store.open(path, &info(bytes)).await, Err(Error::Missing { path: path.clone() }));
    }
    // A name may come back after a put that failed was cleaned up.
    store.put_all(files.to_vec()).await.unwrap();
    check_holds(store, &files).await;
    clear(store).await;
}

async fn files_are_deleted_together(store: &DataStore) {
    let files: Vec<_> = (0..50).map(|i| file(&format!("f{}/{i}", i % 7), format!("{i}"))).collect();
    store.put_all(files.clone()).await.unwrap();
    store.open(&files[3].0, &info(&files[3].1)).await.unwrap();
    let mut paths: Vec<String> = files[..40].iter().map(|(path, _)| path.clone()).collect();
    paths.extend(["f0/none".to_owned(), "none/x".to_owned()]);
    for _ in 0..2 {
        store.delete_all(&paths).await.unwrap();
        assert_eq!(store.list("").await.unwrap().len(), 10);
    }
    let missing = store.open(&files[3].0, &info(&files[3].1)).await;
    assert!(matches!(missing, Err(Error::Missing { .. })), "no copy is kept: {missing:?}");
    check_holds(store, &files[40..]).await;
    store.delete_all(&[]).await.unwrap();
    clear(store).await;
}

/// Bytes without a pattern.
fn noise(size: usize) -> Bytes {
    let mut state = 1_u32;
    let mut byte = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..size).map(|_| byte()).collect()
}

/// Large enough for several requests on S3.
async fn large_files_come_back_whole(store: &DataStore) {
    let files = [file("f/large", noise((37 << 20) + 11)), file("f/one-part", vec![5; 16 << 20])];
    store.put_all(files.to_vec()).await.unwrap();
    check_holds(store, &files).await;
    store.forget("f/large").await.unwrap();
    check_holds(store, &files).await;
    clear(store).await;
}

/// Parts of S3 are 16 MiB.
async fn files_are_written_in_pieces(store: &DataStore) {
    const MIB: usize = 1 << 20;
    let large = noise(37 * MIB + 11);
    for (size, piece) in [
        (0, 1),
        (1, 1),
        (10_000, 7),
        (16 * MIB, 5 * MIB),
        (16 * MIB + 1, 16 * MIB),
        (32 * MIB, 16 * MIB),
        (large.len(), 3 * MIB + 1),
        (large.len(), large.len()),
    ] {
        let content = large.slice(..size);
        let mut writer = store.create("f/a").await.unwrap();
        for from in (0..size).step_by(piece) {
            assert_eq!(writer.size(), from as u64);
            writer.write(content.slice(from..size.min(from + piece))).await.unwrap();
            writer.write(Bytes::new()).await.unwrap();
        }
        let early = store.open("f/a", &info(&content)).await;
        assert_eq!(early, Err(Error::Missing { path: "f/a".to_owned() }), "{size} bytes");
        let listed = store.list("").await.unwrap();
        assert!(listed.iter().all(|file| file.path != "f/a"), "{listed:?}");
        assert_eq!((writer.path(), writer.size()), ("f/a", size as u64));
        writer.finish().await.unwrap();
        let listed = store.list("").await.unwrap();
        assert_eq!(listed, vec![ListedFile { path: "f/a".to_owned(), size: size as u64 }]);
        check_holds(store, &[file("f/a", content)]).await;
        clear(store).await;
    }
}

async fn unfinished_files_leave_nothing(store: &DataStore) {
    for size in [0, 10, 20 << 20] {
        for by_drop in [true, false] {
            let mut writer = store.create("f/a").await.unwrap();
            writer.write(Bytes::from(vec![7; size])).await.unwrap();
            if by_drop {
                drop(writer);
            } else {
                writer.abort().await;
            }
            assert_eq!(store.list("").await.unwrap(), vec![], "{size} bytes");
        }
    }
    // The name is free.
    let mut writer = store.create("f/a").await.unwrap();
    writer.write(Bytes::from("abc")).await.unwrap();
    writer.finish().await.unwrap();
    check_holds(store, &[file("f/a", "abc")]).await;
    clear(store).await;
}

async fn written_files_replace_nothing(store: &DataStore) {
    let exists = Error::Exists { path: "f/a".to_owned() };
    for size in [10, 20 << 20] {
        let mut first = store.create("f/a").await.unwrap();
        let mut second = store.create("f/a").await.unwrap();
        first.write(Bytes::from("first")).await.unwrap();
        second.write(Bytes::from(vec![2; size])).await.unwrap();
        first.finish().await.unwrap();
        assert_eq!(second.finish().await, Err(exists.clone()), "the name was taken meanwhile");
        assert_eq!(store.create("f/a").await.unwrap_err(), exists);
        store.put_all(vec![file("f/a", "first")]).await.unwrap();
        let listed = store.list("").await.unwrap();
        assert_eq!(listed, vec![ListedFile { path: "f/a".to_owned(), size: 5 }]);
        check_holds(store, &[file("f/a", "first")]).await;
        clear(store).await;
    }
}

async fn bad_paths_are_refused(store: &DataStore) {
    for path in ["", "/etc/passwd", "a/../../b", "a//b", "a\0b", "."] {
        let bad = |error: Error| assert!(matches!(error, Error::InvalidPath { .. }), "{path:?}: {error}");
        bad(store.put_all(vec![file(path, "x")]).await.unwrap_err());
        bad(store.open(path, &FileInfo { size: 1, crc32: None }).await.unwrap_err());
        bad(store.create(path).await.unwrap_err());
        bad(store.delete(path).await.unwrap_err());
        bad(store.delete_all(&["f/a".to_owned(), path.to_owned()]).await.unwrap_err());
        bad(store.forget(path).await.unwrap_err());
        if !path.is_empty() {
            bad(store.list(path).await.unwrap_err());
            bad(store.folders(path).await.unwrap_err());
        }
    }
}

#[tokio::test]
async fn memory_conforms() {
    let store = DataStore::connect(StorageOptions::new("memory://")).await.unwrap();
    assert!(store.is_local());
    // In a task: what the suite awaits may move between threads.
    tokio::spawn(async move { conformance(&store).await }).await.unwrap();
}

#[tokio::test]
async fn a_local_directory_conforms() {
    let dir = tempfile::tempdir().unwrap();
    for url in [format!("file://{}/deep/er", dir.path().display()), dir.path().join("plain").display().to_string()] {
        let store = DataStore::connect(StorageOptions::new(url)).await.unwrap();
        assert!(store.is_local());
        conformance(&store).await;
    }
}

/// Settings for the S3 server that the test command starts.
fn s3_options(prefix: &str) -> StorageOptions {
    let variable = |name: &str| match std::env::var(name) {
        Ok(value) => value,
        Err(_) => panic!("{name} is not set: this test needs an S3 server, run it with `cargo xtask test`"),
    };
    let mut options = StorageOptions::new(format!("s3://{}/{prefix}", variable("REDKITE_TEST_S3_BUCKET")));
    options.endpoint = Some(variable("REDKITE_TEST_S3_ENDPOINT"));
    options.credentials = Some(redkite_storage::S3Credentials {
        access_key_id: variable("REDKITE_TEST_S3_ACCESS_KEY"),
        secret_access_key: variable("REDKITE_TEST_S3_SECRET_KEY"),
    });
    options
}

#[tokio::test]
async fn s3_conforms() {
    let cache = tempfile::tempdir().unwrap();
    let unique = format!("conformance/{}", std::process::id());
    let mut options = s3_options(&unique);
    options.cache_dir = Some(cache.path().join("cache"));
    let store = DataStore::connect(options.clone()).await.unwrap();
    assert!(!store.is_local());
    assert!(store.describe().starts_with(&options.url), "{}", store.describe());
    clear(&store).await;
    conformance(&store).await;
}

#[tokio::test]
async fn s3_with_wrong_keys_or_no_bucket_says_so() {
    let cache = tempfile::tempdir().unwrap();
    let mut wrong_keys = s3_options("x");
    wrong_keys.credentials = Some(redkite_storage::S3Credentials {
        access_key_id: "nobody".to_owned(),
        secret_access_key: "wrong".to_owned(),
    });
    let mut no_bucket = s3_options("x");
    no_bucket.url = "s3://no-such-bucket-here/x".to_owned();
    for mut options in [wrong_keys, no_bucket] {
        options.cache_dir = Some(cache.path().join("cache"));
        let store = DataStore::connect(options).await.unwrap();
        let probed = store.probe().await;
        assert!(matches!(probed, Err(Error::Denied { .. })), "{probed:?}");
        let put = store.put_all(vec![file("f/a", "x")]).await;
        assert!(matches!(put, Err(Error::Denied { .. })), "{put:?}");
    }
}

#[tokio::test]
async fn a_remote_url_needs_a_cache_directory() {
    let error = DataStore::connect(StorageOptions::new("s3://bucket")).await.unwrap_err();
    assert!(matches!(error, Error::InvalidOption { option: "storage.cache_dir", .. }), "{error}");
}
