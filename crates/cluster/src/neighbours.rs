//! The other nodes of a node's cluster: who they are, and a channel to each. It follows the members as a Master does, but
//! asks nobody for a heartbeat: whoever needs a node finds out whether it answers.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::RwLock;
use redkite_meta::MetaStore;
use redkite_types::{Incarnation, NodeId};
use tonic::transport::Channel;

use crate::changes::Changes;
use crate::internal::{Undone, channel, execute};
use crate::{Members, Result};

/// How often it is looked who the members are, should the watch tell nothing.
const LOOK_PAUSE: Duration = Duration::from_secs(5);
/// How long the members may take to be read.
const READ_WITHIN: Duration = Duration::from_secs(5);

/// A node of the cluster: its number, and which run of it.
pub type Seated = (NodeId, Incarnation);

/// The nodes of a cluster, as one of them knows them.
#[derive(Debug)]
pub struct Neighbours {
    meta: Arc<dyn MetaStore>,
    key: String,
    known: RwLock<Known>,
}

#[derive(Debug)]
struct Known {
    secret: String,
    nodes: Arc<[Seated]>,
    /// By boot.
    channels: HashMap<String, Channel>,
    /// The boot of each node.
    boots: HashMap<NodeId, (Incarnation, String)>,
}

impl Neighbours {
    /// Those of the cluster whose members stand under `key`, and were `members` when this node joined.
    pub fn new(meta: Arc<dyn MetaStore>, key: String, members: &Members) -> Self {
        let none =
            Known { secret: String::new(), nodes: Arc::new([]), channels: HashMap::new(), boots: HashMap::new() };
        let neighbours = Self { meta, key, known: RwLock::new(none) };
        neighbours.take_over(members);
        neighbours
    }

    /// Follows who the members are, until dropped.
    pub async fn run(&self) {
        let mut changes = Changes::of(&self.key);
        loop {
            // Whether it changed or only time has passed: it is looked who they are now. The watch begins with a look of its
            // own, so nobody who joins after that is missed.
            _ = tokio::time::timeout(LOOK_PAUSE, changes.next(self.meta.as_ref())).await;
            match tokio::time::timeout(READ_WITHIN, self.look()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    tracing::warn!(%error, "the members of the cluster cannot be read; those known before are kept");
                    tokio::time::sleep(LOOK_PAUSE).await;
                }
                Err(_) => tracing::warn!("the metadata does not answer; the members known before are kept"),
            }
        }
    }

    async fn look(&self) -> Result<()> {
        if let Some(kv) = self.meta.get(&self.key).await? {
            self.take_over(&Members::read(&self.key, &kv.value)?);
        }
        Ok(())
    }

    fn take_over(&self, members: &Members) {
        let mut known = self.known.write();
        known.secret.clone_from(&members.secret);
        known.nodes = members.nodes.iter().map(|member| (member.node, member.incarnation)).collect();
        let boots = members.nodes.iter().map(|member| (member.node, (member.incarnation, member.boot.clone())));
        known.boots = boots.collect();
        // A process that is no member any more is not asked any more.
        known.channels.retain(|boot, _| members.nodes.iter().any(|member| member.boot == *boot));
        for member in &members.nodes {
            if known.channels.contains_key(&member.boot) {
                continue;
            }
            match channel(&member.internal) {
                Ok(channel) => _ = known.channels.insert(member.boot.clone(), channel),
                Err(error) => {
                    tracing::warn!(node = %member.node, internal = member.internal, %error, "not an address");
                }
            }
        }
    }

    /// All nodes of the cluster, this one included.
    pub fn nodes(&self) -> Arc<[Seated]> {
        self.known.read().nodes.clone()
    }

    /// Has another node do its part of something. Ends it there when dropped.
    pub async fn execute(&self, (node, incarnation): Seated, work: Bytes) -> std::result::Result<Bytes, Undone> {
        let gone = || Undone::Failed("it is no member of the cluster any more".to_owned());
        let (channel, secret, boot) = {
            let known = self.known.read();
            let (_, boot) = known.boots.get(&node).filter(|(run, _)| *run == incarnation).ok_or_else(gone)?;
            let channel = known.channels.get(boot).ok_or_else(gone)?;
            (channel.clone(), known.secret.clone(), boot.clone())
        };
        execute(channel, &secret, &boot, work).await
    }
}
