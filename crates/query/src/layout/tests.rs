//! Who is asked and who shall hold, as nodes come and go.

use super::Duty::{Away, Coming, Going, Serving};
use super::*;

fn layout(duties: &[Duty]) -> Layout {
    let node = |(node, duty): (u32, &Duty)| (Peer { node: NodeId(node), run: Incarnation(1) }, *duty);
    Layout { nodes: (1..).zip(duties).map(node).collect(), copies: duties.len(), ..Layout::default() }
}

fn numbers(placement: &Placement) -> Vec<u32> {
    let fragment = redkite_table::Fragment::new(redkite_types::FragmentId::new(Revision(7), 5), Vec::new());
    let mut holders: Vec<u32> = placement.holders(&fragment).into_iter().map(|node| node.0).collect();
    holders.sort_unstable();
    holders
}

#[test]
fn who_is_asked_is_there_and_who_shall_hold_stays() {
    let cluster = ClusterId::new("c").unwrap();
    let layout = layout(&[Coming, Serving, Going, Away]);
    assert_eq!(numbers(&layout.asked(&cluster, &[])), [1, 2, 3]);
    assert_eq!(numbers(&layout.due(&cluster)), [1, 2]);
    let one = Layout { copies: 2, ..layout.clone() };
    assert_eq!(numbers(&one.asked(&cluster, &[])), [2, 3], "who has just come is the last");
    assert_eq!(numbers(&one.asked(&cluster, &[NodeId(3)])).len(), 2);
    let one = Layout { copies: 1, ..layout };
    assert_eq!(numbers(&one.asked(&cluster, &[NodeId(3)])), [2]);
    assert_eq!(numbers(&one.ranked(&cluster)), [1, 2]);
}

#[test]
fn where_all_are_away_any_may_be_there_all_the_same() {
    let cluster = ClusterId::new("c").unwrap();
    let layout = layout(&[Away, Away]);
    assert_eq!(numbers(&layout.asked(&cluster, &[])), [1, 2]);
    assert!(numbers(&layout.due(&cluster)).is_empty());
}
