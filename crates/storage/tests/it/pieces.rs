//! Files written piece by piece to a remote store that fails, stalls or loses answers.

use std::time::Duration;

use bytes::Bytes;
use redkite_storage::{DataStore, Error, FileInfo, FileWriter};
use tempfile::TempDir;

use crate::fake_s3::{FakeS3, Fault};

const PART: usize = 16 << 20;
/// Parts on their way at the same time.
const IN_FLIGHT: usize = 2;
const SERVER_ERROR: Fault = Fault::Status(500, "Internal Server Error");

struct Setup {
    server: FakeS3,
    store: DataStore,
    _cache: TempDir,
}

/// A store with time for large parts on a slow machine.
async fn setup() -> Setup {
    let server = FakeS3::start().await;
    let cache = tempfile::tempdir().unwrap();
    let mut options = server.options(cache.path());
    options.request_timeout = Duration::from_secs(60);
    let store = DataStore::connect(options).await.unwrap();
    Setup { server, store, _cache: cache }
}

impl Setup {
    /// A file of which so many bytes were written.
    async fn written(&self, size: usize) -> Result<FileWriter, Error> {
        let mut writer = self.store.create("f/a").await?;
        writer.write(content(size)).await?;
        Ok(writer)
    }

    /// Waits until every upload is over, however it was given up.
    async fn no_uploads_left(&self) {
        while self.server.open_uploads() > 0 {
            tokio::task::yield_now().await;
        }
    }
}

fn content(size: usize) -> Bytes {
    let mut bytes = vec![0; size];
    bytes.chunks_mut(1_000).enumerate().for_each(|(at, chunk)| chunk.fill(at as u8));
    bytes.into()
}

#[tokio::test]
async fn a_large_file_goes_in_parts_and_appears_whole() {
    let setup = setup().await;
    let size = 5 * PART + 1;
    let mut writer = setup.written(3 * PART).await.unwrap();
    writer.write(content(size).slice(3 * PART..)).await.unwrap();
    assert_eq!(setup.server.object("f/a"), None);
    writer.finish().await.unwrap();
    assert!(setup.server.object("f/a").unwrap() == content(size));
    assert_eq!((setup.server.requests("PUT"), setup.server.requests("POST")), (6, 2));
    assert_eq!(setup.server.open_uploads(), 0);
}

#[tokio::test]
async fn a_file_of_one_part_goes_in_one_request() {
    for size in [0, 10, PART] {
        let setup = setup().await;
        setup.written(size).await.unwrap().finish().await.unwrap();
        assert!(setup.server.object("f/a").unwrap() == content(size));
        assert_eq!((setup.server.requests("PUT"), setup.server.requests("POST")), (1, 0), "{size} bytes");
    }
}

#[tokio::test]
async fn few_parts_are_on_their_way() {
    let setup = setup().await;
    setup.server.fail_always("PUT", Fault::Stall);
    let mut writer = setup.store.create("f/a").await.unwrap();
    let all_sent = async {
        while setup.server.requests("PUT") < IN_FLIGHT {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        biased;
        written = writer.write(content((IN_FLIGHT + 3) * PART)) => panic!("nothing has arrived: {written:?}"),
        () = all_sent => {}
    }
    assert_eq!(setup.server.requests("PUT"), IN_FLIGHT);
    // The write was given up half way, and so is the file.
    let error = writer.write(content(1)).await.unwrap_err();
    assert!(matches!(error, Error::Misuse { .. }), "{error}");
    drop(writer);
    setup.no_uploads_left().await;
}

#[tokio::test]
async fn a_part_that_passes_late_is_not_noticed() {
    let setup = setup().await;
    setup.server.fail("PUT", &[SERVER_ERROR, Fault::LoseAnswer]);
    setup.server.fail("POST", &[SERVER_ERROR]);
    setup.written(2 * PART).await.unwrap().finish().await.unwrap();
    assert!(setup.server.object("f/a").unwrap() == content(2 * PART));
}

#[tokio::test]
async fn a_part_that_fails_fails_the_file_and_leaves_nothing() {
    for (fault, want) in
        [(SERVER_ERROR, "storage unavailable"), (Fault::Status(507, "Insufficient Storage"), "storage is full")]
    {
        let setup = setup().await;
        setup.server.fail_always("PUT", fault);
        let mut writer = setup.store.create("f/a").await.unwrap();
        let error = writer.write(content((IN_FLIGHT + 3) * PART)).await.unwrap_err();
        assert!(error.to_string().starts_with(want), "{error}");
        assert_eq!(setup.server.open_uploads(), 0, "{error}");
        setup.server.recover();
        assert_eq!(writer.write(content(1)).await, Err(error.clone()));
        assert_eq!(writer.finish().await, Err(error));
        assert_eq!(setup.server.object("f/a"), None);
    }
}

#[tokio::test]
async fn a_failure_at_the_end_leaves_nothing() {
    let setup = setup().await;
    let writer = setup.written(2 * PART).await.unwrap();
    setup.server.fail_always("POST", Fault::Status(403, "Forbidden"));
    assert!(matches!(writer.finish().await, Err(Error::Denied { .. })));
    assert_eq!((setup.server.open_uploads(), setup.server.object("f/a")), (0, None));
}

#[tokio::test]
async fn a_lost_answer_at_the_end_is_not_noticed() {
    let setup = setup().await;
    let writer = setup.written(2 * PART).await.unwrap();
    // The repeated request finds the upload gone.
    setup.server.fail("POST", &[Fault::LoseAnswer]);
    writer.finish().await.unwrap();
    assert!(setup.server.object("f/a").unwrap() == content(2 * PART));
}

#[tokio::test]
async fn an_upload_given_up_is_aborted() {
    enum How {
        Abort,
        Drop,
        /// As a thread for computing does that met a defect.
        DropOnAnyThread,
    }
    for how in [How::Abort, How::Drop, How::DropOnAnyThread] {
        let setup = setup().await;
        let writer = setup.written(2 * PART).await.unwrap();
        assert_eq!(setup.server.open_uploads(), 1);
        match how {
            How::Abort => writer.abort().await,
            How::Drop => drop(writer),
            How::DropOnAnyThread => std::thread::spawn(move || drop(writer)).join().unwrap(),
        }
        setup.no_uploads_left().await;
        assert_eq!((setup.server.open_uploads(), setup.server.object("f/a")), (0, None));
    }
}

#[tokio::test]
async fn a_name_that_is_taken_meanwhile_is_not_replaced() {
    for size in [10, 2 * PART] {
        let setup = setup().await;
        let writer = setup.written(size).await.unwrap();
        setup.server.overwrite("f/a", b"other");
        let exists = Error::Exists { path: "f/a".to_owned() };
        assert_eq!(writer.finish().await, Err(exists.clone()));
        assert_eq!(setup.server.object("f/a").unwrap(), b"other");
        assert_eq!(setup.server.open_uploads(), 0);
        assert_eq!(setup.store.create("f/a").await.unwrap_err(), exists);
    }
}

#[tokio::test]
async fn a_store_that_does_not_answer_fails_the_creation() {
    let setup = setup().await;
    setup.server.fail_always("HEAD", SERVER_ERROR);
    assert!(matches!(setup.store.create("f/a").await, Err(Error::Unavailable { .. })));
}

#[tokio::test]
async fn many_files_are_deleted_by_few_requests() {
    let setup = setup().await;
    setup.store.put_all(vec![("f/7".to_owned(), content(9))]).await.unwrap();
    let paths: Vec<String> = (0..2_500).map(|at| format!("f/{at}")).collect();
    setup.store.delete_all(&paths).await.unwrap();
    assert_eq!(setup.server.requests("POST"), 3);
    let missing = setup.store.open("f/7", &FileInfo { size: 9, crc32: None }).await;
    assert!(matches!(missing, Err(Error::Missing { .. })), "{missing:?}");
    setup.server.fail_always("POST", Fault::Status(403, "Forbidden"));
    let error = setup.store.delete_all(&paths).await.unwrap_err();
    assert!(matches!(error, Error::Denied { .. }), "{error}");
}
