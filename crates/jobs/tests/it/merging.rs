//! Merges alone, and interleaved at every step with whatever else changes a collection.

use std::collections::BTreeMap;

use redkite_jobs::merge::merge_next;
use redkite_jobs::{Eagerness, MergeReport, Next, Pool, Wanted};
use redkite_table::entry::IndexRecord;
use redkite_types::{Metric, Revision};
use tokio::task::JoinHandle;

use crate::faulty_meta::{Call, Fault};
use crate::plain::{Plain, Write};
use crate::work::{check_files, collect_all, id_of, merge, rows_as_of, small};
use crate::world::{Client, FILMS, Node, Stores, VECTOR};
use Write::{DeleteKeys, DeleteTags, Insert, Upsert};

/// What the collection is called after it was renamed.
const MOVIES: &str = "movies";

/// A node with rows in several fragments, one of them partly deleted.
async fn scene(stores: &Stores) -> (Node, Plain) {
    let node = stores.node(9).await;
    node.create(FILMS).await;
    let writer = node.client();
    let mut plain = Plain::default();
    for write in [
        Insert(vec![(1, 1), (2, 2), (3, 3)]),
        Insert(vec![(4, 4), (1, 5)]),
        Insert(vec![(6, 6), (7, 7)]),
        DeleteKeys(vec![2]),
        DeleteTags(6, 7),
    ] {
        writer.films(write.clone()).await;
        writer.flush().await;
        plain.apply(&write);
    }
    (node, plain)
}

#[tokio::test(start_paused = true)]
async fn a_merge_changes_files_and_nothing_else() {
    let stores = Stores::new().await;
    let (node, plain) = scene(&stores).await;
    let before = node.database.newest().revision;
    let report = merge(&node, FILMS).await.unwrap().unwrap();
    assert_eq!((report.inputs, report.rows), (3, 5));
    assert_eq!(node.fragments(FILMS).await, 1);
    assert_eq!(node.rows(FILMS).await, plain.sorted());
    // What was before can be read as long as it is retained.
    assert_eq!(rows_as_of(&node, FILMS, before).await.unwrap(), plain.sorted());
    assert_eq!(merge(&node, FILMS).await.unwrap(), None);
    // Another node sees the same.
    assert_eq!(stores.node(2).await.rows(FILMS).await, plain.sorted());
}

#[tokio::test(start_paused = true)]
async fn rows_keep_their_order() {
    // Of two rows with one key the newer one has to stay the newer one, whatever is merged.
    let stores = Stores::new().await;
    let node = stores.node(1).await;
    node.create(FILMS).await;
    let writer = node.client();
    for tag in 0..6 {
        writer.insert(&[(1, tag)]).await;
        writer.flush().await;
    }
    merge(&node, FILMS).await.unwrap().unwrap();
    for tag in 6..8 {
        writer.insert(&[(1, tag)]).await;
        writer.flush().await;
    }
    let tags = |node: Node| async move {
        use arrow_array::cast::AsArray;
        use arrow_array::types::Int64Type;
        let collection = node.collection(FILMS).await;
        let mut tags = Vec::new();
        for fragment in collection.fragments.values() {
            let reader = node.database.readers.open(&collection, fragment, [crate::world::TAG]).await.unwrap();
            let column = reader.column(crate::world::TAG, 0).unwrap();
            tags.extend(column.as_primitive::<Int64Type>().values().to_vec());
        }
        tags
    };
    assert_eq!(tags(node.clone()).await, [0, 1, 2, 3, 4, 5, 6, 7]);
    merge(&node, FILMS).await.unwrap().unwrap();
    assert_eq!(tags(node).await, [0, 1, 2, 3, 4, 5, 6, 7]);
}

#[tokio::test(start_paused = true)]
async fn what_is_deleted_altogether_leaves_no_fragment() {
    let stores = Stores::new().await;
    let (node, _) = scene(&stores).await;
    let writer = node.client();
    writer.films(DeleteTags(0, 100)).await;
    writer.flush().await;
    let report = merge(&node, FILMS).await.unwrap().unwrap();
    assert_eq!((report.inputs, report.rows, report.bytes), (3, 0, 0));
    assert_eq!(node.fragments(FILMS).await, 0);
    collect_all(&node).await;
    check_files(&node).await;
}

/// A merge that fails, or loses for good, takes what it wrote with it.
#[tokio::test(start_paused = true)]
async fn a_merge_in_vain_leaves_no_files() {
    let stores = Stores::new().await;
    let (node, plain) = scene(&stores).await;
    collect_all(&node).await;
    let files = async || node.database.data.list("").await.unwrap();
    let before = files().await;
    // The store of metadata does not answer; the inputs are dropped meanwhile; a try loses to a delete.
    node.meta.fail_always(Call::Commit, Fault::NeverSent);
    merge(&node, FILMS).await.unwrap_err();
    node.meta.recover();
    assert_eq!(files().await, before);
    let against = async |write: Option<Write>| {
        node.meta.stop_at(Call::Commit);
        let merging = tokio::spawn({
            let node = node.clone();
            async move { merge(&node, FILMS).await }
        });
        node.meta.stopped().await;
        let other = stores.node(3).await;
        match write {
            None => other.drop_collection(FILMS).await,
            Some(write) => {
                let client = other.client();
                client.films(write).await;
                client.flush().await;
            }
        }
        other.database.leave().await.unwrap();
        node.meta.stop_never();
        node.meta.resume();
        merging.await.unwrap().unwrap()
    };
    assert!(against(Some(DeleteKeys(vec![1]))).await.is_some());
    let mut left = plain.sorted();
    left.retain(|(key, _)| *key != 1);
    assert_eq!(node.rows(FILMS).await, left);
    collect_all(&node).await;
    check_files(&node).await;
    let writer = node.client();
    for key in 50..52 {
        writer.films(Insert(vec![(key, 1)])).await;
        writer.flush().await;
    }
    assert!(against(None).await.is_none());
    collect_all(&node).await;
    assert_eq!(files().await, []);
}

/// One fragment that cannot be read costs its own merges, not those of the others.
#[tokio::test(start_paused = true)]
async fn a_fragment_that_is_missing_is_named() {
    let stores = Stores::new().await;
    let (node, _) = scene(&stores).await;
    let collection = node.collection(FILMS).await;
    let (id, fragment) = collection.fragments.get_min().unwrap();
    let path = node.database.object_path(&collection.segment, &fragment.anchor().unwrap().path);
    let fresh = stores.node(3).await;
    stores.data.delete(&path).await.unwrap();
    node.database.tell_needs().await.unwrap();
    let error = merge(&fresh, FILMS).await.unwrap_err();
    assert!(matches!(&error, redkite_jobs::Error::Input { fragment, .. } if fragment == id), "{error}");
    let wanted = Wanted { without: [*id].into(), ..Wanted::all(Eagerness::All) };
    let name = id_of(&fresh, FILMS).await.unwrap();
    let next = merge_next(&fresh.database, name, &small(), &wanted, &Pool::in_place()).await.unwrap();
    assert_eq!(next.merged().map(|report| report.inputs), Some(2));
}

/// An operator's request ends, however much is flushed while it runs.
#[tokio::test(start_paused = true)]
async fn what_is_flushed_later_can_be_left_out() {
    let stores = Stores::new().await;
    let (node, _) = scene(&stores).await;
    let before = Some(node.database.newest().revision);
    let writer = node.client();
    for key in 60..64 {
        writer.films(Insert(vec![(key, 1)])).await;
        writer.flush().await;
    }
    let wanted = Wanted { before, ..Wanted::all(Eagerness::All) };
    let id = id_of(&node, FILMS).await.unwrap();
    let next = async || merge_next(&node.database, id, &small(), &wanted, &Pool::in_place()).await.unwrap();
    assert_eq!(next().await.merged().map(|report| report.inputs), Some(3));
    assert_eq!(next().await, Next::Nothing);
    assert_eq!(node.fragments(FILMS).await, 5);
}

/// What runs against a merge.
#[derive(Debug, Clone)]
enum Other {
    Flush(Vec<Write>),
    Drop,
    Recreate,
    Alter,
    Index,
    Rename,
    Merge,
    Collect,
}

/// Runs it; the revision it took effect at, if it changed rows.
async fn run_other(client: Client, other: Other) -> Option<Revision> {
    let database = client.node.database.clone();
    match other {
        Other::Flush(_) => Some(client.flush().await),
        Other::Drop => {
            database.drop_collection(FILMS).await.unwrap();
            None
        }
        Other::Recreate => {
            database.drop_collection(FILMS).await.unwrap();
            client.node.create(FILMS).await;
            None
        }
        Other::Alter => {
            let set = BTreeMap::from([("color".to_owned(), "red".to_owned())]);
            database.alter_properties(FILMS, &set, &[]).await.unwrap();
            None
        }
        Other::Index => {
            let index = IndexRecord {
                name: "v".into(),
                field: VECTOR,
                index_type: "HNSW".into(),
                metric: Some(Metric::L2),
                params: BTreeMap::new(),
            };
            database.create_index(FILMS, index).await.unwrap();
            None
        }
        Other::Rename => {
            database.rename_collection(FILMS, MOVIES).await.unwrap();
            None
        }
        Other::Merge => {
            merge(&client.node, FILMS).await.unwrap();
            None
        }
        Other::Collect => {
            collect_all(&client.node).await;
            None
        }
    }
}

/// What others run against.
#[derive(Debug, Clone, Copy, PartialEq)]
enum First {
    Merge,
    Collect,
}

/// `first` on one node against `other` on another one: the first stops before its n-th call, the other one before its
/// m-th; the first ends, then the other one. For every n and m, and the other way round; and with every fault of a merge's
/// commit.
async fn interleave(first: First, other: Other) {
    let faults = [None, Some(Fault::AnswerLost), Some(Fault::NeverSent), Some(Fault::Late), Some(Fault::Refused)];
    for fault in &faults[..if first == First::Merge { faults.len() } else { 1 }] {
        let fault = *fault;
        for n in 1.. {
            let mut stopped = false;
            // With a fault the other one runs whole: what it meets on its way it meets without a fault, too.
            let first_stop = if fault.is_some() { 1_000_000 } else { 1 };
            for m in first_stop.. {
                let (merge_stopped, other_stopped) = interleave_at(first, &other, fault, n, m).await;
                stopped |= merge_stopped;
                if !other_stopped {
                    break;
                }
            }
            if !stopped {
                assert!(n > 10, "{first:?} makes more than {n} calls");
                break;
            }
        }
    }
}

async fn interleave_at(first: First, other: &Other, fault: Option<Fault>, n: usize, m: usize) -> (bool, bool) {
    let stores = Stores::new().await;
    let (observer, mut plain) = scene(&stores).await;
    if first == First::Collect {
        observer.database.tell_needs().await.unwrap();
        merge(&observer, FILMS).await.unwrap().unwrap();
    }
    let (merger, second) = (stores.node(1).await, stores.node(2).await.client());
    // As every node does from time to time: it starts nothing older than this.
    observer.database.tell_needs().await.unwrap();
    if let Other::Flush(writes) = other {
        for write in writes {
            second.films(write.clone()).await;
            plain.apply(write);
        }
    }
    if let Some(fault) = fault {
        merger.meta.fail_next(Call::Commit, fault);
    }
    merger.meta.stop_before(n);
    let merging: JoinHandle<_> = {
        let merger = merger.clone();
        tokio::spawn(async move {
            match first {
                First::Merge => merge(&merger, FILMS).await,
                First::Collect => {
                    collect_all(&merger).await;
                    Ok(None)
                }
            }
        })
    };
    let merge_stopped = merger.meta.stopped_or_ended(&merging).await;
    second.node.meta.stop_before(m);
    let running = tokio::spawn(run_other(second.clone(), other.clone()));
    let other_stopped = second.node.meta.stopped_or_ended(&running).await;
    merger.meta.stop_never();
    merger.meta.resume();
    let merged = merging.await.unwrap();
    second.node.meta.stop_never();
    second.node.meta.resume();
    running.await.unwrap();
    merger.meta.land().await;
    check(&observer, other, fault, plain, merged).await;
    (merge_stopped, other_stopped)
}

async fn check(
    observer: &Node,
    other: &Other,
    fault: Option<Fault>,
    plain: Plain,
    merged: redkite_jobs::Result<Option<MergeReport>>,
) {
    let gone = matches!(other, Other::Drop | Other::Recreate);
    match merged {
        Ok(_) => {}
        // Planned again by itself, later.
        Err(_) if fault == Some(Fault::Refused) || gone => {}
        Err(error) => panic!("{error}"),
    }
    let catalog = observer.database.snapshot(redkite_table::Visibility::Strong).await.unwrap();
    let want = match other {
        Other::Drop => {
            assert!(catalog.collection(FILMS).is_err());
            None
        }
        Other::Recreate => Some(Vec::new()),
        _ => Some(plain.sorted()),
    };
    drop(catalog);
    let name = if matches!(other, Other::Rename) { MOVIES } else { FILMS };
    if let Some(want) = &want {
        assert_eq!(observer.rows(name).await, *want);
        // Whatever was left undone can be done now.
        while merge(observer, name).await.unwrap().is_some() {}
        assert_eq!(observer.rows(name).await, *want);
    }
    // The stopped nodes are gone; what they said they read must not hold anything up for ever.
    for number in [1, 2] {
        let keys = &observer.database.keys;
        let key = keys.node(&observer.database.options.cluster, redkite_types::NodeId(number), Default::default());
        let gone = redkite_meta::Op::Delete(redkite_meta::KeyRange::Exact(key));
        observer.database.meta.txn(redkite_meta::Txn { then: vec![gone], ..Default::default() }).await.unwrap();
    }
    collect_all(observer).await;
    check_files(observer).await;
    if let Some(want) = &want {
        assert_eq!(observer.rows(name).await, *want);
    }
}

macro_rules! against {
    ($first:expr; $($name:ident: $other:expr;)*) => {$(
        #[tokio::test(start_paused = true)]
        async fn $name() {
            interleave($first, $other).await;
        }
    )*};
}

against! {
    First::Merge;
    merge_against_insert: Other::Flush(vec![Insert(vec![(9, 9)])]);
    merge_against_delete: Other::Flush(vec![DeleteKeys(vec![1, 4])]);
    merge_against_delete_of_all: Other::Flush(vec![DeleteTags(0, 100)]);
    merge_against_upsert: Other::Flush(vec![Upsert(vec![(3, 30), (10, 40)])]);
    merge_against_drop: Other::Drop;
    merge_against_recreate: Other::Recreate;
    merge_against_alter: Other::Alter;
    merge_against_index: Other::Index;
    merge_against_rename: Other::Rename;
    merge_against_merge: Other::Merge;
    merge_against_collect: Other::Collect;
}

against! {
    First::Collect;
    collect_against_insert: Other::Flush(vec![Insert(vec![(9, 9)])]);
    collect_against_delete: Other::Flush(vec![DeleteKeys(vec![1, 4])]);
    collect_against_upsert: Other::Flush(vec![Upsert(vec![(3, 30), (10, 40)])]);
    collect_against_drop: Other::Drop;
    collect_against_recreate: Other::Recreate;
    collect_against_alter: Other::Alter;
    collect_against_index: Other::Index;
    collect_against_rename: Other::Rename;
    collect_against_merge: Other::Merge;
    collect_against_collect: Other::Collect;
}

#[tokio::test(start_paused = true)]
async fn deletes_do_not_starve_a_merge() {
    let stores = Stores::new().await;
    let (observer, mut plain) = scene(&stores).await;
    let merger = stores.node(1).await;
    let deleter = stores.node(2).await.client();
    observer.database.tell_needs().await.unwrap();
    let merging: JoinHandle<_> = {
        let merger = merger.clone();
        merger.meta.stop_at(Call::Commit);
        tokio::spawn(async move { merge(&merger, FILMS).await })
    };
    // Every time the merge is about to commit a delete gets in before it, until it has asked to be let pass.
    let mut passed = 0;
    for tag in [1, 3, 4, 5] {
        assert!(merger.meta.stopped_or_ended(&merging).await);
        if merger.meta.tried_to_put("/.intent/") {
            break;
        }
        let write = DeleteTags(tag, tag + 1);
        deleter.films(write.clone()).await;
        deleter.flush().await;
        plain.apply(&write);
        passed += 1;
        merger.meta.stop_at(Call::Commit);
        merger.meta.resume();
    }
    assert_eq!(passed, 3);
    let late = DeleteTags(7, 8);
    deleter.films(late.clone()).await;
    let deleting = tokio::spawn(async move { deleter.flush().await });
    deleter_waits().await;
    assert!(!deleting.is_finished());
    merger.meta.stop_never();
    merger.meta.resume();
    assert!(merging.await.unwrap().unwrap().is_some());
    deleting.await.unwrap();
    plain.apply(&late);
    assert_eq!(observer.rows(FILMS).await, plain.sorted());
}

/// Lets the others run as far as they get.
async fn deleter_waits() {
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn merging_on_request_and_by_itself_do_not_block_each_other() {
    use redkite_jobs::{Maintenance, MaintenanceOptions, MergeOptions};
    let stores = Stores::new().await;
    let node = stores.node(1).await;
    node.create(FILMS).await;
    let options = MaintenanceOptions {
        merge: MergeOptions { fan_in: 2, ..MergeOptions::default() },
        ..MaintenanceOptions::default()
    };
    let maintenance = std::sync::Arc::new(Maintenance::start(node.database.clone(), options).unwrap());
    let writer = node.client();
    for tag in 0..60 {
        writer.insert(&[(tag, tag)]).await;
        writer.flush().await;
        if tag % 10 == 9 {
            let asked: Vec<_> = (0..3)
                .map(|_| {
                    let maintenance = maintenance.clone();
                    tokio::spawn(async move { maintenance.merge(Some(FILMS)).await })
                })
                .collect();
            for merge in asked {
                merge.await.unwrap().unwrap();
            }
        }
    }
    assert_eq!(node.rows(FILMS).await.len(), 60);
    maintenance.stop().await;
}
