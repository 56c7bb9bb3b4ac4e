//! A blocking connection with TLS, for programs that ask one question and end.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use tokio_rustls::rustls::{ClientConfig, ClientConnection, StreamOwned};

use crate::dialer::server_name;
use crate::{Identity, TlsError, Trust, files};

/// Whom to trust, and what to show.
#[derive(Clone)]
pub struct Client(Arc<ClientConfig>);

/// What can be read and written.
pub trait ReadWrite: Read + Write {}

impl<T: Read + Write> ReadWrite for T {}

impl Client {
    /// Reads the files.
    pub fn open(trust: &Trust, identity: Option<&Identity>) -> Result<Self, TlsError> {
        files::client_of(trust, identity).map(Self)
    }

    /// TLS over a connection to `address`, `host:port`, whose certificate has to be that host's. What is wrong with it is told by the
    /// first write.
    pub fn over(&self, socket: TcpStream, address: &str) -> io::Result<Box<dyn ReadWrite>> {
        let connection = ClientConnection::new(self.0.clone(), server_name(address)?).map_err(io::Error::other)?;
        Ok(Box::new(StreamOwned::new(connection, socket)))
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Client")
    }
}
