//! What only the embedded store does: it outlives its process.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use redb::{Database, ReadableDatabase, TableDefinition};
use redkite_meta::{
    EmbeddedOptions, EmbeddedStore, Error, KeyRange, LeaseId, ManualClock, MetaStore, Op, RangeRequest, Txn, contract,
};
use redkite_types::Revision;

use crate::{FAILPOINTS, everything, listing, next_batch, open, put, put_txn, value};

const META: TableDefinition<'_, &str, i64> = TableDefinition::new("meta");
const LEASE_END: TableDefinition<'_, i64, u64> = TableDefinition::new("lease_end");

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn contract_holds() {
    let _shared = FAILPOINTS.read().await;
    let directory = tempfile::tempdir().unwrap();
    contract::run(Arc::new(open(directory.path()))).await;
}

#[tokio::test]
async fn everything_is_there_after_a_restart() {
    let _shared = FAILPOINTS.read().await;
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    for i in 0..10 {
        put(&store, "/a", &i.to_string()).await.unwrap();
        put(&store, &format!("/k{i}"), "v").await.unwrap();
    }
    store.compact(Revision(7)).await.unwrap();
    store.txn(Txn { then: vec![Op::Delete(everything())], ..Txn::default() }).await.unwrap();
    let last = put(&store, "/a", "end").await.unwrap().revision;
    let mut before = Vec::new();
    for revision in 7..=last.0 {
        before.push(listing(&store, Revision(revision)).await);
    }
    let kv = store.get("/a").await.unwrap();
    drop(store);

    for _ in 0..2 {
        let store = open(directory.path());
        for (revision, want) in (7..=last.0).zip(&before) {
            assert_eq!(&listing(&store, Revision(revision)).await, want, "at {revision}");
        }
        assert_eq!(store.get("/a").await.unwrap(), kv);
        let past = store.range(RangeRequest::new(everything()).at(Revision(6))).await;
        assert!(matches!(past, Err(Error::Compacted { oldest: Revision(7), .. })), "{past:?}");
        let mut stream = store.watch(everything(), Revision(8)).await.unwrap();
        for revision in 8..=last.0 {
            assert_eq!(next_batch(&mut stream).await.revision, Revision(revision));
        }
        drop(store);
    }
    assert_eq!(put(&open(directory.path()), "/a", "more").await.unwrap().revision, last.next());
}

/// A store whose time is moved by hand, and is opened again with the time going on.
struct Restarted {
    directory: tempfile::TempDir,
    clock: Arc<ManualClock>,
}

impl Restarted {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap(), clock: Arc::new(ManualClock::new()) }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("meta.redb")
    }

    fn open(&self) -> EmbeddedStore {
        EmbeddedStore::open(&self.path(), EmbeddedOptions { clock: Arc::<ManualClock>::clone(&self.clock) }).unwrap()
    }

    /// Time passes, and what ends by it has ended.
    async fn pass(&self, store: &EmbeddedStore, secs: u64) {
        self.clock.advance(Duration::from_secs(secs));
        store.expire_leases().await.unwrap();
    }
}

async fn put_under(store: &dyn MetaStore, key: &str, lease: LeaseId) -> Revision {
    let op = Op::Put { key: key.to_owned(), value: "1".into(), lease: Some(lease) };
    store.txn(Txn { then: vec![op], ..Txn::default() }).await.unwrap().revision
}

#[tokio::test]
async fn a_lease_goes_on_after_a_restart_and_a_renewed_one_starts_a_term() {
    let _shared = FAILPOINTS.read().await;
    let restarted = Restarted::new();
    let store = restarted.open();
    let ended = store.lease_grant(Duration::from_secs(10)).await.unwrap();
    let lease = store.lease_grant(Duration::from_secs(10)).await.unwrap();
    let renewed = store.lease_grant(Duration::from_secs(10)).await.unwrap();
    put_under(&store, "/a", lease).await;
    put_under(&store, "/b", renewed).await;
    store.lease_revoke(ended).await.unwrap();
    restarted.pass(&store, 6).await;
    for _ in 0..2 {
        store.lease_keep_alive(renewed).await.unwrap();
    }
    restarted.pass(&store, 3).await;
    put(&store, "/c", "1").await.unwrap();
    drop(store);

    let store = restarted.open();
    let newer = store.lease_grant(Duration::from_secs(1)).await.unwrap();
    assert!(newer > renewed, "a lease id was given out twice");
    assert!(store.get("/a").await.unwrap().is_some());
    restarted.pass(&store, 1).await;
    for gone in [newer, ended, lease] {
        assert!(matches!(store.lease_keep_alive(gone).await, Err(Error::LeaseNotFound(_))));
    }
    assert!(store.get("/a").await.unwrap().is_none());
    assert!(store.get("/b").await.unwrap().is_some());
    drop(store);

    // The term it started counts from then on, too.
    let store = restarted.open();
    restarted.pass(&store, 8).await;
    let revision = put(&store, "/c", "2").await.unwrap().revision;
    drop(store);
    let store = restarted.open();
    assert!(store.get("/b").await.unwrap().is_some());
    let mut stream = store.watch(everything(), revision.next()).await.unwrap();
    restarted.clock.advance(Duration::from_secs(1));
    // Nobody asks: the store itself looks after its leases.
    assert_eq!(next_batch(&mut stream).await.events.len(), 1);
    drop(store);
    assert!(restarted.open().get("/b").await.unwrap().is_none());
}

/// A server that is started anew every day takes a lease for its outcomes a day: they must not pile up.
#[tokio::test]
async fn outcomes_expire_over_daily_restarts() {
    let _shared = FAILPOINTS.read().await;
    let restarted = Restarted::new();
    for day in 0..20 {
        let store = restarted.open();
        let lease = store.lease_grant(Duration::from_secs(26 * 3_600)).await.unwrap();
        put_under(&store, &format!("/outcome/{day}"), lease).await;
        restarted.pass(&store, 24 * 3_600).await;
        let outcomes = RangeRequest::new(KeyRange::Prefix("/outcome/".to_owned()));
        let left: Vec<_> = store.range(outcomes).await.unwrap().kvs.into_iter().map(|kv| kv.key).collect();
        assert_eq!(left, [format!("/outcome/{day}")], "remembered for a day and not for ever");
        put(&store, "/a", "1").await.unwrap();
    }
}

#[tokio::test]
async fn leases_end_over_restarts_even_if_nothing_is_written() {
    let _shared = FAILPOINTS.read().await;
    let restarted = Restarted::new();
    let store = restarted.open();
    let lease = store.lease_grant(Duration::from_secs(3_600)).await.unwrap();
    put_under(&store, "/a", lease).await;
    drop(store);
    for _ in 0..6 {
        let store = restarted.open();
        assert!(store.get("/a").await.unwrap().is_some());
        restarted.pass(&store, 600).await;
    }
    assert!(restarted.open().get("/a").await.unwrap().is_none());
}

#[tokio::test]
async fn a_file_of_format_1_opens_and_its_leases_start_a_term() {
    let _shared = FAILPOINTS.read().await;
    let restarted = Restarted::new();
    let store = restarted.open();
    let lease = store.lease_grant(Duration::from_secs(10)).await.unwrap();
    put_under(&store, "/a", lease).await;
    restarted.pass(&store, 5).await;
    drop(store);
    {
        let database = Database::open(restarted.path()).unwrap();
        let transaction = database.begin_write().unwrap();
        assert!(transaction.delete_table(LEASE_END).unwrap());
        transaction.open_table(META).unwrap().remove("running_ms").unwrap();
        transaction.open_table(META).unwrap().insert("format", 1).unwrap();
        transaction.commit().unwrap();
    }

    let store = restarted.open();
    restarted.pass(&store, 9).await;
    assert!(store.get("/a").await.unwrap().is_some());
    put(&store, "/b", "1").await.unwrap();
    drop(store);
    {
        let database = Database::open(restarted.path()).unwrap();
        let format = database.begin_read().unwrap().open_table(META).unwrap().get("format").unwrap().unwrap().value();
        assert_eq!(format, 2, "a version that knows format 1 alone must not take it for that");
    }
    let store = restarted.open();
    restarted.pass(&store, 1).await;
    assert!(store.get("/a").await.unwrap().is_none());
}

#[tokio::test]
async fn history_beyond_its_limit_goes_by_itself_and_stays_gone() {
    let _shared = FAILPOINTS.read().await;
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let large = "x".repeat(1_000_000);
    for i in 0..40 {
        put(&store, "/a", &large).await.unwrap();
        put(&store, &format!("/k{i}"), "v").await.unwrap();
    }
    drop(store);
    let size = std::fs::metadata(directory.path().join("meta.redb")).unwrap().len();
    let store = open(directory.path());
    assert!(matches!(store.watch(everything(), Revision(2)).await, Err(Error::Compacted { .. })));
    assert_eq!(listing(&store, Revision(81)).await.len(), 41);
    assert!(size < 200_000_000, "{size}");
}

#[tokio::test]
async fn one_process_at_a_time() {
    let _shared = FAILPOINTS.read().await;
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let path = directory.path().join("meta.redb");
    let second = EmbeddedStore::open(&path, EmbeddedOptions::default());
    assert!(matches!(&second, Err(Error::Locked(text)) if *text == path.display().to_string()), "{second:?}");
    put(&store, "/a", "1").await.unwrap();
    drop(store);
    assert_eq!(value(&open(directory.path()), "/a").await.unwrap(), "1");
}

#[tokio::test]
async fn a_newer_format_is_refused_by_name() {
    let _shared = FAILPOINTS.read().await;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("meta.redb");
    put(&open(directory.path()), "/a", "1").await.unwrap();
    let set_format = |format: i64| {
        let database = Database::open(&path).unwrap();
        let transaction = database.begin_write().unwrap();
        transaction.open_table(META).unwrap().insert("format", format).unwrap();
        transaction.commit().unwrap();
    };
    set_format(3);
    match EmbeddedStore::open(&path, EmbeddedOptions::default()) {
        Err(Error::NewerFormat { what, found: 3, supported: 2 }) => assert_eq!(what, path.display().to_string()),
        other => panic!("{other:?}"),
    }
    set_format(2);
    assert_eq!(value(&open(directory.path()), "/a").await.unwrap(), "1");
}

/// Whatever is in the file, opening it ends with the data or with an error that names it; never with a panic, never
/// with other data.
#[tokio::test]
async fn a_damaged_file_is_an_error() {
    let _shared = FAILPOINTS.read().await;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("meta.redb");
    let store = open(directory.path());
    for i in 0..50 {
        put(&store, &format!("/key/{i:02}"), &format!("findable value {i}")).await.unwrap();
    }
    drop(store);
    let whole = std::fs::read(&path).unwrap();
    let open_bytes = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        EmbeddedStore::open(&path, EmbeddedOptions::default())
    };
    let named = |error: &Error| error.to_string().contains(&path.display().to_string());

    for at in find_all(&whole, b"findable value") {
        let mut flipped = whole.clone();
        flipped[at + 3] ^= 1;
        match open_bytes(&flipped) {
            Err(error @ Error::Corrupt(_)) => assert!(named(&error), "{error}"),
            Err(error) => panic!("{error}"),
            // A page that is no longer in use.
            Ok(store) => assert_eq!(listing(&store, Revision(51)).await.len(), 50),
        }
    }
    for length in [1, 100, 4_096, whole.len() / 2, whole.len() - 1] {
        let error = open_bytes(&whole[..length]).expect_err("half a file was taken");
        assert!(named(&error), "{length} bytes: {error}");
    }
    let error = open_bytes(b"something else altogether, not a database at all").unwrap_err();
    assert!(matches!(&error, Error::Corrupt(_)) && named(&error), "{error}");
    drop(open_bytes(&whole).unwrap());
    // A file without anything in it is a new store.
    let store = open_bytes(b"").unwrap();
    assert_eq!(store.txn(put_txn("/a", "1")).await.unwrap().revision, Revision(2));
}

fn find_all(haystack: &[u8], needle: &[u8]) -> Vec<usize> {
    haystack
        .windows(needle.len())
        .enumerate()
        .filter(|(_, window)| *window == needle)
        .map(|(at, _)| at)
        .step_by(7)
        .collect()
}

#[tokio::test]
async fn a_directory_that_is_not_there_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("missing/meta.redb");
    let error = EmbeddedStore::open(&path, EmbeddedOptions::default()).unwrap_err();
    assert!(matches!(error, Error::Io { .. }) && error.to_string().contains("missing/meta.redb"), "{error}");
}
