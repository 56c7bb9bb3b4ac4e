//! A node's place in its cluster: the port for the others, joining them, and telling them what it is to them. It is asked for
//! data once it has fetched its share, and steps back before it stops.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::{Context, Result};
use redkite_cluster::internal::{self, Answering};
use redkite_cluster::{Holding, Joining, Load, Neighbours, State, change, join};
use redkite_ingest::Ingest;
use redkite_ingest::forward::Guests;
use redkite_meta::MetaStore;
use redkite_meta::keys::UserKeys;
use redkite_query::{Holder, Holdings, Standing};
use redkite_table::{Ambient, Database};
use redkite_types::NodeId;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::engine::{Seat, Stores};
use crate::fanout::{Answers, Others};
use crate::forwarding::{Host, Relief};
use crate::transport::Transport;

/// Most connections that Masters have handed over and that are not served yet; further ones wait.
const HANDED_OVER_MAX: usize = 1_024;
/// How long a node that is to stop takes to tell the others so.
const STEPPED_BACK_WITHIN: Duration = Duration::from_secs(2);
/// Pause before it is looked again whether this node has to tell the others that it has its share.
const SETTLE_PAUSE: Duration = Duration::from_millis(200);
/// The same after the metadata did not answer.
const SETTLE_RETRY_PAUSE: Duration = Duration::from_secs(5);

/// A node that has joined.
#[derive(Debug)]
pub struct Membership {
    /// As which it did.
    pub seat: Seat,
    /// How many nodes the cluster has with it.
    pub nodes: u64,
    clients: Option<mpsc::Receiver<internal::Forwarded>>,
    answering: Answering,
    others: Arc<Others>,
    /// This process among them.
    own: Own,
    holdings: Arc<OnceLock<Arc<Holdings>>>,
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
    /// The task among them that tells the others that this node has its share.
    settling: Option<AbortHandle>,
}

/// A process as the members name it.
#[derive(Debug, Clone)]
struct Own {
    meta: Arc<dyn MetaStore>,
    neighbours: Arc<Neighbours>,
    boot: String,
}

impl Membership {
    /// Serves `listener` to the other processes of the cluster and joins them as `node`. `listen` is where clients connect,
    /// `load` what the Masters are told; it takes clients only as long as the node is not to leave.
    pub async fn join(
        config: &Config,
        transport: &Transport,
        node: NodeId,
        stores: &Stores,
        listen: SocketAddr,
        listener: TcpListener,
        load: impl Fn() -> Load + Send + Sync + 'static,
    ) -> Result<Self> {
        let advertised = advertised(&config.advertise, listen);
        let (address, port) = advertised.rsplit_once(':').context("advertise has no port")?;
        let port = port.parse().context("the port of advertise is no number")?;
        let internal = listener.local_addr().context("the internal port")?;
        let internal = announced(config, address, internal);
        let holdings = Arc::<OnceLock<Arc<Holdings>>>::default();
        let known = Arc::<OnceLock<Arc<Neighbours>>>::default();
        let load = {
            let (holdings, known) = (holdings.clone(), known.clone());
            move || {
                let load = load();
                let leaves = known.get().and_then(|known| known.own_state());
                let leaves = matches!(leaves, Some(State::Draining | State::Drained));
                let holding = holdings.get().map(|holdings| holding(holdings.standing()));
                Load { takes_clients: load.takes_clients && !leaves, holding, ..load }
            }
        };
        let answering = Answering::new(config.user.clone(), config.cluster_id.clone(), load);
        let stop = CancellationToken::new();
        let (to_clients, clients) = mpsc::channel(HANDED_OVER_MAX);
        let stopped = stop.clone().cancelled_owned();
        let internal_port = internal::Port { listener, acceptor: transport.acceptor("internal") };
        let serving = tokio::spawn(internal::serve(internal_port, answering.clone(), to_clients, stopped));
        let ambient = Ambient::system();
        let random = || format!("{:016x}{:016x}", ambient.random(), ambient.random());
        let keys = UserKeys::new(&config.user);
        let joining = Joining {
            meta: stores.meta.as_ref(),
            keys: &keys,
            cluster: &config.cluster_id,
            node,
            address,
            port,
            internal: &internal,
            random: [random(), random()],
        };
        let (members, member) = join(joining, &transport.dialer(), &answering).await?;
        let incarnation = member.incarnation;
        tracing::info!(%node, %incarnation, internal, advertised, nodes = members.nodes.len(), "joined the cluster");
        let dialer = transport.dialer();
        let neighbours = Neighbours::dialed(stores.meta.clone(), &keys, &config.cluster_id, node, &members, dialer);
        let neighbours = Arc::new(neighbours);
        _ = known.set(neighbours.clone());
        let following = tokio::spawn({
            let neighbours = neighbours.clone();
            async move { neighbours.run().await }
        });
        let others = Arc::new(Others::new(neighbours.clone(), copies(config)));
        Ok(Self {
            seat: Seat { node, incarnation },
            nodes: members.nodes.len() as u64,
            clients: Some(clients),
            answering,
            others,
            own: Own { meta: stores.meta.clone(), neighbours, boot: member.boot },
            holdings,
            stop,
            tasks: vec![serving, following],
            settling: None,
        })
    }

    /// The nodes of the cluster.
    pub fn peers(&self) -> Arc<Others> {
        self.others.clone()
    }

    /// From now on the node fetches its share of the data, and answers what the others ask of it.
    pub fn hold(&mut self, database: Arc<Database>) {
        let holdings = Arc::new(Holdings::new(database.clone(), self.others.clone()));
        _ = self.holdings.set(holdings.clone());
        self.answering.execute_by(Arc::new(Answers(Holder::new(database))));
        self.tasks.push(tokio::spawn({
            let holdings = holdings.clone();
            async move { holdings.run().await }
        }));
        let own = self.own.clone();
        let settling = tokio::spawn(async move { own.settle(&holdings).await });
        self.settling = Some(settling.abort_handle());
        self.tasks.push(settling);
    }

    /// What the node holds; none before it does.
    pub fn holdings(&self) -> Option<Arc<Holdings>> {
        self.holdings.get().cloned()
    }

    /// From now on rows of this node's clients go to the others where it is short of memory, and theirs come here.
    pub fn share_memory(&self, config: &Config, ingest: &Arc<Ingest>) -> Arc<Relief> {
        let relief = Arc::new(Relief::new(config, self.seat.node, self.own.neighbours.clone()));
        ingest.forward_by(relief.clone());
        self.answering.converse_by(Arc::new(Host(Guests::new(ingest.clone()))));
        relief
    }

    /// The clients' connections that Masters hand over, to whoever asks first.
    pub fn clients(&mut self) -> Option<mpsc::Receiver<internal::Forwarded>> {
        self.clients.take()
    }

    /// Tells the others to ask somebody else from now on. To be called before the node stops.
    pub fn step_back(&self) -> impl Future<Output = ()> + Send + use<> {
        let own = self.own.clone();
        let settling = self.settling.clone();
        async move {
            if let Some(settling) = settling {
                settling.abort();
            }
            match tokio::time::timeout(STEPPED_BACK_WITHIN, own.become_one(State::Joining)).await {
                Ok(Ok(())) => {}
                // They find out.
                Ok(Err(error)) => tracing::debug!(%error, "the other nodes could not be told that this one stops"),
                Err(_) => tracing::debug!("the other nodes could not be told in time that this one stops"),
            }
        }
    }

    /// Closes the port for the others. A node whose share others have taken over is no member any more then.
    pub async fn end(self) {
        self.stop.cancel();
        // Whoever asks meanwhile is not waited for.
        for task in self.tasks {
            task.abort();
            _ = task.await;
        }
        if self.own.neighbours.own_state() == Some(State::Drained) {
            let boot = self.own.boot.clone();
            let leaving = change(self.own.meta.as_ref(), self.own.neighbours.key(), |members| {
                Ok::<_, std::convert::Infallible>(members.remove(&boot))
            });
            match tokio::time::timeout(STEPPED_BACK_WITHIN, leaving).await {
                Ok(Ok(_)) => tracing::info!("left the cluster"),
                left => tracing::warn!(?left, "this node stays on the list of its cluster's, drained"),
            }
        }
    }
}

impl Own {
    /// Tells the others that this node is to be asked, whenever it has its share and they do not know it.
    async fn settle(&self, holdings: &Holdings) {
        loop {
            if self.neighbours.own_state() != Some(State::Joining) {
                tokio::time::sleep(SETTLE_PAUSE).await;
                continue;
            }
            let now = self.neighbours.now().revision;
            holdings.wait_for(|standing| standing.warm && standing.pending == 0 && standing.layout >= now).await;
            match self.become_one(State::Serving).await {
                Ok(()) => tokio::time::sleep(SETTLE_PAUSE).await,
                Err(error) => {
                    tracing::warn!(%error, "the other nodes cannot be told yet that this one has its share of the data");
                    tokio::time::sleep(SETTLE_RETRY_PAUSE).await;
                }
            }
        }
    }

    /// Changes what this process is to the others from one that stays to another such.
    async fn become_one(&self, state: State) -> redkite_cluster::Result<()> {
        let changed = change(self.meta.as_ref(), self.neighbours.key(), |members| {
            let own = members.nodes.iter().find(|member| member.boot == self.boot);
            let stays = own.is_some_and(|own| matches!(own.state, State::Joining | State::Serving));
            Ok::<_, std::convert::Infallible>(stays && members.set_state(&self.boot, state))
        });
        changed.await.map(|_| ())
    }
}

/// On how many nodes each fragment is to lie.
pub fn copies(config: &Config) -> usize {
    usize::try_from(config.num_replicas).unwrap_or(usize::MAX).saturating_add(1)
}

fn holding(standing: Standing) -> Holding {
    let Standing { fragments, bytes, pending, missing, total, layout, catalog, warm } = standing;
    Holding { fragments, bytes, pending, missing, total, members: layout, catalog, warm }
}

/// Where clients elsewhere connect. Of a port that was chosen by the system it is that one.
fn advertised(advertise: &str, listen: SocketAddr) -> String {
    match advertise.rsplit_once(':') {
        None => listen.to_string(),
        Some((host, "0")) => format!("{host}:{}", listen.port()),
        Some(_) => advertise.to_owned(),
    }
}

/// Where the other processes are told that they reach the port that is open at `bound`: at the host that clients know, unless it
/// is bound to one of its own. With TLS that is the name that was configured, as a certificate may bear nothing else.
fn announced(config: &Config, known: &str, bound: SocketAddr) -> String {
    let has_tls = !config.tls.cert.is_empty();
    let named = config.internal.rsplit_once(':').map(|(host, _)| host);
    let host = match named {
        _ if bound.ip().is_unspecified() => known,
        None if has_tls => known,
        Some(host) if has_tls && host.parse::<IpAddr>().is_err() => host,
        _ => return bound.to_string(),
    };
    format!("{host}:{}", bound.port())
}

/// Where the port for the other nodes is opened.
pub fn internal_address(config: &Config) -> String {
    match (config.internal.is_empty(), config.listen.rsplit_once(':')) {
        (true, Some((host, _))) => format!("{host}:0"),
        _ => config.internal.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    #[test]
    fn the_port_for_the_others_is_announced_by_a_name_that_a_certificate_can_bear() {
        let check = |set: &[&str], bound: &str, want: &str| {
            let set = set.iter().map(|text| (*text).to_owned()).collect();
            let command_line = config::CommandLine { set, ..Default::default() };
            let loaded = config::load(&config::Sources { command_line, ..Default::default() }).unwrap();
            assert_eq!(announced(&loaded.config, "db-1", bound.parse().unwrap()), want, "{bound}");
        };
        let tls = ["tls.cert=a", "tls.key=b"];
        check(&[], "0.0.0.0:4000", "db-1:4000");
        check(&[], "10.0.0.1:4000", "10.0.0.1:4000");
        check(&["internal=inner:0"], "10.0.0.1:4000", "10.0.0.1:4000");
        check(&tls, "10.0.0.1:4000", "db-1:4000");
        check(&tls, "[::]:4000", "db-1:4000");
        check(&[&tls[..], &["internal=inner:0"]].concat(), "10.0.0.1:4000", "inner:4000");
        check(&[&tls[..], &["internal=10.0.0.1:0"]].concat(), "10.0.0.1:4000", "10.0.0.1:4000");
        check(&[&tls[..], &["internal=[::1]:0"]].concat(), "[::1]:4000", "[::1]:4000");
    }

    #[test]
    fn a_node_is_where_it_says_or_where_it_listens() {
        let listen = "127.0.0.1:19530".parse().unwrap();
        for (advertise, want) in [("", "127.0.0.1:19530"), ("db-1:7000", "db-1:7000"), ("[::1]:0", "[::1]:19530")] {
            assert_eq!(advertised(advertise, listen), want);
        }
    }
}
