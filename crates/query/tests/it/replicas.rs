//! S21: a flush that waits for replicas. S42: what a node is to hold.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use redkite_meta::MemoryStore;
use redkite_query::{AskError, Coordinator, Duty, Holder, Holdings, Layout, Peer, Peers};
use redkite_storage::{DataStore, StorageOptions};
use redkite_table::replication::Replicas;
use redkite_types::{ErrorKind, Incarnation, NodeId, Revision};

use crate::fake_s3::FakeS3;
use crate::plain::Row;
use crate::world::{FILMS, Node, Stores};

/// The nodes of a cluster, in one process.
#[derive(Debug)]
struct Cluster {
    holders: BTreeMap<u32, Holder>,
    layout: Mutex<Arc<Layout>>,
    /// What was asked of whom, and what came of it.
    asked: Mutex<Vec<(u32, bool)>>,
    down: Mutex<Vec<u32>>,
    frozen: Mutex<Vec<u32>>,
}

#[async_trait]
impl Peers for Cluster {
    fn layout(&self) -> Arc<Layout> {
        self.layout.lock().clone()
    }

    async fn ask(&self, peer: Peer, request: Bytes) -> Result<Bytes, AskError> {
        let node = peer.node.0;
        if self.frozen.lock().contains(&node) {
            std::future::pending::<()>().await;
        }
        let is_down = self.down.lock().contains(&node);
        self.asked.lock().push((node, !is_down));
        if is_down {
            return Err(AskError::Failed("it is down".to_owned()));
        }
        self.holders[&node].answer(request).await.map_err(|error| AskError::Refused(error.to_string()))
    }
}

impl Cluster {
    fn arrange(&self, change: impl FnOnce(&mut Layout)) {
        let mut layout = Layout::clone(&self.layout.lock());
        layout.revision = layout.revision.next();
        change(&mut layout);
        *self.layout.lock() = Arc::new(layout);
    }

    /// Who fetched something since the last time, and how often in all somebody was asked.
    fn fetched(&self) -> (Vec<u32>, usize) {
        let asked = std::mem::take(&mut *self.asked.lock());
        let mut by: Vec<u32> = asked.iter().filter(|(_, done)| *done).map(|(node, _)| *node).collect();
        by.sort_unstable();
        (by, asked.len())
    }
}

/// Three nodes over one storage, the flushes of the first of which wait for replicas.
async fn three(level: usize) -> (Vec<Node>, Arc<Cluster>) {
    let stores = Stores::new().await;
    let mut nodes = Vec::new();
    for number in 1..4 {
        nodes.push(stores.node(number).await);
    }
    let holders = nodes.iter().zip(1..).map(|(node, number)| (number, Holder::new(node.database.clone()))).collect();
    let peer = |node| (Peer { node: NodeId(node), run: Incarnation(1) }, Duty::Serving);
    let layout = Layout { nodes: (1..4).map(peer).collect(), copies: level + 1, ..Layout::default() };
    let cluster = Arc::new(Cluster {
        holders,
        layout: Mutex::new(Arc::new(layout)),
        asked: Mutex::default(),
        down: Mutex::default(),
        frozen: Mutex::default(),
    });
    nodes[0].create(FILMS).await;
    let replication = &nodes[0].database.replication;
    replication.held_by(Arc::new(Coordinator::among(nodes[0].database.clone(), cluster.clone())));
    replication.set_level(level);
    (nodes, cluster)
}

fn rows(from: i64) -> Vec<Row> {
    (from..from + 5).map(|key| (key, key)).collect()
}

#[tokio::test(start_paused = true)]
async fn s21_a_flush_waits_for_as_many_replicas_as_sync_level_says() {
    for level in 0..=2 {
        let (nodes, cluster) = three(level).await;
        let client = nodes[0].client();
        client.insert(&rows(0)).await;
        client.flush().await;
        let (by, _) = cluster.fetched();
        assert_eq!(by.len(), level, "{by:?}");
        assert!(by.iter().all(|node| *node != 1));
        // A delete is one, too: its log has to be there.
        client.delete(&[1, 2]).await;
        client.flush().await;
        assert_eq!(cluster.fetched().0.len(), level);
        assert_eq!(nodes[1].rows(FILMS).await.len(), 3);
        // What changes nothing waits for nobody.
        client.flush().await;
        assert_eq!(cluster.fetched().1, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn s21_who_does_not_answer_is_replaced_by_the_next_node() {
    for frozen in [false, true] {
        let (nodes, cluster) = three(1).await;
        let client = nodes[0].client();
        for out in [2, 3] {
            let hurt = if frozen { &cluster.frozen } else { &cluster.down };
            *hurt.lock() = vec![out];
            client.insert(&rows(i64::from(out) * 10)).await;
            client.flush().await;
            assert_eq!(cluster.fetched().0, [5 - out]);
            hurt.lock().clear();
            // Until it is not avoided any more.
            tokio::time::sleep(Duration::from_secs(30)).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn s21_without_enough_replicas_nothing_is_published_and_the_block_stays() {
    let (nodes, cluster) = three(2).await;
    let client = nodes[0].client();
    *cluster.down.lock() = vec![3];
    client.insert(&rows(0)).await;
    let error = client.try_flush().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let text = error.to_string();
    for word in ["1 of the 2 replicas", "sync_level = 2", "node 3: it is down", "redkite config set sync_level=1"] {
        assert!(text.contains(word), "no {word:?} in {text}");
    }
    assert!(nodes[0].rows(FILMS).await.is_empty() && nodes[1].rows(FILMS).await.is_empty());
    cluster.down.lock().clear();
    client.flush().await;
    assert_eq!(nodes[1].rows(FILMS).await.len(), 5);
    // Nor with nodes that have left.
    cluster.arrange(|layout| layout.nodes[1].1 = Duty::Going);
    client.insert(&rows(10)).await;
    assert!(client.try_flush().await.unwrap_err().to_string().starts_with("1 of the 2 replicas"));
    nodes[0].database.replication.set_level(1);
    client.flush().await;
    assert_eq!(nodes[1].rows(FILMS).await.len(), 10);
}

/// A node that cannot be connected to costs a flush seconds, and must not cost each of them. About half of the fragments would
/// be its own first of all.
#[tokio::test]
async fn s21_who_is_not_there_is_asked_last_for_a_while() {
    let (nodes, cluster) = three(1).await;
    *cluster.down.lock() = vec![2];
    let client = nodes[0].client();
    for key in 0..24 {
        client.insert(&rows(key * 10)).await;
        client.flush().await;
    }
    let (by, asked) = cluster.fetched();
    assert_eq!(by, [3; 24]);
    assert!((1..4).contains(&(asked - by.len())), "{asked}");
}

/// What was fetched first must not have been dropped for what was fetched last.
#[tokio::test]
async fn s21_who_has_no_room_for_all_of_a_block_holds_none_of_it() {
    let server = FakeS3::start().await;
    let meta = Arc::new(MemoryStore::new());
    let caches = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let node = async |number: u32, bytes: u64| {
        let options = StorageOptions { cache_bytes_max: bytes, ..server.options(caches[number as usize - 1].path()) };
        Stores::over(meta.clone(), DataStore::connect(options).await.unwrap()).node(number).await
    };
    let first = node(1, 1 << 30).await;
    first.create(FILMS).await;
    let client = first.client();
    let rows: Vec<Row> = (0..4_000).map(|key| (key, key)).collect();
    client.insert(&rows).await;
    client.flush().await;
    let fragment = first.collection(FILMS).await.fragments.values().next().unwrap().clone();
    let largest = fragment.files.iter().map(|file| file.entry.size).max().unwrap();
    for (bytes, fits) in [(largest + 1, false), (2 * fragment.bytes(), true)] {
        let second = node(2, bytes).await;
        let peer = |node| (Peer { node: NodeId(node), run: Incarnation(1) }, Duty::Serving);
        let layout = Layout { nodes: (1..3).map(peer).collect(), copies: 2, ..Layout::default() };
        let cluster = Arc::new(Cluster {
            holders: [(2, Holder::new(second.database.clone()))].into(),
            layout: Mutex::new(Arc::new(layout)),
            asked: Mutex::default(),
            down: Mutex::default(),
            frozen: Mutex::default(),
        });
        let catalog = first.collection(FILMS).await;
        let held = Coordinator::among(first.database.clone(), cluster).hold(1, vec![catalog]).await;
        assert_eq!(held.is_ok(), fits, "{held:?}");
        if let Err(short) = held {
            assert!(short.reasons.contains("does not fit into this node's cache"), "{short:?}");
        }
    }
}

/// A cluster that is arranged anew as soon as somebody has looked at it.
#[derive(Debug)]
struct Restless(Arc<Cluster>, AtomicBool);

#[async_trait]
impl Peers for Restless {
    fn layout(&self) -> Arc<Layout> {
        let layout = self.0.layout();
        if !self.1.swap(true, Ordering::Relaxed) {
            self.0.arrange(|_| {});
        }
        layout
    }

    async fn ask(&self, peer: Peer, request: Bytes) -> Result<Bytes, AskError> {
        self.0.ask(peer, request).await
    }
}

#[tokio::test(start_paused = true)]
async fn s42_a_layout_that_comes_while_a_node_plans_is_not_missed() {
    let (nodes, cluster) = three(0).await;
    let holdings = Holdings::new(nodes[0].database.clone(), Arc::new(Restless(cluster.clone(), AtomicBool::default())));
    let followed = async {
        holdings.wait_for(|standing| standing.warm).await;
        let newest = cluster.layout().revision;
        holdings.wait_for(|standing| standing.layout == newest).await;
    };
    tokio::select! {
        () = holdings.run() => {}
        followed = tokio::time::timeout(Duration::from_secs(60), followed) => followed.unwrap(),
    }
}

#[tokio::test(start_paused = true)]
async fn s42_a_node_holds_what_placement_gives_it_as_nodes_come_and_go() {
    let (nodes, cluster) = three(0).await;
    let client = nodes[0].client();
    for part in 0..24 {
        client.insert(&rows(part * 10)).await;
        client.flush().await;
    }
    let holdings: Vec<Arc<Holdings>> =
        nodes.iter().map(|node| Arc::new(Holdings::new(node.database.clone(), cluster.clone()))).collect();
    assert!(!holdings[0].standing().warm);
    for holdings in &holdings {
        let holdings = holdings.clone();
        tokio::spawn(async move { holdings.run().await });
    }
    let held = async |change: &dyn Fn(&mut Layout)| -> Vec<u64> {
        cluster.arrange(change);
        let now = cluster.layout().revision;
        let mut held = Vec::new();
        for holdings in &holdings {
            holdings.wait_for(|standing| standing.layout == now && standing.pending == 0).await;
            let standing = holdings.standing();
            assert!(standing.warm && standing.missing == 0);
            assert_eq!((standing.total, standing.catalog), (24, nodes[0].database.newest().revision));
            held.push(standing.fragments);
        }
        held
    };
    // What a node inserts is its own, ...
    assert_eq!(held(&|_| {}).await, [24, 0, 0]);
    assert_eq!(held(&|layout| layout.copies = 3).await, [24, 24, 24]);
    let two = held(&|layout| layout.copies = 2).await;
    assert_eq!((two[0], two[1] + two[2]), (24, 24));
    // ... until it goes, when it keeps it and others fetch it, ...
    let going = held(&|layout| (layout.copies, layout.nodes[0].1) = (1, Duty::Going)).await;
    assert_eq!((going[0], going[1] + going[2]), (24, 24));
    assert_eq!(held(&|layout| layout.nodes[0].1 = Duty::Away).await, [0, going[1], going[2]]);
    // ... or all is spread.
    let newest = nodes[0].database.newest().revision;
    let spreading = held(&|layout| (layout.nodes[0].1, layout.balancing) = (Duty::Serving, newest)).await;
    assert_eq!(spreading[0], 24, "asked until the others have theirs");
    let spread = held(&|layout| layout.balanced = newest).await;
    assert_eq!(spread.iter().sum::<u64>(), 24);
    assert_eq!(spread[1..], spreading[1..]);
    assert!(spread.iter().all(|held| *held > 1), "{spread:?}");
    // A collection that is dropped is nobody's.
    nodes[0].drop_collection(FILMS).await;
    for holdings in &holdings {
        holdings.wait_for(|standing| standing.total == 0 && standing.fragments == 0 && standing.bytes == 0).await;
    }
    assert_ne!(newest, Revision::ZERO);
}
