//! A node's place in its cluster: the port for the others, and joining them.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result};
use redkite_cluster::internal::{self, Answering, Network};
use redkite_cluster::{Joining, Load, Neighbours, join};
use redkite_meta::keys::UserKeys;
use redkite_query::{Holder, Peers};
use redkite_table::{Ambient, Database};
use redkite_types::NodeId;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::engine::{Seat, Stores};
use crate::fanout::{Others, Own};

/// Most connections that Masters have handed over and that are not served yet; further ones wait.
const HANDED_OVER_MAX: usize = 1_024;

/// A node that has joined.
#[derive(Debug)]
pub struct Membership {
    /// As which it did.
    pub seat: Seat,
    /// How many nodes the cluster has with it.
    pub nodes: u64,
    clients: Option<mpsc::Receiver<internal::Forwarded>>,
    answering: Answering,
    neighbours: Arc<Neighbours>,
    stop: CancellationToken,
    tasks: [JoinHandle<()>; 2],
}

impl Membership {
    /// Serves `listener` to the other processes of the cluster and joins them as `node`. `listen` is where clients connect,
    /// `load` what the Masters are told.
    pub async fn join(
        config: &Config,
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
        // Announced at the host that clients know, unless it is bound to one of its own.
        let internal = match internal.ip().is_unspecified() {
            true => format!("{address}:{}", internal.port()),
            false => internal.to_string(),
        };
        let answering = Answering::new(config.user.clone(), config.cluster_id.clone(), load);
        let stop = CancellationToken::new();
        let (to_clients, clients) = mpsc::channel(HANDED_OVER_MAX);
        let stopped = stop.clone().cancelled_owned();
        let serving = tokio::spawn(internal::serve(listener, answering.clone(), to_clients, stopped));
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
        let (members, member) = join(joining, &Network, &answering).await?;
        let incarnation = member.incarnation;
        tracing::info!(%node, %incarnation, internal, advertised, nodes = members.nodes.len(), "joined the cluster");
        let neighbours = Arc::new(Neighbours::new(stores.meta.clone(), keys.property(&config.cluster_id), &members));
        let following = tokio::spawn({
            let neighbours = neighbours.clone();
            async move { neighbours.run().await }
        });
        let nodes = members.nodes.len() as u64;
        let (seat, tasks) = (Seat { node, incarnation }, [serving, following]);
        Ok(Self { seat, nodes, clients: Some(clients), answering, neighbours, stop, tasks })
    }

    /// The nodes of the cluster.
    pub fn peers(&self) -> Arc<dyn Peers> {
        Arc::new(Others(self.neighbours.clone()))
    }

    /// From now on the others are answered what they ask of this node's data.
    pub fn hold(&self, database: Arc<Database>) {
        self.answering.execute_by(Arc::new(Own(Holder::new(database))));
    }

    /// The clients' connections that Masters hand over, to whoever asks first.
    pub fn clients(&mut self) -> Option<mpsc::Receiver<internal::Forwarded>> {
        self.clients.take()
    }

    /// Closes the port for the others.
    pub async fn end(self) {
        self.stop.cancel();
        // Whoever asks meanwhile is not waited for.
        for task in self.tasks {
            task.abort();
            _ = task.await;
        }
    }
}

/// Where clients elsewhere connect. Of a port that was chosen by the system it is that one.
fn advertised(advertise: &str, listen: SocketAddr) -> String {
    match advertise.rsplit_once(':') {
        None => listen.to_string(),
        Some((host, "0")) => format!("{host}:{}", listen.port()),
        Some(_) => advertise.to_owned(),
    }
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

    #[test]
    fn a_node_is_where_it_says_or_where_it_listens() {
        let listen = "127.0.0.1:19530".parse().unwrap();
        for (advertise, want) in [("", "127.0.0.1:19530"), ("db-1:7000", "db-1:7000"), ("[::1]:0", "[::1]:19530")] {
            assert_eq!(advertised(advertise, listen), want);
        }
    }
}
