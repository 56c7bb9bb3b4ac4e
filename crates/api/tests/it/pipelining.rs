//! Calls that a client sends without waiting for the answers to those before: what they change is changed in the order they
//! were received (S06).
//!
//! The client is `h2`, which says when which byte of which call is sent: tonic's own sends every body from a task of its
//! own, in any order.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;
use prost::Message;
use redkite_api::proto::common::{KeyValuePair, Status};
use redkite_api::proto::milvus::{
    CreateCollectionRequest, DeleteRequest, DropCollectionRequest, FlushRequest, FlushResponse, GetFlushStateRequest,
    GetFlushStateResponse, GetVersionRequest, GetVersionResponse, InsertRequest, MutationResult,
};
use redkite_api::proto::schema::field_data::Field as Column;
use redkite_api::proto::schema::scalar_field::Data as Scalars;
use redkite_api::proto::schema::vector_field::Data as Vectors;
use redkite_api::proto::schema::{
    CollectionSchema, DataType, FieldData, FieldSchema, FloatArray, LongArray, ScalarField, VectorField,
};
use redkite_api::server::{AcceptAll, Server};
use redkite_api::service::{MilvusServer, SessionEvents};
use redkite_ingest::ConnectionId;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tonic::Code;

use crate::fake_service::{patient, start};
use crate::faulty_meta::Call as MetaCall;
use crate::world::{FILMS, Node, Stores};

/// Serves `node` on a free port of the loopback address for as long as the task runs.
async fn serve(node: &Node) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = Server { events: Arc::new(SessionEvents(node.ingest.clone())), options: patient(), ..Server::new() };
    let service = MilvusServer::new(node.ingest.clone());
    (address, tokio::spawn(server.serve(listener, service, std::future::pending())))
}

/// One connection, on which calls are sent whole or in parts.
struct Wire {
    requests: h2::client::SendRequest<Bytes>,
    identifier: i64,
}

/// A call without its body.
struct Begun {
    response: h2::client::ResponseFuture,
    body: h2::SendStream<Bytes>,
}

/// A call that was sent.
struct Sent(h2::client::ResponseFuture);

impl Wire {
    async fn connect(address: SocketAddr, identifier: i64) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        // Without a large window it takes many small answers that are not read yet for an attack.
        let mut options = h2::client::Builder::new();
        options.initial_connection_window_size(1 << 24);
        let (requests, connection) = options.handshake(stream).await.unwrap();
        tokio::spawn(connection);
        let mut wire = Self { requests, identifier };
        // Once the server has answered it has also said how many calls it takes at once.
        wire.version().await;
        wire
    }

    async fn version(&mut self) {
        let _: GetVersionResponse = self.call("GetVersion", &GetVersionRequest {}).answer().await;
    }

    /// Sends the headers.
    fn begin(&mut self, method: &str) -> Begun {
        self.begin_with(method, &[])
    }

    fn begin_with(&mut self, method: &str, metadata: &[(&str, &str)]) -> Begun {
        let mut request = http::Request::post(format!("http://x/milvus.proto.milvus.MilvusService/{method}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .header("identifier", self.identifier);
        for (key, value) in metadata {
            request = request.header(*key, *value);
        }
        let (response, body) = self.requests.send_request(request.body(()).unwrap(), false).unwrap();
        Begun { response, body }
    }

    fn call(&mut self, method: &str, message: &impl Message) -> Sent {
        self.begin(method).finish(message)
    }

    fn insert(&mut self, key: i64) -> Sent {
        self.call("Insert", &insert(key))
    }

    fn delete(&mut self, key: i64) -> Sent {
        self.call("Delete", &delete(key))
    }

    fn flush(&mut self) -> Sent {
        self.call("Flush", &flush_films())
    }
}

impl Begun {
    /// Sends a message, and that it was all.
    fn finish(mut self, message: &impl Message) -> Sent {
        self.body.send_data(framed(message), true).unwrap();
        Sent(self.response)
    }

    /// Gives the call up.
    fn cancel(mut self) {
        self.body.send_reset(h2::Reason::CANCEL);
    }
}

impl Sent {
    /// The answer, which must be a success.
    async fn answer<M: Message + Default>(self) -> M {
        let response = self.0.await.unwrap();
        assert_eq!(response.headers().get("grpc-status"), None, "{:?}", response.headers());
        let mut body = response.into_body();
        let mut bytes = Vec::new();
        while let Some(data) = body.data().await {
            let data = data.unwrap();
            body.flow_control().release_capacity(data.len()).unwrap();
            bytes.extend_from_slice(&data);
        }
        assert_eq!(body.trailers().await.unwrap().unwrap()["grpc-status"], "0");
        M::decode(&bytes[5..]).unwrap()
    }

    /// The code of an answer without a message.
    async fn code(self) -> Code {
        let response = self.0.await.unwrap();
        Code::from_bytes(response.headers()["grpc-status"].as_bytes())
    }

    async fn written(self) {
        let answer: MutationResult = self.answer().await;
        assert_eq!(answer.status.unwrap_or_default().reason, "");
    }

    async fn flushed(self) {
        let answer: FlushResponse = self.answer().await;
        assert_eq!(answer.status.unwrap_or_default().reason, "");
    }

    async fn changed(self) {
        let answer: Status = self.answer().await;
        assert_eq!(answer.reason, "");
    }
}

/// A message as gRPC sends it.
fn framed(message: &impl Message) -> Bytes {
    let mut bytes = vec![0];
    bytes.extend_from_slice(&u32::try_from(message.encoded_len()).unwrap().to_be_bytes());
    message.encode(&mut bytes).unwrap();
    bytes.into()
}

/// Inserts a row of the key and tag 0.
pub fn insert(key: i64) -> InsertRequest {
    let longs = |name: &str, value: i64| {
        let longs = Scalars::LongData(LongArray { data: vec![value] });
        let field = Some(Column::Scalars(ScalarField { data: Some(longs) }));
        FieldData { field_name: name.into(), r#type: DataType::Int64.into(), field, ..Default::default() }
    };
    let vector = Vectors::FloatVector(FloatArray { data: vec![key as f32, 0.0] });
    let vector = FieldData {
        field_name: "vector".into(),
        r#type: DataType::FloatVector.into(),
        field: Some(Column::Vectors(VectorField { dim: 2, data: Some(vector) })),
        ..Default::default()
    };
    InsertRequest {
        collection_name: FILMS.into(),
        fields_data: vec![longs("id", key), longs("tag", 0), vector],
        num_rows: 1,
        ..Default::default()
    }
}

fn delete(key: i64) -> DeleteRequest {
    DeleteRequest { collection_name: FILMS.into(), expr: format!("id == {key}"), ..Default::default() }
}

fn flush_films() -> FlushRequest {
    FlushRequest { collection_names: vec![FILMS.into()], ..Default::default() }
}

fn create(name: &str) -> CreateCollectionRequest {
    let field = |name: &str, data_type: DataType| FieldSchema {
        name: name.into(),
        data_type: data_type.into(),
        is_primary_key: name == "id",
        ..Default::default()
    };
    let mut vector = field("vector", DataType::FloatVector);
    vector.type_params = vec![KeyValuePair { key: "dim".into(), value: "2".into() }];
    let fields = vec![field("id", DataType::Int64), field("tag", DataType::Int64), vector];
    let schema = CollectionSchema { name: name.into(), fields, ..Default::default() };
    CreateCollectionRequest {
        collection_name: name.into(),
        schema: schema.encode_to_vec().into(),
        ..Default::default()
    }
}

async fn films() -> (Node, Wire) {
    let node = Stores::new().await.node(1).await;
    node.create(FILMS).await;
    let (address, _) = serve(&node).await;
    let wire = Wire::connect(address, node.ingest.new_identifier(ConnectionId(0))).await;
    (node, wire)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn s06_pipelined_writes_take_effect_in_order() {
    const KEYS: i64 = 500;
    let (node, mut wire) = films().await;
    let mut sent = Vec::new();
    for key in 0..KEYS {
        // Of even keys nothing is left, of odd ones a row.
        sent.push(if key % 2 == 0 { wire.insert(key) } else { wire.delete(key) });
        sent.push(if key % 2 == 0 { wire.delete(key) } else { wire.insert(key) });
    }
    for call in sent {
        call.written().await;
    }
    wire.flush().flushed().await;
    let left: Vec<i64> = node.rows(FILMS).await.into_iter().map(|(key, _)| key).collect();
    assert_eq!(left, (0..KEYS).filter(|key| key % 2 == 1).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn s06_pipelined_flushes_publish_what_was_sent_before_and_no_more() {
    const KEYS: i64 = 60;
    let (node, mut wire) = films().await;
    let (mut written, mut flushed) = (Vec::new(), Vec::new());
    for key in 0..KEYS {
        written.push(wire.insert(key));
        flushed.push(wire.flush());
        written.push(wire.delete(key));
        written.push(wire.insert(key + KEYS));
    }
    for call in written {
        call.written().await;
    }
    for call in flushed {
        call.flushed().await;
    }
    // The last delete and insert wait for a flush of their own.
    let rows = |keys: std::ops::Range<i64>| keys.map(|key| (key, 0)).collect::<Vec<_>>();
    assert_eq!(node.rows(FILMS).await, rows(KEYS - 1..2 * KEYS - 1));
    wire.flush().flushed().await;
    assert_eq!(node.rows(FILMS).await, rows(KEYS..2 * KEYS));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn s06_a_pipelined_change_of_the_catalog_is_there_for_the_next_call() {
    for _ in 0..30 {
        let node = Stores::new().await.node(1).await;
        let (address, _) = serve(&node).await;
        let mut wire = Wire::connect(address, node.ingest.new_identifier(ConnectionId(0))).await;
        // Without a session, and with one.
        let created = wire.call("CreateCollection", &create(FILMS));
        let (first, flushed) = (wire.insert(1), wire.flush());
        let drop = DropCollectionRequest { collection_name: FILMS.into(), ..Default::default() };
        let (dropped, again) = (wire.call("DropCollection", &drop), wire.call("CreateCollection", &create(FILMS)));
        let (second, last) = (wire.insert(2), wire.flush());
        created.changed().await;
        first.written().await;
        flushed.flushed().await;
        dropped.changed().await;
        again.changed().await;
        second.written().await;
        last.flushed().await;
        assert_eq!(node.rows(FILMS).await, [(2, 0)]);
    }
}

/// Of calls that are complete at the same look at the connection the one that began first comes first, whichever of them has
/// shown first that it goes on.
#[tokio::test]
async fn s06_calls_that_end_together_take_effect_in_the_order_they_began() {
    let (node, mut wire) = films().await;
    let mut keys = Vec::new();
    for key in 0..50 {
        let (deleting, mut inserting) = (wire.begin("Delete"), wire.begin("Insert"));
        wire.version().await;
        // In one piece, as nothing is sent before this test waits for something.
        let message = framed(&insert(key));
        inserting.body.send_data(message.slice(..7), false).unwrap();
        let deleted = deleting.finish(&delete(key));
        inserting.body.send_data(message.slice(7..), true).unwrap();
        deleted.written().await;
        Sent(inserting.response).written().await;
        keys.push((key, 0));
    }
    wire.flush().flushed().await;
    assert_eq!(node.rows(FILMS).await, keys);
}

/// The answer to what became of a flush is final, so it must not be given before the flush had its turn.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn s06_the_outcome_of_a_pipelined_flush_is_told_after_it() {
    let (node, mut wire) = films().await;
    let ask = GetFlushStateRequest { collection_name: FILMS.into(), ..Default::default() };
    for key in 0..50 {
        let id = key.to_string();
        let named = [("redkite-flush-id", id.as_str())];
        let inserted = wire.insert(key);
        let flushed = wire.begin_with("Flush", &named).finish(&flush_films());
        let told = wire.begin_with("GetFlushState", &named).finish(&ask);
        inserted.written().await;
        flushed.flushed().await;
        let told: GetFlushStateResponse = told.answer().await;
        assert!(told.flushed, "{told:?}");
    }
    assert_eq!(node.rows(FILMS).await.len(), 50);
}

#[tokio::test]
async fn a_call_may_come_in_the_smallest_frames() {
    let (node, mut wire) = films().await;
    let mut begun = wire.begin("Insert");
    let message = framed(&insert(1));
    for at in 0..message.len() {
        begun.body.send_data(message.slice(at..=at), at + 1 == message.len()).unwrap();
        if at % 16 == 0 {
            wire.version().await;
        }
    }
    Sent(begun.response).written().await;
    wire.flush().flushed().await;
    assert_eq!(node.rows(FILMS).await, [(1, 0)]);
}

#[tokio::test]
async fn a_call_that_says_it_is_too_large_is_refused_before_it_is_read() {
    let (_, mut wire) = films().await;
    let mut begun = wire.begin("Insert");
    let mut prefix = vec![0];
    prefix.extend_from_slice(&u32::MAX.to_be_bytes());
    begun.body.send_data(prefix.into(), false).unwrap();
    assert_eq!(Sent(begun.response).code().await, Code::ResourceExhausted);
    wire.insert(1).written().await;
}

#[tokio::test]
async fn a_call_that_is_still_being_sent_holds_nobody_up() {
    let (node, mut wire) = films().await;
    let mut begun = wire.begin("Insert");
    let message = framed(&insert(1));
    begun.body.send_data(message.slice(..7), false).unwrap();
    wire.insert(2).written().await;
    wire.flush().flushed().await;
    assert_eq!(node.rows(FILMS).await, [(2, 0)]);
    begun.body.send_data(message.slice(7..), true).unwrap();
    Sent(begun.response).written().await;
    wire.flush().flushed().await;
    assert_eq!(node.rows(FILMS).await, [(1, 0), (2, 0)]);
}

#[tokio::test]
async fn a_cancelled_call_lets_the_others_pass() {
    let (node, mut wire) = films().await;
    node.meta.stop_at(MetaCall::Commit);
    // As it has no session it keeps all others of its connection waiting.
    let created = wire.call("CreateCollection", &create("more"));
    node.meta.stopped().await;
    // One is cancelled before it was sent, one behind the change, one that had waited for its own deadline.
    wire.begin("Insert").cancel();
    let mut waiting = wire.begin("Insert");
    waiting.body.send_data(framed(&insert(1)), true).unwrap();
    let late = wire.begin_with("Insert", &[("grpc-timeout", "1m")]).finish(&insert(2));
    let next = wire.insert(3);
    assert_eq!(late.code().await, Code::DeadlineExceeded);
    waiting.cancel();
    // What is answered now was received after the cancellation.
    wire.version().await;
    node.meta.resume();
    created.changed().await;
    next.written().await;
    wire.flush().flushed().await;
    assert_eq!(node.rows(FILMS).await, [(3, 0)]);
}

/// A change comes to its end though nobody waits for it any more, and what was sent after it comes after that.
#[tokio::test]
async fn s06_a_cancelled_change_keeps_its_place_until_it_has_taken_effect() {
    for with_session in [false, true] {
        let (node, mut wire) = films().await;
        if with_session {
            wire.insert(1).written().await;
        }
        node.meta.stop_at(MetaCall::Commit);
        let drop = DropCollectionRequest { collection_name: FILMS.into(), ..Default::default() };
        let dropped = wire.call("DropCollection", &drop);
        node.meta.stopped().await;
        std::mem::drop(dropped);
        let mut next = wire.insert(2);
        // What is answered now was received after the cancellation, and the insert before that.
        wire.version().await;
        tokio::task::yield_now().await;
        assert!((&mut next.0).now_or_never().is_none(), "it waits for the change");
        node.meta.resume();
        let refused: MutationResult = next.answer().await;
        assert_eq!(refused.status.unwrap_or_default().code, 100);
        wire.call("CreateCollection", &create(FILMS)).changed().await;
        wire.insert(3).written().await;
        wire.flush().flushed().await;
        assert_eq!(node.rows(FILMS).await, [(3, 0)]);
    }
}

/// A change of a client that has a session is waited for by that client alone.
#[tokio::test]
async fn a_change_in_a_session_keeps_no_other_client_of_the_connection_waiting() {
    let (node, mut wire) = films().await;
    wire.insert(1).written().await;
    node.meta.stop_at(MetaCall::Commit);
    let created = wire.call("CreateCollection", &create("more"));
    node.meta.stopped().await;
    let behind = wire.insert(2);
    wire.identifier = node.ingest.new_identifier(ConnectionId(0));
    wire.insert(3).written().await;
    node.meta.resume();
    created.changed().await;
    behind.written().await;
}

/// Clients that share a connection are in line for as long as it takes to ask for their turn.
#[tokio::test]
async fn a_flush_keeps_no_other_client_of_the_connection_waiting() {
    let (node, mut wire) = films().await;
    wire.insert(1).written().await;
    node.meta.stop_at(MetaCall::Commit);
    let flushing = wire.flush();
    node.meta.stopped().await;
    let behind = wire.insert(2);
    let mine = std::mem::replace(&mut wire.identifier, node.ingest.new_identifier(ConnectionId(0)));
    wire.insert(3).written().await;
    node.meta.resume();
    flushing.flushed().await;
    behind.written().await;
    wire.identifier = mine;
    wire.flush().flushed().await;
    assert_eq!(node.rows(FILMS).await, [(1, 0), (2, 0)]);
}

#[tokio::test]
async fn a_call_ends_when_its_client_no_longer_waits() {
    let server = start(Arc::new(AcceptAll), patient()).await;
    let mut wire = Wire::connect(server.address, 0).await;
    let call = wire.begin_with("Flush", &[("grpc-timeout", "10m")]).finish(&FlushRequest::default());
    let response = call.0.await.unwrap();
    assert_eq!(Code::from_bytes(response.headers()["grpc-status"].as_bytes()), Code::DeadlineExceeded);
    assert!(response.headers()["grpc-message"].to_str().unwrap().contains("Flush"), "{:?}", response.headers());
}
