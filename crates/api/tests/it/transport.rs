//! The listener against real sockets. No test sleeps: each waits for the event it is about.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use redkite_api::proto::milvus::{
    CheckHealthRequest, CreateCollectionRequest, FlushRequest, GetFlushStateRequest, GetVersionRequest, QueryRequest,
};
use redkite_api::server::{AcceptAll, AcceptPolicy, ServerOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::Code;

use crate::fake_service::{Event, LONG, MESSAGE_BYTES_MAX, Running, patient, start};
use crate::wire_bytes::{Frames, GOAWAY, PING, SETTINGS, call, http1};

async fn server() -> Running {
    start(Arc::new(AcceptAll), patient()).await
}

#[tokio::test]
async fn one_port_speaks_grpc_and_http1() {
    let server = server().await;
    server.assert_alive().await;
    let answer = http1(server.address, "GET /v2/x HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    assert!(answer.contains("content-type: application/json"), "{answer}");
    assert!(answer.ends_with(r#"{"code":404,"message":"there is nothing at v2/x"}"#), "{answer}");
    // gRPC's content type does not make HTTP/1 gRPC.
    let path = "/milvus.proto.milvus.MilvusService/GetVersion";
    let head = "host: x\r\ncontent-type: application/grpc\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
    let answer = http1(server.address, &format!("POST {path} HTTP/1.1\r\n{head}")).await;
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
}

#[tokio::test]
async fn unknown_rpcs_are_named() {
    let server = server().await;
    let paths = [
        "/milvus.proto.milvus.MilvusService/HybridSearch",
        "/milvus.proto.milvus.ClientTelemetryService/ClientHeartbeat",
        "/grpc.health.v1.Health/Check",
        "/x",
    ];
    for path in paths {
        let error = call(server.channel().await, path, "").await.unwrap_err();
        assert_eq!(error.code(), Code::Unimplemented, "{path}");
        assert_eq!(error.message(), format!("{} is not implemented by this server", &path[1..]));
    }
}

#[tokio::test]
async fn what_is_no_protobuf_is_the_senders_fault() {
    let server = server().await;
    let create = "/milvus.proto.milvus.MilvusService/CreateCollection";
    // A string that is not UTF-8, a truncated field, a wire type that does not exist.
    let messages: [&[u8]; 3] = [&[0x12, 2, 0xff, 0xfe], &[0x12, 9, b'a'], &[0x17]];
    for message in messages {
        let error = call(server.channel().await, create, message).await.unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument, "{message:?}: {error}");
        assert!(error.message().contains("not a valid protobuf message"), "{error}");
    }
    server.assert_alive().await;
}

#[tokio::test]
async fn messages_up_to_the_limit_pass_and_larger_ones_are_refused_for_good() {
    let server = server().await;
    let mut client = server.client().await;
    let request = |bytes: usize| CreateCollectionRequest { schema: vec![7; bytes].into(), ..Default::default() };
    let fits = MESSAGE_BYTES_MAX - 100;
    let answer = client.create_collection(request(fits)).await.unwrap();
    assert_eq!(answer.into_inner().reason, fits.to_string());
    for bytes in [MESSAGE_BYTES_MAX, 20 * MESSAGE_BYTES_MAX] {
        let error = client.create_collection(request(bytes)).await.unwrap_err();
        assert_eq!(error.code(), Code::ResourceExhausted, "{bytes}: {error}");
        assert!(error.message().contains("the limit is: 1048576 bytes"), "{error}");
    }
    let mut client = client.max_decoding_message_size(64 * MESSAGE_BYTES_MAX);
    let ask = |bytes: usize| QueryRequest { travel_timestamp: bytes as u64, ..Default::default() };
    assert_eq!(client.query(ask(fits)).await.unwrap().into_inner().collection_name.len(), fits);
    let error = client.query(ask(2 * MESSAGE_BYTES_MAX)).await.unwrap_err();
    assert_eq!(error.code(), Code::ResourceExhausted, "{error}");
    assert!(
        error.message().ends_with("(server.message_limit); ask for fewer rows or fields at once, or send less"),
        "{error}"
    );
    client.get_version(GetVersionRequest {}).await.unwrap();
}

#[tokio::test]
async fn a_panic_costs_one_request_only() {
    let server = server().await;
    let mut client = server.client().await;
    let error = client.check_health(CheckHealthRequest {}).await.unwrap_err();
    assert_eq!(error.code(), Code::Internal);
    assert!(error.message().contains("CheckHealth failed by a defect of the server"), "{error}");
    client.get_version(GetVersionRequest {}).await.unwrap();
}

/// Time passes by itself here wherever nothing else does.
#[tokio::test(start_paused = true)]
async fn a_connection_that_says_nothing_is_dropped() {
    let server = server().await;
    // Half of what HTTP/2 begins with is nothing yet.
    for begin in [&b""[..], b"PRI * HTTP/2.0"] {
        let mut silent = TcpStream::connect(server.address).await.unwrap();
        silent.write_all(begin).await.unwrap();
        let mut answer = Vec::new();
        silent.read_to_end(&mut answer).await.unwrap();
        assert!(answer.is_empty());
    }
}

#[tokio::test]
async fn connections_beyond_the_limit_are_turned_away() {
    let server = start(Arc::new(AcceptAll), ServerOptions { connections_max: 2, ..patient() }).await;
    let mut clients = Vec::new();
    for _ in 0..2 {
        let mut client = server.client().await;
        client.get_version(GetVersionRequest {}).await.unwrap();
        clients.push(client);
    }
    let mut third = TcpStream::connect(server.address).await.unwrap();
    assert_eq!(third.read(&mut [0]).await.unwrap(), 0);
    clients[0].get_version(GetVersionRequest {}).await.unwrap();
    drop(clients.pop());
    // Its end is noticed in a moment.
    let path = "GET /v2/x HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    loop {
        let mut again = TcpStream::connect(server.address).await.unwrap();
        let mut answer = Vec::new();
        if again.write_all(path.as_bytes()).await.is_ok() {
            _ = again.read_to_end(&mut answer).await;
        }
        if !answer.is_empty() {
            break;
        }
    }
}

#[tokio::test]
async fn connections_are_numbered_and_their_end_is_told_once() {
    let mut server = server().await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        let mut client = server.client().await;
        let first = client.get_version(GetVersionRequest {}).await.unwrap().into_inner().version;
        let again = client.get_version(GetVersionRequest {}).await.unwrap().into_inner().version;
        assert_eq!(first, again, "one connection, one id");
        let Some(Event::Connected(id)) = server.events.recv().await else { panic!("connected first") };
        assert_eq!(id.to_string(), first);
        drop(client);
        assert_eq!(server.events.recv().await, Some(Event::Gone(id)));
        ids.push(id);
    }
    assert!(ids.is_sorted() && ids[0] != ids[1] && ids[1] != ids[2]);
    // A connection that never says anything, and one that talks nonsense.
    drop(TcpStream::connect(server.address).await.unwrap());
    for text in ["", "garbage\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nXX"] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
    }
    let (mut connected, mut gone) = (0, 0);
    while gone < 4 {
        match server.events.recv().await.unwrap() {
            Event::Connected(_) => connected += 1,
            Event::Gone(_) => gone += 1,
        }
    }
    assert_eq!(connected, 4);
    server.assert_alive().await;
}

/// A host that lost its power, or a network that swallows what is sent: the connection never ends by itself.
#[tokio::test]
async fn a_peer_that_vanished_is_found_by_the_servers_own_pings() {
    let options = ServerOptions {
        keep_alive_interval: Duration::from_millis(50),
        keep_alive_timeout: Duration::from_millis(50),
        ..patient()
    };
    let mut server = start(Arc::new(AcceptAll), options).await;
    let mut vanished = TcpStream::connect(server.address).await.unwrap();
    // It speaks HTTP/2, and then says nothing any more.
    vanished.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    let Some(Event::Connected(id)) = server.events.recv().await else { panic!("connected first") };
    assert_eq!(server.events.recv().await, Some(Event::Gone(id)));
    server.assert_alive().await;
    drop(vanished);
}

#[tokio::test]
async fn a_running_handler_does_not_delay_the_news_of_a_disconnect() {
    let mut server = server().await;
    let mut client = server.client().await;
    let call = tokio::spawn(async move { client.flush(FlushRequest::default()).await });
    server.fake.begun.notified().await;
    let Some(Event::Connected(id)) = server.events.recv().await else { panic!("connected first") };
    call.abort();
    assert_eq!(server.events.recv().await, Some(Event::Gone(id)));
}

struct Nobody;

impl AcceptPolicy for Nobody {
    fn admits(&self, peer: IpAddr) -> bool {
        assert!(peer.is_loopback());
        false
    }
}

#[tokio::test]
async fn who_is_not_admitted_hears_nothing() {
    let mut server = start(Arc::new(Nobody), patient()).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let mut answer = Vec::new();
    // Either a clean end or a reset, but no byte.
    let _ = stream.read_to_end(&mut answer).await;
    assert!(answer.is_empty());
    assert!(server.events.try_recv().is_err(), "a refused connection is none");
}

#[tokio::test]
async fn keep_alive_pings_without_calls_are_answered_for_ever() {
    const PINGS: u64 = 2_000;
    let server = server().await;
    let mut frames = Frames::connect(server.address).await;
    frames.send(SETTINGS, 1, &[]).await;
    for number in 0..PINGS {
        frames.send(PING, 0, &number.to_be_bytes()).await;
        loop {
            let (kind, flags, payload) = frames.receive().await;
            assert_ne!(kind, GOAWAY, "after {number} pings: {payload:?}");
            if kind == PING && flags == 1 {
                assert_eq!(payload, number.to_be_bytes());
                break;
            }
        }
    }
}

#[tokio::test]
async fn idle_connections_disturb_nobody() {
    let server = server().await;
    let mut idle = Vec::new();
    for _ in 0..300 {
        idle.push(TcpStream::connect(server.address).await.unwrap());
    }
    server.assert_alive().await;
}

#[tokio::test]
async fn a_shutdown_waits_for_what_runs_and_takes_nothing_new() {
    let mut server = server().await;
    let mut client = server.client().await;
    let mut idle = server.client().await;
    idle.get_version(GetVersionRequest {}).await.unwrap();
    let running = tokio::spawn(async move { client.flush(FlushRequest::default()).await });
    server.fake.begun.notified().await;
    server.stop().await;
    assert!(!running.is_finished() && !server.served.is_finished());
    server.fake.release.notify_one();
    running.await.unwrap().expect("a running request finishes");
    server.served.await.unwrap();
    assert!(idle.get_version(GetVersionRequest {}).await.is_err());
}

#[tokio::test]
async fn a_flush_that_ends_during_the_shutdown_can_be_asked_about() {
    let mut server = start(Arc::new(AcceptAll), ServerOptions { follow_up_grace: LONG, ..patient() }).await;
    let mut client = server.client().await;
    let flush = {
        let mut client = client.clone();
        tokio::spawn(async move { client.flush(FlushRequest::default()).await })
    };
    server.fake.begun.notified().await;
    server.stop().await;
    server.fake.release.notify_one();
    flush.await.unwrap().expect("a running flush finishes");
    let state = client.get_flush_state(GetFlushStateRequest::default()).await.unwrap();
    assert!(state.into_inner().flushed);
    let refused = client.create_collection(CreateCollectionRequest::default()).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    assert!(refused.message().contains("shutting down"), "{refused}");
    let refused = client.flush(FlushRequest::default()).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
}

#[tokio::test]
async fn a_client_that_does_not_leave_is_cut_off() {
    let mut server = start(Arc::new(AcceptAll), ServerOptions { leave_grace: Duration::ZERO, ..patient() }).await;
    // It reads nothing, so it neither answers a ping nor heeds that it shall go.
    let mut deaf = Frames::connect(server.address).await;
    let Some(Event::Connected(id)) = server.events.recv().await else { panic!("connected first") };
    // From the answer on the server speaks HTTP/2 with it.
    deaf.receive().await;
    server.stop().await;
    server.served.await.unwrap();
    assert_eq!(server.events.recv().await, Some(Event::Gone(id)));
}

#[tokio::test]
async fn a_shutdown_does_not_wait_for_ever() {
    let mut server = start(Arc::new(AcceptAll), ServerOptions { shutdown_grace: Duration::ZERO, ..patient() }).await;
    let mut client = server.client().await;
    let running = tokio::spawn(async move { client.flush(FlushRequest::default()).await });
    server.fake.begun.notified().await;
    server.stop.take().unwrap().send(()).unwrap();
    server.served.await.unwrap();
    assert!(running.await.unwrap().is_err(), "its connection ended with the server");
}
