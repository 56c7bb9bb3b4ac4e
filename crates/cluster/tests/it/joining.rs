//! How processes become nodes of their cluster.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use redkite_cluster::internal::{Answering, Forwarded, Network, serve};
use redkite_cluster::{Ask, Error, Joining, Load, Master, MasterOptions, Member, Members, handover, join};
use redkite_meta::keys::UserKeys;
use redkite_meta::{MemoryStore, MetaStore};
use redkite_types::{ClusterId, Incarnation, NodeId, UserName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

pub fn user() -> UserName {
    UserName::new("alice").unwrap()
}

pub fn cluster() -> ClusterId {
    ClusterId::new("c1").unwrap()
}

/// A process with its internal port.
pub struct Process {
    pub answering: Answering,
    internal: SocketAddr,
    boot: String,
    runtime: Apart,
    clients: mpsc::Receiver<Forwarded>,
}

/// Threads of its own, with which all its connections die.
struct Apart(Option<Runtime>);

impl Drop for Apart {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl Process {
    pub async fn start(boot: &str) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.spawn(TcpListener::bind("127.0.0.1:0")).await.unwrap().unwrap();
        let internal = listener.local_addr().unwrap();
        let load =
            || Load { connections: 7, memory_bytes: 1, memory_budget_bytes: 9, takes_clients: true, holding: None };
        let answering = Answering::new(user(), cluster(), load);
        let (handed, clients) = mpsc::channel(8);
        runtime.spawn(serve(listener, answering.clone(), handed, std::future::pending()));
        Self { answering, internal, boot: boot.to_owned(), runtime: Apart(Some(runtime)), clients }
    }

    pub async fn join(&self, meta: &dyn MetaStore, node: u32, ask: &dyn Ask) -> Result<(Members, Member), Error> {
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

    pub fn kill(self) {}
}

pub async fn stored(meta: &dyn MetaStore) -> Members {
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
        process.kill();
    }
    assert_eq!(stored(&meta).await.nodes.len(), 1);
}

/// Its port may be another process's by now, even the new one's own.
#[tokio::test]
async fn whoever_answers_at_the_predecessors_address_is_not_taken_for_it() {
    let meta = MemoryStore::new();
    let process = Process::start("a").await;
    process.join(&meta, 1, &Network).await.unwrap();
    let Process { answering, internal, runtime, clients, .. } = process;
    // Another run, of the same address.
    let again = Process { answering, internal, boot: "b".to_owned(), runtime, clients };
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
    async fn boot(&self, member: &Member, _: &str) -> Option<String> {
        let first = self.first.lock().take();
        if let Some(first) = first {
            first.await.unwrap();
        }
        self.boots.get(&member.internal).cloned()
    }
}

#[tokio::test]
async fn of_two_that_start_at_once_one_is_the_node() {
    let meta = Arc::new(MemoryStore::new());
    let dead = Process::start("dead").await;
    dead.join(meta.as_ref(), 1, &Network).await.unwrap();
    dead.kill();
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
    let other = Process::start("b").await;
    let mut stranger = other.join(&MemoryStore::new(), 1, &Network).await.unwrap().1;
    stranger.internal = process.internal.to_string();
    assert_eq!(Network.boot(&stranger, "secret of a").await, None, "it does not know yet who it is");
    let (_, member) = process.join(&meta, 1, &Network).await.unwrap();
    for secret in ["", "another", "secret of", "secret of b"] {
        assert_eq!(Network.boot(&member, secret).await, None);
    }
    assert_eq!(Network.boot(&stranger, "secret of a").await, None, "the proof is for another process");
    assert_eq!(Network.boot(&member, "secret of a").await.as_deref(), Some("a"));
}

#[tokio::test]
async fn a_master_hands_a_clients_connection_over_and_strangers_cannot() {
    let meta = MemoryStore::new();
    let mut process = Process::start("a").await;
    process.join(&meta, 1, &Network).await.unwrap();
    let client: SocketAddr = "10.1.2.3:4000".parse().unwrap();
    for (secret, boot, known) in [("secret of a", "a", true), ("another", "a", false), ("secret of a", "b", false)] {
        let mut connection = TcpStream::connect(process.internal).await.unwrap();
        let header = handover::header(client, process.internal, secret, boot).unwrap();
        // In pieces, as a network may deliver it.
        for piece in [&header[..5], &header[5..20], &header[20..], b"what the client sends"] {
            connection.write_all(piece).await.unwrap();
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        if known {
            let (mut handed, from) = process.clients.recv().await.unwrap();
            assert_eq!(from, client);
            let mut received = [0; 21];
            handed.read_exact(&mut received).await.unwrap();
            assert_eq!(&received, b"what the client sends");
        } else {
            assert_eq!(connection.read(&mut [0; 1]).await.unwrap_or(0), 0, "the connection is closed");
            assert!(process.clients.try_recv().is_err());
        }
    }
}

#[tokio::test]
async fn a_master_knows_who_is_alive_and_how_busy() {
    let meta = Arc::new(MemoryStore::new());
    let key = UserKeys::new(&user()).property(&cluster());
    let options = MasterOptions { interval: Duration::from_millis(20), missed_max: 3 };
    let master = Arc::new(Master::new(meta.clone(), key, options));
    let following = {
        let master = master.clone();
        tokio::spawn(async move { master.run().await })
    };
    master.first_round().await;
    assert!(master.choose().is_none(), "there is nobody");
    let until = async |what: &str, reached: &dyn Fn() -> bool| {
        let reached = async {
            while !reached() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), reached).await.expect(what);
    };
    let alive =
        || master.nodes().iter().filter(|(_, alive)| *alive).map(|(seen, _)| seen.member.node.0).collect::<Vec<_>>();
    let (a, b) = (Process::start("a").await, Process::start("b").await);
    a.join(meta.as_ref(), 1, &Network).await.unwrap();
    b.join(meta.as_ref(), 2, &Network).await.unwrap();
    until("both are met", &|| alive() == [1, 2]).await;
    assert_eq!(master.nodes()[0].0.load.unwrap().connections, 7);
    let place = master.choose().unwrap();
    assert_eq!((place.member.node, place.secret.as_str()), (NodeId(1), "secret of a"));
    a.kill();
    until("it is missed", &|| alive() == [2]).await;
    assert!(place.down.is_cancelled());
    assert_eq!(master.choose().unwrap().member.node, NodeId(2));
    // Its successor has to be met, and the other one answers all the time.
    let again = Process::start("again").await;
    again.join(meta.as_ref(), 1, &Network).await.unwrap();
    until("the next run is met", &|| alive() == [1, 2]).await;
    // One client that could not be sent there says nothing of those that were.
    let place = std::iter::from_fn(|| master.choose()).find(|place| place.member.node == NodeId(2)).unwrap();
    master.failed(&place.member);
    assert!(!place.down.is_cancelled());
    until("a node that answers is alive", &|| alive() == [1, 2]).await;
    following.abort();
}
