//! The listener: one port for gRPC (HTTP/2) and HTTP/1, with TLS or without.
//!
//! Flow: `incoming` accepts, asks the [`AcceptPolicy`] before a byte is read and wraps the connection in a
//! [`ClientStream`], whose first read agrees on TLS; hyper runs in one task per connection; `arrivals` keeps the order of its calls; `dispatch` sends each
//! request to the gRPC service or to the HTTP router. Those of HTTP/2 run in tasks of their own, those of HTTP/1 in that of
//! their connection, which carries one at a time.
//!
//! Invariants: every request carries a [`ConnectionInfo`] in its extensions, and one that may change something its place
//! among those of its connection; [`ConnectionEvents::on_disconnect`] is called exactly once per connection, when its socket
//! is dropped, however the connection ended, and no handler can delay it; no request, however malformed or large, and no
//! panic of a handler ends the server.
//!
//! This is hyper without tonic's own server around it, which learns of a call only in that call's task, too late to tell
//! which of two came first.
//!
//! A server that is asked to stop does so in the order of `drain`.
//!
//! A handler's future is dropped when its client goes away or its deadline passes. What must not stop half way runs in
//! a task of its own; the caller of this module sees to that.

pub(crate) mod arrivals;
mod connection;
mod deadline;
mod dispatch;
mod drain;
mod incoming;

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use arrivals::Arrivals;
use axum::Router;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use redkite_net::{Acceptor, Stream};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use connection::{AcceptAll, AcceptPolicy, ClientStream, ConnectionEvents, ConnectionId, ConnectionInfo, NoEvents};
use dispatch::Dispatch;
pub use dispatch::not_found;
use drain::Drain;
use incoming::Incoming;
pub use incoming::prepare_socket;

use crate::proto::milvus::milvus_service_server::{MilvusService, MilvusServiceServer};

/// Received bytes per request that may be on their way before the handler has read them. The gRPC default of 64 KiB
/// makes a 9 MB insert wait for 140 round trips.
const STREAM_WINDOW_BYTES: u32 = 4 * 1024 * 1024;
/// The same for all requests of one connection.
const CONNECTION_WINDOW_BYTES: u32 = 16 * 1024 * 1024;
/// Largest HTTP/2 frame a client may send; large ones cost less per byte.
const FRAME_BYTES_MAX: u32 = 1024 * 1024;
/// Requests of one connection that may run at once; further ones wait in the client.
const CONCURRENT_STREAMS_MAX: u32 = 1024;
/// Cancelled requests of one connection that may be pending before it is taken for an attack. A client that cancels a
/// few hundred searches at once is none.
const PENDING_RESETS_MAX: usize = 1024;

/// What HTTP/2 begins with.
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// How long a client may take to begin. From then on hyper bounds what it waits for.
const BEGUN_WITHIN: Duration = Duration::from_secs(30);

/// How long the tasks of connections that were cut off may take to notice. They wait for nothing else, so this is
/// reached only where something blocks their threads.
const CUT_OFF_MAX: Duration = Duration::from_secs(1);

/// What an operator may set about the listener.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// Largest request and answer, in bytes.
    pub message_bytes_max: usize,
    /// Most connections at once; further ones are turned away. Each takes a file of the process, which needs some for its data.
    pub connections_max: usize,
    /// A connection silent for this long is pinged, to find peers that vanished.
    pub keep_alive_interval: Duration,
    /// A ping unanswered for this long ends the connection.
    pub keep_alive_timeout: Duration,
    /// How long running requests may take to finish after the shutdown was asked for.
    pub shutdown_grace: Duration,
    /// For how long after the end of a flush its client may ask for its state while the server stops. Clients ask at
    /// once, but a busy one takes a moment.
    pub follow_up_grace: Duration,
    /// How long clients without running requests may take to leave once they were told to. Most leave within a round
    /// trip, some never.
    pub leave_grace: Duration,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            message_bytes_max: 256 * 1024 * 1024,
            connections_max: 50_000,
            keep_alive_interval: Duration::from_secs(30),
            keep_alive_timeout: Duration::from_secs(20),
            shutdown_grace: Duration::from_secs(30),
            follow_up_grace: Duration::from_secs(2),
            leave_grace: Duration::from_secs(1),
        }
    }
}

/// One listener's settings and collaborators.
pub struct Server {
    /// Limits and times.
    pub options: ServerOptions,
    /// Who may connect.
    pub accept: Arc<dyn AcceptPolicy>,
    /// Whether connections have TLS.
    pub acceptor: Acceptor,
    /// Who is told of connections and their end.
    pub events: Arc<dyn ConnectionEvents>,
    /// Answers everything that is not gRPC; see [`not_found`].
    pub http: Router,
    /// Connections that were accepted elsewhere, as a Master hands them over.
    pub forwarded: Option<mpsc::Receiver<Forwarded>>,
}

/// A connection that was accepted elsewhere, and where its client is.
pub type Forwarded = (Stream, SocketAddr);

impl Server {
    /// A server with default options that admits everybody, tells nobody and knows no HTTP path.
    pub fn new() -> Self {
        Self {
            options: ServerOptions::default(),
            accept: Arc::new(AcceptAll),
            acceptor: Acceptor::plain(),
            events: Arc::new(NoEvents),
            http: not_found(),
            forwarded: None,
        }
    }

    /// Serves until `shutdown` resolves and the running requests have finished, or their grace is over. Failing to accept
    /// single connections is logged and tried again.
    pub async fn serve<S, F>(self, listener: TcpListener, service: S, shutdown: F)
    where
        S: MilvusService,
        F: Future<Output = ()>,
    {
        let limit = self.options.message_bytes_max;
        let grpc = MilvusServiceServer::new(service).max_decoding_message_size(limit).max_encoding_message_size(limit);
        let drain = Drain::default();
        let leave = CancellationToken::new();
        let mut incoming =
            Incoming::new(listener, self.accept, self.acceptor, self.events, drain.clone(), self.forwarded);
        let port = Arc::new(Port {
            protocol: protocol(&self.options),
            dispatch: Dispatch::new(grpc, self.http, drain.clone()),
            message_bytes_max: limit,
        });
        let connections = TaskTracker::new();
        let serve = async {
            while let Some(stream) = incoming.next().await {
                if connections.len() >= self.options.connections_max {
                    crate::metrics::connection_turned_away();
                    continue;
                }
                connections.spawn(port.clone().connection(stream, leave.child_token()));
            }
            // The port is closed.
            drop(incoming);
            connections.close();
            connections.wait().await;
        };
        let ended = async {
            shutdown.await;
            end(&drain, &leave, &self.options).await;
        };
        let mut serve = pin!(serve);
        tokio::select! {
            () = &mut serve => {}
            () = ended => {
                if tokio::time::timeout(CUT_OFF_MAX, serve).await.is_err() {
                    tracing::warn!("some connections did not notice in time that they were cut off");
                }
            }
        }
    }
}

/// What all connections share.
struct Port<S> {
    protocol: Builder<TokioExecutor>,
    dispatch: Dispatch<S>,
    message_bytes_max: usize,
}

impl<S: MilvusService> Port<S> {
    /// Serves one connection to its end, which `leave` asks for.
    async fn connection(self: Arc<Self>, mut stream: ClientStream<Stream>, leave: CancellationToken) {
        let info = stream.info();
        // Which version it is, and so what hyper waits for, shows in the first bytes.
        let begun = tokio::select! {
            begun = tokio::time::timeout(BEGUN_WITHIN, stream.begins_with(HTTP2_PREFACE)) => begun,
            () = leave.cancelled() => return,
        };
        match begun {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => {
                tracing::debug!(connection = %info.id, peer = %info.peer, %error, "a connection ended before it began");
                return;
            }
            Err(_) => {
                tracing::debug!(connection = %info.id, peer = %info.peer, "a connection says nothing, and is dropped");
                return;
            }
        }
        let arrivals = Arrivals::new(self.message_bytes_max);
        let service = service_fn(|mut request| {
            // In the task of the connection, and in the order of the calls' headers.
            request.extensions_mut().insert(info);
            let answer = self.dispatch.call(arrivals.order(request));
            async { Ok::<_, Infallible>(answer.await) }
        });
        let mut connection = pin!(self.protocol.serve_connection(TokioIo::new(stream), service));
        let mut leaving = Some(pin!(leave.cancelled()));
        let served = poll_fn(|cx| {
            if leaving.as_mut().is_some_and(|leaving| leaving.as_mut().poll(cx).is_ready()) {
                leaving = None;
                connection.as_mut().graceful_shutdown();
            }
            let served = connection.as_mut().poll(cx);
            arrivals.receive(cx);
            served
        });
        if let Err(error) = served.await {
            tracing::debug!(connection = %info.id, peer = %info.peer, error, "a connection ended badly");
        }
    }
}

/// The steps of `drain`; cancelling `leave` tells clients to go.
async fn end(drain: &Drain, leave: &CancellationToken, options: &ServerOptions) {
    tracing::info!("no new requests are taken; waiting for the running ones");
    drain.stop();
    let requests = async {
        drain.flushes_told(options.follow_up_grace).await;
        leave.cancel();
        drain.requests_ended().await;
    };
    if tokio::time::timeout(options.shutdown_grace, requests).await.is_ok() {
        tokio::time::sleep(options.leave_grace).await;
    } else {
        let grace_ms = options.shutdown_grace.as_millis() as u64;
        tracing::warn!(grace_ms, "some requests did not finish in time and are cut off");
        leave.cancel();
    }
    drain.cut_off();
}

impl Default for Server {
    fn default() -> Self {
        Self::new()
    }
}

fn protocol(options: &ServerOptions) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    // hyper's limit on the time for the head of an HTTP/1 request needs a timer.
    builder.http1().timer(TokioTimer::new());
    builder
        .http2()
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_frame_size(FRAME_BYTES_MAX)
        .max_concurrent_streams(CONCURRENT_STREAMS_MAX)
        .max_pending_accept_reset_streams(PENDING_RESETS_MAX)
        .keep_alive_interval(options.keep_alive_interval)
        .keep_alive_timeout(options.keep_alive_timeout);
    builder
}
