//! Accepting connections.
//!
//! Never fails: a peer that gave up while waiting is skipped, and where the process has run out of file descriptors it
//! waits a moment instead of spinning. It ends when the server stops, and the port is closed then.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use redkite_net::{Acceptor, Stream};
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::Forwarded;
use super::connection::{AcceptPolicy, ClientStream, ConnectionEvents, ConnectionId, ConnectionInfo};
use super::drain::Drain;

/// Pause after an accept that failed for want of resources.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);
/// Kernel probes find peers that vanished before they spoke HTTP/2, where no ping can.
const TCP_KEEPALIVE: TcpKeepalive =
    TcpKeepalive::new().with_time(Duration::from_secs(60)).with_interval(Duration::from_secs(15)).with_retries(4);
/// Connections that may wait to be accepted; the kernel caps it. All clients of a restarted server come back at once, and
/// one that finds no room is made to wait for a second.
const WAITING_MAX: i32 = 4_096;

/// The connections of one listener that its policy admits, numbered from 1.
pub(super) struct Incoming {
    listener: TcpListener,
    policy: Arc<dyn AcceptPolicy>,
    acceptor: Acceptor,
    events: Arc<dyn ConnectionEvents>,
    drain: Drain,
    next_id: u64,
    /// None once no more of them can come.
    forwarded: Option<mpsc::Receiver<Forwarded>>,
}

impl Incoming {
    pub(super) fn new(
        listener: TcpListener,
        policy: Arc<dyn AcceptPolicy>,
        acceptor: Acceptor,
        events: Arc<dyn ConnectionEvents>,
        drain: Drain,
        forwarded: Option<mpsc::Receiver<Forwarded>>,
    ) -> Self {
        // Whoever opened the port let far fewer wait.
        if let Err(error) = SockRef::from(&listener).listen(WAITING_MAX) {
            tracing::debug!(%error, "the queue of waiting connections could not be made longer");
        }
        Self { listener, policy, acceptor, events, drain, next_id: 1, forwarded }
    }

    /// The next one; none once the server stops.
    pub(super) async fn next(&mut self) -> Option<ClientStream<Stream>> {
        let drain = self.drain.clone();
        tokio::select! {
            biased;
            () = drain.stopping() => None,
            stream = self.accept() => Some(stream),
        }
    }

    async fn accept(&mut self) -> ClientStream<Stream> {
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted.map(|(socket, peer)| (Arrived::Here(socket), peer)),
                (stream, peer) = next_of(&mut self.forwarded) => Ok((Arrived::Elsewhere(stream), peer)),
            };
            match accepted {
                Ok((arrived, peer)) => {
                    if !self.policy.admits(peer.ip().to_canonical()) {
                        tracing::debug!(%peer, "a connection is not admitted");
                    } else if let Some(stream) = self.stream(arrived, peer) {
                        return self.welcome(stream, peer);
                    }
                }
                Err(error) if is_about_one_peer(&error) => {
                    tracing::debug!(%error, "a peer gave up before it was accepted")
                }
                Err(error) => {
                    tracing::error!(%error, "no connection can be accepted for the moment");
                    tokio::time::sleep(EXHAUSTED_PAUSE).await;
                }
            }
        }
    }

    fn stream(&self, arrived: Arrived, peer: SocketAddr) -> Option<Stream> {
        match arrived {
            Arrived::Here(socket) => {
                prepare_socket(&socket, peer);
                self.acceptor.accept(socket)
            }
            Arrived::Elsewhere(stream) => {
                stream.socket().inspect(|socket| prepare_socket(socket, peer));
                Some(stream)
            }
        }
    }

    fn welcome(&mut self, stream: Stream, peer: SocketAddr) -> ClientStream<Stream> {
        let id = ConnectionId(self.next_id);
        self.next_id += 1;
        ClientStream::new(stream, ConnectionInfo { id, peer }, Arc::clone(&self.events), self.drain.cut())
    }
}

/// A connection, and where it was accepted.
enum Arrived {
    Here(TcpStream),
    Elsewhere(Stream),
}

/// Sends at once what there is to send, and has the kernel find out whether the other side is still there.
pub fn prepare_socket(stream: &TcpStream, peer: SocketAddr) {
    // Both are improvements, not needs: a socket that refuses them is about to fail by itself.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%peer, %error, "TCP_NODELAY could not be set");
    }
    if let Err(error) = SockRef::from(stream).set_tcp_keepalive(&TCP_KEEPALIVE) {
        tracing::debug!(%peer, %error, "TCP keep-alive could not be set");
    }
}

/// The next one that was accepted elsewhere, if ever one comes.
async fn next_of(forwarded: &mut Option<mpsc::Receiver<Forwarded>>) -> Forwarded {
    if let Some(receiver) = forwarded {
        match receiver.recv().await {
            Some(next) => return next,
            None => *forwarded = None,
        }
    }
    std::future::pending().await
}

fn is_about_one_peer(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}
