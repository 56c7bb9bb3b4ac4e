//! How nodes talk with each other, for as long as they need each other.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use redkite_cluster::internal::{Network, Undone};
use redkite_cluster::{Conversation, Converse, Members, Neighbours, Partner};
use redkite_meta::MemoryStore;
use redkite_meta::keys::UserKeys;
use redkite_types::{Incarnation, NodeId};
use tokio::sync::mpsc;

use crate::joining::{Process, cluster, user};

const FIRST: (NodeId, Incarnation) = (NodeId(1), Incarnation(1));

/// Begins conversations that tell when they end.
struct Counting {
    ends: mpsc::UnboundedSender<u64>,
    patience: Duration,
}

/// Answers with how often it was asked, and what.
struct Counter {
    ends: mpsc::UnboundedSender<u64>,
    asked: u64,
    patience: Duration,
}

impl Converse for Counting {
    fn begin(&self) -> Box<dyn Partner> {
        Box::new(Counter { ends: self.ends.clone(), asked: 0, patience: self.patience })
    }
}

#[async_trait]
impl Partner for Counter {
    async fn answer(&mut self, question: Bytes) -> Result<Bytes, String> {
        self.asked += 1;
        match &question[..] {
            b"refuse" => Err("no more".to_owned()),
            b"panic" => panic!("a defect"),
            b"hang" => std::future::pending().await,
            _ => Ok([self.asked.to_string().as_bytes(), b" ", &question].concat().into()),
        }
    }

    fn patience(&self) -> Duration {
        self.patience
    }
}

impl Drop for Counter {
    fn drop(&mut self) {
        _ = self.ends.send(self.asked);
    }
}

/// The nodes as the second one knows them.
fn neighbours(meta: Arc<MemoryStore>, members: &Members) -> Neighbours {
    Neighbours::new(meta, &UserKeys::new(&user()), &cluster(), NodeId(2), members)
}

/// Two nodes: the first one answers, the second one knows it.
async fn pair(patience: Duration) -> (Process, Process, Neighbours, mpsc::UnboundedReceiver<u64>) {
    let meta = Arc::new(MemoryStore::new());
    let (a, b) = (Process::start("a").await, Process::start("b").await);
    a.join(meta.as_ref(), 1, &Network).await.unwrap();
    let (members, _) = b.join(meta.as_ref(), 2, &Network).await.unwrap();
    let neighbours = neighbours(meta, &members);
    let early = neighbours.converse(FIRST).await.unwrap_err();
    assert!(matches!(&early, Undone::Failed(reason) if reason.contains("does not serve yet")), "{early:?}");
    let (ends, ended) = mpsc::unbounded_channel();
    a.answering.converse_by(Arc::new(Counting { ends, patience }));
    (a, b, neighbours, ended)
}

async fn ended(ends: &mut mpsc::UnboundedReceiver<u64>) -> u64 {
    tokio::time::timeout(Duration::from_secs(20), ends.recv()).await.unwrap().unwrap()
}

async fn ask(conversation: &mut Conversation, question: &'static str) -> Result<Bytes, Undone> {
    conversation.ask(question.into()).await
}

#[tokio::test]
async fn questions_are_answered_in_turn_until_an_end_goes() {
    let (a, _b, neighbours, mut ends) = pair(Duration::from_secs(60)).await;
    let mut first = neighbours.converse(FIRST).await.unwrap();
    let mut second = neighbours.converse(FIRST).await.unwrap();
    assert_eq!(ask(&mut first, "a").await.unwrap(), "1 a");
    assert_eq!(ask(&mut second, "b").await.unwrap(), "1 b");
    assert_eq!(ask(&mut first, "c").await.unwrap(), "2 c");
    // More than gRPC takes unless it is told to.
    let large: Bytes = vec![7; 9_000_000].into();
    assert_eq!(first.ask(large.clone()).await.unwrap().len(), large.len() + 2);
    drop(first);
    assert_eq!(ended(&mut ends).await, 3);
    assert_eq!(ask(&mut second, "d").await.unwrap(), "2 d", "the other one goes on");
    // What is given up in the middle of a question ends, too.
    let hanging = tokio::time::timeout(Duration::from_millis(50), ask(&mut second, "hang")).await;
    assert!(hanging.is_err());
    drop(second);
    assert_eq!(ended(&mut ends).await, 3);
    let mut broken = neighbours.converse(FIRST).await.unwrap();
    ask(&mut broken, "a").await.unwrap();
    a.kill();
    assert!(matches!(ask(&mut broken, "b").await, Err(Undone::Failed(_))));
    assert!(matches!(neighbours.converse(FIRST).await, Err(Undone::Failed(_))));
}

#[tokio::test]
async fn who_will_not_or_cannot_answer_ends_the_conversation() {
    let (_a, _b, neighbours, mut ends) = pair(Duration::from_secs(60)).await;
    for (question, refused) in [("refuse", true), ("panic", false)] {
        let mut conversation = neighbours.converse(FIRST).await.unwrap();
        let mut beside = neighbours.converse(FIRST).await.unwrap();
        ask(&mut conversation, "a").await.unwrap();
        let undone = ask(&mut conversation, question).await.unwrap_err();
        assert_eq!(undone == Undone::Refused("no more".to_owned()), refused, "{undone:?}");
        assert_eq!(ended(&mut ends).await, 2);
        assert!(ask(&mut conversation, "a").await.is_err(), "for good");
        assert_eq!(ask(&mut beside, "a").await.unwrap(), "1 a");
        drop(beside);
        assert_eq!(ended(&mut ends).await, 1);
    }
}

#[tokio::test]
async fn who_says_nothing_for_too_long_is_taken_for_gone() {
    let (_a, _b, neighbours, mut ends) = pair(Duration::from_millis(50)).await;
    let mut conversation = neighbours.converse(FIRST).await.unwrap();
    assert_eq!(ended(&mut ends).await, 0);
    assert!(matches!(ask(&mut conversation, "a").await, Err(Undone::Failed(_))));
}

#[tokio::test]
async fn strangers_are_not_talked_to_and_every_other_node_tells_its_load() {
    let meta = Arc::new(MemoryStore::new());
    let (a, b) = (Process::start("a").await, Process::start("b").await);
    a.join(meta.as_ref(), 1, &Network).await.unwrap();
    let (members, _) = b.join(meta.as_ref(), 2, &Network).await.unwrap();
    a.answering
        .converse_by(Arc::new(Counting { ends: mpsc::unbounded_channel().0, patience: Duration::from_secs(60) }));
    let mut others = Members::new("another secret".to_owned());
    others.nodes = members.nodes.clone();
    let stranger = neighbours(meta.clone(), &others);
    assert!(stranger.converse(FIRST).await.is_err());
    assert!(stranger.loads().await.is_empty());
    let neighbours = neighbours(meta, &members);
    neighbours.converse(FIRST).await.unwrap();
    let loads = neighbours.loads().await;
    assert_eq!(loads.len(), 1);
    assert_eq!((loads[0].0, loads[0].1.memory_bytes, loads[0].1.memory_budget_bytes), (NodeId(1), 1, 9));
    a.kill();
    assert!(neighbours.loads().await.is_empty());
}
