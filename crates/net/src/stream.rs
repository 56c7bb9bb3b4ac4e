//! A connection, plain or with TLS.
//!
//! One that was accepted with TLS is agreed on in whichever comes first of reading and writing. Where that fails, or takes too
//! long, that call tells why, and the connection is at its end.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Sleep;
use tokio_rustls::{Accept, TlsStream};

use crate::acceptor::HANDSHAKE_WITHIN;

/// A connection.
#[derive(Debug)]
pub struct Stream {
    kind: Kind,
    /// What was read only to look at it.
    begin: Vec<u8>,
}

enum Kind {
    Plain(TcpStream),
    Accepting(Box<Accepting>),
    // Large beside a socket.
    Tls(Box<TlsStream<TcpStream>>),
    Failed,
}

struct Accepting {
    handshake: Accept<TcpStream>,
    deadline: Pin<Box<Sleep>>,
    port: &'static str,
    peer: Option<SocketAddr>,
    /// Of those that may be at this at once.
    _place: OwnedSemaphorePermit,
}

impl Stream {
    /// A connection without TLS.
    pub fn plain(socket: TcpStream) -> Self {
        Self { kind: Kind::Plain(socket), begin: Vec::new() }
    }

    /// To be called within a runtime.
    pub(crate) fn accepting(handshake: Accept<TcpStream>, port: &'static str, place: OwnedSemaphorePermit) -> Self {
        let peer = handshake.get_ref().and_then(|socket| socket.peer_addr().ok());
        let deadline = Box::pin(tokio::time::sleep(HANDSHAKE_WITHIN));
        let accepting = Accepting { handshake, deadline, port, peer, _place: place };
        Self { kind: Kind::Accepting(Box::new(accepting)), begin: Vec::new() }
    }

    pub(crate) fn with_tls(stream: TlsStream<TcpStream>) -> Self {
        Self { kind: Kind::Tls(Box::new(stream)), begin: Vec::new() }
    }

    /// The socket below; none where TLS has failed.
    pub fn socket(&self) -> Option<&TcpStream> {
        match &self.kind {
            Kind::Plain(socket) => Some(socket),
            Kind::Accepting(accepting) => accepting.handshake.get_ref(),
            Kind::Tls(stream) => Some(stream.get_ref().0),
            Kind::Failed => None,
        }
    }

    /// Whether the connection begins with `wanted`, of what was not read yet; nothing is taken from it. Waits for as many bytes as it
    /// takes to tell: who calls it bounds the time.
    pub async fn begins_with(&mut self, wanted: &[u8]) -> io::Result<bool> {
        loop {
            let known = self.begin.len().min(wanted.len());
            if self.begin[..known] != wanted[..known] {
                return Ok(false);
            }
            if known == wanted.len() {
                return Ok(true);
            }
            // What is known has to be out of the way, as it would be read again.
            let mut begin = std::mem::take(&mut self.begin);
            let read = (&mut *self).take((wanted.len() - known) as u64).read_buf(&mut begin).await;
            self.begin = begin;
            if read? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// Ready once bytes can pass.
    fn poll_agreed(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Kind::Accepting(accepting) = &mut self.kind else { return Poll::Ready(Ok(())) };
        let agreed = match Pin::new(&mut accepting.handshake).poll(cx) {
            Poll::Ready(agreed) => agreed,
            Poll::Pending => {
                ready!(accepting.deadline.as_mut().poll(cx));
                Err(io::Error::new(io::ErrorKind::TimedOut, "the handshake takes too long"))
            }
        };
        match agreed {
            Ok(stream) => {
                self.kind = Kind::Tls(Box::new(stream.into()));
                Poll::Ready(Ok(()))
            }
            Err(error) => {
                let (port, peer) = (accepting.port, accepting.peer);
                crate::metrics::handshake_failed(port);
                tracing::debug!(port, ?peer, %error, "a connection is not one with TLS as this port wants it");
                self.kind = Kind::Failed;
                Poll::Ready(Err(error))
            }
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.begin.is_empty() {
            let taken = self.begin.len().min(buf.remaining());
            buf.put_slice(&self.begin[..taken]);
            self.begin.drain(..taken);
            return Poll::Ready(Ok(()));
        }
        ready!(self.poll_agreed(cx))?;
        match &mut self.kind {
            Kind::Plain(socket) => Pin::new(socket).poll_read(cx, buf),
            Kind::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
            Kind::Accepting(_) | Kind::Failed => Poll::Ready(Ok(())),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_agreed(cx))?;
        match &mut self.kind {
            Kind::Plain(socket) => Pin::new(socket).poll_write(cx, buf),
            Kind::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
            Kind::Accepting(_) | Kind::Failed => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.kind {
            Kind::Plain(socket) => Pin::new(socket).poll_flush(cx),
            Kind::Tls(stream) => Pin::new(stream).poll_flush(cx),
            // Nothing was written.
            Kind::Accepting(_) | Kind::Failed => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.kind {
            Kind::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
            Kind::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
            Kind::Accepting(_) | Kind::Failed => Poll::Ready(Ok(())),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_agreed(cx))?;
        match &mut self.kind {
            Kind::Plain(socket) => Pin::new(socket).poll_write_vectored(cx, bufs),
            Kind::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Kind::Accepting(_) | Kind::Failed => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    fn is_write_vectored(&self) -> bool {
        // Both kinds of a connection that carries bytes can.
        true
    }
}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Plain(_) => "Plain",
            Kind::Accepting(_) => "Accepting",
            Kind::Tls(_) => "Tls",
            Kind::Failed => "Failed",
        })
    }
}
