//! What is chosen where not all fits, and that only what changed changes.

use std::sync::Arc;

use redkite_table::entry::{FORMAT, FileEntry, FileType};
use redkite_table::{Collection, File, Fragment};
use redkite_types::{ClusterId, FieldId, FragmentId, Incarnation, NodeId, Revision};

use super::plan::*;
use crate::layout::{Duty, Layout, Peer};

fn file(path: String, file_type: FileType, size: u64, log: Option<&str>) -> File {
    let entry = FileEntry {
        format: FORMAT,
        file_type,
        size,
        crc32: 0,
        node: 1,
        cluster: "c".to_owned(),
        rows: 1,
        field: Some(FieldId(100)),
        column: None,
        vector_file: None,
        vector_files: Vec::new(),
        delete_log: log.map(str::to_owned),
        deleted: 0,
        keys: None,
        committed_ms: 0,
    };
    File { path: path.into(), entry, created: Revision::ZERO, modified: Revision::ZERO }
}

/// A fragment of node 1.
fn fragment(number: u64, size: u64, log: Option<&str>) -> Arc<Fragment> {
    let id = FragmentId::new(Revision(number as i64), number);
    Arc::new(Fragment::new(id, vec![file(format!("{id}/v100.arrow"), FileType::RawVector, size, log)]))
}

fn collection(fragments: &[Arc<Fragment>], log: Option<(&str, u64)>) -> Arc<Collection> {
    called("films", fragments, log)
}

fn called(name: &str, fragments: &[Arc<Fragment>], log: Option<(&str, u64)>) -> Arc<Collection> {
    let mut collection = Collection::of_fragments(name, fragments.to_vec());
    if let Some((path, size)) = log {
        let log = file(path.to_owned(), FileType::DeleteLog, size, None);
        collection.delete_logs.insert(log.path.clone(), Arc::new(log));
    }
    Arc::new(collection)
}

fn layout(copies: usize, nodes: u32) -> Layout {
    let peer = |node| (Peer { node: NodeId(node), run: Incarnation(1) }, Duty::Serving);
    Layout { nodes: (1..=nodes).map(peer).collect(), copies, ..Layout::default() }
}

struct Node {
    plan: Plan,
    number: u32,
    room: Option<u64>,
    revision: i64,
}

impl Node {
    fn new(number: u32, room: Option<u64>) -> Self {
        Self { plan: Plan::default(), number, room, revision: 0 }
    }

    /// The revisions of the fragments that are new and gone.
    fn follow(&mut self, collections: &[Arc<Collection>], layout: &Layout) -> (Vec<i64>, Vec<i64>) {
        self.revision += 1;
        let cluster = ClusterId::new("c").unwrap();
        let own = (&cluster, NodeId(self.number));
        let change = self.plan.follow((Revision(self.revision), collections.iter()), layout, own, self.room);
        let revisions = |pieces: Vec<Arc<Piece>>| pieces.iter().map(|piece| piece.id().made().0).collect();
        (revisions(change.new), revisions(change.gone))
    }

    fn chosen(&self) -> Vec<i64> {
        self.plan.chosen().iter().map(|piece| piece.id().made().0).collect()
    }
}

#[test]
fn the_newest_of_what_it_is_the_best_holder_of_comes_first() {
    let fragments: Vec<_> = (1..=4).map(|number| fragment(number, 10, None)).collect();
    let all = [collection(&fragments, None)];
    let mut own = Node::new(1, Some(35));
    assert_eq!(own.follow(&all, &layout(2, 2)), (vec![4, 3, 2], vec![]));
    assert_eq!((own.chosen(), own.plan.standing().missing), (vec![4, 3, 2], 1));
    let mut other = Node::new(2, None);
    assert_eq!(other.follow(&all, &layout(1, 2)), (vec![], vec![]));
    assert_eq!(other.follow(&all, &layout(2, 2)), (vec![4, 3, 2, 1], vec![]));
    assert_eq!((other.plan.standing().missing, other.plan.standing().total), (0, 4));
}

#[test]
fn only_what_changed_changes() {
    let mut fragments: Vec<_> = (1..=3).map(|number| fragment(number, 10, None)).collect();
    let mut node = Node::new(1, None);
    let other = called("other", &[fragment(9, 1, None)], None);
    let one = layout(1, 1);
    node.follow(&[collection(&fragments, None), other.clone()], &one);
    assert_eq!(node.chosen(), [9, 3, 2, 1]);
    let same = collection(&fragments, None);
    node.follow(&[same.clone(), other.clone()], &one);
    assert_eq!(node.follow(&[same.clone(), other.clone()], &one), (vec![], vec![]));
    // A newer layout that says the same changes nothing but the revision.
    let again = Layout { revision: Revision(5), ..one.clone() };
    assert_eq!(node.follow(&[same, other.clone()], &again), (vec![], vec![]));
    assert_eq!(node.plan.standing().layout, Revision(5));
    // One is deleted from, one is new, one is merged away.
    fragments[0] = fragment(1, 10, Some("log"));
    fragments[1] = fragment(5, 10, None);
    let changed = collection(&fragments, Some(("log", 7)));
    assert_eq!(node.follow(&[changed, other.clone()], &one), (vec![5, 1], vec![2, 1]));
    let with_log = node.plan.chosen().iter().find(|piece| piece.id().made() == Revision(1)).unwrap();
    assert_eq!((with_log.bytes, with_log.files().count()), (17, 2));
    assert_eq!(node.follow(&[other], &one), (vec![], vec![5, 3, 1]));
    assert_eq!(node.plan.standing().total, 1);
}

/// A block that deletes has one log for all fragments it deletes from.
#[test]
fn a_delete_log_that_another_fragment_needs_is_not_released() {
    let one = layout(1, 1);
    let all: Vec<_> = (1..=3).map(|number| fragment(number, 10, (number < 3).then_some("log"))).collect();
    let mut node = Node::new(1, None);
    node.follow(&[collection(&all, Some(("log", 7)))], &one);
    let released = |node: &mut Node, left: &[Arc<Fragment>]| -> Vec<String> {
        let cluster = ClusterId::new("c").unwrap();
        let left = [collection(left, Some(("log", 7)))];
        let change = node.plan.follow((Revision(9), left.iter()), &one, (&cluster, NodeId(1)), None);
        node.plan.released(&change.gone).into_iter().map(|(segment, path)| format!("{segment}/{path}")).collect()
    };
    let own = |fragment: &Arc<Fragment>| format!("films/{}", fragment.files[0].path);
    assert_eq!(released(&mut node, &all[1..]), [own(&all[0])]);
    assert_eq!(released(&mut node, &all[2..]), [own(&all[1]), "films/log".to_owned()]);
    assert_eq!(released(&mut node, &[]), [own(&all[2])]);
}

#[test]
fn where_all_is_dropped_as_nodes_come_nothing_is_held() {
    let mut node = Node::new(1, None);
    node.follow(&[collection(&[fragment(1, 10, None)], None)], &layout(1, 1));
    assert_eq!(node.follow(&[], &layout(2, 2)), (vec![], vec![1]));
    assert_eq!((node.chosen(), node.plan.standing().total), (vec![], 0));
}

#[test]
fn a_delete_log_of_many_fragments_takes_its_room_once() {
    let all: Vec<_> = (1..=3).map(|number| fragment(number, 10, Some("log"))).collect();
    for (room, chosen) in [(130, vec![3, 2, 1]), (129, vec![3, 2]), (109, vec![])] {
        let mut node = Node::new(1, Some(room));
        node.follow(&[collection(&all, Some(("log", 100)))], &layout(1, 1));
        assert_eq!(node.chosen(), chosen);
    }
}
