//! Whom a node that is short of memory passes inserts on to (S27). Pure.

use std::cmp::Reverse;

use redkite_types::NodeId;

/// How much of its memory a node has in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fill {
    /// The node.
    pub node: NodeId,
    /// Memory in use, in bytes.
    pub used_bytes: u64,
    /// Memory it may use, in bytes.
    pub budget_bytes: u64,
}

impl Fill {
    /// Whether more than the share `level` of its budget is in use.
    pub fn is_above(&self, level: f64) -> bool {
        self.used_bytes as f64 > level * self.budget_bytes as f64
    }

    fn share(&self) -> f64 {
        self.used_bytes as f64 / self.budget_bytes as f64
    }

    fn free_bytes(&self) -> u64 {
        self.budget_bytes.saturating_sub(self.used_bytes)
    }
}

/// The node that rows of `own` should go to: of `others` below the mark the one with the least share in use; if all are above
/// it the one with the most memory free. None if that is `own` itself, or `own` is not above the mark at all.
pub fn lightest(own: Fill, others: &[Fill], level: f64) -> Option<NodeId> {
    if !own.is_above(level) {
        return None;
    }
    // One that does not tell its budget cannot be judged.
    let known = || others.iter().filter(|fill| fill.node != own.node && fill.budget_bytes > 0);
    let below = known().filter(|fill| !fill.is_above(level));
    if let Some(fill) = below.min_by(|a, b| a.share().total_cmp(&b.share()).then(a.node.cmp(&b.node))) {
        return Some(fill.node);
    }
    let roomiest = known().min_by_key(|fill| (Reverse(fill.free_bytes()), fill.node))?;
    (roomiest.free_bytes() > own.free_bytes()).then_some(roomiest.node)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(node: u32, used_bytes: u64, budget_bytes: u64) -> Fill {
        Fill { node: NodeId(node), used_bytes, budget_bytes }
    }

    fn check(own: (u64, u64), others: &[(u32, u64, u64)], want: Option<u32>) {
        let all: Vec<Fill> = others.iter().map(|(node, used, budget)| fill(*node, *used, *budget)).collect();
        let got = lightest(fill(1, own.0, own.1), &all, 0.6);
        assert_eq!(got, want.map(NodeId), "{own:?} {others:?}");
    }

    #[test]
    fn below_the_mark_nothing_is_passed_on() {
        check((60, 100), &[(2, 0, 100)], None);
        check((61, 100), &[(2, 0, 100)], Some(2));
        check((61, 100), &[], None);
    }

    #[test]
    fn of_nodes_below_the_mark_the_least_share_counts() {
        // Not the bytes: the second has more in use, and more left.
        check((90, 100), &[(2, 40, 100), (3, 300, 1_000)], Some(3));
        check((90, 100), &[(2, 60, 100), (3, 61, 100)], Some(2));
        check((90, 100), &[(3, 10, 100), (2, 10, 100)], Some(2));
    }

    #[test]
    fn if_all_are_above_it_the_most_memory_free_counts() {
        check((90, 100), &[(2, 80, 100), (3, 900, 1_000)], Some(3));
        check((90, 100), &[(2, 95, 100), (3, 150, 100)], None);
        check((90, 100), &[(2, 90, 100)], None);
        check((200, 100), &[(2, 300, 100)], None);
    }

    #[test]
    fn who_cannot_be_judged_gets_nothing() {
        check((90, 100), &[(2, 0, 0), (1, 0, 100)], None);
        // A budget of nothing is always exceeded, by what there is.
        assert_eq!(lightest(fill(1, 1, 0), &[fill(2, 1, 100)], 0.6), Some(NodeId(2)));
        assert_eq!(lightest(fill(1, 1, 10), &[fill(2, 1, 100)], 0.0), Some(NodeId(2)));
        assert_eq!(lightest(fill(1, 10, 10), &[fill(2, 0, 100)], 1.0), None);
    }
}
