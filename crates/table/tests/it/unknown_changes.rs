//! Changes of collections whose outcome stays unknown, and that land late: nothing after them may rest on their not landing.

use std::collections::BTreeMap;
use std::fmt::Debug;

use redkite_meta::{MetaStore, Op};
use redkite_table::entry::CollectionRecord;
use redkite_table::{Error, Result, Visibility};
use redkite_types::ErrorKind;

use crate::commits::commit_of;
use crate::faulty_meta::{Call, Fault, FaultyMeta};
use crate::world::{Node, Stores, collection, vector_index};

const LOST: [Fault; 3] = [Fault::AnswerLost, Fault::NeverSent, Fault::Late];
const FILMS: &str = "films";

/// What a test does to the collection, and what takes it back.
#[derive(Debug, Clone, Copy)]
enum Change {
    Create,
    Drop,
    SetProperty,
    RemoveProperty,
    Release,
    Load,
    CreateIndex,
    DropIndex,
}

impl Change {
    async fn run(self, node: &Node) -> Result<()> {
        let database = &node.database;
        let set = BTreeMap::from([("x".to_owned(), "1".to_owned())]);
        match self {
            Change::Create => database.create_collection(collection(FILMS, 2)).await.map(|_| ()),
            Change::Drop => database.drop_collection(FILMS).await.map(|_| ()),
            Change::SetProperty => database.alter_properties(FILMS, &set, &[]).await.map(|_| ()),
            Change::RemoveProperty => {
                database.alter_properties(FILMS, &BTreeMap::new(), &["x".to_owned()]).await.map(|_| ())
            }
            Change::Release => database.set_released(FILMS, true).await.map(|_| ()),
            Change::Load => database.set_released(FILMS, false).await.map(|_| ()),
            Change::CreateIndex => database.create_index(FILMS, vector_index()).await.map(|_| ()),
            Change::DropIndex => database.drop_index(FILMS, "", "v").await.map(|_| ()),
        }
    }

    fn reverse(self) -> Self {
        match self {
            Change::Create => Change::Drop,
            Change::Drop => Change::Create,
            Change::SetProperty => Change::RemoveProperty,
            Change::RemoveProperty => Change::SetProperty,
            Change::Release => Change::Load,
            Change::Load => Change::Release,
            Change::CreateIndex => Change::DropIndex,
            Change::DropIndex => Change::CreateIndex,
        }
    }

    /// A node where the change has something to do.
    async fn node_before(self) -> Node {
        let node = Stores::new().node(1).await;
        if !matches!(self, Change::Create) {
            Change::Create.run(&node).await.unwrap();
        }
        if !matches!(self, Change::Create | Change::Drop) {
            self.reverse().run(&node).await.unwrap();
        }
        node
    }
}

/// The collection as a reader that asks now sees it.
async fn seen(node: &Node) -> Option<CollectionRecord> {
    let catalog = node.database.snapshot(Visibility::Strong).await.unwrap();
    match catalog.collection(FILMS) {
        Ok(collection) => Some(CollectionRecord::clone(collection.record().unwrap())),
        Err(Error::CollectionNotFound { .. }) => None,
        Err(error) => panic!("{error}"),
    }
}

/// What of it the changes are about.
async fn described(node: &Node) -> String {
    let record = seen(node).await;
    format!("{:?}", record.map(|record| (record.properties, record.released, record.indexes)))
}

fn is_unknown<T: Debug>(result: Result<T>) -> bool {
    matches!(result, Err(Error::OutcomeUnknown { .. }))
}

/// A change is lost and cannot be settled; then its reverse is answered; then what was late lands.
async fn a_lost_change_does_not_undo_what_comes_after_it(change: Change) {
    for fault in LOST {
        let node = change.node_before().await;
        node.meta.fail_next(Call::Commit, fault);
        node.meta.fail_always(Call::Settle, Fault::Refused);
        assert!(is_unknown(change.run(&node).await), "{fault:?}");

        // Nothing is answered, and nothing published, that it could still undo.
        assert!(is_unknown(change.reverse().run(&node).await), "{fault:?}");
        assert!(is_unknown(node.database.create_collection(collection("other", 2)).await), "{fault:?}");
        let put = vec![Op::put("/u/c/data/0", "x")];
        let commit = commit_of(&node, put, Vec::new()).await;
        let refused = node.database.committer.commit(&commit).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Unavailable, "{refused}");
        assert!(node.meta.get("/u/c/data/0").await.unwrap().is_none());

        node.meta.recover();
        change.reverse().run(&node).await.unwrap();
        let before = described(&node).await;
        assert!(node.meta.land().await.iter().all(|landed| !landed), "{fault:?}");
        assert_eq!(described(&node).await, before, "{fault:?}");
        node.database.committer.commit(&commit).await.unwrap();
    }
}

/// A change is on its way when its request goes away; its reverse waits for its end.
async fn a_change_outlives_its_request(change: Change) {
    let node = change.node_before().await;
    let (before, commits) = (described(&node).await, node.meta.count(Call::Commit));
    let run = |change: Change| {
        let node = node.clone();
        tokio::spawn(async move { change.run(&node).await })
    };
    node.meta.stop_at(Call::Commit);
    let request = run(change);
    node.meta.stopped().await;
    request.abort();
    assert!(request.await.unwrap_err().is_cancelled());

    let reverse = run(change.reverse());
    let commit = commit_of(&node, Vec::new(), Vec::new()).await;
    let committer = node.database.committer.clone();
    let flush = tokio::spawn(async move { committer.commit(&commit).await });
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
    assert!(!reverse.is_finished() && !flush.is_finished(), "something overtook a change that is on its way");
    node.meta.resume();
    reverse.await.unwrap().unwrap();
    flush.await.unwrap().unwrap();
    assert_eq!(described(&node).await, before);
    assert_eq!(node.meta.count(Call::Commit) - commits, 3, "the change, its reverse, the flush");
}

#[tokio::test(start_paused = true)]
async fn a_late_create_does_not_undo_a_drop() {
    a_lost_change_does_not_undo_what_comes_after_it(Change::Create).await;
}

#[tokio::test(start_paused = true)]
async fn a_late_drop_does_not_undo_a_create() {
    a_lost_change_does_not_undo_what_comes_after_it(Change::Drop).await;
}

#[tokio::test(start_paused = true)]
async fn a_late_alter_does_not_undo_another() {
    for change in [Change::SetProperty, Change::RemoveProperty, Change::Release, Change::Load] {
        a_lost_change_does_not_undo_what_comes_after_it(change).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_late_index_does_not_undo_its_drop_nor_a_late_drop_the_index() {
    for change in [Change::CreateIndex, Change::DropIndex] {
        a_lost_change_does_not_undo_what_comes_after_it(change).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_create_outlives_its_request() {
    a_change_outlives_its_request(Change::Create).await;
}

#[tokio::test(start_paused = true)]
async fn a_drop_outlives_its_request() {
    a_change_outlives_its_request(Change::Drop).await;
}

#[tokio::test(start_paused = true)]
async fn an_alter_outlives_its_request() {
    for change in [Change::SetProperty, Change::RemoveProperty, Change::Release, Change::Load] {
        a_change_outlives_its_request(change).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_index_outlives_its_request() {
    for change in [Change::CreateIndex, Change::DropIndex] {
        a_change_outlives_its_request(change).await;
    }
}

/// What was lost did happen: whoever sends it again hears of success, and so does whoever takes it back.
#[tokio::test(start_paused = true)]
async fn a_change_sent_again_after_an_unknown_outcome_succeeds() {
    for change in [Change::Create, Change::Drop, Change::SetProperty, Change::CreateIndex] {
        for fault in LOST {
            let node = change.node_before().await;
            node.meta.fail_next(Call::Commit, fault);
            node.meta.fail_always(Call::Settle, Fault::Refused);
            assert!(is_unknown(change.run(&node).await), "{fault:?}");
            node.meta.recover();
            change.run(&node).await.unwrap();
            let before = described(&node).await;
            node.meta.land().await;
            assert_eq!(described(&node).await, before, "{change:?} {fault:?}");
            change.reverse().run(&node).await.unwrap();
            change.run(&node).await.unwrap();
            assert_eq!(described(&node).await, before, "{change:?} {fault:?}");
        }
    }
}

/// It is committed; that this node cannot read its own metadata just then is no failure of the change.
#[tokio::test(start_paused = true)]
async fn a_change_that_is_committed_is_a_success_even_if_this_node_does_not_see_it_yet() {
    let stores = Stores::new();
    let deaf = FaultyMeta::new(stores.meta.clone());
    deaf.go_deaf();
    let node = stores.node_over(1, false, deaf).await;
    for change in [Change::Create, Change::SetProperty, Change::CreateIndex, Change::Drop] {
        node.meta.stop_at(Call::Commit);
        let running = tokio::spawn({
            let node = node.clone();
            async move { change.run(&node).await }
        });
        node.meta.stopped().await;
        node.meta.fail_always(Call::Read, Fault::Refused);
        node.meta.resume();
        running.await.unwrap().unwrap();
        node.meta.recover();
        assert_eq!(seen(&node).await.is_some(), !matches!(change, Change::Drop));
    }
}
