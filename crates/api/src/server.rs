//! The listener: one port for gRPC (HTTP/2 without TLS) and HTTP/1.
//!
//! Flow: `incoming` accepts, asks the [`AcceptPolicy`] before a byte is read and wraps the socket in a
//! [`ClientStream`]; tonic runs one task per connection; `dispatch` sends each request to the gRPC service or to the
//! HTTP router.
//!
//! Invariants: every request carries a [`ConnectionInfo`] in its extensions; [`ConnectionEvents::on_disconnect`] is
//! called exactly once per connection, when its socket is dropped, however the connection ended, and no handler can
//! delay it; no request, however malformed or large, and no panic of a handler ends the server.
//!
//! A server that is asked to stop does so in the order of `drain`.
//!
//! A handler's future is dropped when its client goes away or its deadline passes. What must not stop half way runs in
//! a task of its own; the caller of this module sees to that.

mod connection;
mod dispatch;
mod drain;
mod incoming;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use connection::{AcceptAll, AcceptPolicy, ClientStream, ConnectionEvents, ConnectionId, ConnectionInfo, NoEvents};
pub use dispatch::not_found;
use drain::Drain;

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

/// How long the tasks of connections that were cut off may take to notice. They wait for nothing else, so this is
/// reached only where something blocks their threads.
const CUT_OFF_MAX: Duration = Duration::from_secs(1);

/// What an operator may set about the listener.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// Largest request and answer, in bytes.
    pub message_bytes_max: usize,
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
            keep_alive_interval: Duration::from_secs(30),
            keep_alive_timeout: Duration::from_secs(20),
            shutdown_grace: Duration::from_secs(30),
            follow_up_grace: Duration::from_secs(2),
            leave_grace: Duration::from_secs(1),
        }
    }
}

/// Why the server stopped without being asked to.
#[derive(Debug, thiserror::Error)]
#[error("the listener on {address} failed: {source}")]
pub struct ServeError {
    /// Where it listened.
    pub address: String,
    /// What went wrong.
    #[source]
    pub source: tonic::transport::Error,
}

/// One listener's settings and collaborators.
pub struct Server {
    /// Limits and times.
    pub options: ServerOptions,
    /// Who may connect.
    pub accept: Arc<dyn AcceptPolicy>,
    /// Who is told of connections and their end.
    pub events: Arc<dyn ConnectionEvents>,
    /// Answers everything that is not gRPC; see [`not_found`].
    pub http: Router,
}

impl Server {
    /// A server with default options that admits everybody, tells nobody and knows no HTTP path.
    pub fn new() -> Self {
        Self {
            options: ServerOptions::default(),
            accept: Arc::new(AcceptAll),
            events: Arc::new(NoEvents),
            http: not_found(),
        }
    }

    /// Serves until `shutdown` resolves and the running requests have finished, or their grace is over.
    ///
    /// Errors: the listener's address cannot be told or tonic gives up; failing to accept single connections is logged
    /// and tried again.
    pub async fn serve<S, F>(self, listener: TcpListener, service: S, shutdown: F) -> Result<(), ServeError>
    where
        S: MilvusService,
        F: Future<Output = ()>,
    {
        let limit = self.options.message_bytes_max;
        let grpc = MilvusServiceServer::new(service).max_decoding_message_size(limit).max_encoding_message_size(limit);
        let drain = Drain::default();
        let service = dispatch::Dispatch::new(grpc, self.http, drain.clone());
        let address = listener.local_addr().map_or_else(|error| error.to_string(), |address| address.to_string());
        let incoming = incoming::accept(listener, self.accept, self.events, drain.clone());
        let leave = CancellationToken::new();
        let told = leave.clone().cancelled_owned();
        let serve = builder(&self.options).serve_with_incoming_shutdown(service, incoming, told);
        tokio::pin!(serve);
        let ended = async {
            shutdown.await;
            end(&drain, &leave, &self.options).await;
        };
        let result = tokio::select! {
            result = &mut serve => result,
            () = ended => tokio::time::timeout(CUT_OFF_MAX, serve).await.unwrap_or(Ok(())),
        };
        result.map_err(|source| ServeError { address, source })
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

fn builder(options: &ServerOptions) -> tonic::transport::Server {
    tonic::transport::Server::builder()
        .accept_http1(true)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_frame_size(FRAME_BYTES_MAX)
        .max_concurrent_streams(CONCURRENT_STREAMS_MAX)
        .http2_max_pending_accept_reset_streams(Some(PENDING_RESETS_MAX))
        .http2_keepalive_interval(Some(options.keep_alive_interval))
        .http2_keepalive_timeout(Some(options.keep_alive_timeout))
}
