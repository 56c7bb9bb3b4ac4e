//! The embedded store when its disk fails, by failpoints.

use std::sync::Arc;

use futures::future::join_all;
use redkite_meta::{Error, MetaStore};
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
