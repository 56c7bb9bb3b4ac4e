//! The embedded store when its process dies, for real: this test binary starts itself as the one that is killed.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use redkite_meta::{Compare, KeyRange, MetaStore, Op, RangeRequest, Txn};
use redkite_types::Revision;

use crate::{FAILPOINTS, open, put, value};

/// Where the child's store is; a test run without it is no child.
const DIRECTORY: &str = "REDKITE_META_TEST_DIRECTORY";
/// Which failpoint the child dies at; none if it is to be killed.
const DIES_AT: &str = "REDKITE_META_TEST_DIES_AT";

/// Not a test of its own: what the child does. Writes two keys at a time for ever and says what was acknowledged.
#[tokio::test]
async fn child() {
    let Some(directory) = std::env::var_os(DIRECTORY) else { return };
    let store = open(&PathBuf::from(directory));
    let start: u64 = value(&store, "/count").await.map_or(0, |text| text.parse().unwrap());
    for count in start + 1.. {
        if let Ok(failpoint) = std::env::var(DIES_AT)
            && count == start + 4
        {
            fail::cfg(failpoint, "return(abort)").unwrap();
        }
        let ops = vec![Op::put("/count", count.to_string()), Op::put(format!("/entry/{count:08}"), vec![b'x'; 500])];
        store.txn(Txn { compares: vec![Compare::absent("/never")], then: ops, otherwise: Vec::new() }).await.unwrap();
        println!("acknowledged {count}");
    }
}

fn start_child(directory: &Path, dies_at: Option<&str>) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "kill::child", "--nocapture", "--test-threads=1"]);
    command.env(DIRECTORY, directory).stdout(Stdio::piped()).stderr(Stdio::null());
    if let Some(failpoint) = dies_at {
        command.env(DIES_AT, failpoint);
    }
    command.spawn().unwrap()
}

/// Reads acknowledgements until there are `enough` or the child is gone; the last one.
fn acknowledged(child: &mut Child, enough: usize) -> u64 {
    let output = BufReader::new(child.stdout.take().unwrap());
    let counts = output.lines().map_while(Result::ok).filter_map(|line| {
        let (_, count) = line.split_once("acknowledged ")?;
        count.parse().ok()
    });
    counts.take(enough).last().unwrap_or(0)
}

/// Everything up to some count is there, in both keys and at every revision.
async fn check(directory: &Path) -> u64 {
    let store = open(directory);
    let count: u64 = value(&store, "/count").await.map_or(0, |text| text.parse().unwrap());
    let entries = store.range(RangeRequest::new(KeyRange::Prefix("/entry/".to_owned()))).await.unwrap();
    assert_eq!(entries.kvs.len() as u64, count);
    assert_eq!(entries.revision, Revision(count as i64 + 1));
    for (i, kv) in (1_u64..).zip(&entries.kvs) {
        assert_eq!((kv.key.as_str(), kv.mod_revision.0), (format!("/entry/{i:08}").as_str(), i as i64 + 1));
    }
    count
}

#[tokio::test]
async fn kill_9_loses_nothing_acknowledged() {
    let _shared = FAILPOINTS.read().await;
    let directory = tempfile::tempdir().unwrap();
    for round in 1..=6 {
        let mut child = start_child(directory.path(), None);
        let last = acknowledged(&mut child, 20 * round);
        child.kill().unwrap();
        child.wait().unwrap();
        let found = check(directory.path()).await;
        assert!(last > 0 && found >= last, "{last} were acknowledged, {found} are there");
    }
}

#[tokio::test]
async fn a_process_that_dies_around_a_commit_has_all_of_it_or_nothing() {
    let _shared = FAILPOINTS.read().await;
    for (failpoint, survivors) in [("meta-embedded-before-commit", 3), ("meta-embedded-after-commit", 4)] {
        let directory = tempfile::tempdir().unwrap();
        let mut child = start_child(directory.path(), Some(failpoint));
        assert_eq!(acknowledged(&mut child, usize::MAX), 3, "{failpoint}");
        assert!(!child.wait().unwrap().success());
        assert_eq!(check(directory.path()).await, survivors, "{failpoint}");
    }
}

/// A copy of the file taken while it is written to is what a crash of the machine leaves, at worst; here between commits.
#[tokio::test]
async fn the_file_is_whole_after_every_commit() {
    let _shared = FAILPOINTS.read().await;
    let directory = tempfile::tempdir().unwrap();
    let copy = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    for i in 0..30 {
        put(&store, "/a", &i.to_string()).await.unwrap();
        std::fs::copy(directory.path().join("meta.redb"), copy.path().join("meta.redb")).unwrap();
        assert_eq!(value(&open(copy.path()), "/a").await.unwrap(), i.to_string());
    }
}
