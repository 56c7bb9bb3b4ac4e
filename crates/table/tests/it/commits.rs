//! One transaction publishes a change: packing, outcomes and their leases, the floor under ids.

use std::time::Duration;

use redkite_meta::{Compare, MetaStore, Op, Txn};
use redkite_table::Error;
use redkite_table::commit::{Commit, CommitResult, NamedFlush, floor_value};
use redkite_types::{CommitId, Revision};

use crate::faulty_meta::{Call, Fault};
use crate::world::{Node, Stores};

pub async fn commit_of(node: &Node, ops: Vec<Op>, compares: Vec<Compare>) -> Commit {
    let revision = node.meta.txn(Txn::default()).await.unwrap().revision;
    let id = node.database.commit_id(revision);
    Commit { id, oldest: id.revision(), compares, ops, touched: vec!["c".into()], flush: None }
}

fn puts(count: usize) -> Vec<Op> {
    (0..count).map(|at| Op::put(format!("/u/c/data/{at}"), at.to_string())).collect()
}

async fn committed(node: &Node, commit: &Commit) -> Revision {
    match node.database.committer.commit(commit).await.unwrap() {
        CommitResult::Committed(revision) => revision,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_commit_of_any_size_is_one_revision() {
    for count in [0, 1, 120, 124, 125, 126, 127, 128, 129, 200, 1_000, 4_090, 4_100, 9_000] {
        for compares in [0, 1, 60, 100] {
            if count > 1_000 && compares > 1 {
                continue;
            }
            let stores = Stores::new();
            let node = stores.node(1).await;
            let rests_on = (0..compares).map(|at| Compare::absent(format!("/u/absent/{at}"))).collect();
            let commit = commit_of(&node, puts(count), rests_on).await;
            let revision = match node.database.committer.commit(&commit).await {
                Ok(CommitResult::Committed(revision)) => revision,
                other => panic!("{count} operations, {compares} compares: {other:?}"),
            };
            let range = redkite_meta::RangeRequest::new(redkite_meta::KeyRange::Prefix("/u/c/".into()));
            let stored = stores.meta.range(range).await.unwrap();
            assert_eq!(stored.kvs.len(), count + 1, "{count} and the head");
            assert!(stored.kvs.iter().all(|kv| kv.mod_revision == revision));
        }
    }
}

#[tokio::test]
async fn what_does_not_fit_is_refused_with_its_limit() {
    let node = Stores::new().node(1).await;
    let large: Vec<Op> = (0..200).map(|at| Op::put(format!("/u/c/data/{at}"), vec![b' '; 8_000])).collect();
    let many = (0..130).map(|at| Compare::absent(format!("/u/absent/{at}"))).collect();
    for commit in [commit_of(&node, large, Vec::new()).await, commit_of(&node, puts(200), many).await] {
        let error = node.database.committer.commit(&commit).await.unwrap_err();
        assert!(matches!(error, Error::LimitReached { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_commit_happens_once_however_often_it_is_sent() {
    let node = Stores::new().node(1).await;
    let commit = commit_of(&node, puts(3), Vec::new()).await;
    let revision = committed(&node, &commit).await;
    assert_eq!(committed(&node, &commit).await, revision);
    let settled = node.database.committer.settle(&commit.id).await.unwrap();
    assert!(settled.outcome.committed);
    assert_eq!(settled.revision, revision);
}

#[tokio::test]
async fn a_settled_commit_never_happens() {
    let node = Stores::new().node(1).await;
    let commit = commit_of(&node, puts(3), Vec::new()).await;
    let settled = node.database.committer.settle(&commit.id).await.unwrap();
    assert!(!settled.outcome.committed);
    assert_eq!(node.database.committer.commit(&commit).await.unwrap(), CommitResult::Aborted);
    assert_eq!(node.database.committer.settle(&commit.id).await.unwrap(), settled);
    assert!(node.meta.get("/u/c/data/0").await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn an_outcome_that_cannot_be_settled_is_unknown() {
    let node = Stores::new().node(1).await;
    let commit = commit_of(&node, puts(3), Vec::new()).await;
    node.meta.fail_next(Call::Commit, Fault::AnswerLost);
    node.meta.fail_always(Call::Settle, Fault::Refused);
    let error = node.database.committer.commit(&commit).await.unwrap_err();
    assert!(matches!(error, Error::OutcomeUnknown { id, .. } if id == commit.id), "{error}");
    node.meta.recover();
    assert!(node.database.committer.settle(&commit.id).await.unwrap().outcome.committed);
}

#[tokio::test]
async fn what_a_commit_rests_on_has_changed() {
    let node = Stores::new().node(1).await;
    let first = commit_of(&node, puts(1), Vec::new()).await;
    let revision = committed(&node, &first).await;
    let rests_on = |revision| vec![Compare::unchanged_since("/u/c/head", revision)];
    let second = commit_of(&node, puts(2), rests_on(revision)).await;
    let third = commit_of(&node, puts(3), rests_on(revision)).await;
    let newer = committed(&node, &second).await;
    let lost = node.database.committer.commit(&third).await.unwrap();
    assert_eq!(lost, CommitResult::Lost { revision: newer, floor: Revision::ZERO });
}

#[tokio::test]
async fn ids_below_the_floor_are_refused() {
    let node = Stores::new().node(1).await;
    for (floor, oldest, refused) in [(5, 4, true), (5, 5, false), (5, 6, false)] {
        for old_files in [false, true] {
            let put = Op::put(node.database.keys.id_floor(), floor_value(Revision(floor)));
            node.meta.txn(Txn { then: vec![put], ..Txn::default() }).await.unwrap();
            let nonce = node.database.ambient.random();
            // An old id, or a new one that adds old files.
            let id = CommitId::new(Revision(if old_files { 100 } else { oldest }), nonce);
            let commit = Commit {
                id,
                oldest: Revision(oldest),
                compares: Vec::new(),
                ops: puts(1),
                touched: Vec::new(),
                flush: None,
            };
            let result = node.database.committer.commit(&commit).await.unwrap();
            match refused {
                true => assert!(matches!(result, CommitResult::Lost { floor: Revision(5), .. }), "{result:?}"),
                false => assert!(matches!(result, CommitResult::Committed(_)), "{result:?}"),
            }
        }
    }
}

#[tokio::test]
async fn s37_an_outcome_is_remembered_for_at_least_a_day() {
    let stores = Stores::new();
    let node = stores.node(1).await;
    // The hour's lease is as old as it gets.
    committed(&node, &commit_of(&node, Vec::new(), Vec::new()).await).await;
    stores.pass(Duration::from_secs(3_599));
    let mut commit = commit_of(&node, puts(1), Vec::new()).await;
    commit.flush = Some(NamedFlush { name: b"n".to_vec(), digest: 7 });
    let revision = committed(&node, &commit).await;
    stores.pass(Duration::from_secs(24 * 3_600));
    let found = node.database.committer.flush_outcome(b"n").await.unwrap().unwrap();
    assert_eq!((found.revision, found.outcome.committed, found.outcome.commit), (revision, true, Some(commit.id)));
    assert!(node.database.committer.settle(&commit.id).await.unwrap().outcome.committed);
    // And not for ever.
    stores.pass(Duration::from_secs(2 * 3_600));
    assert_eq!(node.database.committer.flush_outcome(b"n").await.unwrap(), None);
    assert!(node.meta.get("/u/c/data/0").await.unwrap().is_some());
}

#[tokio::test]
async fn a_lease_serves_an_hour_and_its_loss_is_no_failure() {
    let stores = Stores::new();
    let node = stores.node(1).await;
    let lease_of = |commit: Commit| {
        let node = node.clone();
        async move {
            committed(&node, &commit).await;
            node.meta.get(&node.database.keys.commit(&commit.id)).await.unwrap().unwrap().lease.unwrap()
        }
    };
    let first = lease_of(commit_of(&node, Vec::new(), Vec::new()).await).await;
    stores.pass(Duration::from_secs(3_500));
    assert_eq!(lease_of(commit_of(&node, Vec::new(), Vec::new()).await).await, first);
    stores.pass(Duration::from_secs(200));
    let second = lease_of(commit_of(&node, Vec::new(), Vec::new()).await).await;
    assert_ne!(second, first);
    stores.meta.lease_revoke(second).await.unwrap();
    let third = lease_of(commit_of(&node, Vec::new(), Vec::new()).await).await;
    assert_ne!(third, second);
    stores.meta.lease_revoke(third).await.unwrap();
    let id = node.database.commit_id(Revision(1));
    assert!(!node.database.committer.settle(&id).await.unwrap().outcome.committed);
}

#[tokio::test(start_paused = true)]
async fn an_hour_takes_one_lease_however_many_commit() {
    let stores = Stores::new();
    let node = stores.node(1).await;
    // What the node tells of itself has one of its own.
    let before = node.meta.count(Call::Lease);
    node.meta.slow_down(Call::Lease, Duration::from_secs(1));
    for hours in 1..=3 {
        let mut commits = Vec::new();
        for _ in 0..20 {
            let (node, commit) = (node.clone(), commit_of(&node, Vec::new(), Vec::new()).await);
            commits.push(async move { committed(&node, &commit).await });
        }
        futures::future::join_all(commits).await;
        assert_eq!(node.meta.count(Call::Lease) - before, hours);
        stores.pass(Duration::from_secs(3_600));
    }
}

#[tokio::test]
async fn s37_a_name_is_taken_by_its_first_outcome() {
    let node = Stores::new().node(1).await;
    let named = |digest| Some(NamedFlush { name: b"n".to_vec(), digest });
    let mut first = commit_of(&node, puts(1), Vec::new()).await;
    first.flush = named(1);
    let revision = committed(&node, &first).await;
    let mut second = commit_of(&node, puts(2), Vec::new()).await;
    second.flush = named(2);
    match node.database.committer.commit(&second).await.unwrap() {
        CommitResult::NameTaken(outcome, at) => {
            assert_eq!((outcome.committed, outcome.commit, at), (true, Some(first.id), revision));
            assert_eq!(outcome.digest.unwrap(), format!("{:032x}", 1));
        }
        other => panic!("{other:?}"),
    }
    let unknown = node.database.committer.settle_flush(b"m").await.unwrap();
    assert!(!unknown.outcome.committed);
    second.flush = Some(NamedFlush { name: b"m".to_vec(), digest: 2 });
    let result = node.database.committer.commit(&second).await.unwrap();
    assert!(matches!(result, CommitResult::NameTaken(outcome, _) if !outcome.committed));
}
