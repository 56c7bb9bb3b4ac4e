//! The nodes of a cluster (S28): the value of `/<user>/<cluster>_property`.

use redkite_meta::versioned::{self, Unusable};
use redkite_types::{Incarnation, NodeId};
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// The newest format.
const FORMAT: u32 = 1;

/// The nodes of a cluster, and the secret they know each other by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Members {
    format: u32,
    /// What every call between the processes of the cluster proves that its sender knows.
    pub secret: String,
    /// The nodes by number.
    pub nodes: Vec<Member>,
}

/// A node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its number.
    pub node: NodeId,
    /// Which run of it was the last to join.
    pub incarnation: Incarnation,
    /// What only that run answers when asked who it is.
    pub boot: String,
    /// Host at which clients reach it.
    pub address: String,
    /// Port at which clients reach it.
    pub port: u16,
    /// Host and port at which the other processes of the cluster reach it.
    pub internal: String,
}

impl Members {
    /// A cluster without nodes.
    pub fn new(secret: String) -> Self {
        Self { format: FORMAT, secret, nodes: Vec::new() }
    }

    /// From the value of `key`.
    pub fn read(key: &str, value: &[u8]) -> Result<Self> {
        let key = key.to_owned();
        versioned::decode(value, FORMAT).map_err(|unusable| match unusable {
            Unusable::Damaged(detail) => Error::Damaged { key, detail },
            Unusable::Newer { found, supported } => Error::NewerFormat { key, found, supported },
        })
    }

    /// As it is stored.
    pub fn value(&self) -> String {
        serde_json::json!(self).to_string()
    }

    /// The node of that number.
    pub fn get(&self, node: NodeId) -> Option<&Member> {
        self.nodes.iter().find(|member| member.node == node)
    }

    /// Which run of a node the next one is.
    pub fn next_incarnation(&self, node: NodeId) -> Incarnation {
        self.get(node).map_or(Incarnation(1), |member| Incarnation(member.incarnation.0 + 1))
    }

    /// Adds a node, or puts it in the place of its predecessor.
    pub fn put(&mut self, member: Member) {
        self.nodes.retain(|known| known.node != member.node);
        self.nodes.push(member);
        self.nodes.sort_unstable_by_key(|member| member.node);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(node: u32, incarnation: u64) -> Member {
        Member {
            node: NodeId(node),
            incarnation: Incarnation(incarnation),
            boot: format!("{node}-{incarnation}"),
            address: "10.0.0.1".to_owned(),
            port: 19530,
            internal: "10.0.0.1:4000".to_owned(),
        }
    }

    #[test]
    fn nodes_are_in_order_and_each_is_there_once() {
        let mut members = Members::new("s".to_owned());
        for (node, incarnation) in [(3, 1), (0, 1), (3, 2)] {
            assert_eq!(members.next_incarnation(NodeId(node)), Incarnation(incarnation));
            members.put(member(node, incarnation));
        }
        assert_eq!(members.nodes, [member(0, 1), member(3, 2)]);
        assert_eq!(Members::read("k", members.value().as_bytes()).unwrap(), members);
    }

    #[test]
    fn what_is_stored_is_readable_and_has_a_format() {
        let mut members = Members::new("s".to_owned());
        members.put(member(1, 2));
        let value: serde_json::Value = serde_json::from_str(&members.value()).unwrap();
        assert_eq!(value["format"], 1);
        let node = &value["nodes"][0];
        assert_eq!((&node["node"], &node["address"], &node["port"]), (&1.into(), &"10.0.0.1".into(), &19530.into()));
        let newer = Members::read("/u/c_property", br#"{"format":2}"#).unwrap_err().to_string();
        assert!(newer.contains("/u/c_property") && newer.contains("newer redkite"), "{newer}");
        assert!(matches!(Members::read("k", b"{}"), Err(Error::Damaged { .. })));
    }
}
