//! Where fragments go, and that few of them move.

use std::collections::BTreeMap;

use proptest::prelude::*;
use redkite_table::catalog::{File, Fragment};
use redkite_table::entry::{FORMAT, FileEntry, FileType};
use redkite_types::{ClusterId, FieldId, FragmentId, NodeId, Revision};

use super::Placement;

fn placement(nodes: &[u32], avoided: &[u32], copies: usize) -> Placement {
    let nodes = nodes.iter().map(|node| NodeId(*node));
    Placement::new(ClusterId::new("c").unwrap(), nodes, avoided.iter().map(|node| NodeId(*node)).collect(), copies)
}

fn fragment(id: FragmentId, node: u32, cluster: &str) -> Fragment {
    let entry = FileEntry {
        format: FORMAT,
        file_type: FileType::RawVector,
        size: 1,
        crc32: 0,
        node,
        cluster: cluster.to_owned(),
        rows: 1,
        field: Some(FieldId(100)),
        column: None,
        vector_file: None,
        vector_files: Vec::new(),
        delete_log: None,
        deleted: 0,
        keys: None,
        committed_ms: 0,
    };
    let file =
        File { path: format!("{id}/v100.arrow").into(), entry, created: Revision::ZERO, modified: Revision::ZERO };
    Fragment::new(id, vec![file])
}

fn id(number: u64) -> FragmentId {
    FragmentId::new(Revision(7), number)
}

fn numbers(holders: Vec<NodeId>) -> Vec<u32> {
    holders.into_iter().map(|node| node.0).collect()
}

#[test]
fn what_a_node_inserted_it_holds_first() {
    for copies in 1..4 {
        let placed = placement(&[1, 2, 3], &[], copies);
        for node in 1..4 {
            let holders = numbers(placed.holders(&fragment(id(5), node, "c")));
            assert_eq!((holders[0], holders.len()), (node, copies));
        }
    }
}

#[test]
fn what_another_cluster_a_merge_or_a_stranger_wrote_goes_by_the_hash() {
    let placed = placement(&[1, 2, 3], &[], 3);
    let hashed = placed.ranked(id(5), None);
    let merged = id(5).merged(None, Revision(9), 3).unwrap();
    for node in [1, 2, 3] {
        assert_eq!(placed.holders(&fragment(id(5), node, "other")), hashed);
        assert_eq!(placed.holders(&fragment(merged, node, "c")), placed.ranked(merged, None));
    }
    assert_eq!(placed.holders(&fragment(id(5), 9, "c")), hashed);
}

#[test]
fn a_node_that_is_avoided_comes_last() {
    let own = fragment(id(5), 2, "c");
    assert_eq!(numbers(placement(&[1, 2, 3], &[2], 3).holders(&own))[2], 2);
    assert!(!numbers(placement(&[1, 2, 3], &[2], 2).holders(&own)).contains(&2));
    assert_eq!(numbers(placement(&[2], &[2], 2).holders(&own)), [2]);
    assert!(placement(&[], &[], 2).holders(&own).is_empty());
}

/// Another version must compute the same.
#[test]
fn the_hash_is_what_it_was() {
    let placed = placement(&[1, 2, 3, 4, 5], &[], 5);
    let ranked: Vec<Vec<u32>> = (0..3).map(|number| numbers(placed.ranked(id(number), None))).collect();
    assert_eq!(ranked, GOLDEN_RANKS);
}

const GOLDEN_RANKS: [[u32; 5]; 3] = [[1, 5, 4, 2, 3], [3, 4, 1, 5, 2], [4, 3, 5, 2, 1]];

#[test]
fn fragments_are_spread_evenly() {
    let placed = placement(&[1, 2, 3, 7, 1_000], &[], 1);
    let mut counts: BTreeMap<u32, usize> = BTreeMap::new();
    for number in 0..10_000 {
        *counts.entry(numbers(placed.ranked(id(number), None))[0]).or_default() += 1;
    }
    assert_eq!(counts.len(), 5);
    assert!(counts.values().all(|count| (1_800..2_200).contains(count)), "{counts:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Nobody but the one that goes or comes loses or gets a fragment.
    #[test]
    fn few_fragments_move(
        nodes in proptest::collection::btree_set(1u32..100, 1..12),
        gone in any::<proptest::sample::Index>(),
        copies in 1usize..4,
        numbers_of in proptest::collection::vec(any::<u64>(), 1..50),
    ) {
        let nodes: Vec<u32> = nodes.into_iter().collect();
        let gone = nodes[gone.index(nodes.len())];
        let left: Vec<u32> = nodes.iter().copied().filter(|node| *node != gone).collect();
        let (all, fewer) = (placement(&nodes, &[], copies), placement(&left, &[], copies));
        let avoiding = placement(&nodes, &[gone], copies);
        for number in numbers_of {
            let before = numbers(all.ranked(id(number), None));
            let after = numbers(fewer.ranked(id(number), None));
            prop_assert_eq!(before.len(), copies.min(nodes.len()));
            let kept: Vec<u32> = before.iter().copied().filter(|node| *node != gone).collect();
            prop_assert_eq!(&after[..kept.len()], &kept[..]);
            // Avoided is as gone, while others are enough.
            let avoided: Vec<u32> = numbers(avoiding.ranked(id(number), None)).into_iter().filter(|n| *n != gone).collect();
            prop_assert_eq!(avoided, after);
        }
    }
}
