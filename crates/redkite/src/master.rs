//! `redkite master`: sends the clients of a cluster to its nodes (S23 to S25).
//!
//! What a client sends is passed on, byte by byte, over one connection to the node that was chosen for it, so that a session still
//! is one connection and the order of its calls is what it was. These paths are the Master's own, by HTTP/1 on the same port:
//!
//! | path | answers |
//! |---|---|
//! | `GET /redkite/route` | address and port of the node for the next client, which is expected to go there |
//! | `GET /redkite/loads` | what is known of every node |
//! | `GET /redkite/config` | the configuration of the cluster |
//! | `PUT /redkite/config` | the same after the changes in the body, a JSON array of `"key=value"` |
//! | `PUT /redkite/nodes` | the revision of the metadata at which who holds what was changed as the body says: a [`Wish`] |

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Result, bail};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{Response, StatusCode};
use axum::middleware::{Next, from_fn};
use axum::routing::{get, put};
use axum::serve::Listener;
use metrics_exporter_prometheus::PrometheusHandle;
use redkite_api::server::prepare_socket;
use redkite_cluster::{Master, MasterOptions, Place, Rearrangement, Seen, State as NodeState, handover};
use redkite_meta::keys::UserKeys;
use redkite_meta::{KeyRange, MetaStore, RangeRequest};
use redkite_net::Stream;
use redkite_types::{ClusterId, NodeId, Revision};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::io::{AsyncWriteExt, copy, split};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::allow_list::{AllowList, Guarded};
use crate::config::{Config, Loaded, Problems};
use crate::http::{JSON, PROMETHEUS, TEXT, answer, serve_by};
use crate::shutdown::Signals;
use crate::transport::Transport;
use crate::{cluster_config, membership, metadata, metrics as telemetry, serve, server};

/// What requests for the paths of the Master's own begin with.
const OWN: [&[u8; 13]; 2] = [b"GET /redkite/", b"PUT /redkite/"];
/// How long a client may take to send as many bytes.
const FIRST_BYTES_WITHIN: Duration = Duration::from_secs(30);
/// How long a client waits for a node that takes it, if there is none for the moment.
const CHOSEN_WITHIN: Duration = Duration::from_secs(5);
/// How long a node may take to accept a connection.
const CONNECTED_WITHIN: Duration = Duration::from_secs(2);
/// Most clients at once; further ones are turned away. Each takes two files of the process.
const CLIENTS_MAX: usize = 50_000;
/// Most bytes of changes of the configuration.
const CHANGES_BYTES_MAX: usize = 1 << 20;
/// How long a request to the Master itself may take, its body included.
const ANSWERED_WITHIN: Duration = Duration::from_secs(30);
/// Most requests to the Master itself that wait.
const OWN_WAITING_MAX: usize = 1_024;

/// Sends clients to nodes until a signal ends it.
pub fn run(loaded: Loaded) -> Result<()> {
    let transport = Transport::open(&loaded)?;
    let (runtime, metrics) = serve::prepare(&loaded)?;
    runtime.block_on(async {
        let mut signals = Signals::listen()?;
        let stopped = tokio::select! {
            served = serve_clients(loaded, transport, metrics) => return served,
            signal = signals.next() => signal,
        };
        tracing::info!(signal = stopped, "the Master has ended; its clients connect again elsewhere");
        Ok(())
    })
}

/// Never returns unless it cannot begin.
async fn serve_clients(loaded: Loaded, transport: Transport, metrics: PrometheusHandle) -> Result<()> {
    let meta = metadata::connect(&loaded.config.etcd, &loaded.config.user).await?;
    let keys = UserKeys::new(&loaded.config.user);
    let config_key = keys.config(&loaded.config.cluster_id);
    let loaded = cluster_config::wait_for(meta.as_ref(), &config_key, &loaded).await?;
    // It may have been restored meanwhile, and then its revisions are others.
    let meta = metadata::connect(&loaded.config.etcd, &loaded.config.user).await?;
    let config = &loaded.config;
    let master = Master::new(meta.clone(), keys.property(&config.cluster_id), options(config));
    let master = Arc::new(master.dialing(transport.dialer()));
    let to_operators = AllowList::new("http", config.http_networks().to_vec());
    let to_clients = AllowList::new("listen", config.ip_whitelist.clone());
    let mut tasks = JoinSet::new();
    // Ends with the process.
    _ = transport.follow();
    tasks.spawn({
        let master = master.clone();
        async move { master.run().await }
    });
    // Before it knows anybody it could only turn clients away.
    master.first_round().await;
    let (listener, listen) = server::bind("listen", &config.listen).await?;
    let _upkeep = telemetry::keep_up(metrics.clone());
    if !config.http.is_empty() {
        let (listener, _) = server::bind("http", &config.http).await?;
        let (allowed, acceptor) = (to_operators.clone(), transport.acceptor("http"));
        let router = operators(master.clone(), metrics);
        tasks.spawn(serve_by(Guarded { listener, allowed, acceptor }, router));
    }
    let (own, requests) = mpsc::channel(OWN_WAITING_MAX);
    let copies = Arc::new(AtomicU64::new(membership::copies(config) as u64));
    tasks.spawn({
        let stored = Stored { meta: meta.clone(), key: config_key.clone(), loaded: loaded.clone() };
        let members = keys.property(&config.cluster_id);
        let copies = copies.clone();
        let router =
            own_paths(Known { master: master.clone(), cluster: config.cluster_id.clone(), stored, members, copies });
        serve_by(Handed { requests, listen }, router)
    });
    tasks.spawn({
        let (master, to_clients, loaded) = (master.clone(), to_clients.clone(), loaded.clone());
        async move {
            let apply = |config: &Config| {
                copies.store(membership::copies(config) as u64, Ordering::Relaxed);
                master.listen(options(config));
                to_clients.replace(config.ip_whitelist.clone());
                to_operators.replace(config.http_networks().to_vec());
            };
            cluster_config::follow(meta.as_ref(), &config_key, &loaded, apply).await;
        }
    });
    let nodes = master.nodes().len();
    let mut out = std::io::stdout().lock();
    let with = if transport.is_tls() { " with TLS" } else { "" };
    let greeting =
        format!("Redkite {} Master listens on {listen}{with}; it knows of {nodes} nodes.", env!("CARGO_PKG_VERSION"));
    if let Err(error) = writeln!(out, "{greeting}").and_then(|()| out.flush()) {
        // Nobody reads: no reason not to serve.
        tracing::debug!(%error, "the greeting could not be printed");
    }
    drop(out);
    tracing::info!(%listen, nodes, "serving");
    let mut guarded = Guarded { listener, allowed: to_clients, acceptor: transport.acceptor("listen") };
    let mut clients = JoinSet::new();
    loop {
        let (stream, peer) = tokio::select! {
            accepted = guarded.accept() => accepted,
            // By a defect only, and then another Master serves its clients better.
            _ = tasks.join_next() => bail!("a part of the Master has ended; its log says more"),
        };
        while clients.try_join_next().is_some() {}
        if clients.len() >= CLIENTS_MAX {
            metrics::counter!("redkite_master_turned_away_total").increment(1);
            continue;
        }
        let (master, own) = (master.clone(), own.clone());
        clients.spawn(async move {
            if let Err(error) = serve_client(stream, peer, listen, &master, &own).await {
                tracing::debug!(%peer, %error, "a client's connection ended badly");
            }
        });
    }
}

fn options(config: &Config) -> MasterOptions {
    MasterOptions { interval: config.heart_beat_interval, missed_max: config.heart_beats_missed_max }
}

/// Passes a connection on to the Master's own paths, or to a node.
async fn serve_client(
    mut stream: Stream,
    peer: SocketAddr,
    listen: SocketAddr,
    master: &Master,
    own: &mpsc::Sender<(Stream, SocketAddr)>,
) -> io::Result<()> {
    let is_own = tokio::time::timeout(FIRST_BYTES_WITHIN, is_own(&mut stream)).await??;
    if is_own {
        return own.send((stream, peer)).await.map_err(|_| io::ErrorKind::BrokenPipe.into());
    }
    // As many as there are may be about to be found dead.
    let tries = master.nodes().len().max(1);
    for _ in 0..tries {
        let Some(place) = master.choose_within(CHOSEN_WITHIN).await else { break };
        match tokio::time::timeout(CONNECTED_WITHIN, master.connect(&place.member)).await {
            Ok(Ok(node)) => return pass_on(stream, peer, listen, node, &place).await,
            failed => {
                tracing::debug!(node = %place.member.node, ?failed, "a node cannot be connected to");
                master.failed(&place.member);
            }
        }
    }
    metrics::counter!("redkite_master_turned_away_total").increment(1);
    Err(io::Error::new(io::ErrorKind::NotConnected, "no node of the cluster is alive"))
}

async fn is_own(stream: &mut Stream) -> io::Result<bool> {
    for begin in OWN {
        if stream.begins_with(begin).await? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Both ways, until the node has ended it or counts as down. A client that has no more to send still gets its answers.
async fn pass_on(
    client: Stream,
    peer: SocketAddr,
    listen: SocketAddr,
    mut node: Stream,
    place: &Place,
) -> io::Result<()> {
    node.socket().inspect(|socket| prepare_socket(socket, peer));
    let at = client.socket().and_then(|socket| socket.local_addr().ok()).unwrap_or(listen);
    node.write_all(&handover::header(peer, at, &place.secret, &place.member.boot)?).await?;
    metrics::counter!("redkite_master_clients_total").increment(1);
    let (mut from_client, mut to_client) = split(client);
    let (mut from_node, mut to_node) = split(node);
    let asking = async {
        copy(&mut from_client, &mut to_node).await?;
        to_node.shutdown().await?;
        std::future::pending::<io::Result<()>>().await
    };
    tokio::select! {
        passed = copy(&mut from_node, &mut to_client) => passed.map(|_| ()),
        failed = asking => failed,
        // The client finds out and connects again.
        () = place.down.cancelled() => Ok(()),
    }
}

/// Connections that were accepted elsewhere.
struct Handed {
    requests: mpsc::Receiver<(Stream, SocketAddr)>,
    listen: SocketAddr,
}

impl Listener for Handed {
    type Io = Stream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Stream, SocketAddr) {
        match self.requests.recv().await {
            Some(request) => request,
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.listen)
    }
}

/// What the Master's own paths tell of.
#[derive(Debug, Clone)]
struct Known {
    master: Arc<Master>,
    cluster: ClusterId,
    stored: Stored,
    /// The key of the members.
    members: String,
    /// On how many nodes each fragment is to lie.
    copies: Arc<AtomicU64>,
}

/// What may be asked for of who holds what: `{"drain":2}`, `{"balance":{}}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Wish {
    /// That others fetch what the node holds, and no more clients go there.
    Drain(NodeId),
    /// That it is not asked any more, as they have. One that is down is no node of the cluster any more then.
    Drained(NodeId),
    /// That it stays after all.
    Keep(NodeId),
    /// That what was inserted until now is spread over the nodes; `balancing` of the answer tells until when.
    Balance {},
    /// That all ask for what was inserted until then where it was spread to.
    Balanced(Revision),
}

/// Where the configuration of the cluster is, and with what it is checked.
#[derive(Debug, Clone)]
struct Stored {
    meta: Arc<dyn MetaStore>,
    key: String,
    loaded: Loaded,
}

fn own_paths(known: Known) -> Router {
    Router::new()
        .route("/redkite/route", get(route))
        .route("/redkite/loads", get(loads))
        .route("/redkite/config", get(configured).put(configure))
        .route("/redkite/nodes", put(rearrange))
        .layer(DefaultBodyLimit::max(CHANGES_BYTES_MAX))
        .layer(from_fn(in_time))
        .fallback(async || {
            failure(
                StatusCode::NOT_FOUND,
                "there are /redkite/route, /redkite/loads, /redkite/config and /redkite/nodes",
            )
        })
        .with_state(known)
}

/// A request that comes a byte at a time must not take a place for long.
async fn in_time(request: Request, next: Next) -> Response<Body> {
    match tokio::time::timeout(ANSWERED_WITHIN, next.run(request)).await {
        Ok(answer) => answer,
        Err(_) => failure(StatusCode::REQUEST_TIMEOUT, "the request was not there, or not answered, in time"),
    }
}

async fn route(State(known): State<Known>) -> Response<Body> {
    match known.master.choose() {
        Some(Place { member, .. }) => {
            let told = json!({ "node": member.node, "address": member.address, "port": member.port });
            answer(StatusCode::OK, JSON, told.to_string())
        }
        None => failure(StatusCode::SERVICE_UNAVAILABLE, "no node of the cluster is alive"),
    }
}

async fn configured(State(known): State<Known>) -> Response<Body> {
    let Stored { meta, key, .. } = &known.stored;
    told(cluster_config::get(meta.as_ref(), key).await)
}

/// By a method that a browser does not send for another site's page.
async fn configure(State(known): State<Known>, body: Bytes) -> Response<Body> {
    let Stored { meta, key, loaded } = &known.stored;
    let changes: Vec<String> = match serde_json::from_slice(&body) {
        Ok(changes) => changes,
        Err(error) => {
            let reason = format!("want a JSON array such as [\"auto_flush=true\"]: {error}");
            return failure(StatusCode::BAD_REQUEST, &reason);
        }
    };
    told(cluster_config::change(meta.as_ref(), key, loaded, &changes).await)
}

fn told(config: Result<serde_json::Map<String, serde_json::Value>>) -> Response<Body> {
    match config {
        Ok(config) => answer(StatusCode::OK, JSON, json!(config).to_string()),
        Err(error) if error.is::<Problems>() => failure(StatusCode::BAD_REQUEST, &error.to_string()),
        Err(error) => failure(StatusCode::SERVICE_UNAVAILABLE, &format!("{error:#}")),
    }
}

async fn rearrange(State(known): State<Known>, body: Bytes) -> Response<Body> {
    let wish: Wish = match serde_json::from_slice(&body) {
        Ok(wish) => wish,
        Err(error) => return failure(StatusCode::BAD_REQUEST, &format!("want such as {{\"drain\":2}}: {error}")),
    };
    let (meta, key) = (known.stored.meta.as_ref(), known.members.as_str());
    let is_alive = |node: NodeId| known.master.nodes().iter().any(|(seen, alive)| *alive && seen.member.node == node);
    let change = match wish {
        Wish::Drain(node) => Rearrangement::Drain(node),
        Wish::Drained(node) if is_alive(node) => Rearrangement::Drained(node),
        Wish::Drained(node) => Rearrangement::Remove(node),
        Wish::Keep(node) => Rearrangement::Keep(node),
        Wish::Balance {} => match meta.range(RangeRequest::new(KeyRange::Exact(key.to_owned()))).await {
            Ok(now) => Rearrangement::Balance(now.revision),
            Err(error) => return failure(StatusCode::SERVICE_UNAVAILABLE, &error.to_string()),
        },
        Wish::Balanced(revision) => Rearrangement::Balanced(revision),
    };
    let changed = redkite_cluster::change(meta, key, |members| {
        let before = members.clone();
        members.rearrange(change)?;
        Ok::<_, String>(*members != before)
    });
    match changed.await {
        Ok(Ok((members, revision))) => {
            tracing::info!(?change, "who holds what has changed");
            let told = json!({ "revision": revision, "balancing": members.balancing });
            answer(StatusCode::OK, JSON, told.to_string())
        }
        Ok(Err(refused)) => failure(StatusCode::BAD_REQUEST, &refused),
        Err(error) => failure(StatusCode::SERVICE_UNAVAILABLE, &error.to_string()),
    }
}

async fn loads(State(known): State<Known>) -> Response<Body> {
    let nodes = known.master.nodes();
    let missing = missing_replicas(&nodes, known.copies.load(Ordering::Relaxed));
    let nodes = nodes.into_iter().map(|(seen, alive)| {
        let load = seen.load.unwrap_or_default();
        let mut told = json!({
            "cluster": known.cluster,
            "node": seen.member.node,
            "address": format!("{}:{}", seen.member.address, seen.member.port),
            "alive": alive,
            "state": seen.member.state,
            "takes_clients": load.takes_clients,
            "load": load.connections,
            "connections": load.connections,
            "memory_bytes": load.memory_bytes,
            "memory_budget_bytes": load.memory_budget_bytes,
        });
        if let (Some(holding), Some(told)) = (load.holding, told.as_object_mut()) {
            told.insert("fragments".to_owned(), json!(holding.fragments));
            told.insert("fragment_bytes".to_owned(), json!(holding.bytes));
            told.insert("pending".to_owned(), json!(holding.pending));
            told.insert("missing".to_owned(), json!(holding.missing));
            told.insert("warming".to_owned(), json!(!holding.warm || holding.pending > 0));
            told.insert("members_revision".to_owned(), json!(holding.members));
            told.insert("revision".to_owned(), json!(holding.catalog));
        }
        told
    });
    let told = json!({ "nodes": nodes.collect::<Vec<_>>(), "missing_replicas": missing });
    answer(StatusCode::OK, JSON, told.to_string())
}

/// How many copies of fragments there should be and are not: what living nodes still lack, and what would lie on nodes that are
/// not there.
fn missing_replicas(nodes: &[(Seen, bool)], copies: u64) -> u64 {
    let holds =
        |(seen, alive): &&(Seen, bool)| *alive && matches!(seen.member.state, NodeState::Joining | NodeState::Serving);
    let holders: Vec<&Seen> = nodes.iter().filter(holds).map(|(seen, _)| seen).collect();
    let holdings = || holders.iter().filter_map(|seen| seen.load?.holding);
    let lacking: u64 = holdings().map(|holding| holding.pending + holding.missing).sum();
    let total = holdings().map(|holding| holding.total).max().unwrap_or(0);
    lacking + copies.saturating_sub(holders.len() as u64) * total
}

/// Health for operators: ready is a Master that can send a client somewhere.
fn operators(master: Arc<Master>, metrics: PrometheusHandle) -> Router {
    let readyz = async |State(master): State<Arc<Master>>| match master.nodes().iter().any(|(_, alive)| *alive) {
        true => answer(StatusCode::OK, JSON, json!({ "ready": true }).to_string()),
        false => {
            let body = json!({ "ready": false, "reason": "no node of the cluster is alive" });
            answer(StatusCode::SERVICE_UNAVAILABLE, JSON, body.to_string())
        }
    };
    Router::new()
        .route("/healthz", get(async || answer(StatusCode::OK, TEXT, "ok\n")))
        .route("/readyz", get(readyz))
        .route("/metrics", get(async move || answer(StatusCode::OK, PROMETHEUS, telemetry::render(&metrics))))
        .fallback(async || failure(StatusCode::NOT_FOUND, "there are /healthz, /readyz and /metrics"))
        .with_state(master)
}

fn failure(status: StatusCode, reason: &str) -> Response<Body> {
    answer(status, JSON, json!({ "error": reason }).to_string())
}
