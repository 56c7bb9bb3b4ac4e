//! Who may connect (S14): decided from the address alone, before a byte is read.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::serve::Listener;
use ipnet::IpNet;
use parking_lot::{Mutex, RwLock};
use redkite_api::server::{AcceptPolicy, prepare_socket};
use redkite_net::{Acceptor, Stream};
use tokio::net::TcpListener;

/// Refusals are logged no more often than this: a stranger who keeps trying must not fill the log.
const LOG_PAUSE: Duration = Duration::from_secs(10);

/// The networks that may connect to one port.
#[derive(Debug, Clone)]
pub struct AllowList(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// The setting that names the port, for the log.
    port: &'static str,
    /// Everybody, if there are none.
    networks: RwLock<Vec<IpNet>>,
    refusals: Mutex<Refusals>,
}

#[derive(Debug, Default)]
struct Refusals {
    /// Not logged yet.
    count: u64,
    logged: Option<Instant>,
}

impl Refusals {
    /// Counts one more; how many to log now.
    fn add(&mut self, now: Instant) -> Option<u64> {
        self.count += 1;
        if self.logged.is_some_and(|logged| now.duration_since(logged) < LOG_PAUSE) {
            return None;
        }
        self.logged = Some(now);
        Some(std::mem::take(&mut self.count))
    }
}

impl AllowList {
    /// Of the port that the setting `port` names; no networks: everybody.
    pub fn new(port: &'static str, networks: Vec<IpNet>) -> Self {
        Self(Arc::new(Inner { port, networks: RwLock::new(networks), refusals: Mutex::default() }))
    }

    /// From now on only these networks may connect. Who is connected stays.
    pub fn replace(&self, networks: Vec<IpNet>) {
        *self.0.networks.write() = networks;
    }
}

impl AcceptPolicy for AllowList {
    fn admits(&self, peer: IpAddr) -> bool {
        let Inner { port, networks, refusals } = &*self.0;
        let peer = peer.to_canonical();
        let admitted = {
            let networks = networks.read();
            networks.is_empty() || networks.iter().any(|network| network.contains(&peer))
        };
        if !admitted {
            metrics::counter!("redkite_connections_refused_total", "port" => *port).increment(1);
            let to_log = refusals.lock().add(Instant::now());
            if let Some(refused) = to_log {
                tracing::warn!(port, %peer, refused, "connections refused: the address is not in ip_whitelist");
            }
        }
        admitted
    }
}

/// A listener that drops the connections of others.
pub struct Guarded {
    /// The port.
    pub listener: TcpListener,
    /// Who may connect.
    pub allowed: AllowList,
    /// Whether connections have TLS.
    pub acceptor: Acceptor,
}

impl Listener for Guarded {
    type Io = Stream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Stream, SocketAddr) {
        loop {
            let (socket, peer) = Listener::accept(&mut self.listener).await;
            if !self.allowed.admits(peer.ip()) {
                continue;
            }
            prepare_socket(&socket, peer);
            if let Some(stream) = self.acceptor.accept(socket) {
                return (stream, peer);
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// Who made a request.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub SocketAddr);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_admitted_by_any_network_that_has_it() {
        let networks = ["10.0.0.0/8", "192.168.1.7/32", "fd00::/8"].map(|text| text.parse().unwrap()).to_vec();
        let list = AllowList::new("listen", networks);
        let admits = |list: &AllowList, peer: &str| list.admits(peer.parse().unwrap());
        for peer in ["10.1.2.3", "::ffff:10.1.2.3", "192.168.1.7", "fd12::1"] {
            assert!(admits(&list, peer), "{peer}");
        }
        for peer in ["11.0.0.1", "::ffff:11.0.0.1", "192.168.1.8", "fe80::1", "::1", "127.0.0.1"] {
            assert!(!admits(&list, peer), "{peer}");
            assert!(admits(&AllowList::new("listen", Vec::new()), peer), "{peer}");
        }
    }

    #[test]
    fn a_list_can_be_replaced() {
        let list = AllowList::new("listen", Vec::new());
        let here = "127.0.0.1".parse().unwrap();
        assert!(list.admits(here));
        list.clone().replace(vec!["10.0.0.0/8".parse().unwrap()]);
        assert!(!list.admits(here));
    }

    #[test]
    fn refusals_are_logged_now_and_then_and_all_are_counted() {
        let (mut refusals, start) = (Refusals::default(), Instant::now());
        assert_eq!(refusals.add(start), Some(1));
        assert_eq!(refusals.add(start), None);
        assert_eq!(refusals.add(start + LOG_PAUSE / 2), None);
        assert_eq!(refusals.add(start + LOG_PAUSE), Some(3));
        assert_eq!(refusals.add(start + LOG_PAUSE), None);
    }
}
