//! The handlers over an engine in memory, called as the transport calls them.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use redkite_api::proto::milvus::milvus_service_server::MilvusService;
use redkite_api::proto::milvus::{
    DeleteRequest, GetCollectionStatisticsRequest, InsertRequest, MutationResult, UpsertRequest,
};
use redkite_api::server::{ConnectionId, ConnectionInfo};
use redkite_api::service::MilvusServer;
use redkite_ingest::IngestOptions;
use tonic::{Code, Request, Response, Status};

use crate::faulty_meta::Call;
use crate::world::{Client, FILMS, Node, Stores};

/// A request of a client of the engine.
fn request<T>(client: &Client, message: T) -> Request<T> {
    let mut request = Request::new(message);
    let peer = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
    request.extensions_mut().insert(ConnectionInfo { id: ConnectionId(client.id.connection.0), peer });
    request.metadata_mut().insert("identifier", client.id.identifier.to_string().parse().unwrap());
    request
}

fn server(node: &Node) -> MilvusServer {
    MilvusServer::new(node.ingest.clone())
}

async fn delete(client: &Client, filter: &str) -> MutationResult {
    let message = DeleteRequest { collection_name: FILMS.into(), expr: filter.into(), ..Default::default() };
    server(&client.node).delete(request(client, message)).await.unwrap().into_inner()
}

#[tokio::test]
async fn s40_a_delete_by_filter_tells_how_many_rows_it_takes_with_it() {
    for memory_soft_bytes in [1, 1 << 20] {
        let options = IngestOptions { memory_soft_bytes, ..IngestOptions::default() };
        let node = Stores::new().await.node_with(1, options).await;
        node.create(FILMS).await;
        let client = node.client();
        client.insert(&[(1, 10), (2, 20)]).await;
        client.flush().await;
        // Committed rows, and of the block one of memory and one that is uploaded when the limit is tiny.
        client.insert(&[(3, 10)]).await;
        client.insert(&[(4, 20)]).await;
        let counts = [("tag == 10", 2), ("tag >= 10", 2), ("tag >= 10", 0), ("id in [1, 2, 77]", 3)];
        for (filter, count) in counts {
            let answer = delete(&client, filter).await;
            assert_eq!((answer.status.unwrap().code, answer.delete_cnt), (0, count), "{filter}");
        }
        client.flush().await;
        assert!(node.rows(FILMS).await.is_empty());
    }
}

/// With `flush_interval` 0 the answer of a write tells the revision it is visible from, as a timestamp: it can be read as of
/// that revision, and not before.
#[tokio::test]
async fn s16_a_write_that_is_committed_tells_its_revision() {
    let options = IngestOptions { auto_flush: true, flush_interval: Duration::ZERO, ..IngestOptions::default() };
    let node = Stores::new().await.node_with(1, options).await;
    node.create(FILMS).await;
    let client = node.client();
    let server = server(&node);
    let rows_at = async |revision: u64| {
        let request = request(
            &client,
            GetCollectionStatisticsRequest { collection_name: format!("{FILMS}@{revision}"), ..Default::default() },
        );
        server.get_collection_statistics(request).await.unwrap().into_inner().stats[0].value.clone()
    };
    let insert = |key: i64| request(&client, crate::pipelining::insert(key));
    let first = server.insert(insert(1)).await.unwrap().into_inner();
    assert_eq!(first.status.unwrap().code, 0);
    let anchor = node.collection(FILMS).await.fragments.values().next().unwrap().anchor().unwrap().created;
    assert_eq!(first.timestamp, anchor.0 as u64);
    let second = server.insert(insert(2)).await.unwrap().into_inner().timestamp;
    let deleted = delete(&client, "id == 1").await.timestamp;
    assert!(first.timestamp < second && second < deleted);
    assert_eq!(rows_at(first.timestamp - 1).await, "0");
    assert_eq!(rows_at(first.timestamp).await, "1");
    assert_eq!(rows_at(second - 1).await, "1");
    assert_eq!(rows_at(second).await, "2");
    assert_eq!(rows_at(deleted).await, "1");
    // One that is not committed yet has a timestamp of Milvus's kind, which is no revision.
    let waiting = Stores::new().await.node(1).await;
    waiting.create(FILMS).await;
    let client = waiting.client();
    let answer = MilvusServer::new(waiting.ingest.clone());
    let answer = answer.insert(request(&client, crate::pipelining::insert(1))).await.unwrap().into_inner();
    assert!(answer.timestamp > 1 << 40, "{}", answer.timestamp);
}

/// A write of 6,000 bytes into a collection that is not there.
async fn large_write(client: Client, kind: &'static str) -> Result<Response<MutationResult>, Status> {
    let (server, collection_name) = (server(&client.node), "x".repeat(6_000));
    match kind {
        "insert" => server.insert(request(&client, InsertRequest { collection_name, ..Default::default() })).await,
        "upsert" => server.upsert(request(&client, UpsertRequest { collection_name, ..Default::default() })).await,
        _ => server.delete(request(&client, DeleteRequest { collection_name, ..Default::default() })).await,
    }
}

#[tokio::test(start_paused = true)]
async fn writes_that_wait_for_their_turn_are_bounded() {
    for kind in ["insert", "upsert", "delete"] {
        let options = IngestOptions { memory_hard_bytes: 10_000, ..IngestOptions::default() };
        let node = Stores::new().await.node_with(1, options).await;
        node.create(FILMS).await;
        let client = node.client();
        client.insert(&[(1, 1)]).await;
        node.meta.stop_at(Call::Commit);
        let flushing = tokio::spawn({
            let client = client.clone();
            async move { client.try_flush().await }
        });
        node.meta.stopped().await;
        let waiting = tokio::spawn(large_write(client.clone(), kind));
        tokio::task::yield_now().await;
        let refused = tokio::spawn(large_write(client.clone(), kind));
        tokio::task::yield_now().await;
        node.meta.resume();
        flushing.await.unwrap().unwrap();
        assert_eq!(waiting.await.unwrap().unwrap().into_inner().status.unwrap().code, 100, "{kind}");
        let status = refused.await.unwrap().unwrap_err();
        assert_eq!(status.code(), Code::ResourceExhausted, "{kind}");
        assert!(status.message().contains("session.memory_hard"), "{kind}: {status}");
    }
}
