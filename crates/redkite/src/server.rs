//! A serving process, from its configuration to its end in good order.
//!
//! Start: data directory, metadata, object store, catalog, ports; a port is opened only when what it serves is ready, but for
//! those of a node, which its cluster has to know first.
//! End: not ready, no new requests, the running ones finish, what automatic flushing owes is published, everything is
//! closed.

mod connections;

use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use metrics::gauge;
use metrics_exporter_prometheus::PrometheusHandle;
use redkite_api::server::{Server as Listener, ServerOptions};
use redkite_api::service::{MilvusServer, SessionEvents};
use redkite_cluster::Load;
use redkite_meta::keys::UserKeys;
use tokio::net::TcpListener;

use crate::allow_list::{AllowList, Guarded};
use crate::banner::Banner;
use crate::cluster_config;
use crate::config::{Config, Loaded, Role};
use crate::data_dir::DataDir;
use crate::engine::{Engine, Seat, Stores, replicas_waited_for};
use crate::http::{self, Operators, Readiness};
use crate::limits;
use crate::membership::{self, Membership};
use crate::metrics as telemetry;
use crate::transport::Transport;
use connections::Connections;

/// How long running requests, and then the flushes still owed, may take once the process was asked to end; then they are
/// cut off. Long enough for the largest flush, short enough for what restarts servers.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(30);

/// A server that has its ports and does not serve yet.
pub struct Server {
    loaded: Loaded,
    transport: Transport,
    dir: DataDir,
    engine: Engine,
    ports: Ports,
    membership: Option<Membership>,
    /// Clients' connections.
    connections: Arc<AtomicU64>,
    /// Whether Masters may send it some.
    takes_clients: Arc<AtomicBool>,
    metrics: PrometheusHandle,
    started: Instant,
}

/// The ports for clients and operators, open.
struct Ports {
    listener: TcpListener,
    listen: SocketAddr,
    http_listener: Option<TcpListener>,
    http: Option<SocketAddr>,
}

impl Ports {
    async fn open(config: &Config) -> Result<Self> {
        let (listener, listen) = bind("listen", &config.listen).await?;
        let (http_listener, http) = match config.http.as_str() {
            "" => (None, None),
            address => {
                let (listener, address) = bind("http", address).await?;
                (Some(listener), Some(address))
            }
        };
        Ok(Self { listener, listen, http_listener, http })
    }
}

impl Server {
    /// Opens everything a server needs. `started` is when the process was.
    pub async fn open(
        loaded: Loaded,
        transport: Transport,
        metrics: PrometheusHandle,
        started: Instant,
    ) -> Result<Self> {
        let mut dir = DataDir::open(Path::new(&loaded.config.data_dir))?;
        let stores = Stores::open(&loaded.config, &dir).await?;
        let keys = UserKeys::new(&loaded.config.user);
        let key = keys.config(&loaded.config.cluster_id);
        let (connections, takes_clients) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let (loaded, engine, ports, membership) = match loaded.node.filter(|_| loaded.role == Role::Node) {
            None => {
                let property = keys.property(&loaded.config.cluster_id);
                if stores.meta.get(&property).await?.is_some() {
                    bail!(
                        "cluster_id = {:?} is a cluster of nodes ({property} in the metadata), whose configuration a standalone \
                         would replace: choose another cluster_id, or run `redkite node`",
                        loaded.config.cluster_id.as_str()
                    );
                }
                cluster_config::publish(stores.meta.as_ref(), &key, &loaded.settings.of_cluster()).await?;
                let engine = Engine::open(stores, &loaded.config, Seat::standalone(&loaded.config), None).await?;
                let ports = Ports::open(&loaded.config).await?;
                (loaded, engine, ports, None)
            }
            Some(node) => {
                let loaded = cluster_config::take_over(stores.meta.as_ref(), &key, loaded).await?;
                let config = &loaded.config;
                // Others are told of its ports before it can serve; until it does, who connects has to wait.
                let ports = Ports::open(config).await?;
                let (internal, _) = bind("internal", &membership::internal_address(config)).await?;
                let load = load(connections.clone(), takes_clients.clone(), config.memory_budget_bytes);
                let mut membership =
                    Membership::join(config, &transport, node, &stores, ports.listen, internal, load).await?;
                cluster_config::raise_nodes(stores.meta.as_ref(), &key, membership.nodes).await?;
                let engine = Engine::open(stores, config, membership.seat, Some(membership.peers())).await?;
                membership.hold(engine.ingest.database().clone());
                (loaded, engine, ports, Some(membership))
            }
        };
        dir.announce(ports.http, transport.is_tls())?;
        Ok(Self { loaded, transport, dir, engine, ports, membership, connections, takes_clients, metrics, started })
    }

    /// Where clients connect.
    pub fn listen(&self) -> SocketAddr {
        self.ports.listen
    }

    /// Where the data is, for a person.
    pub fn data(&self) -> String {
        self.engine.describe(&self.loaded.config, &self.dir)
    }

    /// Prints the two lines of the banner. Whoever reads them may connect: the port is open.
    pub fn greet(&self) {
        let banner = Banner {
            listen: self.ports.listen,
            http: self.ports.http,
            is_tls: self.transport.is_tls(),
            data: self.data(),
            settings: &self.loaded.settings,
            shared: self.loaded.role != Role::Standalone,
        };
        let [place, visibility] = banner.lines();
        let mut out = std::io::stdout().lock();
        if let Err(error) = writeln!(out, "{place}\n{visibility}").and_then(|()| out.flush()) {
            // Nobody reads: no reason not to serve.
            tracing::debug!(%error, "the banner could not be printed");
        }
    }

    /// Serves until `stop` resolves and the running requests have finished, or their grace is over.
    pub async fn serve(mut self, stop: impl Future<Output = ()>) -> Result<()> {
        let readiness = Arc::new(Readiness::default());
        let upkeep = telemetry::keep_up(self.metrics.clone());
        let certificates = self.transport.follow();
        let Ports { listener: port, listen, http_listener, http } = self.ports;
        let to_operators = AllowList::new("http", self.loaded.config.http_networks().to_vec());
        let to_clients = AllowList::new("listen", self.loaded.config.ip_whitelist.clone());
        let operators = http_listener.map(|listener| {
            let engine = self.engine.clone();
            let holdings = self.membership.as_ref().and_then(Membership::holdings);
            let (allowed, acceptor) = (to_operators.clone(), self.transport.acceptor("http"));
            http::serve(
                Guarded { listener, allowed, acceptor },
                Operators { readiness: readiness.clone(), engine, holdings, metrics: self.metrics.clone() },
            )
        });
        let ingest = self.engine.ingest.clone();
        let mut listener = Listener::new();
        listener.options = ServerOptions {
            message_bytes_max: usize::try_from(self.loaded.config.server.message_bytes_max).unwrap_or(usize::MAX),
            connections_max: limits::connections_max(),
            shutdown_grace: SHUTDOWN_GRACE,
            ..ServerOptions::default()
        };
        let connections = Arc::new(Connections::new(SessionEvents(ingest.clone()), self.connections));
        listener.forwarded = self.membership.as_mut().and_then(Membership::clients);
        listener.events = connections.clone();
        listener.accept = Arc::new(to_clients.clone());
        listener.acceptor = self.transport.acceptor("listen");
        let following = self.membership.as_ref().map(|membership| {
            let others = membership.peers();
            let relief = membership.share_memory(&self.loaded.config, &ingest);
            let (meta, loaded, ingest) = (self.engine.meta.clone(), self.loaded.clone(), ingest.clone());
            tokio::spawn(async move {
                let key = UserKeys::new(&loaded.config.user).config(&loaded.config.cluster_id);
                let apply = |config: &Config| {
                    to_clients.replace(config.ip_whitelist.clone());
                    to_operators.replace(config.http_networks().to_vec());
                    let interval = Duration::from_millis(config.flush_interval_ms.into());
                    ingest.flush_automatically(config.auto_flush, interval, config.flush_limit_bytes);
                    others.hold_copies(membership::copies(config));
                    ingest.database().replication.set_level(replicas_waited_for(config));
                    relief.follow(config);
                };
                cluster_config::follow(meta.as_ref(), &key, &loaded, apply).await;
            })
        });
        let start_seconds = self.started.elapsed().as_secs_f64();
        gauge!("redkite_start_seconds").set(start_seconds);
        let http = http.map(|address| address.to_string()).unwrap_or_default();
        tracing::info!(listen = %listen, http, start_ms = (start_seconds * 1e4).round() / 10.0, "serving");
        readiness.serving();
        self.takes_clients.store(true, Ordering::Relaxed);
        let stepping_back = self.membership.as_ref().map(Membership::step_back);
        let stop = async {
            stop.await;
            readiness.stopping();
            self.takes_clients.store(false, Ordering::Relaxed);
            if let Some(stepping_back) = stepping_back {
                stepping_back.await;
            }
            connections.hold();
        };
        let slow = Some(self.loaded.config.log_slow).filter(|limit| !limit.is_zero());
        let service = MilvusServer::reading_by(ingest.clone(), self.engine.reads.clone(), slow);
        listener.serve(port, service, stop).await;
        if tokio::time::timeout(SHUTDOWN_GRACE, ingest.flush_owed()).await.is_err() {
            tracing::error!("what automatic flushing owes could not be published in time and is lost");
        }
        if let Some(membership) = self.membership {
            membership.end().await;
        }
        self.engine.maintenance.stop().await;
        connections.release();
        drop((connections, ingest));
        for task in [Some(upkeep), certificates, operators, following].into_iter().flatten() {
            task.abort();
            // Ended or cut off: either way it no longer holds anything.
            _ = task.await;
        }
        // The metadata file is closed before the lock on its directory goes.
        drop(self.engine);
        drop(self.dir);
        tracing::info!("the server has ended");
        Ok(())
    }
}

/// What a node tells Masters that it has to do.
fn load(
    connections: Arc<AtomicU64>,
    takes_clients: Arc<AtomicBool>,
    memory_budget_bytes: u64,
) -> impl Fn() -> Load + Send + Sync + 'static {
    move || Load {
        connections: connections.load(Ordering::Relaxed),
        memory_bytes: telemetry::anonymous_bytes().unwrap_or(0),
        memory_budget_bytes,
        takes_clients: takes_clients.load(Ordering::Relaxed),
        holding: None,
    }
}

/// Opens a port; the error says which setting asked for it.
pub(crate) async fn bind(key: &str, address: &str) -> Result<(TcpListener, SocketAddr)> {
    let refused = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            anyhow!(
                "{key} = {address:?}: the port is in use by another program; stop that program or choose another port \
                 (--{key} ADDR:PORT)"
            )
        }
        _ => anyhow!("{key} = {address:?} cannot be listened on: {error}"),
    };
    let listener = TcpListener::bind(address).await.map_err(refused)?;
    let bound = listener.local_addr().with_context(|| format!("{key} = {address:?}"))?;
    Ok((listener, bound))
}
