//! Which nodes of a cluster hold a fragment. Pure, computed whenever it is asked, stored nowhere: nodes that know the same
//! members answer the same without a word.
//!
//! Every node has a weight for every fragment, and the holders are those with the greatest (rendezvous hashing: Thaler and
//! Ravishankar 1998). So a node that comes or goes moves no fragment but those it gets or had. The weight of node `n` is
//! `mix(hash(id) + n x 0x9e3779b97f4a7c15)`, where `hash` is XXH3-64 of the fragment id's text and `mix` is the last step of
//! splitmix64. It must not change while nodes of two versions may run side by side: they would warm each other's caches in
//! vain, though nothing would be answered wrongly.

use std::cmp::Reverse;

use redkite_table::Fragment;
use redkite_types::{ClusterId, FragmentId, NodeId, Revision};
use xxhash_rust::xxh3::xxh3_64;

/// The golden ratio, in 64 bits.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// The nodes of one cluster.
#[derive(Debug, Clone)]
pub struct Placement {
    /// Ascending, each once.
    nodes: Vec<NodeId>,
    /// Some of them.
    avoided: Vec<NodeId>,
    cluster: ClusterId,
    copies: usize,
    /// Who inserted what up to here counts for nothing.
    balanced: Revision,
}

impl Placement {
    /// Places each fragment on `copies` of the `nodes` of `cluster`, on those that are `avoided` only where others are too few.
    pub fn new(
        cluster: ClusterId,
        nodes: impl IntoIterator<Item = NodeId>,
        avoided: Vec<NodeId>,
        copies: usize,
    ) -> Self {
        let mut nodes: Vec<NodeId> = nodes.into_iter().collect();
        nodes.sort_unstable();
        nodes.dedup();
        Self { nodes, avoided, cluster, copies: copies.max(1), balanced: Revision::ZERO }
    }

    /// The same, but where fragments that were inserted up to `revision` lie depends on the hash alone.
    pub fn balanced(self, revision: Revision) -> Self {
        Self { balanced: revision, ..self }
    }

    /// The node that inserted a fragment, if that is one of these: what it wrote it has.
    fn inserter(&self, fragment: &Fragment) -> Option<NodeId> {
        let entry = &fragment.anchor().ok()?.entry;
        let fresh = !fragment.id.is_merged() && fragment.id.made() > self.balanced;
        let own = fresh && entry.cluster == self.cluster.as_str();
        Some(NodeId(entry.node)).filter(|node| own && self.nodes.binary_search(node).is_ok())
    }

    /// The holders of a fragment, best first; none if there are no nodes.
    pub fn holders(&self, fragment: &Fragment) -> Vec<NodeId> {
        self.ranked(fragment.id, self.inserter(fragment))
    }

    fn ranked(&self, id: FragmentId, first: Option<NodeId>) -> Vec<NodeId> {
        let hash = xxh3_64(id.to_string().as_bytes());
        let rank = |node: NodeId| {
            let behind = self.avoided.contains(&node);
            (behind, first != Some(node), Reverse(weight(hash, node)), node)
        };
        let mut ranked: Vec<_> = self.nodes.iter().map(|node| rank(*node)).collect();
        if self.copies < ranked.len() {
            ranked.select_nth_unstable(self.copies - 1);
            ranked.truncate(self.copies);
        }
        ranked.sort_unstable();
        ranked.into_iter().map(|(.., node)| node).collect()
    }
}

/// How much a node is wanted for the fragment of that hash.
fn weight(hash: u64, node: NodeId) -> u64 {
    let mut x = hash.wrapping_add(u64::from(node.0).wrapping_mul(GOLDEN));
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests;
