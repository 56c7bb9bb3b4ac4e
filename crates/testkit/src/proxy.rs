//! A TCP proxy that misbehaves on demand: the network between a client and a server.
//!
//! Faults are switched at run time, per direction, and apply to open connections as well as to new ones. The order of
//! bytes is never changed and none is invented; a connection either carries a prefix of what was sent or all of it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Read and forwarded at a time.
const CHUNK_BYTES: usize = 64 * 1024;
const BACKLOG: u32 = 1024;

/// Which half of the traffic a fault applies to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From client to server.
    ToServer,
    /// From server to client.
    ToClient,
    /// Both halves.
    Both,
}

/// What happens to the bytes of one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Forwarded as they come.
    None,
    /// Each chunk is held back this long.
    Delay(Duration),
    /// Held back until the fault changes; the connection stays open.
    Stall,
    /// So many more bytes pass over all connections, then the connection that would carry the next one is reset.
    /// `CutAfter(0)` to the client: requests arrive and their replies are lost.
    CutAfter(u64),
}

#[derive(Debug, Clone)]
struct Mode {
    fault: Fault,
    /// What is left of a [`Fault::CutAfter`]; counted across connections, so shared.
    budget: Arc<AtomicU64>,
}

impl Mode {
    fn new(fault: Fault) -> Self {
        let budget = if let Fault::CutAfter(bytes) = fault { bytes } else { u64::MAX };
        Self { fault, budget: Arc::new(AtomicU64::new(budget)) }
    }
}

/// A running proxy. Dropping it closes its port and resets its connections.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    to_server: watch::Sender<Mode>,
    to_client: watch::Sender<Mode>,
    refuse: watch::Sender<bool>,
    /// Counts up with every [`Proxy::reset`]; a connection ends when the number is not the one it began with.
    generation: watch::Sender<u64>,
    open: Arc<AtomicUsize>,
    acceptor: JoinHandle<()>,
}

impl Proxy {
    /// Forwards from a free port of 127.0.0.1 to `upstream`, without faults. Needs a tokio runtime.
    pub async fn start(upstream: SocketAddr) -> Result<Self> {
        let listener = listen(SocketAddr::from(([127, 0, 0, 1], 0)))?;
        let address = listener.local_addr().context("a bound listener has no address")?;
        let (to_server, to_server_mode) = watch::channel(Mode::new(Fault::None));
        let (to_client, to_client_mode) = watch::channel(Mode::new(Fault::None));
        let (refuse, refused) = watch::channel(false);
        let (generation, generation_seen) = watch::channel(0);
        let open = Arc::new(AtomicUsize::new(0));
        let links = Links {
            upstream,
            to_server: to_server_mode,
            to_client: to_client_mode,
            generation: generation_seen,
            open: Arc::clone(&open),
        };
        let acceptor = tokio::spawn(accept(listener, address, refused, links));
        Ok(Self { address, to_server, to_client, refuse, generation, open, acceptor })
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where clients connect: `http://127.0.0.1:<port>`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Switches the fault of a direction.
    pub fn set(&self, direction: Direction, fault: Fault) {
        if direction != Direction::ToClient {
            self.to_server.send_replace(Mode::new(fault));
        }
        if direction != Direction::ToServer {
            self.to_client.send_replace(Mode::new(fault));
        }
    }

    /// Ends every open connection with a TCP reset on both sides; new ones are accepted.
    pub fn reset(&self) {
        self.generation.send_modify(|number| *number += 1);
    }

    /// With true nobody listens any more (connection refused) and open connections are reset; with false all is well again.
    pub fn refuse(&self, refuse: bool) {
        self.refuse.send_replace(refuse);
        if refuse {
            self.reset();
        }
    }

    /// How many connections are open.
    pub fn open_connections(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.acceptor.abort();
        self.reset();
    }
}

/// What every connection needs to know.
#[derive(Debug, Clone)]
struct Links {
    upstream: SocketAddr,
    to_server: watch::Receiver<Mode>,
    to_client: watch::Receiver<Mode>,
    generation: watch::Receiver<u64>,
    open: Arc<AtomicUsize>,
}

/// With SO_REUSEADDR, so that the port can be taken again right after it was closed.
fn listen(address: SocketAddr) -> Result<TcpListener> {
    let socket = TcpSocket::new_v4().context("a socket for the proxy")?;
    socket.set_reuseaddr(true)?;
    socket.bind(address).with_context(|| format!("bind the proxy to {address}"))?;
    socket.listen(BACKLOG).with_context(|| format!("listen on {address}"))
}

async fn accept(listener: TcpListener, address: SocketAddr, mut refused: watch::Receiver<bool>, links: Links) {
    let mut listener = Some(listener);
    loop {
        if *refused.borrow_and_update() {
            listener = None;
        } else if listener.is_none() {
            listener = listen(address).ok();
        }
        let Some(open) = &listener else {
            if refused.changed().await.is_err() {
                return;
            }
            continue;
        };
        tokio::select! {
            changed = refused.changed() => {
                if changed.is_err() {
                    return;
                }
            }
            accepted = open.accept() => {
                if let Ok((client, _)) = accepted {
                    tokio::spawn(serve(client, links.clone()));
                }
            }
        }
    }
}

async fn serve(mut client: TcpStream, mut links: Links) {
    links.generation.mark_unchanged();
    let Ok(mut server) = TcpStream::connect(links.upstream).await else {
        // The client sees what it would have seen without the proxy.
        let _ = client.set_zero_linger();
        return;
    };
    for stream in [&client, &server] {
        let _ = stream.set_nodelay(true);
    }
    links.open.fetch_add(1, Ordering::Relaxed);
    let closed_in_order = {
        let (client_read, client_write) = client.split();
        let (server_read, server_write) = server.split();
        let up = pump(client_read, server_write, links.to_server.clone());
        let down = pump(server_read, client_write, links.to_client.clone());
        tokio::select! {
            _ = links.generation.changed() => false,
            both = async { tokio::try_join!(up, down) } => both.is_ok(),
        }
    };
    if !closed_in_order {
        // Closing with zero linger sends a reset.
        let _ = client.set_zero_linger();
        let _ = server.set_zero_linger();
    }
    links.open.fetch_sub(1, Ordering::Relaxed);
}

/// Forwards one direction to its end; an error means the connection is to be reset.
async fn pump(mut from: ReadHalf<'_>, mut to: WriteHalf<'_>, mut mode: watch::Receiver<Mode>) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let read = from.read(&mut chunk).await?;
        let passed = pass(&mut mode, read).await;
        to.write_all(&chunk[..passed]).await?;
        if passed < read {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        if read == 0 {
            return to.shutdown().await;
        }
    }
}

/// Waits as the fault demands and says how many of `bytes` may go on.
async fn pass(mode: &mut watch::Receiver<Mode>, bytes: usize) -> usize {
    loop {
        let Mode { fault, budget } = mode.borrow_and_update().clone();
        match fault {
            Fault::None => return bytes,
            Fault::Delay(time) => {
                tokio::time::sleep(time).await;
                return bytes;
            }
            Fault::CutAfter(_) => return spend(&budget, bytes),
            Fault::Stall => {
                if mode.changed().await.is_err() {
                    // The proxy is gone, its connections are being reset.
                    return 0;
                }
            }
        }
    }
}

/// Takes up to `bytes` from `budget`.
fn spend(budget: &AtomicU64, bytes: usize) -> usize {
    let wanted = bytes as u64;
    let before = budget.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| Some(left.saturating_sub(wanted)));
    let before = before.unwrap_or_else(|left| left);
    // At most `bytes`, so it fits.
    before.min(wanted) as usize
}

#[cfg(test)]
mod tests;
