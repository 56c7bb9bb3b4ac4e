//! A remote store that fails, stalls, truncates or loses answers.

use bytes::Bytes;
use redkite_storage::{DataStore, Error, FileInfo};
use tempfile::TempDir;

use crate::fake_s3::{FakeS3, Fault};

const SERVER_ERROR: Fault = Fault::Status(500, "Internal Server Error");

struct Setup {
    server: FakeS3,
    store: DataStore,
    _cache: TempDir,
}

async fn setup() -> Setup {
    let server = FakeS3::start().await;
    let cache = tempfile::tempdir().unwrap();
    let store = DataStore::connect(server.options(cache.path())).await.unwrap();
    Setup { server, store, _cache: cache }
}

fn content() -> Bytes {
    Bytes::from(vec![42; 10_000])
}

fn info() -> FileInfo {
    FileInfo { size: 10_000, crc32: Some(crc32fast::hash(&content())) }
}

impl Setup {
    async fn put(&self) -> Result<(), Error> {
        self.store.put_all(vec![("f/a".to_owned(), content())]).await
    }

    async fn open(&self) -> Result<Bytes, Error> {
        self.store.open("f/a", &info()).await
    }
}

fn path() -> String {
    "f/a".to_owned()
}

#[tokio::test]
async fn passing_failures_are_not_noticed() {
    for faults in [
        &[SERVER_ERROR, SERVER_ERROR][..],
        &[Fault::LoseAnswer],
        &[Fault::Stall],
        &[SERVER_ERROR, Fault::LoseAnswer],
        &[Fault::Status(503, "Slow Down"), Fault::Stall],
    ] {
        let setup = setup().await;
        setup.server.fail("PUT", faults);
        assert_eq!(setup.put().await, Ok(()), "put with {faults:?}");
        setup.server.fail("GET", faults);
        assert_eq!(setup.open().await, Ok(content()), "get with {faults:?}");
    }
}

#[tokio::test]
async fn a_download_that_breaks_off_goes_on() {
    let setup = setup().await;
    setup.put().await.unwrap();
    setup.server.fail("GET", &[Fault::CutBody]);
    assert_eq!(setup.open().await, Ok(content()));
}

#[tokio::test]
async fn lasting_failures_end_in_unavailable_with_path_and_cause() {
    let faults = [(SERVER_ERROR, "500 Internal Server Error"), (Fault::LoseAnswer, ""), (Fault::Stall, "")];
    futures::future::join_all(faults.map(|(fault, cause)| check_lasting_failure(fault, cause))).await;
}

async fn check_lasting_failure(fault: Fault, cause: &str) {
    let setup = setup().await;
    setup.server.fail_always("PUT", fault);
    let error = setup.put().await.unwrap_err();
    assert!(matches!(&error, Error::Unavailable { path, .. } if path == "f/a"), "{fault:?}: {error}");
    assert!(error.to_string().contains(cause) && error.is_retryable(), "{error}");
    setup.server.recover();
    // Where only the answers were lost the file is there already, and is found to be the same.
    assert_eq!(setup.put().await, Ok(()), "the same put again");
    setup.server.fail_always("GET", fault);
    let error = setup.open().await.unwrap_err();
    assert!(matches!(&error, Error::Unavailable { path, .. } if path == "f/a"), "{fault:?}: {error}");
    setup.server.recover();
    assert_eq!(setup.open().await, Ok(content()));
}

#[tokio::test]
async fn refusals_and_a_full_store_are_told_as_such() {
    let setup = setup().await;
    setup.server.fail("PUT", &[Fault::Status(403, "Forbidden")]);
    assert!(matches!(setup.put().await, Err(Error::Denied { .. })));
    setup.server.fail_always("PUT", Fault::Status(507, "Insufficient Storage"));
    let error = setup.put().await.unwrap_err();
    assert!(matches!(error, Error::Full { .. }), "{error}");
    setup.server.recover();
    assert_eq!(setup.put().await, Ok(()));
}

#[tokio::test]
async fn credentials_that_are_over_are_told_of_at_once() {
    let setup = setup().await;
    setup.put().await.unwrap();
    let expired = Fault::Error(400, "Bad Request", "ExpiredToken");
    for method in ["PUT", "GET"] {
        setup.server.fail_always(method, expired);
        let requests = setup.server.requests(method);
        let error = if method == "PUT" { setup.put().await } else { setup.open().await.map(drop) }.unwrap_err();
        assert!(matches!(error, Error::Denied { .. }), "{error}");
        assert!(
            error.to_string().contains("ExpiredToken") && error.to_string().contains("check credentials"),
            "{error}"
        );
        assert_eq!(setup.server.requests(method), requests + 1);
    }
    setup.server.recover();
    assert_eq!(setup.open().await, Ok(content()));
}

#[tokio::test]
async fn a_store_without_conditional_puts_is_used_without() {
    let setup = setup().await;
    setup.server.forget_conditional_puts();
    // Then puts are unconditional: what is there does not hinder.
    setup.server.overwrite("f/a", b"left by an earlier try");
    assert_eq!(setup.put().await, Ok(()));
    let requests = setup.server.requests("PUT");
    assert_eq!(setup.put().await, Ok(()));
    assert_eq!(setup.server.requests("PUT"), requests + 1, "found out once");
    assert_eq!(setup.open().await, Ok(content()));
}

#[tokio::test]
async fn truncated_and_damaged_objects_are_named() {
    let setup = setup().await;
    for (object, want) in [
        (&content()[..9_999], "truncated: it has 9999 bytes, its entry says 10000"),
        (&b""[..], "truncated: it has 0 bytes, its entry says 10000"),
        (&[42; 10_001][..], "it has 10001 bytes, its entry says 10000"),
        (&[43; 10_000][..], "the checksum of the downloaded file does not match"),
    ] {
        setup.server.overwrite("f/a", object);
        assert_eq!(setup.open().await, Err(Error::Corrupt { path: path(), detail: want.to_owned() }));
    }
    setup.server.overwrite("f/a", &content());
    assert_eq!(setup.open().await, Ok(content()), "the damaged one was not kept");
}

#[tokio::test]
async fn another_file_under_the_name_is_told() {
    let setup = setup().await;
    setup.server.overwrite("f/a", b"other");
    assert_eq!(setup.put().await, Err(Error::Exists { path: path() }));
}

#[tokio::test]
async fn concurrent_opens_share_one_download_and_later_ones_need_none() {
    let setup = setup().await;
    setup.put().await.unwrap();
    // A slow start gives all of them time to come.
    setup.server.fail("GET", &[SERVER_ERROR]);
    let opened = futures::future::join_all((0..50).map(|_| setup.open())).await;
    assert!(opened.into_iter().all(|opened| opened == Ok(content())));
    assert_eq!(setup.server.requests("GET"), 2);
    setup.server.fail_always("GET", SERVER_ERROR);
    assert_eq!(setup.open().await, Ok(content()), "from the node cache");
    setup.store.forget("f/a").await.unwrap();
    let failed = futures::future::join_all((0..5).map(|_| setup.open())).await;
    assert!(failed.into_iter().all(|failed| matches!(failed, Err(Error::Unavailable { .. }))));
}
