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
pub async fn serve_by(listener: impl Listener<Io = Stream, Addr = SocketAddr>, router: Router) {
    serve_up_to(CONNECTIONS_MAX, listener, router).await;
}

async fn serve_up_to(most: usize, mut listener: impl Listener<Io = Stream, Addr = SocketAddr>, router: Router) {
    let mut protocol = Builder::new(TokioExecutor::new());
    protocol.http1().timer(TokioTimer::new()).header_read_timeout(BEGUN_WITHIN);
    protocol.http2().timer(TokioTimer::new()).keep_alive_interval(KEEP_ALIVE);
    let mut connections = JoinSet::new();
    loop {
        let (stream, peer) = listener.accept().await;
        while connections.try_join_next().is_some() {}
        if connections.len() >= most {
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

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use redkite_net::Acceptor;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::allow_list::{AllowList, Guarded};

    async fn serving(most: usize) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router =
            Router::new().route("/who", get(async |ConnectInfo(Peer(peer)): ConnectInfo<Peer>| peer.to_string()));
        let (allowed, acceptor) = (AllowList::new("http", Vec::new()), Acceptor::plain());
        tokio::spawn(serve_up_to(most, Guarded { listener, allowed, acceptor }, router));
        address
    }

    async fn heard(stream: &mut TcpStream, said: &[u8]) -> String {
        stream.write_all(said).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        String::from_utf8(answer).unwrap()
    }

    /// Time passes by itself here wherever nothing else does.
    #[tokio::test(start_paused = true)]
    async fn who_asks_is_known_and_who_does_not_is_dropped() {
        let address = serving(2).await;
        let mut client = TcpStream::connect(address).await.unwrap();
        let here = client.local_addr().unwrap().to_string();
        let answer = heard(&mut client, b"GET /who HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with(&here), "{answer}");
        for begun in [&b""[..], b"PRI * HTTP", b"GET /who HTTP/1.1\r\nHost: "] {
            let mut slow = TcpStream::connect(address).await.unwrap();
            let answer = heard(&mut slow, begun).await;
            assert!(!answer.contains("200"), "{answer}");
        }
    }

    #[tokio::test]
    async fn connections_beyond_the_limit_are_turned_away() {
        let address = serving(2).await;
        let mut open = Vec::new();
        for _ in 0..2 {
            open.push(TcpStream::connect(address).await.unwrap());
        }
        let mut late = TcpStream::connect(address).await.unwrap();
        assert_eq!(late.read(&mut [0]).await.unwrap(), 0);
        let answer = heard(&mut open[0], b"GET /who HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
}
