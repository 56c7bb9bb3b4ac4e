//! S39: what several nodes answer together is what one answers alone, bit for bit, whatever becomes of the others.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow_array::ArrayRef;
use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use rand::RngExt as _;
use redkite_expr::{Predicate, Templates, parse};
use redkite_query::{
    AskError, Coordinator, Duty, Holder, Layout, Peer, Peers, QueryRequest, Rows, SearchHits, SearchRequest, Window,
};
use redkite_query::{count, query, search};
use redkite_storage::{DataStore, StorageOptions};
use redkite_table::Collection;
use redkite_testkit::Seeded;
use redkite_types::{FieldId, Incarnation, Keys, Metric, NodeId, Schema};
use tokio::time::Instant;

use crate::other_schemas::{BITS, FLOATS, KEY, SEEN, films_on};
use crate::plain::{Row, Write};
use crate::world::{FILMS, ID, Node, Stores, TAG, VECTOR};

/// What becomes of what a node is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Fails,
    Refuses,
    Unable,
    Hangs,
    /// The answer comes this late.
    Late(Duration),
    Garbage,
    Empty,
    CutOff,
    Flipped,
    /// What it was asked is not what it answers.
    Confused,
}

/// The nodes of a cluster, in one process.
#[derive(Debug, Default)]
struct Cluster {
    holders: BTreeMap<u32, Holder>,
    layout: Mutex<Arc<Layout>>,
    faults: Mutex<BTreeMap<u32, Fault>>,
    /// Who was asked.
    asked: Mutex<Vec<u32>>,
    earlier: Mutex<Vec<Bytes>>,
}

impl Cluster {
    fn fault(&self, node: u32, fault: impl Into<Option<Fault>>) {
        match fault.into() {
            Some(fault) => _ = self.faults.lock().insert(node, fault),
            None => _ = self.faults.lock().remove(&node),
        }
    }

    /// What its nodes are to placement from now on, beginning with the first.
    fn arrange(&self, copies: usize, duties: &[Duty]) {
        let node = |(node, duty): (&u32, &Duty)| (Peer { node: NodeId(*node), run: Incarnation(1) }, *duty);
        let nodes = self.holders.keys().zip(duties).map(node).collect();
        *self.layout.lock() = Arc::new(Layout { nodes, copies, ..Layout::default() });
    }

    /// Who was asked since the last time.
    fn asked(&self) -> Vec<u32> {
        let mut asked = std::mem::take(&mut *self.asked.lock());
        asked.sort_unstable();
        asked
    }
}

#[async_trait]
impl Peers for Cluster {
    fn layout(&self) -> Arc<Layout> {
        self.layout.lock().clone()
    }

    async fn ask(&self, peer: Peer, request: Bytes) -> Result<Bytes, AskError> {
        self.asked.lock().push(peer.node.0);
        let fault = self.faults.lock().get(&peer.node.0).copied();
        match fault {
            Some(Fault::Fails) => return Err(AskError::Failed("it fails".to_owned())),
            Some(Fault::Refuses) => return Err(AskError::Refused("it refuses".to_owned())),
            Some(Fault::Unable) => return Err(AskError::Unable("it cannot".to_owned())),
            Some(Fault::Hangs) => std::future::pending().await,
            Some(Fault::Late(by)) => tokio::time::sleep(by).await,
            Some(Fault::Garbage) => return Ok(Bytes::from(vec![7; 100])),
            Some(Fault::Empty) => return Ok(Bytes::new()),
            _ => {}
        }
        let answer = self.holders[&peer.node.0].answer(request).await;
        let answer = answer.map_err(|error| AskError::Refused(error.to_string()))?;
        Ok(match fault {
            Some(Fault::CutOff) => answer.slice(..answer.len() - 1),
            Some(Fault::Flipped) => {
                let mut bytes = answer.to_vec();
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
                bytes.into()
            }
            Some(Fault::Confused) => {
                let mut earlier = self.earlier.lock();
                earlier.push(answer);
                // The first answer of all, and to what nobody else was asked.
                earlier[0].clone()
            }
            _ => answer,
        })
    }
}

/// Nodes over one storage, of which the first ones are a cluster.
struct Nodes {
    nodes: Vec<Node>,
    cluster: Arc<Cluster>,
}

impl Nodes {
    /// Nodes from 1 on, of which `members` are of the cluster.
    async fn new(stores: &Stores, nodes: u32, members: u32, copies: usize) -> Self {
        let mut all = Vec::new();
        for number in 1..=nodes {
            all.push(stores.node(number).await);
        }
        let holders = (1..=members).map(|number| (number, Holder::new(all[number as usize - 1].database.clone())));
        let cluster = Arc::new(Cluster { holders: holders.collect(), ..Cluster::default() });
        cluster.arrange(copies, &vec![Duty::Serving; members as usize]);
        Self { nodes: all, cluster }
    }

    fn coordinator(&self, node: u32) -> Coordinator {
        let database = self.nodes[node as usize - 1].database.clone();
        Coordinator::among(database, self.cluster.clone())
    }
}

/// A filter that can be sent.
fn sendable(schema: &Schema, text: &str) -> Arc<Predicate> {
    let templates = Templates::new();
    Arc::new(parse(text, &templates, schema).unwrap().written_as(text.to_owned(), templates))
}

fn same_rows(a: &Rows, b: &Rows, what: &str) {
    assert_eq!(a.rows, b.rows, "{what}");
    let columns = |rows: &Rows| -> Vec<(FieldId, ArrayRef)> { rows.columns.clone() };
    assert_eq!(columns(a), columns(b), "{what}");
}

fn same_hits(a: &SearchHits, b: &SearchHits, what: &str) {
    assert_eq!(a.counts, b.counts, "{what}");
    let bits = |hits: &SearchHits| -> Vec<u32> { hits.scores.iter().map(|score| score.to_bits()).collect() };
    assert_eq!(bits(a), bits(b), "{what}");
    assert_eq!(&a.keys, &b.keys, "{what}");
    same_rows(&a.rows, &b.rows, what);
}

fn searching(collection: &Arc<Collection>, metric: Metric, queries: &[[f32; 2]], text: &str) -> SearchRequest {
    let bytes: Vec<u8> = queries.iter().flatten().flat_map(|component| component.to_le_bytes()).collect();
    SearchRequest {
        collection: collection.clone(),
        vector: VECTOR,
        metric,
        queries: bytes.into(),
        filter: sendable(&collection.record().unwrap().schema, text),
        limit: 10,
        offset: 0,
        window: Window::ALL,
        whole_ties: false,
        fields: vec![TAG, VECTOR],
    }
}

fn asking(collection: &Arc<Collection>, text: &str, offset: usize, limit: Option<usize>) -> QueryRequest {
    let filter = sendable(&collection.record().unwrap().schema, text);
    QueryRequest { collection: collection.clone(), filter, offset, limit, fields: vec![TAG, VECTOR, ID] }
}

/// Three fragments, one of each of three nodes, with keys and scores in common.
async fn three_nodes(copies: usize) -> Nodes {
    let stores = Stores::new().await;
    let nodes = Nodes::new(&stores, 3, 3, copies).await;
    nodes.nodes[0].create(FILMS).await;
    for (at, node) in nodes.nodes.iter().enumerate() {
        let client = node.client();
        let start = at as i64 * 40;
        client.insert(&(start..start + 60).map(|key| (key, (key + at as i64) % 5)).collect::<Vec<Row>>()).await;
        client.flush().await;
    }
    nodes.cluster.asked();
    nodes
}

/// Asks every node for everything; each answers as one alone does.
async fn all_agree(nodes: &Nodes, coordinators: &[Coordinator]) {
    let alone = &nodes.nodes[0].database;
    let collection = nodes.nodes[0].collection(FILMS).await;
    let schema = &collection.record().unwrap().schema;
    for coordinator in coordinators {
        let request = searching(&collection, Metric::L2, &[[50.0, 2.0], [1.0, 0.0]], "tag != 3");
        let want = search(alone, request.clone()).await.unwrap();
        same_hits(&coordinator.search(request).await.unwrap(), &want, "a search");
        let want = query(alone, asking(&collection, "tag < 4", 3, Some(50))).await.unwrap();
        assert!(want.rows > 40);
        same_rows(&coordinator.query(asking(&collection, "tag < 4", 3, Some(50))).await.unwrap(), &want, "a query");
        let filter = sendable(schema, "tag == 2");
        let want = count(alone, &collection, &filter).await.unwrap();
        assert_eq!(coordinator.count(&collection, &filter).await.unwrap(), want);
    }
}

#[tokio::test]
async fn s39_random_requests_are_answered_as_one_node_answers_them() {
    for seed in 0..25 {
        let mut random = Seeded::from_seed(seed);
        let stores = Stores::new().await;
        // The last one's data is nobody's first.
        let nodes = Nodes::new(&stores, 4, 3, random.rng.random_range(1..4)).await;
        nodes.nodes[0].create(FILMS).await;
        for _ in 0..random.rng.random_range(1..14) {
            let client = nodes.nodes[random.rng.random_range(0..4)].client();
            let row = |random: &mut Seeded| (random.rng.random_range(-4..12), random.rng.random_range(-3..4));
            let write = match random.rng.random_range(0..6) {
                0 => Write::DeleteKeys(vec![row(&mut random).0]),
                1 => Write::Upsert(vec![row(&mut random)]),
                _ => Write::Insert((0..8).map(|_| row(&mut random)).collect()),
            };
            client.films(write).await;
            client.flush().await;
        }
        let collection = nodes.nodes[0].collection(FILMS).await;
        let schema = collection.record().unwrap().schema.clone();
        let low = random.rng.random_range(-5..5);
        let texts = [
            "".to_owned(),
            format!("tag >= {low}"),
            format!("id in [1, {low}, 7, 8] and tag > -2"),
            "id in [3, 5]".into(),
        ];
        for number in 1..=3 {
            let (coordinator, alone) = (nodes.coordinator(number), &nodes.nodes[number as usize - 1].database);
            for text in &texts {
                let what = format!("seed {seed}, node {number}, {text:?}");
                let filter = sendable(&schema, text);
                let want = count(alone, &collection, &filter).await.unwrap();
                assert_eq!(coordinator.count(&collection, &filter).await.unwrap(), want, "{what}");
                for limit in [None, Some(0), Some(1), Some(5), Some(1_000)] {
                    let request = asking(&collection, text, random.rng.random_range(0..4), limit);
                    let want = query(alone, request.clone()).await.unwrap();
                    same_rows(&coordinator.query(request).await.unwrap(), &want, &what);
                }
                for metric in [Metric::L2, Metric::Ip, Metric::Cosine] {
                    let query = |random: &mut Seeded| {
                        [random.rng.random_range(-4..9) as f32, random.rng.random_range(-4..4) as f32]
                    };
                    let queries: Vec<[f32; 2]> =
                        (0..random.rng.random_range(1..4)).map(|_| query(&mut random)).collect();
                    let mut request = searching(&collection, metric, &queries, text);
                    request.limit = random.rng.random_range(0..12);
                    request.offset = random.rng.random_range(0..5);
                    request.whole_ties = random.rng.random();
                    if random.rng.random() {
                        let bound = random.rng.random_range(-3..20) as f32;
                        request.window =
                            if random.rng.random() { Window::beyond(bound) } else { Window::range(bound, None) };
                    }
                    if random.rng.random() {
                        request.fields = Vec::new();
                    }
                    let want = search(alone, request.clone()).await.unwrap();
                    same_hits(&coordinator.search(request).await.unwrap(), &want, &format!("{what} {metric}"));
                }
            }
        }
        let stores_asked = nodes.cluster.asked();
        assert!(collection.fragments.is_empty() || collection.live_rows() == 0 || !stores_asked.is_empty());
    }
}

/// More rows tie than a scan keeps at first: every node has to be asked again for more.
async fn tied_nodes() -> Nodes {
    let stores = Stores::new().await;
    let nodes = Nodes::new(&stores, 3, 3, 1).await;
    nodes.nodes[0].create(FILMS).await;
    // At the inner product with (0, 1) only the tag counts.
    let rows: Vec<Row> = (0..18_000).rev().map(|key| (key, 1)).collect();
    for (node, rows) in nodes.nodes.iter().zip(rows.chunks(6_000)) {
        let client = node.client();
        client.insert(rows).await;
        client.flush().await;
    }
    nodes
}

#[tokio::test]
async fn s39_thousands_of_ties_over_nodes_are_ordered_by_key() {
    let nodes = tied_nodes().await;
    let collection = nodes.nodes[0].collection(FILMS).await;
    for (whole_ties, limit) in [(false, 11), (true, 3)] {
        let mut request = searching(&collection, Metric::Ip, &[[0.0, 1.0]], "");
        (request.limit, request.whole_ties) = (limit, whole_ties);
        let want = search(&nodes.nodes[0].database, request.clone()).await.unwrap();
        assert_eq!(want.scores.len(), if whole_ties { 18_000 } else { 11 });
        same_hits(&nodes.coordinator(2).search(request).await.unwrap(), &want, "ties");
    }
}

#[tokio::test]
async fn s39_text_keys_bits_and_missing_vectors_come_from_other_nodes_as_they_are() {
    let stores = Stores::new().await;
    let nodes = Nodes::new(&stores, 3, 3, 1).await;
    films_on(&nodes.nodes[0], &nodes.nodes[1]).await;
    let collection = nodes.nodes[2].collection(FILMS).await;
    let schema = collection.record().unwrap().schema.clone();
    let (coordinator, alone) = (nodes.coordinator(3), &nodes.nodes[2].database);
    for text in ["", "seen == true", "seen is null", r#"title > "a""#, r#"title in ["a", "", "ä"]"#] {
        let filter = sendable(&schema, text);
        let fields = vec![SEEN, KEY, FLOATS, BITS];
        let request = QueryRequest { collection: collection.clone(), filter, offset: 0, limit: None, fields };
        let want = query(alone, request.clone()).await.unwrap();
        same_rows(&coordinator.query(request.clone()).await.unwrap(), &want, text);
        let origin: Vec<u8> = [0.0f32, 0.0].iter().flat_map(|x| x.to_le_bytes()).collect();
        for (vector, metric, queries) in [
            (BITS, Metric::Hamming, vec![0b0011, 0b1000]),
            (BITS, Metric::Jaccard, vec![0b0011, 0]),
            (FLOATS, Metric::Cosine, origin),
        ] {
            let request = SearchRequest {
                collection: collection.clone(),
                vector,
                metric,
                queries: queries.into(),
                filter: sendable(&schema, text),
                limit: 3,
                offset: 1,
                window: Window::ALL,
                whole_ties: false,
                fields: vec![FLOATS, SEEN],
            };
            let want = search(alone, request.clone()).await.unwrap();
            same_hits(&coordinator.search(request).await.unwrap(), &want, &format!("{text:?} {metric}"));
        }
    }
    assert!(nodes.cluster.asked().contains(&1), "and they do come from there");
}

#[tokio::test]
async fn s39_who_holds_nothing_of_it_is_not_asked() {
    let nodes = three_nodes(1).await;
    let collection = nodes.nodes[0].collection(FILMS).await;
    // Keys from 0 to 59 are the first one's, from 40 to 99 the second one's, from 80 on the third one's.
    let coordinator = nodes.coordinator(1);
    for (text, asked) in [
        ("id in [1, 5]", vec![]),
        ("id == 70", vec![2]),
        ("id in [5, 130]", vec![3]),
        ("id in [90]", vec![2, 3]),
        ("id == 1000", vec![]),
        ("tag == 1", vec![2, 3]),
    ] {
        let filter = sendable(&collection.record().unwrap().schema, text);
        let number = coordinator.count(&collection, &filter).await.unwrap();
        assert_eq!(number, count(&nodes.nodes[0].database, &collection, &filter).await.unwrap());
        assert_eq!(nodes.cluster.asked(), asked, "{text}");
    }
    // Of everything the metadata tells how much it is.
    let all = Arc::new(Predicate::always_true());
    assert_eq!(coordinator.count(&collection, &all).await.unwrap(), 180);
    assert!(nodes.cluster.asked().is_empty());
    // What nobody knows how to send is read here.
    let unsendable = Arc::new(parse("tag == 1", &Templates::new(), &collection.record().unwrap().schema).unwrap());
    assert_eq!(coordinator.count(&collection, &unsendable).await.unwrap(), 36);
    assert!(nodes.cluster.asked().is_empty());
    let keys = Predicate::from_keys(&collection.record().unwrap().schema, Keys::Int(vec![70, 71])).unwrap();
    assert_eq!(coordinator.count(&collection, &Arc::new(keys)).await.unwrap(), 2);
    assert_eq!(nodes.cluster.asked(), [2]);
}

#[tokio::test]
async fn s39_a_node_alone_in_its_cluster_asks_nobody() {
    let stores = Stores::new().await;
    let nodes = Nodes::new(&stores, 2, 1, 2).await;
    nodes.nodes[0].create(FILMS).await;
    for node in &nodes.nodes {
        let client = node.client();
        client.insert(&(0..60).map(|key| (key, key % 5)).collect::<Vec<Row>>()).await;
        client.flush().await;
    }
    all_agree(&nodes, &[nodes.coordinator(1)]).await;
    assert!(nodes.cluster.asked().is_empty());
}

#[tokio::test]
async fn s39_whatever_another_node_answers_the_answer_is_whole() {
    for copies in 1..4 {
        for fault in [
            Fault::Fails,
            Fault::Refuses,
            Fault::Garbage,
            Fault::Empty,
            Fault::CutOff,
            Fault::Flipped,
            Fault::Confused,
            Fault::Late(Duration::from_millis(1)),
        ] {
            let nodes = three_nodes(copies).await;
            for broken in [vec![2], vec![2, 3], vec![1, 2, 3]] {
                broken.iter().for_each(|node| nodes.cluster.fault(*node, fault));
                // New ones, which do not avoid anybody yet, twice, so that they do.
                let coordinators: Vec<Coordinator> = (1..4).map(|number| nodes.coordinator(number)).collect();
                all_agree(&nodes, &coordinators).await;
                all_agree(&nodes, &coordinators).await;
            }
        }
    }
}

/// Time stands still but for what waits.
#[tokio::test(start_paused = true)]
async fn s39_a_node_that_hangs_is_replaced_soon_and_left_alone_for_a_while() {
    let nodes = three_nodes(2).await;
    let collection = nodes.nodes[0].collection(FILMS).await;
    let filter = sendable(&collection.record().unwrap().schema, "tag == 2");
    let want = count(&nodes.nodes[0].database, &collection, &filter).await.unwrap();
    let coordinator = nodes.coordinator(1);
    nodes.cluster.fault(2, Fault::Hangs);
    nodes.cluster.fault(3, Fault::Hangs);
    for round in 0..3 {
        let began = Instant::now();
        assert_eq!(coordinator.count(&collection, &filter).await.unwrap(), want);
        let took = began.elapsed();
        assert!((round > 0 || took >= Duration::from_millis(20)) && took < Duration::from_secs(1), "{took:?}");
    }
    let asked = nodes.cluster.asked();
    assert!(asked.contains(&2) && asked.contains(&3), "{asked:?}");
    // Both are avoided by now.
    let began = Instant::now();
    for _ in 0..5 {
        assert_eq!(coordinator.count(&collection, &filter).await.unwrap(), want);
    }
    assert!(began.elapsed() < Duration::from_millis(20));
    assert!(nodes.cluster.asked().is_empty());
    // One that is well again is found out.
    nodes.cluster.fault(2, None);
    nodes.cluster.fault(3, None);
    tokio::time::sleep(Duration::from_secs(11)).await;
    let began = Instant::now();
    assert_eq!(coordinator.count(&collection, &filter).await.unwrap(), want);
    assert_eq!(nodes.cluster.asked(), [2, 3]);
    assert!(began.elapsed() < Duration::from_millis(20));
}

/// A node that cannot read a file is well all the same, and the next one may.
#[tokio::test(start_paused = true)]
async fn s39_what_one_holder_cannot_read_the_next_one_is_asked_for() {
    let nodes = three_nodes(2).await;
    let collection = nodes.nodes[0].collection(FILMS).await;
    let filter = sendable(&collection.record().unwrap().schema, "tag == 2");
    let want = count(&nodes.nodes[0].database, &collection, &filter).await.unwrap();
    let coordinator = nodes.coordinator(1);
    nodes.cluster.fault(2, Fault::Unable);
    // The second holder of what node 2 cannot read is node 3 or this one.
    for _ in 0..3 {
        assert_eq!(coordinator.count(&collection, &filter).await.unwrap(), want);
        assert!(nodes.cluster.asked().contains(&2), "it is not avoided");
    }
}

/// Nobody is asked for what it would have to fetch first, as long as there are others; nor who has gone.
#[tokio::test(start_paused = true)]
async fn s42_who_comes_or_goes_is_asked_only_where_nobody_else_is_left() {
    use Duty::{Away, Coming, Going, Serving};
    let nodes = three_nodes(1).await;
    let collection = nodes.nodes[0].collection(FILMS).await;
    let filter = sendable(&collection.record().unwrap().schema, "tag == 2");
    let want = count(&nodes.nodes[0].database, &collection, &filter).await.unwrap();
    let coordinator = nodes.coordinator(1);
    let both = [2, 3].as_slice();
    for (duties, asked) in [
        ([Serving, Serving, Serving], both),
        ([Serving, Serving, Coming], &[2]),
        ([Serving, Going, Coming], &[2]),
        ([Going, Going, Going], both),
        ([Coming, Serving, Away], &[2]),
        ([Coming, Coming, Coming], both),
        ([Serving, Away, Away], &[]),
        ([Away, Away, Away], both),
    ] {
        nodes.cluster.arrange(1, &duties);
        assert_eq!(coordinator.count(&collection, &filter).await.unwrap(), want);
        assert_eq!(nodes.cluster.asked(), asked, "{duties:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn s39_a_node_that_hangs_or_fails_is_asked_once_however_often_a_request_has_to_ask() {
    let nodes = tied_nodes().await;
    let collection = nodes.nodes[0].collection(FILMS).await;
    let mut request = searching(&collection, Metric::Ip, &[[0.0, 1.0]], "");
    request.whole_ties = true;
    let want = search(&nodes.nodes[0].database, request.clone()).await.unwrap();
    let times = |asked: Vec<u32>| asked.iter().filter(|node| **node == 2).count();
    nodes.coordinator(1).search(request.clone()).await.unwrap();
    assert!(times(nodes.cluster.asked()) > 2, "it takes several rounds");
    for fault in [Fault::Hangs, Fault::Fails] {
        nodes.cluster.fault(2, fault);
        same_hits(&nodes.coordinator(1).search(request.clone()).await.unwrap(), &want, "ties");
        assert_eq!(times(nodes.cluster.asked()), 1, "{fault:?}");
    }
}

/// This node's own storage has nothing, so only the others can read: whoever is slow has to be waited for.
#[tokio::test(start_paused = true)]
async fn s39_a_slow_answer_counts_where_nobody_else_can_read_the_data() {
    let nodes = three_nodes(2).await;
    let collection = nodes.nodes[0].collection(FILMS).await;
    let empty = DataStore::connect(StorageOptions::new("memory://")).await.unwrap();
    let blind = Stores::over(nodes.nodes[0].meta.clone(), empty).node(9).await;
    let coordinator = Coordinator::among(blind.database.clone(), nodes.cluster.clone());
    for node in 1..4 {
        nodes.cluster.fault(node, Fault::Late(Duration::from_secs(2)));
    }
    let filter = sendable(&collection.record().unwrap().schema, "tag == 2");
    let want = count(&nodes.nodes[0].database, &collection, &filter).await.unwrap();
    assert_eq!(coordinator.count(&collection, &filter).await.unwrap(), want);
    let request = searching(&collection, Metric::L2, &[[50.0, 2.0]], "");
    let want = search(&nodes.nodes[0].database, request.clone()).await.unwrap();
    same_hits(&coordinator.search(request).await.unwrap(), &want, "a search");
    // If they cannot either, nobody can, and the error names the file that is missing here.
    for node in 1..4 {
        nodes.cluster.fault(node, Fault::Fails);
    }
    let error = coordinator.count(&collection, &filter).await.unwrap_err();
    assert!(error.is_missing_file(), "{error}");
}

/// Where all nodes are busy, none is given the work of others on top of its own, but for a few.
#[tokio::test(start_paused = true)]
async fn s39_nodes_that_are_all_busy_are_not_made_busier() {
    let nodes = three_nodes(2).await;
    let collection = nodes.nodes[0].collection(FILMS).await;
    let empty = DataStore::connect(StorageOptions::new("memory://")).await.unwrap();
    let blind = Stores::over(nodes.nodes[0].meta.clone(), empty).node(9).await;
    let coordinator = Coordinator::among(blind.database.clone(), nodes.cluster.clone());
    for node in 1..4 {
        nodes.cluster.fault(node, Fault::Late(Duration::from_secs(4)));
    }
    let filter = sendable(&collection.record().unwrap().schema, "tag == 2");
    let want = count(&nodes.nodes[0].database, &collection, &filter).await.unwrap();
    for _ in 0..100 {
        assert_eq!(coordinator.count(&collection, &filter).await.unwrap(), want);
    }
    let asked = nodes.cluster.asked().len();
    // Three each time, and of these one of ten, and a few, to a second node.
    assert!((300..400).contains(&asked), "{asked}");
}

/// This node cannot read what it holds itself, nor what others will not tell: all others are asked before anything fails.
#[tokio::test]
async fn s39_what_this_node_cannot_read_any_other_may() {
    let nodes = three_nodes(1).await;
    let collection = nodes.nodes[0].collection(FILMS).await;
    let empty = DataStore::connect(StorageOptions::new("memory://")).await.unwrap();
    let blind = Stores::over(nodes.nodes[0].meta.clone(), empty).node(1).await;
    let coordinator = Coordinator::among(blind.database.clone(), nodes.cluster.clone());
    for (text, fault) in
        [("", None), ("id < 30", None), ("tag != 2", Some(Fault::Refuses)), ("tag != 1", Some(Fault::Fails))]
    {
        nodes.cluster.fault(2, fault);
        let request = searching(&collection, Metric::L2, &[[50.0, 2.0], [1.0, 0.0]], text);
        let want = search(&nodes.nodes[0].database, request.clone()).await.unwrap();
        same_hits(&coordinator.search(request).await.unwrap(), &want, text);
        let want = query(&nodes.nodes[0].database, asking(&collection, text, 1, Some(90))).await.unwrap();
        same_rows(&coordinator.query(asking(&collection, text, 1, Some(90))).await.unwrap(), &want, text);
    }
    nodes.cluster.fault(3, Fault::Refuses);
    let filter = sendable(&collection.record().unwrap().schema, "tag == 2");
    let error = coordinator.count(&collection, &filter).await.unwrap_err();
    assert!(error.is_missing_file(), "{error}");
}

/// A filter that fails on the data fails as it does on one node.
#[tokio::test]
async fn s39_an_error_is_the_one_that_one_node_gives() {
    let nodes = three_nodes(1).await;
    let collection = nodes.nodes[0].collection(FILMS).await;
    let mut request = searching(&collection, Metric::L2, &[[0.0, 0.0]], "");
    request.fields = vec![FieldId(999)];
    let want = search(&nodes.nodes[0].database, request.clone()).await.unwrap_err().to_string();
    assert_eq!(nodes.coordinator(1).search(request).await.unwrap_err().to_string(), want);
    let mut request = searching(&collection, Metric::L2, &[[0.0, 0.0]], "");
    request.queries = vec![0; 12].into();
    let want = search(&nodes.nodes[0].database, request.clone()).await.unwrap_err().to_string();
    assert_eq!(nodes.coordinator(1).search(request).await.unwrap_err().to_string(), want);
}
