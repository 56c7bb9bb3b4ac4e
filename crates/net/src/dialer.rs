//! Connects to other processes.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use crate::{Stream, Tls};

/// Failures of TLS are logged no more often than this: whoever is asked again and again must not fill the log.
const LOG_PAUSE: Duration = Duration::from_secs(10);

/// How to connect to other processes. Cheap to clone.
#[derive(Clone, Default)]
pub struct Dialer(Option<Arc<WithTls>>);

struct WithTls {
    tls: Arc<Tls>,
    logged: Mutex<Option<Instant>>,
}

impl Dialer {
    /// Without TLS.
    pub fn plain() -> Self {
        Self(None)
    }

    pub(crate) fn with(tls: Arc<Tls>) -> Self {
        Self(Some(Arc::new(WithTls { tls, logged: Mutex::default() })))
    }

    /// Whether connections have TLS.
    pub fn is_tls(&self) -> bool {
        self.0.is_some()
    }

    /// Connects to `address`, `host:port`. With TLS the certificate there has to be that host's. Who calls it bounds the time.
    pub async fn dial(&self, address: &str) -> io::Result<Stream> {
        let socket = TcpStream::connect(address).await?;
        socket.set_nodelay(true)?;
        let Some(with) = &self.0 else { return Ok(Stream::plain(socket)) };
        let nobody = || io::Error::other("nobody is trusted to connect to");
        let connector = TlsConnector::from(with.tls.client().ok_or_else(nobody)?);
        match connector.connect(server_name(address)?, socket).await {
            Ok(stream) => Ok(Stream::with_tls(stream.into())),
            Err(error) => {
                with.tell(address, &error);
                Err(error)
            }
        }
    }
}

impl WithTls {
    /// Certificates that do not fit look like a process that is down; whoever has to mend them must be told.
    fn tell(&self, address: &str, error: &io::Error) {
        let now = Instant::now();
        let mut logged = self.logged.lock();
        if logged.is_none_or(|logged| now.duration_since(logged) >= LOG_PAUSE) {
            *logged = Some(now);
            tracing::warn!(address, %error, "another process of the cluster cannot be reached by TLS");
        }
    }
}

/// The host in `host:port`, as its certificate has to bear it.
pub(crate) fn server_name(address: &str) -> io::Result<ServerName<'static>> {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    ServerName::try_from(bare.to_owned()).map_err(|_| {
        io::Error::new(io::ErrorKind::InvalidInput, format!("{bare:?} is no host that a certificate can have"))
    })
}

impl fmt::Debug for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialer").field("is_tls", &self.is_tls()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_for_a_name_or_an_address() {
        for (address, want) in
            [("db-1.example:4000", "db-1.example"), ("10.0.0.1:4000", "10.0.0.1"), ("[fd00::1]:4000", "fd00::1")]
        {
            assert_eq!(server_name(address).unwrap().to_str(), want);
        }
        assert!(server_name("no host:1").is_err());
    }
}
