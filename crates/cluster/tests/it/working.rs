//! How nodes have work done by each other.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use redkite_cluster::internal::{Execute, Network, Undone};
use redkite_cluster::{Members, Neighbours, Rearrangement, State, change};
use redkite_meta::keys::UserKeys;
use redkite_meta::{KeyRange, MemoryStore, MetaStore, Op, Txn};
use redkite_types::{Incarnation, NodeId};
use tokio::sync::mpsc;

use crate::joining::{Process, cluster, stored, user};

/// Answers with what it was told, reversed; some things it does not do.
struct Reversing(mpsc::UnboundedSender<()>);

/// Tells that it was dropped.
struct Dropped(mpsc::UnboundedSender<()>);

impl Drop for Dropped {
    fn drop(&mut self) {
        _ = self.0.send(());
    }
}

#[async_trait]
impl Execute for Reversing {
    async fn execute(&self, work: Bytes) -> Result<Bytes, Undone> {
        match &work[..] {
            b"refuse" => Err(Undone::Refused("ä".repeat(10_000))),
            b"unable" => Err(Undone::Unable("no".to_owned())),
            b"panic" => panic!("a defect"),
            b"hang" => {
                let _dropped = Dropped(self.0.clone());
                std::future::pending().await
            }
            _ => Ok(work.iter().rev().copied().collect()),
        }
    }
}

fn key() -> String {
    UserKeys::new(&user()).property(&cluster())
}

fn neighbours(meta: &Arc<MemoryStore>, members: &Members) -> Neighbours {
    Neighbours::new(meta.clone(), &UserKeys::new(&user()), &cluster(), NodeId(1), members)
}

fn seats(neighbours: &Neighbours) -> Vec<(u32, u64)> {
    neighbours.now().nodes.iter().map(|node| (node.seat.0.0, node.seat.1.0)).collect()
}

/// Waits until that is so.
async fn until(what: &str, met: impl Fn() -> bool) {
    let met = async {
        while !met() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), met).await.expect(what);
}

#[tokio::test]
async fn a_node_does_its_part_for_another() {
    let meta = Arc::new(MemoryStore::new());
    let (a, b) = (Process::start("a").await, Process::start("b").await);
    a.join(meta.as_ref(), 1, &Network).await.unwrap();
    let (members, _) = b.join(meta.as_ref(), 2, &Network).await.unwrap();
    let neighbours = neighbours(&meta, &members);
    let (first, second) = ((NodeId(1), Incarnation(1)), (NodeId(2), Incarnation(1)));
    assert_eq!(neighbours.now().nodes.iter().map(|node| node.seat).collect::<Vec<_>>(), [first, second]);
    let undone = neighbours.execute(first, "early".into()).await.unwrap_err();
    assert!(matches!(&undone, Undone::Failed(reason) if reason.contains("does not serve yet")), "{undone:?}");
    let (ended, mut ends) = mpsc::unbounded_channel();
    a.answering.execute_by(Arc::new(Reversing(ended)));
    // More than gRPC takes unless it is told to.
    let large: Bytes = (0..9_000_000u32).map(|at| at as u8).collect();
    let reversed: Bytes = large.iter().rev().copied().collect();
    for (work, want) in [(Bytes::new(), Bytes::new()), ("abc".into(), "cba".into()), (large, reversed)] {
        assert!(neighbours.execute(first, work).await.unwrap() == want);
    }
    let undone = neighbours.execute(first, "refuse".into()).await.unwrap_err();
    assert!(matches!(&undone, Undone::Refused(reason) if reason.len() <= 1_024), "{undone:?}");
    let undone = neighbours.execute(first, "unable".into()).await.unwrap_err();
    assert_eq!(undone, Undone::Unable("no".to_owned()));
    let undone = neighbours.execute(first, "panic".into()).await.unwrap_err();
    assert!(matches!(undone, Undone::Failed(_)), "{undone:?}");
    // What nobody waits for is ended.
    let hanging = tokio::time::timeout(Duration::from_millis(50), neighbours.execute(first, "hang".into())).await;
    assert!(hanging.is_err());
    tokio::time::timeout(Duration::from_secs(20), ends.recv()).await.unwrap().unwrap();
    for stranger in [(NodeId(3), Incarnation(1)), (NodeId(1), Incarnation(2))] {
        assert!(matches!(neighbours.execute(stranger, "abc".into()).await, Err(Undone::Failed(_))));
    }
    a.kill();
    assert!(matches!(neighbours.execute(first, "abc".into()).await, Err(Undone::Failed(_))));
}

#[tokio::test]
async fn strangers_have_nothing_done() {
    let meta = Arc::new(MemoryStore::new());
    let process = Process::start("a").await;
    let (members, _) = process.join(meta.as_ref(), 1, &Network).await.unwrap();
    process.answering.execute_by(Arc::new(Reversing(mpsc::unbounded_channel().0)));
    let mut others = Members::new("another secret".to_owned());
    others.nodes = members.nodes.clone();
    let node = (NodeId(1), Incarnation(1));
    let undone = neighbours(&meta, &others).execute(node, "abc".into()).await.unwrap_err();
    assert!(matches!(undone, Undone::Failed(_)), "{undone:?}");
    let done = neighbours(&meta, &members).execute(node, "abc".into()).await.unwrap();
    assert_eq!(done, "cba");
}

#[tokio::test]
async fn who_joins_or_restarts_is_met() {
    let meta = Arc::new(MemoryStore::new());
    let a = Process::start("a").await;
    let (members, _) = a.join(meta.as_ref(), 1, &Network).await.unwrap();
    let neighbours = Arc::new(neighbours(&meta, &members));
    let following = tokio::spawn({
        let neighbours = neighbours.clone();
        async move { neighbours.run().await }
    });
    let known = |want: &[(u32, u64)]| seats(&neighbours) == want;
    let b = Process::start("b").await;
    b.join(meta.as_ref(), 2, &Network).await.unwrap();
    until("it is met", || known(&[(1, 1), (2, 1)])).await;
    b.kill();
    let again = Process::start("again").await;
    again.join(meta.as_ref() as &dyn MetaStore, 2, &Network).await.unwrap();
    until("the next run is met", || known(&[(1, 1), (2, 2)])).await;
    assert_eq!(stored(meta.as_ref()).await.nodes.len(), 2);
    again.answering.execute_by(Arc::new(Reversing(mpsc::unbounded_channel().0)));
    assert_eq!(neighbours.execute((NodeId(2), Incarnation(2)), "abc".into()).await.unwrap(), "cba");
    following.abort();
}

/// Who has gone without a word is known by its lease; who changes what it is tells so.
#[tokio::test(start_paused = true)]
async fn s42_who_is_there_and_what_it_is_are_known() {
    let meta = Arc::new(MemoryStore::new());
    let (a, b) = (Process::start("a").await, Process::start("b").await);
    a.join(meta.as_ref(), 1, &Network).await.unwrap();
    let (members, _) = b.join(meta.as_ref(), 2, &Network).await.unwrap();
    let neighbours = Arc::new(neighbours(&meta, &members));
    let second = || neighbours.now().nodes[1];
    assert!(second().is_present, "nothing is known of it yet");
    let following = tokio::spawn({
        let neighbours = neighbours.clone();
        async move { neighbours.run().await }
    });
    until("it has never said anything", || !second().is_present).await;
    let said = UserKeys::new(&user()).node(&cluster(), NodeId(2), Incarnation(1));
    meta.txn(Txn { then: vec![Op::put(&said, "{}")], ..Txn::default() }).await.unwrap();
    until("it has said something", || second().is_present).await;
    let before = neighbours.now();
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert!(Arc::ptr_eq(&before, &neighbours.now()), "nothing has changed");
    let serve = |members: &mut Members| Ok::<_, ()>(members.set_state("b", State::Serving));
    let (_, revision) = change(meta.as_ref(), &key(), serve).await.unwrap().unwrap();
    until("it serves", || second().state == State::Serving && neighbours.now().revision == revision).await;
    // To change nothing costs nothing.
    assert_eq!(change(meta.as_ref(), &key(), serve).await.unwrap().unwrap().1, revision);
    let drain = |members: &mut Members| members.rearrange(Rearrangement::Drain(NodeId(1))).map(|()| true);
    change(meta.as_ref(), &key(), drain).await.unwrap().unwrap();
    until("it is to leave", || neighbours.own_state() == Some(State::Draining)).await;
    let drain = |members: &mut Members| members.rearrange(Rearrangement::Drain(NodeId(2))).map(|()| true);
    assert!(change(meta.as_ref(), &key(), drain).await.unwrap().unwrap_err().contains("no other node"));
    meta.txn(Txn { then: vec![Op::Delete(KeyRange::Exact(said))], ..Txn::default() }).await.unwrap();
    until("its lease has ended", || !second().is_present).await;
    assert!(neighbours.now().nodes[0].is_present);
    following.abort();
}
