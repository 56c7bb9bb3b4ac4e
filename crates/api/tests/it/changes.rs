//! Changes of collections in the order of their client's other calls (S06).

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use futures::poll;
use prost::Message;
use redkite_api::proto::common::{KeyValuePair, Status};
use redkite_api::proto::milvus::milvus_service_server::MilvusService;
use redkite_api::proto::milvus::*;
use redkite_api::proto::schema::field_data::Field as Column;
use redkite_api::proto::schema::scalar_field::Data as Scalars;
use redkite_api::proto::schema::vector_field::Data as Vectors;
use redkite_api::proto::schema::{
    CollectionSchema, DataType, FieldData, FieldSchema, FloatArray, LongArray, ScalarField, VectorField,
};
use redkite_api::service::MilvusServer;
use redkite_ingest::{ClientId, ConnectionId, Ingest, IngestOptions};
use redkite_meta::MemoryStore;
use redkite_storage::{DataStore, StorageOptions};
use redkite_table::{Ambient, Database, DatabaseOptions};
use redkite_types::{ClusterId, NodeId, UserName};
use tonic::{Request, Response};

use crate::faulty_meta::{Call, FaultyMeta};

const FILMS: &str = "films";
/// Turns the runtime gets, to get a call as far as it comes.
const YIELDS: usize = 1_000;

/// A server without sockets, and its one client.
struct Node {
    client: ClientId,
    server: MilvusServer,
    ingest: Arc<Ingest>,
    meta: Arc<FaultyMeta>,
}

type Change<'n> = Pin<Box<dyn Future<Output = Status> + 'n>>;

fn status(answer: Result<Response<Status>, tonic::Status>) -> Status {
    answer.unwrap().into_inner()
}

fn is_success(status: &Status) -> bool {
    status.code == 0
}

impl Node {
    async fn start() -> Self {
        let meta = FaultyMeta::new(Arc::new(MemoryStore::new()));
        let data = DataStore::connect(StorageOptions::new("memory://")).await.unwrap();
        let options = DatabaseOptions {
            user: UserName::new("u").unwrap(),
            cluster: ClusterId::new("c").unwrap(),
            node: NodeId(1),
            incarnation: Default::default(),
            remote_metadata: false,
            readers: Default::default(),
        };
        let random = std::sync::atomic::AtomicU64::new(1);
        let ambient = Ambient::new(
            || UNIX_EPOCH,
            move || random.fetch_add(0x9e37_79b9_7f4a_7c15, std::sync::atomic::Ordering::Relaxed),
        );
        let database = Database::open(meta.clone(), data, ambient, options).await.unwrap();
        let ingest = Ingest::new(database, IngestOptions::default());
        // What requests without a socket are taken to come from.
        let client = ClientId { connection: ConnectionId(0), identifier: ingest.new_identifier(ConnectionId(0)) };
        ingest.connected(client.connection, ([127, 0, 0, 1], 1).into());
        Self { client, server: MilvusServer::new(ingest.clone()), ingest, meta }
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("identifier", self.client.identifier.into());
        request
    }

    fn create(&self) -> Change<'_> {
        let key = FieldSchema {
            name: "id".to_owned(),
            is_primary_key: true,
            data_type: DataType::Int64.into(),
            ..Default::default()
        };
        let vector = FieldSchema {
            name: "v".to_owned(),
            data_type: DataType::FloatVector.into(),
            type_params: vec![pair("dim", "2")],
            ..Default::default()
        };
        let schema = CollectionSchema { name: FILMS.to_owned(), fields: vec![key, vector], ..Default::default() };
        let message = CreateCollectionRequest {
            collection_name: FILMS.to_owned(),
            schema: schema.encode_to_vec().into(),
            ..Default::default()
        };
        Box::pin(async { status(self.server.create_collection(self.request(message)).await) })
    }

    fn drop_collection(&self) -> Change<'_> {
        let message = DropCollectionRequest { collection_name: FILMS.to_owned(), ..Default::default() };
        Box::pin(async { status(self.server.drop_collection(self.request(message)).await) })
    }

    fn alter(&self) -> Change<'_> {
        let message = AlterCollectionRequest {
            collection_name: FILMS.to_owned(),
            properties: vec![pair("x", "1")],
            ..Default::default()
        };
        Box::pin(async { status(self.server.alter_collection(self.request(message)).await) })
    }

    fn create_index(&self) -> Change<'_> {
        let message = CreateIndexRequest {
            collection_name: FILMS.to_owned(),
            field_name: "v".to_owned(),
            index_name: "v".to_owned(),
            extra_params: vec![pair("index_type", "FLAT"), pair("metric_type", "L2")],
            ..Default::default()
        };
        Box::pin(async { status(self.server.create_index(self.request(message)).await) })
    }

    fn drop_index(&self) -> Change<'_> {
        let message =
            DropIndexRequest { collection_name: FILMS.to_owned(), index_name: "v".to_owned(), ..Default::default() };
        Box::pin(async { status(self.server.drop_index(self.request(message)).await) })
    }

    fn load(&self) -> Change<'_> {
        let message = LoadCollectionRequest { collection_name: FILMS.to_owned(), ..Default::default() };
        Box::pin(async { status(self.server.load_collection(self.request(message)).await) })
    }

    fn release(&self) -> Change<'_> {
        let message = ReleaseCollectionRequest { collection_name: FILMS.to_owned(), ..Default::default() };
        Box::pin(async { status(self.server.release_collection(self.request(message)).await) })
    }

    /// Inserts one row.
    fn insert(&self, key: i64) -> Change<'_> {
        let mut keys = FieldData {
            field_name: "id".to_owned(),
            field: Some(Column::Scalars(ScalarField { data: Some(Scalars::LongData(LongArray { data: vec![key] })) })),
            ..Default::default()
        };
        keys.set_type(DataType::Int64);
        let vector = Vectors::FloatVector(FloatArray { data: vec![1.0, 2.0] });
        let mut vectors = FieldData {
            field_name: "v".to_owned(),
            field: Some(Column::Vectors(VectorField { dim: 2, data: Some(vector) })),
            ..Default::default()
        };
        vectors.set_type(DataType::FloatVector);
        let message = InsertRequest {
            collection_name: FILMS.to_owned(),
            fields_data: vec![keys, vectors],
            num_rows: 1,
            ..Default::default()
        };
        Box::pin(async {
            self.server.insert(self.request(message)).await.unwrap().into_inner().status.unwrap_or_default()
        })
    }

    /// Flushes, and counts the rows of the collection then.
    async fn flushed_rows(&self) -> String {
        let message = FlushRequest { collection_names: vec![FILMS.to_owned()], ..Default::default() };
        let flushed = self.server.flush(self.request(message)).await.unwrap().into_inner();
        assert!(flushed.status.as_ref().is_none_or(is_success), "{flushed:?}");
        let message = GetCollectionStatisticsRequest { collection_name: FILMS.to_owned(), ..Default::default() };
        let answer = self.server.get_collection_statistics(self.request(message)).await.unwrap().into_inner();
        let stats: BTreeMap<_, _> = answer.stats.into_iter().map(|pair| (pair.key, pair.value)).collect();
        stats["row_count"].clone()
    }
}

fn pair(key: &str, value: &str) -> KeyValuePair {
    KeyValuePair { key: key.to_owned(), value: value.to_owned() }
}

/// Gets calls as far as they come; whether this one is still waiting then.
async fn waits<F: Future + Unpin>(call: &mut F) -> bool {
    for _ in 0..YIELDS {
        if poll!(&mut *call).is_ready() {
            return false;
        }
        tokio::task::yield_now().await;
    }
    true
}

/// The client inserts, drops the collection and creates it anew, without waiting for the insert, which has to wait for an
/// earlier call. The row is one of the collection that is gone.
#[tokio::test]
async fn s06_an_insert_is_not_overtaken_by_a_drop_and_a_create() {
    let node = Node::start().await;
    assert!(is_success(&node.create().await));
    let turn = node.ingest.turn(node.client).await.unwrap();
    let mut insert = node.insert(1);
    assert!(waits(&mut insert).await);
    let mut again: Change<'_> = Box::pin(async {
        assert!(is_success(&node.drop_collection().await));
        node.create().await
    });
    assert!(waits(&mut again).await, "a drop overtook an insert");
    drop(turn);
    let (inserted, created) = futures::join!(insert, again);
    assert!(is_success(&inserted) && is_success(&created), "{inserted:?} {created:?}");
    assert_eq!(node.flushed_rows().await, "0");
    assert!(is_success(&node.insert(2).await));
    assert_eq!(node.flushed_rows().await, "1");
}

#[tokio::test]
async fn s06_no_change_overtakes_its_clients_earlier_calls() {
    let node = Node::start().await;
    assert!(is_success(&node.create().await));
    let changes = [Node::alter, Node::create_index, Node::release, Node::load, Node::drop_index, Node::drop_collection];
    for (at, change) in changes.into_iter().enumerate() {
        let turn = node.ingest.turn(node.client).await.unwrap();
        let mut change = change(&node);
        assert!(waits(&mut change).await, "change {at}");
        drop(turn);
        let status = change.await;
        assert!(is_success(&status), "change {at}: {status:?}");
    }
}

/// The deadline of a drop passes while it is on its way: what the client does next still comes after it.
#[tokio::test]
async fn s06_a_change_whose_request_is_cancelled_keeps_its_place() {
    let node = Node::start().await;
    assert!(is_success(&node.create().await));
    assert!(is_success(&node.insert(1).await));
    node.meta.stop_at(Call::Commit);
    let mut dropping = node.drop_collection();
    assert!(waits(&mut dropping).await);
    node.meta.stopped().await;
    drop(dropping);
    let mut insert = node.insert(2);
    assert!(waits(&mut insert).await, "an insert overtook a drop that is on its way");
    node.meta.resume();
    let status = insert.await;
    assert!(status.reason.contains("not found"), "{status:?}");
    // What was inserted before went with the collection.
    assert!(is_success(&node.create().await));
    assert_eq!(node.flushed_rows().await, "0");
}

#[tokio::test]
async fn a_client_that_only_changes_collections_has_no_session() {
    let node = Node::start().await;
    assert!(is_success(&node.create().await));
    assert!(is_success(&node.drop_collection().await));
    assert_eq!(node.ingest.session_count(), 0);
}
