//! What a Master knows of the nodes of its cluster: who is alive, how busy, and whom the next client is sent to. Pure: what was
//! heard and what was not is passed in.

use std::collections::BTreeMap;

use redkite_types::{NodeId, Revision};

use crate::{Member, Members};

/// What a node has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Load {
    /// Clients' connections.
    pub connections: u64,
    /// Memory that no file stands behind, in bytes.
    pub memory_bytes: u64,
    /// Memory that it may use, in bytes; zero if it does not tell.
    pub memory_budget_bytes: u64,
    /// Whether it takes further clients: not before it serves, and not once it stops.
    pub takes_clients: bool,
    /// What it holds; none before it knows.
    pub holding: Option<Holding>,
}

/// What a node holds of the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Holding {
    /// Fragments that it holds.
    pub fragments: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Fragments that it is still to fetch.
    pub pending: u64,
    /// Fragments that it should hold and does not, for want of room or because they cannot be fetched.
    pub missing: u64,
    /// All fragments that there are.
    pub total: u64,
    /// The revision of the members that this goes by.
    pub members: Revision,
    /// The revision of the data that it has seen.
    pub catalog: Revision,
    /// Whether it has fetched what was to be fetched when it started.
    pub warm: bool,
}

/// A node as a Master sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Who it is.
    pub member: Member,
    /// What it told last; none if it never did.
    pub load: Option<Load>,
    /// Beats it has missed since.
    pub missed: u32,
    /// Clients it was sent since.
    pub sent: u64,
    /// Whether one of them could not be.
    pub failed: bool,
}

/// The nodes of a cluster.
#[derive(Debug)]
pub struct Roster {
    nodes: BTreeMap<NodeId, Seen>,
    missed_max: u32,
}

impl Roster {
    /// Nobody yet. A node counts as down once it has missed `missed_max` beats.
    pub fn new(missed_max: u32) -> Self {
        Self { nodes: BTreeMap::new(), missed_max: missed_max.max(1) }
    }

    /// From now on a node counts as down once it has missed `missed_max` beats.
    pub fn allow(&mut self, missed_max: u32) {
        self.missed_max = missed_max.max(1);
    }

    /// Takes over who the members are. Of a process that was known before what was heard of it stays.
    pub fn update(&mut self, members: &Members) {
        let mut before = std::mem::take(&mut self.nodes);
        for member in &members.nodes {
            let known = before.remove(&member.node).filter(|seen| seen.member.boot == member.boot);
            let new = || Seen { member: member.clone(), load: None, missed: 0, sent: 0, failed: false };
            let seen = known.map_or_else(new, |seen| Seen { member: member.clone(), ..seen });
            self.nodes.insert(member.node, seen);
        }
    }

    /// The nodes by number.
    pub fn nodes(&self) -> impl Iterator<Item = &Seen> {
        self.nodes.values()
    }

    /// Whether a node has answered and not missed too many beats since.
    pub fn is_alive(&self, seen: &Seen) -> bool {
        seen.load.is_some() && seen.missed < self.missed_max
    }

    /// A process has answered.
    pub fn heard(&mut self, boot: &str, load: Load) {
        if let Some(seen) = self.find(boot) {
            (seen.load, seen.missed, seen.sent, seen.failed) = (Some(load), 0, 0, false);
        }
    }

    /// A process has not answered. Whether it counts as down.
    pub fn missed(&mut self, boot: &str) -> bool {
        let missed_max = self.missed_max;
        let Some(seen) = self.find(boot) else { return false };
        seen.missed = seen.missed.saturating_add(1);
        seen.load.is_some() && seen.missed >= missed_max
    }

    /// A client could not be sent to a process: it is not sent another one before it has answered. It does not count as down for
    /// that, as the failure may be nobody's but the Master's.
    pub fn failed(&mut self, boot: &str) {
        if let Some(seen) = self.find(boot) {
            seen.failed = true;
        }
    }

    /// Whom to send the next client to: of those that are alive and take clients the one with the fewest, those counted that it
    /// was sent since it told; of several the one with the least memory in use. One that is still warming only where all are.
    pub fn choose(&mut self) -> Option<Member> {
        let missed_max = self.missed_max;
        let alive = self.nodes.values_mut().filter(|seen| seen.missed < missed_max && !seen.failed);
        let busy = alive.filter_map(|seen| {
            let load = seen.load.filter(|load| load.takes_clients)?;
            let is_cold = load.holding.is_some_and(|holding| !holding.warm);
            Some(((is_cold, load.connections + seen.sent, load.memory_bytes, seen.member.node), seen))
        });
        let (_, chosen) = busy.min_by_key(|(busy, _)| *busy)?;
        chosen.sent += 1;
        Some(chosen.member.clone())
    }

    fn find(&mut self, boot: &str) -> Option<&mut Seen> {
        self.nodes.values_mut().find(|seen| seen.member.boot == boot)
    }
}

#[cfg(test)]
mod tests {
    use redkite_types::Incarnation;

    use super::*;
    use crate::State;

    fn members(nodes: &[(u32, &str)]) -> Members {
        let mut members = Members::new("s".to_owned());
        for (node, boot) in nodes {
            members.put(Member {
                node: NodeId(*node),
                incarnation: Incarnation(1),
                boot: (*boot).to_owned(),
                address: "10.0.0.1".to_owned(),
                port: 19530,
                internal: "10.0.0.1:4000".to_owned(),
                state: State::Serving,
            });
        }
        members
    }

    fn load(connections: u64, memory_bytes: u64) -> Load {
        Load { connections, memory_bytes, memory_budget_bytes: 0, takes_clients: true, holding: None }
    }

    fn chosen(roster: &mut Roster) -> Option<u32> {
        roster.choose().map(|member| member.node.0)
    }

    #[test]
    fn clients_are_spread_by_what_nodes_tell_and_what_they_were_sent() {
        let mut roster = Roster::new(3);
        assert_eq!(chosen(&mut roster), None);
        roster.update(&members(&[(1, "a"), (2, "b"), (3, "c")]));
        assert_eq!(chosen(&mut roster), None, "nobody has answered yet");
        roster.heard("a", load(5, 0));
        roster.heard("b", load(4, 9));
        roster.heard("c", load(4, 1));
        let sent: Vec<_> = (0..6).map(|_| chosen(&mut roster)).collect();
        assert_eq!(sent, [Some(3), Some(2), Some(1), Some(3), Some(2), Some(1)]);
        roster.heard("b", load(0, 9));
        assert_eq!(chosen(&mut roster), Some(2));
    }

    #[test]
    fn a_node_is_down_after_so_many_beats_and_up_again_with_the_next_one() {
        let mut roster = Roster::new(3);
        roster.update(&members(&[(1, "a")]));
        roster.heard("a", load(0, 0));
        assert!(!roster.missed("a") && !roster.missed("a"));
        assert_eq!(chosen(&mut roster), Some(1));
        assert!(roster.missed("a"));
        assert_eq!(chosen(&mut roster), None);
        roster.heard("a", load(0, 0));
        assert_eq!(chosen(&mut roster), Some(1));
        roster.allow(1);
        assert!(roster.missed("a"));
    }

    #[test]
    fn a_node_that_takes_no_clients_is_alive_all_the_same() {
        let mut roster = Roster::new(2);
        roster.update(&members(&[(1, "a")]));
        let alive = |roster: &Roster| roster.nodes().filter(|seen| roster.is_alive(seen)).count();
        roster.heard("a", Load { takes_clients: false, ..load(0, 0) });
        assert_eq!((chosen(&mut roster), alive(&roster)), (None, 1));
        roster.heard("a", load(0, 0));
        assert_eq!((chosen(&mut roster), alive(&roster)), (Some(1), 1));
        roster.failed("a");
        assert_eq!((chosen(&mut roster), alive(&roster)), (None, 1));
        assert!(!roster.missed("a"));
        assert!(roster.missed("a"), "it goes down by its beats alone");
        roster.heard("a", load(0, 0));
        assert_eq!((chosen(&mut roster), alive(&roster)), (Some(1), 1));
    }

    #[test]
    fn who_has_what_it_needs_gets_clients_first() {
        let mut roster = Roster::new(2);
        roster.update(&members(&[(1, "a"), (2, "b")]));
        let holding = |warm| Some(Holding { warm, ..Holding::default() });
        roster.heard("a", Load { holding: holding(false), ..load(0, 0) });
        roster.heard("b", Load { holding: holding(true), ..load(50, 0) });
        assert_eq!(chosen(&mut roster), Some(2));
        roster.heard("b", Load { holding: holding(false), ..load(50, 0) });
        assert_eq!(chosen(&mut roster), Some(1));
    }

    #[test]
    fn another_process_of_the_same_number_has_to_answer_for_itself() {
        let mut roster = Roster::new(1);
        roster.update(&members(&[(1, "a"), (2, "b")]));
        roster.heard("a", load(7, 0));
        roster.heard("b", load(7, 0));
        roster.update(&members(&[(1, "again"), (2, "b")]));
        roster.failed("a");
        assert!(!roster.missed("a"));
        assert_eq!(chosen(&mut roster), Some(2));
        roster.heard("again", load(0, 0));
        assert_eq!(chosen(&mut roster), Some(1));
        roster.update(&members(&[(1, "again")]));
        roster.heard("b", load(0, 0));
        assert_eq!(roster.nodes().count(), 1);
    }
}
