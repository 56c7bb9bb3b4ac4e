//! How processes become nodes of their cluster.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use redkite_cluster::internal::{Answering, Network, serve};
use redkite_cluster::{Ask, Error, Joining, Member, Members, join};
use redkite_meta::keys::UserKeys;
use redkite_meta::{MemoryStore, MetaStore};
use redkite_types::{ClusterId, Incarnation, NodeId, UserName};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

fn user() -> UserName {
    UserName::new("alice").unwrap()
}

fn cluster() -> ClusterId {
    ClusterId::new("c1").unwrap()
}

/// A process with its internal port.
struct Process {
    answering: Answering,
    internal: SocketAddr,
    boot: String,
    serving: JoinHandle<()>,
}

impl Process {
    async fn start(boot: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let internal = listener.local_addr().unwrap();
        let answering = Answering::new(user(), cluster());
        let serving = tokio::spawn(serve(listener, answering.clone(), std::future::pending()));
        Self { answering, internal, boot: boot.to_owned(), serving }
    }

    async fn join(&self, meta: &dyn MetaStore, node: u32, ask: &dyn Ask) -> Result<(Members, Member), Error> {
        let joining = Joining {
            meta,
            keys: &UserKeys::new(&user()),
            cluster: &cluster(),
            node: NodeId(node),
            address: "10.0.0.1",
            port: 19530,
            internal: &self.internal.to_string(),
            random: [self.boot.clone(), format!("secret of {}", self.boot)],
        };
        join(joining, ask, &self.answering).await
    }

    async fn kill(self) -> SocketAddr {
        self.serving.abort();
        assert!(self.serving.await.unwrap_err().is_cancelled());
        self.internal
    }
}

async fn stored(meta: &dyn MetaStore) -> Members {
    let key = UserKeys::new(&user()).property(&cluster());
    assert_eq!(key, "/alice/c1_property");
    Members::read(&key, &meta.get(&key).await.unwrap().unwrap().value).unwrap()
}

#[tokio::test]
async fn s28_the_members_are_written_when_a_node_joins() {
    let meta = MemoryStore::new();
    let (a, b) = (Process::start("a").await, Process::start("b").await);
    a.join(&meta, 1, &Network).await.unwrap();
    let (members, member) = b.join(&meta, 2, &Network).await.unwrap();
    assert_eq!(stored(&meta).await, members);
    assert_eq!(member, members.nodes[1]);
    let numbers: Vec<_> = members.nodes.iter().map(|node| (node.node.0, node.incarnation.0)).collect();
    assert_eq!(numbers, [(1, 1), (2, 1)]);
    assert_eq!(members.secret, "secret of a", "the first one's, for good");
    assert_eq!(members.nodes[0].internal, a.internal.to_string());
}

#[tokio::test]
async fn a_second_live_process_of_the_same_number_is_refused() {
    let meta = MemoryStore::new();
    let (a, b) = (Process::start("a").await, Process::start("b").await);
    a.join(&meta, 1, &Network).await.unwrap();
    let before = stored(&meta).await;
    let error = b.join(&meta, 1, &Network).await.unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, Error::Runs { .. }), "{text}");
    for word in ["node 1", "c1", "10.0.0.1:19530", "--node-id"] {
        assert!(text.contains(word), "no {word} in {text}");
    }
    assert_eq!(stored(&meta).await, before);
}

#[tokio::test]
async fn a_restart_takes_the_place_of_a_predecessor_that_is_gone() {
    let meta = MemoryStore::new();
    for run in 1..4 {
        let process = Process::start(&format!("run {run}")).await;
        let (_, member) = process.join(&meta, 1, &Network).await.unwrap();
        assert_eq!(member.incarnation, Incarnation(run));
        process.kill().await;
    }
    assert_eq!(stored(&meta).await.nodes.len(), 1);
}

/// Its port may be another process's by now, even the new one's own.
#[tokio::test]
async fn whoever_answers_at_the_predecessors_address_is_not_taken_for_it() {
    let meta = MemoryStore::new();
    let process = Process::start("a").await;
    process.join(&meta, 1, &Network).await.unwrap();
    let Process { answering, internal, serving, .. } = process;
    // Another run, of the same address.
    let again = Process { answering, internal, boot: "b".to_owned(), serving };
    again.answering.answer("secret of a", &Member { boot: "b".to_owned(), ..stored(&meta).await.nodes[0].clone() });
    let (_, member) = again.join(&meta, 1, &Network).await.unwrap();
    assert_eq!(member.incarnation, Incarnation(2));
}

/// A process that is frozen, or whose host swallows what is sent to it.
#[tokio::test(start_paused = true)]
async fn a_predecessor_that_does_not_answer_in_time_is_taken_for_dead() {
    let meta = MemoryStore::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let frozen = Process::start("a").await;
    let mut member = frozen.join(&meta, 1, &Network).await.unwrap().1;
    member.internal = listener.local_addr().unwrap().to_string();
    let mut members = stored(&meta).await;
    members.put(member);
    let put = redkite_meta::Op::put(UserKeys::new(&user()).property(&cluster()), members.value());
    meta.txn(redkite_meta::Txn { then: vec![put], ..Default::default() }).await.unwrap();
    let began = tokio::time::Instant::now();
    let (_, member) = Process::start("b").await.join(&meta, 1, &Network).await.unwrap();
    assert_eq!(member.incarnation, Incarnation(2));
    assert!(began.elapsed() < Duration::from_secs(5));
    drop(listener);
}

/// Answers from a table, and lets something happen first.
struct Scripted {
    boots: HashMap<String, String>,
    first: Mutex<Option<JoinHandle<()>>>,
}

#[async_trait]
impl Ask for Scripted {
    async fn boot(&self, internal: &str, _: &str) -> Option<String> {
        let first = self.first.lock().take();
        if let Some(first) = first {
            first.await.unwrap();
        }
        self.boots.get(internal).cloned()
    }
}

#[tokio::test]
async fn of_two_that_start_at_once_one_is_the_node() {
    let meta = Arc::new(MemoryStore::new());
    let dead = Process::start("dead").await;
    dead.join(meta.as_ref(), 1, &Network).await.unwrap();
    dead.kill().await;
    let (quick, slow) = (Process::start("quick").await, Process::start("slow").await);
    // The quick one joins while the slow one asks the dead one.
    let boots = HashMap::from([(quick.internal.to_string(), "quick".to_owned())]);
    let first = {
        let meta = meta.clone();
        tokio::spawn(async move {
            quick.join(meta.as_ref(), 1, &Network).await.unwrap();
        })
    };
    let ask = Scripted { boots, first: Mutex::new(Some(first)) };
    let error = slow.join(meta.as_ref(), 1, &ask).await.unwrap_err();
    assert!(matches!(error, Error::Runs { .. }), "{error}");
    assert_eq!(stored(meta.as_ref()).await.nodes[0].boot, "quick");
}

#[tokio::test]
async fn strangers_are_not_answered() {
    let meta = MemoryStore::new();
    let process = Process::start("a").await;
    let internal = process.internal.to_string();
    assert_eq!(Network.boot(&internal, "").await, None, "it does not know yet who it is");
    process.join(&meta, 1, &Network).await.unwrap();
    for secret in ["", "another", "secret of", "secret of b"] {
        assert_eq!(Network.boot(&internal, secret).await, None);
    }
    assert_eq!(Network.boot(&internal, "secret of a").await.as_deref(), Some("a"));
}
