//! The embedded store when its disk fails, by failpoints.

use std::sync::Arc;

use futures::future::join_all;
use redkite_meta::{EmbeddedOptions, EmbeddedStore, Error, MetaStore};
use redkite_types::Revision;

use crate::{FAILPOINTS, everything, listing, next_batch, open, put, value};

/// A failpoint that is off again when this is dropped, whatever becomes of the test.
struct Failpoint(&'static str);

impl Failpoint {
    fn set(name: &'static str, action: &str) -> Self {
        fail::cfg(name, action).unwrap();
        Self(name)
    }
}

impl Drop for Failpoint {
    fn drop(&mut self) {
        fail::remove(self.0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transactions_that_wait_share_one_commit() {
    let _alone = FAILPOINTS.write().await;
    let directory = tempfile::tempdir().unwrap();
    let store = Arc::new(open(directory.path()));
    let start = |i: i64| {
        let store = Arc::clone(&store);
        tokio::spawn(async move { put(store.as_ref(), &format!("/k{i}"), "v").await })
    };
    // The writer stops in front of its first commit, says so, and goes on when it is told.
    let (reached, mut stopped) = tokio::sync::mpsc::unbounded_channel();
    let (go_on, told) = std::sync::mpsc::channel::<()>();
    let told = std::sync::Mutex::new(told);
    let failpoint = Failpoint("meta-embedded-before-commit");
    fail::cfg_callback(failpoint.0, move || {
        let _ = reached.send(());
        let _ = told.lock().unwrap().recv();
    })
    .unwrap();
    let mut txns = vec![start(0)];
    stopped.recv().await.unwrap();
    txns.extend((1..50).map(start));
    while store.queued() < 49 {
        tokio::task::yield_now().await;
    }
    assert_eq!(store.commits(), 0);
    assert!(store.get("/k0").await.unwrap().is_none(), "visible before it is durable");
    drop(go_on);
    let mut revisions: Vec<_> = join_all(txns).await.into_iter().map(|txn| txn.unwrap().unwrap().revision.0).collect();
    revisions.sort();
    assert_eq!(revisions, (2..52).collect::<Vec<_>>());
    assert_eq!(store.commits(), 2);
}

#[tokio::test]
async fn a_commit_that_was_never_made_did_not_happen() {
    let _alone = FAILPOINTS.write().await;
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    put(&store, "/a", "1").await.unwrap();
    let failpoint = Failpoint::set("meta-embedded-before-commit", "return");
    assert!(matches!(put(&store, "/a", "2").await, Err(Error::Unavailable(_))));
    assert_eq!(value(&store, "/a").await.unwrap(), "1");
    drop(failpoint);
    assert_eq!(put(&store, "/b", "1").await.unwrap().revision, Revision(3));
    drop(store);
    assert_eq!(listing(&open(directory.path()), Revision(3)).await.len(), 2);
}

#[tokio::test]
async fn a_commit_whose_answer_is_lost_happened() {
    let _alone = FAILPOINTS.write().await;
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let mut stream = store.watch(everything(), Revision(2)).await.unwrap();
    let failpoint = Failpoint::set("meta-embedded-after-commit", "return");
    assert!(matches!(put(&store, "/a", "1").await, Err(Error::OutcomeUnknown(_))));
    drop(failpoint);
    assert_eq!(value(&store, "/a").await.unwrap(), "1");
    assert_eq!(next_batch(&mut stream).await.revision, Revision(2));
    assert_eq!(put(&store, "/b", "1").await.unwrap().revision, Revision(3));
}

/// The disk is full once: while the file should grow, or on its first write.
#[tokio::test]
async fn a_full_disk_is_said_and_forgotten_once_there_is_space() {
    let _alone = FAILPOINTS.write().await;
    for name in ["meta-embedded-grow", "meta-embedded-write"] {
        let directory = tempfile::tempdir().unwrap();
        let store = open(directory.path());
        put(&store, "/a", "1").await.unwrap();
        let failpoint = Failpoint::set(name, "1*return->off");
        // More than the file has room for.
        let large = "x".repeat(1_300_000);
        let mut failed = 0;
        let mut revision = Revision(2);
        for i in 0..8 {
            match put(&store, &format!("/k{i}"), &large).await {
                Ok(response) => {
                    assert_eq!(response.revision, revision.next(), "{name}");
                    revision = response.revision;
                }
                Err(error @ Error::NoSpace(_)) => {
                    assert!(error.to_string().contains("meta.redb"), "{error}");
                    assert!(store.get(&format!("/k{i}")).await.unwrap().is_none(), "{name}");
                    failed += 1;
                }
                Err(error) => panic!("{name}: {error}"),
            }
        }
        assert_eq!(failed, 1, "{name}");
        drop(failpoint);
        let before = listing(&store, revision).await;
        assert_eq!(before.len(), 8, "{name}");
        drop(store);
        assert_eq!(listing(&open(directory.path()), revision).await, before, "{name}");
    }
}

/// Every write fails for a while, so the file cannot even be opened again to see what became of the commit.
#[tokio::test]
async fn a_disk_that_stays_broken_refuses_writes_and_keeps_serving_reads() {
    let _alone = FAILPOINTS.write().await;
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    put(&store, "/a", "1").await.unwrap();
    let failpoint = Failpoint::set("meta-embedded-write", "return");
    assert!(matches!(put(&store, "/a", "2").await, Err(Error::OutcomeUnknown(_))));
    for _ in 0..3 {
        let error = put(&store, "/a", "3").await.unwrap_err();
        assert!(matches!(&error, Error::Unavailable(text) if text.contains("meta.redb")), "{error}");
        assert_eq!(value(&store, "/a").await.unwrap(), "1");
    }
    drop(failpoint);
    assert_eq!(put(&store, "/b", "1").await.unwrap().revision, Revision(3));
    assert_eq!(value(&store, "/a").await.unwrap(), "1");
    drop(store);
    assert_eq!(value(&open(directory.path()), "/a").await.unwrap(), "1");
}

/// The fsync fails after everything was written: it may be durable or not, so nobody is told either.
#[tokio::test]
async fn a_failed_fsync_leaves_the_outcome_unknown_and_memory_follows_the_file() {
    let _alone = FAILPOINTS.write().await;
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    put(&store, "/a", "1").await.unwrap();
    let failpoint = Failpoint::set("meta-embedded-sync", "1*return->off");
    let answer = put(&store, "/a", "2").await;
    assert!(matches!(answer, Err(Error::OutcomeUnknown(_) | Error::NoSpace(_))), "{answer:?}");
    drop(failpoint);
    let seen = value(&store, "/a").await.unwrap();
    assert_eq!(seen == "1", matches!(answer, Err(Error::NoSpace(_))));
    let revision = put(&store, "/b", "1").await.unwrap().revision;
    assert_eq!(revision, if seen == "1" { Revision(3) } else { Revision(4) });
    drop(store);
    assert_eq!(value(&open(directory.path()), "/a").await.unwrap(), seen);
}

/// What a failed fsync left behind can be read and yet be gone after a power cut, and the next fsync would not say so: it is
/// believed only once it was written again and synced.
#[tokio::test]
async fn what_a_failed_fsync_left_is_written_again_before_it_is_believed() {
    let _alone = FAILPOINTS.write().await;
    for sync_fails in [false, true] {
        let directory = tempfile::tempdir().unwrap();
        let store = open(directory.path());
        put(&store, "/a", "1").await.unwrap();
        let sync = Failpoint::set("meta-embedded-sync", "1*return->off");
        let rewrite = Failpoint("meta-embedded-rewrite");
        match sync_fails {
            // It is written again, and the fsync after that fails.
            true => fail::cfg_callback(rewrite.0, || fail::cfg("meta-embedded-sync", "return").unwrap()).unwrap(),
            false => fail::cfg(rewrite.0, "return").unwrap(),
        }
        assert!(matches!(put(&store, "/a", "2").await, Err(Error::OutcomeUnknown(_))));
        for _ in 0..3 {
            let error = put(&store, "/b", "1").await.unwrap_err();
            assert!(matches!(&error, Error::Unavailable(text) if text.contains("meta.redb")), "{error}");
            assert_eq!(value(&store, "/a").await.unwrap(), "1");
        }
        drop((sync, rewrite));
        assert_eq!(put(&store, "/b", "1").await.unwrap().revision, Revision(4));
        assert_eq!(value(&store, "/a").await.unwrap(), "2");
        drop(store);
        assert_eq!(listing(&open(directory.path()), Revision(4)).await.len(), 2);
    }
}

/// The disk is still broken when the process is restarted.
#[tokio::test]
async fn what_could_not_be_written_again_is_not_believed_by_the_next_process() {
    let _alone = FAILPOINTS.write().await;
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    put(&store, "/a", "1").await.unwrap();
    let _sync = Failpoint::set("meta-embedded-sync", "1*return->off");
    let rewrite = Failpoint::set("meta-embedded-rewrite", "return");
    assert!(matches!(put(&store, "/a", "2").await, Err(Error::OutcomeUnknown(_))));
    drop(store);
    for _ in 0..2 {
        let error = EmbeddedStore::open(&directory.path().join("meta.redb"), EmbeddedOptions::default()).unwrap_err();
        assert!(error.to_string().contains("meta.redb"), "{error}");
    }
    drop(rewrite);
    assert_eq!(value(&open(directory.path()), "/a").await.unwrap(), "2");
}

/// The process may have died just after an fsync of it failed.
#[tokio::test]
async fn what_a_dead_process_left_is_written_again_before_it_is_believed() {
    let _alone = FAILPOINTS.write().await;
    let directory = tempfile::tempdir().unwrap();
    let left = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    put(&store, "/a", "1").await.unwrap();
    std::fs::copy(directory.path().join("meta.redb"), left.path().join("meta.redb")).unwrap();
    drop(store);
    let failpoint = Failpoint::set("meta-embedded-rewrite", "return");
    // One that was closed needs none of that.
    assert_eq!(value(&open(directory.path()), "/a").await.unwrap(), "1");
    let error = EmbeddedStore::open(&left.path().join("meta.redb"), EmbeddedOptions::default()).unwrap_err();
    assert!(error.to_string().contains("meta.redb"), "{error}");
    drop(failpoint);
    assert_eq!(value(&open(left.path()), "/a").await.unwrap(), "1");
    let _failpoint = Failpoint::set("meta-embedded-rewrite", "return");
    assert_eq!(value(&open(left.path()), "/a").await.unwrap(), "1");
}
