//! Serves a router by HTTP, as `axum::serve` does, with limits: on connections, and on how long one may take to say what it wants.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::Request;
use axum::serve::Listener;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use redkite_net::Stream;
use tokio::task::JoinSet;
use tower::ServiceExt;

use crate::allow_list::Peer;

/// Most connections at once; further ones are turned away.
const CONNECTIONS_MAX: usize = 1_024;
/// What HTTP/2 begins with.
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// How long a client may take to begin, and then for the head of each request.
const BEGUN_WITHIN: Duration = Duration::from_secs(30);
/// A connection of HTTP/2 silent for so long is asked whether it is still there.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// Answers by `router` what comes through `listener`, until dropped. A handler finds who asks as `ConnectInfo<Peer>`.
pub async fn serve_by(mut listener: impl Listener<Io = Stream, Addr = SocketAddr>, router: Router) {
    let mut protocol = Builder::new(TokioExecutor::new());
    protocol.http1().timer(TokioTimer::new()).header_read_timeout(BEGUN_WITHIN);
    protocol.http2().timer(TokioTimer::new()).keep_alive_interval(KEEP_ALIVE);
    let mut connections = JoinSet::new();
    loop {
        let (stream, peer) = listener.accept().await;
        while connections.try_join_next().is_some() {}
        if connections.len() >= CONNECTIONS_MAX {
            tracing::debug!(%peer, "too many connections for operators; one is turned away");
            continue;
        }
        connections.spawn(connection(protocol.clone(), stream, peer, router.clone()));
    }
}

async fn connection(protocol: Builder<TokioExecutor>, mut stream: Stream, peer: SocketAddr, router: Router) {
    // Which version it is, and so what hyper waits for, shows in the first bytes.
    match tokio::time::timeout(BEGUN_WITHIN, stream.begins_with(HTTP2_PREFACE)).await {
        Ok(Ok(_)) => {}
        ended => {
            tracing::debug!(%peer, ?ended, "a connection ended before it began");
            return;
        }
    }
    let service = service_fn(|mut request: Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(Peer(peer)));
        router.clone().oneshot(request.map(Body::new))
    });
    if let Err(error) = protocol.serve_connection(TokioIo::new(stream), service).await {
        tracing::debug!(%peer, error, "a connection ended badly");
    }
}
