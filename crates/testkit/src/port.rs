//! Ports nobody listens on.
//!
//! The kernel names them, and nothing holds them between the answer and their use: whoever starts a server on one tries
//! again with another when the server exits at once.

use std::net::TcpListener;

use anyhow::{Context as _, Result};

/// A port on 127.0.0.1 that was free just now.
pub fn free_port() -> Result<u16> {
    Ok(free_ports::<1>()?[0])
}

/// `N` different ports on 127.0.0.1 that were free just now.
pub fn free_ports<const N: usize>() -> Result<[u16; N]> {
    // All listeners live until every port is known, otherwise the kernel may name one port twice.
    let listeners = (0..N).map(|_| TcpListener::bind(("127.0.0.1", 0))).collect::<std::io::Result<Vec<_>>>();
    let listeners = listeners.context("no free port on 127.0.0.1")?;
    let mut ports = [0; N];
    for (port, listener) in ports.iter_mut().zip(&listeners) {
        *port = listener.local_addr().context("a bound listener has no address")?.port();
    }
    Ok(ports)
}
