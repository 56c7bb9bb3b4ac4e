//! One client's connection: its id, who may have one, and who hears of its end.
//!
//! The guard that reports the end lives in the stream and nowhere else. Requests see only the id, so no handler can
//! keep a dead connection looking alive.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use redkite_net::Stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// A connection of this process; never reused while the process lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What every request knows about its connection; found in the request's extensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionInfo {
    /// Which connection.
    pub id: ConnectionId,
    /// The other side's address.
    pub peer: SocketAddr,
}

/// Decides who may connect, from the address alone, before any byte is read.
pub trait AcceptPolicy: Send + Sync + 'static {
    /// Whether a connection from `peer` is kept. Called on the accept loop: it must not block.
    fn admits(&self, peer: IpAddr) -> bool;
}

/// Admits everybody.
#[derive(Debug, Clone, Copy)]
pub struct AcceptAll;

impl AcceptPolicy for AcceptAll {
    fn admits(&self, _peer: IpAddr) -> bool {
        true
    }
}

/// Hears of connections. Both calls come from async tasks and must not block.
///
/// A request of a connection may still reach its handler shortly after `on_disconnect`: an id that was reported as gone
/// never comes back, so whoever keeps state per id must refuse ids that are gone.
pub trait ConnectionEvents: Send + Sync + 'static {
    /// A connection was accepted; its requests come after this returns.
    fn on_connect(&self, connection: ConnectionInfo);
    /// The connection is closed, whoever closed it and however. Called exactly once after `on_connect`.
    fn on_disconnect(&self, connection: ConnectionId);
}

/// Ignores both events.
#[derive(Debug, Clone, Copy)]
pub struct NoEvents;

impl ConnectionEvents for NoEvents {
    fn on_connect(&self, _connection: ConnectionInfo) {}
    fn on_disconnect(&self, _connection: ConnectionId) {}
}

/// The bytes of one client, and the one owner of the fact that it is connected.
pub struct ClientStream<IO> {
    inner: IO,
    info: ConnectionInfo,
    events: Arc<dyn ConnectionEvents>,
    cut: CancellationToken,
    cut_off: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl<IO> ClientStream<IO> {
    /// Reports the connection to `events`, and its end when the stream is dropped. Once `cut` is cancelled the client is
    /// taken for gone.
    pub fn new(inner: IO, info: ConnectionInfo, events: Arc<dyn ConnectionEvents>, cut: CancellationToken) -> Self {
        crate::metrics::connection_opened();
        events.on_connect(info);
        let cut_off = Box::pin(cut.clone().cancelled_owned());
        Self { inner, info, events, cut, cut_off }
    }

    /// Whose it is.
    pub fn info(&self) -> ConnectionInfo {
        self.info
    }

    /// Fails once the connection is cut. Whoever reads has seen to it that its task is woken then.
    fn check_cut(&self) -> io::Result<()> {
        if self.cut.is_cancelled() { Err(io::ErrorKind::ConnectionAborted.into()) } else { Ok(()) }
    }
}

impl ClientStream<Stream> {
    /// Whether the client's bytes begin with `wanted`; nothing is taken from them.
    pub async fn begins_with(&mut self, wanted: &[u8]) -> io::Result<bool> {
        tokio::select! {
            begins = self.inner.begins_with(wanted) => begins,
            () = self.cut.cancelled() => Err(io::ErrorKind::ConnectionAborted.into()),
        }
    }
}

impl<IO> Drop for ClientStream<IO> {
    fn drop(&mut self) {
        crate::metrics::connection_closed();
        self.events.on_disconnect(self.info.id);
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for ClientStream<IO> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.cut_off.as_mut().poll(cx).is_ready() {
            // As if the client had closed it.
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for ClientStream<IO> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.check_cut()?;
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check_cut()?;
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check_cut()?;
        Pin::new(&mut self.inner).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}
