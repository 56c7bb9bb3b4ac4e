//! Makes streams of what a port accepts.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

use crate::{Stream, Tls};

/// How long a handshake may take. It is two round trips, and some work of a processor that others may want, too.
pub(crate) const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);
/// Most handshakes under way at one port; who comes beyond that is turned away. All clients of a restarted server come back at
/// once, and those that are turned away come again.
const HANDSHAKES_MAX: usize = 8_192;

/// How a port takes connections. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Acceptor(Option<WithTls>);

#[derive(Debug, Clone)]
struct WithTls {
    tls: Arc<Tls>,
    port: &'static str,
    places: Arc<Semaphore>,
}

impl Acceptor {
    /// As they are.
    pub fn plain() -> Self {
        Self(None)
    }

    pub(crate) fn with(tls: Arc<Tls>, port: &'static str) -> Self {
        Self(Some(WithTls { tls, port, places: Arc::new(Semaphore::new(HANDSHAKES_MAX)) }))
    }

    /// The stream of a connection, at once: what has to be agreed on is, with the first read. None if too many others are at that.
    pub fn accept(&self, socket: TcpStream) -> Option<Stream> {
        let Some(WithTls { tls, port, places }) = &self.0 else { return Some(Stream::plain(socket)) };
        match places.clone().try_acquire_owned() {
            Ok(place) => Some(Stream::accepting(TlsAcceptor::from(tls.server()).accept(socket), port, place)),
            Err(_) => {
                crate::metrics::handshake_failed(port);
                tracing::debug!(port, "too many handshakes at once; a connection is turned away");
                None
            }
        }
    }
}
