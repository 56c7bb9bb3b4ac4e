//! The nodes of a cluster (S28): the value of `/<user>/<cluster>_property`.

use redkite_meta::versioned::{self, Unusable};
use redkite_types::{Incarnation, NodeId, Revision};
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
    /// Data that was inserted up to here is spread over the nodes, wherever it was inserted.
    #[serde(default)]
    pub balanced: Revision,
    /// The same as it is to be once all nodes have fetched what they get by it.
    #[serde(default)]
    pub balancing: Revision,
    /// The greatest incarnation of those that were taken out: whoever comes back under their number is a later run, should they
    /// run after all.
    #[serde(default)]
    gone: Incarnation,
}

/// What a node is to the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It has just started, or is about to stop: it serves, and others had better ask somebody else.
    #[default]
    Joining,
    /// It serves, and holds its share of the data.
    Serving,
    /// It is to leave: others fetch what it holds; it takes no further clients.
    Draining,
    /// They have.
    Drained,
}

/// A change of who holds what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rearrangement {
    /// The node is to leave.
    Drain(NodeId),
    /// Others have what the node holds.
    Drained(NodeId),
    /// The node is to stay after all.
    Keep(NodeId),
    /// The node is gone for good, and others have what it held.
    Remove(NodeId),
    /// Data that was inserted up to that revision is to be spread.
    Balance(Revision),
    /// It is spread.
    Balanced(Revision),
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
    /// What it is to the others.
    #[serde(default)]
    pub state: State,
}

impl Members {
    /// A cluster without nodes.
    pub fn new(secret: String) -> Self {
        let balanced = Revision::ZERO;
        Self { format: FORMAT, secret, nodes: Vec::new(), balanced, balancing: balanced, gone: Incarnation(0) }
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
        let last = self.get(node).map_or(self.gone, |member| member.incarnation);
        Incarnation(last.0.saturating_add(1))
    }

    /// Adds a node, or puts it in the place of its predecessor.
    pub fn put(&mut self, member: Member) {
        self.nodes.retain(|known| known.node != member.node);
        self.nodes.push(member);
        self.nodes.sort_unstable_by_key(|member| member.node);
    }

    /// The process of that boot, while it is a member, is `state` from now on. Whether that changes anything.
    pub fn set_state(&mut self, boot: &str, state: State) -> bool {
        let member = self.nodes.iter_mut().find(|member| member.boot == boot && member.state != state);
        member.map(|member| member.state = state).is_some()
    }

    /// Takes the process of that boot out, if it is there.
    pub fn remove(&mut self, boot: &str) -> bool {
        self.remove_if(|member| member.boot == boot)
    }

    fn remove_if(&mut self, is_gone: impl Fn(&Member) -> bool) -> bool {
        let before = self.nodes.len();
        let gone = self.nodes.extract_if(.., |member| is_gone(member)).map(|member| member.incarnation).max();
        self.gone = self.gone.max(gone.unwrap_or_default());
        self.nodes.len() < before
    }

    /// Changes who holds what; or says why not. Doing it twice is as doing it once.
    pub fn rearrange(&mut self, change: Rearrangement) -> std::result::Result<(), String> {
        use Rearrangement::{Balance, Balanced, Drain, Drained, Keep, Remove};
        use State::{Draining, Joining, Serving};
        let stays = |member: &Member| matches!(member.state, Joining | Serving);
        match change {
            Balance(revision) => self.balancing = self.balancing.max(revision),
            Balanced(revision) => {
                self.balancing = self.balancing.max(revision);
                self.balanced = self.balanced.max(revision);
            }
            Drain(node) | Drained(node) | Keep(node) | Remove(node) => {
                let unknown = || format!("the cluster has no node {node}");
                let known = self.get(node).ok_or_else(unknown)?.state;
                let others = self.nodes.iter().filter(|member| member.node != node && stays(member)).count();
                if others == 0 && !matches!(change, Keep(_)) {
                    return Err(format!("no other node would be left to hold what node {node} holds"));
                }
                if matches!((change, known), (Drained(_) | Remove(_), Joining | Serving)) {
                    return Err(format!(
                        "node {node} was kept, or started again, while others fetched what it holds; drain it again if it is to leave"
                    ));
                }
                let state = match (change, known) {
                    (Remove(_), _) => {
                        self.remove_if(|member| member.node == node);
                        return Ok(());
                    }
                    (Drain(_), State::Drained) | (Drained(_), _) => State::Drained,
                    (Drain(_), _) => Draining,
                    // It still holds everything.
                    (_, Draining) => Serving,
                    (_, State::Drained) => Joining,
                    (_, Joining | Serving) => known,
                };
                for member in self.nodes.iter_mut().filter(|member| member.node == node) {
                    member.state = state;
                }
            }
        }
        Ok(())
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
            state: State::Serving,
        }
    }

    #[test]
    fn a_node_leaves_in_two_steps_and_may_come_back() {
        use Rearrangement::{Balance, Balanced, Drain, Drained, Keep, Remove};
        let mut members = Members::new("s".to_owned());
        (1..=3).for_each(|node| members.put(member(node, 1)));
        let one = NodeId(1);
        let state = |members: &Members| members.get(one).unwrap().state;
        for (change, want) in [
            (Drain(one), State::Draining),
            (Drain(one), State::Draining),
            (Keep(one), State::Serving),
            (Keep(one), State::Serving),
            (Drain(one), State::Draining),
            (Drained(one), State::Drained),
            (Drain(one), State::Drained),
            (Keep(one), State::Joining),
        ] {
            members.rearrange(change).unwrap();
            assert_eq!(state(&members), want, "{change:?}");
        }
        assert!(members.set_state("1-1", State::Serving) && !members.set_state("1-1", State::Serving));
        assert!(!members.set_state("1-0", State::Joining), "an earlier run");
        assert!(members.rearrange(Drain(NodeId(7))).unwrap_err().contains("no node 7"));
        members.rearrange(Drain(NodeId(2))).unwrap();
        for change in [Drain(NodeId(3)), Remove(NodeId(3))] {
            members.rearrange(change).unwrap();
        }
        for change in [Drain(one), Drained(one), Remove(one)] {
            assert!(members.rearrange(change).unwrap_err().contains("no other node"));
        }
        members.rearrange(Balance(Revision(7))).unwrap();
        assert_eq!((members.balanced, members.balancing), (Revision::ZERO, Revision(7)));
        members.rearrange(Balanced(Revision(5))).unwrap();
        assert_eq!((members.balanced, members.balancing), (Revision(5), Revision(7)));
        assert!(members.remove("1-1") && !members.remove("1-1"));
        assert_eq!(Members::read("k", members.value().as_bytes()).unwrap(), members);
    }

    /// As earlier versions wrote it.
    #[test]
    fn a_node_without_state_has_just_started() {
        let stored = br#"{"format":1,"secret":"s","nodes":[{"node":1,"incarnation":1,"boot":"b","address":"a","port":1,"internal":"a:2"}]}"#;
        assert_eq!(Members::read("k", stored).unwrap().nodes[0].state, State::Joining);
    }

    /// One that was taken out may run after all, and what it tells is told by number and run.
    #[test]
    fn a_number_that_comes_back_is_a_later_run() {
        let mut members = Members::new("s".to_owned());
        (1..=3).for_each(|node| members.put(member(node, u64::from(node) * 2)));
        for change in [Rearrangement::Drain(NodeId(3)), Rearrangement::Remove(NodeId(3))] {
            members.rearrange(change).unwrap();
        }
        assert_eq!(members.next_incarnation(NodeId(3)), Incarnation(7));
        assert!(members.remove("2-4"));
        let members = Members::read("k", members.value().as_bytes()).unwrap();
        assert_eq!([1, 2, 3, 4].map(|node| members.next_incarnation(NodeId(node)).0), [3, 7, 7, 7]);
    }

    #[test]
    fn a_node_that_was_kept_meanwhile_is_not_drained() {
        use Rearrangement::{Drain, Drained, Keep, Remove};
        let mut members = Members::new("s".to_owned());
        (1..=2).for_each(|node| members.put(member(node, 1)));
        let one = NodeId(1);
        for change in [Drain(one), Keep(one)] {
            members.rearrange(change).unwrap();
        }
        assert!(members.rearrange(Drained(one)).unwrap_err().contains("was kept"));
        assert_eq!(members.get(one).unwrap().state, State::Serving);
        // The same for one that was started again.
        members.rearrange(Drain(one)).unwrap();
        members.put(Member { state: State::Joining, ..member(1, 2) });
        for change in [Drained(one), Remove(one)] {
            assert!(members.rearrange(change).is_err());
        }
        assert_eq!(members.get(one).unwrap().state, State::Joining);
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
