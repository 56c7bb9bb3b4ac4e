//! What placement goes by: the nodes of a cluster and what each is to it, and how many copies there shall be.
//!
//! Data moves in two steps, so that nobody is asked for what it would first have to fetch. While nodes come and go two
//! placements hold: by one it is decided who is asked ([`Layout::asked`]), by the other who fetches what it does not have
//! ([`Layout::due`]). Who is named by either holds the fragment. Once all have what is due, whoever runs the cluster makes the
//! second one the first.

use std::sync::Arc;

use redkite_types::{ClusterId, Incarnation, NodeId, Revision};

use crate::Placement;

/// A node of the cluster, this one or another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// Its number.
    pub node: NodeId,
    /// Which run of that.
    pub run: Incarnation,
}

/// What a node is to the placement of data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Duty {
    /// It fetches its share, and is asked for it only where nobody else is left.
    Coming,
    /// It holds its share.
    Serving,
    /// It is asked for its share until others have fetched it.
    Going,
    /// It holds nothing.
    Away,
}

/// The nodes of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Layout {
    /// All of them, each once.
    pub nodes: Vec<(Peer, Duty)>,
    /// On how many nodes each fragment lies; at least one.
    pub copies: usize,
    /// Fragments that were inserted up to here lie where the hash says, not where they were inserted.
    pub balanced: Revision,
    /// The same as it is to be once all have fetched what is due.
    pub balancing: Revision,
    /// The revision of the metadata that says so.
    pub revision: Revision,
}

impl Layout {
    /// Who is asked for a fragment, best first. Those `avoided`, and those that have just come, only where others are too few.
    pub(crate) fn asked(&self, cluster: &ClusterId, avoided: &[NodeId]) -> Placement {
        let behind = |duty: &Duty| matches!(duty, Duty::Coming);
        let mut last: Vec<NodeId> = self.having(behind).collect();
        last.extend(avoided);
        let here = |duty: &Duty| *duty != Duty::Away;
        // Who is away is nobody's holder, unless nobody else is there.
        let anybody = self.having(here).next().is_none();
        let nodes: Vec<NodeId> = self.having(|duty| anybody || here(duty)).collect();
        Placement::new(cluster.clone(), nodes, last, self.copies).balanced(self.balanced)
    }

    /// Who shall hold a fragment, best first.
    pub(crate) fn due(&self, cluster: &ClusterId) -> Placement {
        let nodes = self.having(|duty| matches!(duty, Duty::Coming | Duty::Serving));
        let balanced = self.balanced.max(self.balancing);
        Placement::new(cluster.clone(), nodes, Vec::new(), self.copies).balanced(balanced)
    }

    /// The same with as many holders as there are nodes.
    pub(crate) fn ranked(&self, cluster: &ClusterId) -> Placement {
        Self { copies: self.nodes.len().max(1), ..self.clone() }.due(cluster)
    }

    /// The node of that number.
    pub(crate) fn peer(&self, node: NodeId) -> Option<Peer> {
        self.nodes.iter().map(|(peer, _)| *peer).find(|peer| peer.node == node)
    }

    /// All nodes.
    pub(crate) fn everyone(&self) -> Arc<[Peer]> {
        self.nodes.iter().map(|(peer, _)| *peer).collect()
    }

    fn having(&self, wanted: impl Fn(&Duty) -> bool) -> impl Iterator<Item = NodeId> {
        self.nodes.iter().filter(move |(_, duty)| wanted(duty)).map(|(peer, _)| peer.node)
    }
}

#[cfg(test)]
mod tests;
