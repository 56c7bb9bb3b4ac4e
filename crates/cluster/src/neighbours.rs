//! The other nodes of a node's cluster: who they are, and a channel to each. It follows the members as a Master does, but
//! asks nobody for a heartbeat: whoever needs a node finds out whether it answers. Who has not renewed its lease for a minute
//! (`.node/...`) is taken for gone, so that others hold what it held; that is a guess, and nobody is in danger if it is wrong.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use parking_lot::RwLock;
use redkite_meta::keys::UserKeys;
use redkite_meta::{KeyRange, MetaStore, Op, OpResult, Txn};
use redkite_net::Dialer;
use redkite_types::{ClusterId, Incarnation, NodeId, Revision};
use tonic::transport::Channel;

use crate::changes::Changes;
use crate::conversation::Conversation;
use crate::internal::{Undone, channel, execute, heartbeat};
use crate::{Load, Members, Result, State};

/// How often it is looked who the members are and who is there, should the watch tell nothing.
const LOOK_PAUSE: Duration = Duration::from_secs(5);
/// How long a node may take to tell its load.
const LOAD_WITHIN: Duration = Duration::from_secs(1);
/// How long the members may take to be read.
const READ_WITHIN: Duration = Duration::from_secs(5);

/// A node of the cluster: its number, and which run of it.
pub type Seated = (NodeId, Incarnation);

/// A node of the cluster, as another one sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Neighbour {
    /// Which.
    pub seat: Seated,
    /// What it said it is.
    pub state: State,
    /// Whether it has said so of late.
    pub is_present: bool,
}

/// The nodes of a cluster at one time.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Neighbourhood {
    /// All of them, the one that looks included.
    pub nodes: Vec<Neighbour>,
    /// As in [`Members`].
    pub balanced: Revision,
    /// As in [`Members`].
    pub balancing: Revision,
    /// The revision of the metadata at which the members last changed.
    pub revision: Revision,
}

/// The nodes of a cluster, as one of them knows them.
#[derive(Debug)]
pub struct Neighbours {
    meta: Arc<dyn MetaStore>,
    own: NodeId,
    /// The key of the members.
    key: String,
    /// The prefix of what the nodes of the cluster say under their leases.
    presence: String,
    dialer: Dialer,
    known: RwLock<Known>,
}

#[derive(Debug, Default)]
struct Known {
    secret: String,
    nodes: Arc<Neighbourhood>,
    /// By boot.
    channels: HashMap<String, Channel>,
    /// The boot of each node.
    boots: HashMap<NodeId, (Incarnation, String)>,
}

impl Neighbours {
    /// Those of `own`, a node of `cluster`, whose members were `members` when it joined, without TLS.
    pub fn new(meta: Arc<dyn MetaStore>, keys: &UserKeys, cluster: &ClusterId, own: NodeId, members: &Members) -> Self {
        Self::dialed(meta, keys, cluster, own, members, Dialer::plain())
    }

    /// The same, reached by `dialer`.
    pub fn dialed(
        meta: Arc<dyn MetaStore>,
        keys: &UserKeys,
        cluster: &ClusterId,
        own: NodeId,
        members: &Members,
        dialer: Dialer,
    ) -> Self {
        let (key, presence) = (keys.property(cluster), format!("{}{cluster}/", keys.nodes()));
        let neighbours = Self { meta, own, key, presence, dialer, known: RwLock::default() };
        // Who is there it does not know yet.
        let present: Vec<NodeId> = members.nodes.iter().map(|member| member.node).collect();
        neighbours.take_over(members, Revision::ZERO, &present);
        neighbours
    }

    /// The key that the members stand under.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Follows who the members are, until dropped.
    pub async fn run(&self) {
        let mut changes = Changes::of(&self.key);
        loop {
            match tokio::time::timeout(READ_WITHIN, self.look()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    tracing::warn!(%error, "the members of the cluster cannot be read; those known before are kept");
                    tokio::time::sleep(LOOK_PAUSE).await;
                }
                Err(_) => tracing::warn!("the metadata does not answer; the members known before are kept"),
            }
            // Whether it changed or only time has passed: it is looked who they are now. The watch begins with a look of its
            // own, so nobody who joins after that is missed for longer than the pause.
            _ = tokio::time::timeout(LOOK_PAUSE, changes.next(self.meta.as_ref())).await;
        }
    }

    async fn look(&self) -> Result<()> {
        let ranges = [KeyRange::Exact(self.key.clone()), KeyRange::Prefix(self.presence.clone())];
        let txn = Txn { then: ranges.map(Op::Range).into(), ..Txn::default() };
        let mut found = self.meta.txn(txn).await?.results.into_iter().map(|result| match result {
            OpResult::Range(kvs) => kvs,
            _ => Vec::new(),
        });
        let (members, present) = (found.next().unwrap_or_default(), found.next().unwrap_or_default());
        if let Some(kv) = members.first() {
            let node = |key: &str| key.strip_prefix(&self.presence)?.split('/').next()?.parse().ok().map(NodeId);
            let present: Vec<NodeId> = present.iter().filter_map(|kv| node(&kv.key)).collect();
            self.take_over(&Members::read(&self.key, &kv.value)?, kv.mod_revision, &present);
        }
        Ok(())
    }

    fn take_over(&self, members: &Members, revision: Revision, present: &[NodeId]) {
        let mut known = self.known.write();
        known.secret.clone_from(&members.secret);
        let neighbour = |member: &crate::Member| Neighbour {
            seat: (member.node, member.incarnation),
            state: member.state,
            is_present: member.node == self.own || present.contains(&member.node),
        };
        let nodes = members.nodes.iter().map(neighbour).collect();
        let now = Neighbourhood { nodes, balanced: members.balanced, balancing: members.balancing, revision };
        if *known.nodes != now {
            known.nodes = Arc::new(now);
        }
        let boots = members.nodes.iter().map(|member| (member.node, (member.incarnation, member.boot.clone())));
        known.boots = boots.collect();
        // A process that is no member any more is not asked any more.
        known.channels.retain(|boot, _| members.nodes.iter().any(|member| member.boot == *boot));
        for member in &members.nodes {
            if known.channels.contains_key(&member.boot) {
                continue;
            }
            match channel(&member.internal, &self.dialer) {
                Ok(channel) => _ = known.channels.insert(member.boot.clone(), channel),
                Err(error) => {
                    tracing::warn!(node = %member.node, internal = member.internal, %error, "not an address");
                }
            }
        }
    }

    /// All nodes of the cluster; the same `Arc` until something changes.
    pub fn now(&self) -> Arc<Neighbourhood> {
        self.known.read().nodes.clone()
    }

    /// What the others take this node for; none if it is no member any more.
    pub fn own_state(&self) -> Option<State> {
        let known = self.known.read();
        known.nodes.nodes.iter().find(|node| node.seat.0 == self.own).map(|node| node.state)
    }

    /// Has another node do its part of something. Ends it there when dropped.
    pub async fn execute(&self, seat: Seated, work: Bytes) -> std::result::Result<Bytes, Undone> {
        let (channel, secret, boot) = self.reach(seat)?;
        execute(channel, &secret, &boot, work).await
    }

    /// Begins a conversation with another node.
    pub async fn converse(&self, seat: Seated) -> std::result::Result<Conversation, Undone> {
        let (channel, secret, boot) = self.reach(seat)?;
        Conversation::begin(channel, &secret, &boot).await
    }

    /// What the other nodes have to do: those that tell it in time.
    pub async fn loads(&self) -> Vec<(NodeId, Load)> {
        let seats = self.now().nodes.iter().map(|node| node.seat).collect::<Vec<_>>();
        let others = seats.into_iter().filter(|(node, _)| *node != self.own);
        let asked: Vec<_> = others.map(|seat| self.load(seat)).collect();
        join_all(asked).await.into_iter().flatten().collect()
    }

    async fn load(&self, seat: Seated) -> Option<(NodeId, Load)> {
        let (channel, secret, boot) = self.reach(seat).ok()?;
        let answer = tokio::time::timeout(LOAD_WITHIN, heartbeat(channel, &secret, &boot)).await;
        let (answered, load) = answer.ok()?.ok()?;
        (answered == boot).then_some((seat.0, load))
    }

    /// How a node is called: the channel, the secret, its boot.
    fn reach(&self, (node, incarnation): Seated) -> std::result::Result<(Channel, String, String), Undone> {
        let gone = || Undone::Failed("it is no member of the cluster any more".to_owned());
        let known = self.known.read();
        let (_, boot) = known.boots.get(&node).filter(|(run, _)| *run == incarnation).ok_or_else(gone)?;
        let channel = known.channels.get(boot).ok_or_else(gone)?;
        Ok((channel.clone(), known.secret.clone(), boot.clone()))
    }
}
