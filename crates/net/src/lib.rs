//! Connections between processes, as they come and as they are made: plain, or with TLS.
//!
//! - [`Stream`]: a connection of either kind, whose first bytes can be looked at.
//! - [`Tls`]: certificates and keys from files, read again when they change; [`TlsFiles`] names them.
//! - [`Acceptor`]: makes streams of the sockets that a port accepts. [`Dialer`]: connects to other processes.
//! - [`Client`]: a blocking connection for programs that ask one question.
//!
//! Invariants: a handshake is part of the first read of its connection, never of accepting, so none can hold up another; its time
//! and the number of those under way are bounded; a port that has TLS takes nothing else. Certificates are verified for the host
//! that was asked for, by name or by address. Who may connect is decided before any of this (S14), elsewhere.
//!
//! This knows nothing of HTTP but the names that ALPN has for it.

mod acceptor;
mod client;
mod dialer;
mod files;
mod metrics;
mod stream;
mod tls;

pub use acceptor::Acceptor;
pub use client::{Client, ReadWrite};
pub use dialer::Dialer;
pub use files::{About, Identity, TlsError, TlsFiles, Trust};
pub use stream::Stream;
pub use tls::Tls;
