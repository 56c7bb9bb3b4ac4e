//! Collecting: what is needed stays, what is not goes, whoever collects, cut off wherever, however late.

use std::time::Duration;

use redkite_jobs::collect::{collect, sweep};
use redkite_jobs::{CollectOptions, CollectReport, Scope};
use redkite_table::{Error, Moment};
use redkite_types::Revision;
use tokio::task::JoinHandle;

use crate::plain::Write;
use crate::work::{check_files, collect_all, merge, no_retention, rows_as_of, rows_of};
use crate::world::{FILMS, Node, Stores, schema_of_two_vectors};
use Write::{DeleteKeys, Insert, Upsert};

async fn scene(stores: &Stores) -> Node {
    let node = stores.node(1).await;
    node.create(FILMS).await;
    flush(&node, Insert(vec![(1, 1), (2, 2)])).await;
    flush(&node, Insert(vec![(3, 3)])).await;
    node
}

async fn flush(node: &Node, write: Write) -> Revision {
    let client = node.client();
    client.films(write).await;
    client.flush().await
}

#[tokio::test(start_paused = true)]
async fn a_loop_of_upserts_leaves_one_delete_log_at_most() {
    let stores = Stores::new().await;
    let node = scene(&stores).await;
    for tag in 10..40 {
        flush(&node, Upsert(vec![(1, tag)])).await;
    }
    assert_eq!(node.collection(FILMS).await.delete_logs.len(), 30);
    while merge(&node, FILMS).await.unwrap().is_some() {}
    collect_all(&node).await;
    assert!(node.collection(FILMS).await.delete_logs.len() <= 1);
    assert_eq!(node.rows(FILMS).await, [(1, 39), (2, 2), (3, 3)]);
    check_files(&node).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_retained_can_be_read_and_what_is_not_is_refused_by_name() {
    let stores = Stores::new().await;
    let node = scene(&stores).await;
    let before = flush(&node, Insert(vec![(4, 4)])).await;
    flush(&node, DeleteKeys(vec![1, 4])).await;
    merge(&node, FILMS).await.unwrap().unwrap();
    let retaining = CollectOptions { enabled: true, retention: Duration::from_secs(3_600) };
    assert_eq!(collect(&node.database, &retaining, &Scope::All).await.unwrap(), CollectReport::default());
    assert_eq!(rows_as_of(&node, FILMS, before).await.unwrap(), [(1, 1), (2, 2), (3, 3), (4, 4)]);
    // The pin of that read keeps it readable even without retention.
    collect(&node.database, &no_retention(), &Scope::All).await.unwrap();
    assert_eq!(rows_as_of(&node, FILMS, before).await.unwrap(), [(1, 1), (2, 2), (3, 3), (4, 4)]);
    // A node that never read it does not keep it.
    let stores = Stores::new().await;
    let node = scene(&stores).await;
    let before = flush(&node, Insert(vec![(4, 4)])).await;
    flush(&node, DeleteKeys(vec![1, 4])).await;
    merge(&node, FILMS).await.unwrap().unwrap();
    collect_all(&node).await;
    let horizon = node.database.horizon().await.unwrap();
    let error = rows_as_of(&node, FILMS, before).await.unwrap_err();
    assert!(matches!(&error, Error::TooOld { oldest, .. } if *oldest == horizon.revision), "{error}");
    assert_eq!(rows_as_of(&node, FILMS, horizon.revision).await.unwrap(), [(2, 2), (3, 3)]);
    let future = rows_as_of(&node, FILMS, Revision(1_000_000)).await.unwrap_err();
    assert!(matches!(future, Error::NotYet { .. }), "{future}");
}

/// Of the files of a fragment only the anchor is ever put again, however many vector fields there are.
#[tokio::test(start_paused = true)]
async fn the_past_of_a_fragment_with_two_vectors_can_be_read() {
    let node = Stores::new().await.node(1).await;
    node.create_with(FILMS, schema_of_two_vectors(), &[]).await;
    let inserted = flush(&node, Insert(vec![(1, 1), (2, 2)])).await;
    let deleted = flush(&node, DeleteKeys(vec![1])).await;
    let more = flush(&node, Insert(vec![(3, 3)])).await;
    merge(&node, FILMS).await.unwrap().unwrap();
    assert_eq!(rows_as_of(&node, FILMS, inserted).await.unwrap(), [(1, 1), (2, 2)]);
    assert_eq!(rows_as_of(&node, FILMS, deleted).await.unwrap(), [(2, 2)]);
    assert_eq!(rows_as_of(&node, FILMS, more).await.unwrap(), [(2, 2), (3, 3)]);
}

/// Whoever reads the past finds a collection under the name it had then, and no other one of that name.
#[tokio::test(start_paused = true)]
async fn the_past_of_a_renamed_collection_is_found_by_its_name_then() {
    let stores = Stores::new().await;
    let node = scene(&stores).await;
    let database = &node.database;
    let before = database.newest().revision;
    let films = rows_as_of(&node, FILMS, before).await.unwrap();
    let renamed = database.rename_collection(FILMS, "movies").await.unwrap();
    let client = node.client();
    client.write("movies", &Insert(vec![(7, 7)])).await.unwrap();
    let flushed = client.flush().await;
    // Another one gets the old name, and goes.
    node.create(FILMS).await;
    client.write(FILMS, &Insert(vec![(70, 70)])).await.unwrap();
    let second = client.flush().await;
    node.drop_collection(FILMS).await;
    let again = database.rename_collection("movies", FILMS).await.unwrap();
    client.write(FILMS, &DeleteKeys(vec![1])).await.unwrap();
    let last = client.flush().await;
    let not_found = async |name: &str, revision: Revision| {
        let error = rows_as_of(&node, name, revision).await.unwrap_err();
        assert!(matches!(error, Error::CollectionNotFound { .. }), "{name}@{revision}: {error}");
    };
    for forgotten in [false, true] {
        if forgotten {
            // Nor does it depend on history that the metadata store may forget.
            stores.meta.compact(last).await.unwrap();
        }
        assert_eq!(rows_as_of(&node, FILMS, before).await.unwrap(), films);
        not_found("movies", before).await;
        not_found(FILMS, renamed).await;
        assert_eq!(rows_as_of(&node, "movies", renamed).await.unwrap(), films);
        assert_eq!(rows_as_of(&node, "movies", flushed).await.unwrap().len(), films.len() + 1);
        assert_eq!(rows_as_of(&node, FILMS, second).await.unwrap(), [(70, 70)]);
        assert_eq!(rows_as_of(&node, "movies", second).await.unwrap().len(), films.len() + 1);
        not_found("movies", again).await;
        assert_eq!(rows_as_of(&node, FILMS, again).await.unwrap().len(), films.len() + 1);
        assert_eq!(rows_as_of(&node, FILMS, last).await.unwrap().len(), films.len());
    }
    let now = rows_of(&node, &database.as_of(FILMS, Moment::Time(database.ambient.now_ms())).await.unwrap()).await;
    assert_eq!(now.unwrap().len(), films.len());
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_in_use_is_kept_whoever_collects() {
    let stores = Stores::new().await;
    let node = scene(&stores).await;
    let other = stores.node(2).await;
    let snapshot = node.database.snapshot(redkite_table::Visibility::Strong).await.unwrap();
    node.database.tell_needs().await.unwrap();
    flush(&other, DeleteKeys(vec![1])).await;
    merge(&other, FILMS).await.unwrap().unwrap();
    // Of another node, and of its own.
    collect_all(&other).await;
    collect_all(&node).await;
    let held = snapshot.collection(FILMS).unwrap();
    for fragment in held.fragments.values() {
        node.database.readers.open(held, fragment, [crate::world::ID]).await.unwrap();
        for file in &fragment.files {
            let path = node.database.object_path(FILMS, &file.path);
            assert!(stores.data.list(path.rsplit_once('/').unwrap().0).await.unwrap().iter().any(|f| f.path == path));
        }
    }
    drop(snapshot);
    node.database.tell_needs().await.unwrap();
    other.database.tell_needs().await.unwrap();
    collect_all(&other).await;
    check_files(&other).await;
}

#[tokio::test(start_paused = true)]
async fn a_dropped_collection_gives_everything_back() {
    let stores = Stores::new().await;
    let node = scene(&stores).await;
    let held = flush(&node, DeleteKeys(vec![2])).await;
    node.drop_collection(FILMS).await;
    // At once again, under the same name, with rows of its own.
    node.create(FILMS).await;
    flush(&node, Insert(vec![(7, 7)])).await;
    assert_eq!(rows_as_of(&node, FILMS, held).await.unwrap(), [(1, 1), (3, 3)]);
    // What that read pinned is released after a while.
    let stores_of_another = stores.node(2).await;
    node.database.leave().await.unwrap();
    collect_all(&stores_of_another).await;
    check_files(&stores_of_another).await;
    assert_eq!(stores_of_another.rows(FILMS).await, [(7, 7)]);
    // The name is free again for a segment of its own.
    stores_of_another.drop_collection(FILMS).await;
    collect_all(&stores_of_another).await;
    check_files(&stores_of_another).await;
    assert_eq!(stores.data.list("").await.unwrap(), []);
}

#[tokio::test(start_paused = true)]
async fn times_name_the_state_that_was_in_force() {
    let stores = Stores::new().await;
    let node = scene(&stores).await;
    let now = node.database.ambient.now_ms();
    let past = node.database.as_of(FILMS, Moment::Time(now)).await.unwrap();
    assert_eq!(rows_of(&node, &past).await.unwrap(), [(1, 1), (2, 2), (3, 3)]);
    let early = node.database.as_of(FILMS, Moment::Time(now - 1)).await.unwrap_err();
    assert!(matches!(early, Error::CollectionNotFound { .. }), "{early}");
    let late = node.database.as_of(FILMS, Moment::Time(now + 3_600_000)).await.unwrap_err();
    assert!(matches!(late, Error::NotYet { .. }), "{late}");
}

#[tokio::test(start_paused = true)]
async fn uploads_that_never_committed_are_found_and_running_ones_are_left() {
    let stores = Stores::new().await;
    let node = scene(&stores).await;
    // A node that uploads and stops before its commit, for ever.
    let doomed = stores.node(2).await;
    let client = doomed.client();
    client.films(Insert(vec![(8, 8)])).await;
    doomed.meta.stop_at(crate::faulty_meta::Call::Commit);
    let flushing = tokio::spawn(async move { client.try_flush().await });
    doomed.meta.stopped().await;
    let files = |stores: &Stores| {
        let data = stores.data.clone();
        async move { data.list("").await.unwrap().len() }
    };
    let before = files(&stores).await;
    // While it is known to run nothing of it is touched.
    doomed.database.tell_needs().await.unwrap();
    flush(&node, Insert(vec![(9, 9)])).await;
    assert_eq!(sweep(&node.database, &Scope::All).await.unwrap(), CollectReport::default());
    assert_eq!(files(&stores).await, before + 3);
    // Its lease ends: it is taken for dead.
    doomed.database.leave().await.unwrap();
    let report = sweep(&node.database, &Scope::All).await.unwrap();
    assert_eq!((report.files, report.abandoned), (3, 3));
    // It was not dead. Its commit is refused and made anew, with files of a new name.
    doomed.meta.resume();
    flushing.await.unwrap().unwrap();
    assert_eq!(node.rows(FILMS).await, [(1, 1), (2, 2), (3, 3), (8, 8), (9, 9)]);
    sweep(&node.database, &Scope::All).await.unwrap();
    assert_eq!(node.rows(FILMS).await, [(1, 1), (2, 2), (3, 3), (8, 8), (9, 9)]);
    check_files_of(&node).await;
}

#[tokio::test(start_paused = true)]
async fn collecting_one_collection_leaves_the_others_alone() {
    let stores = Stores::new().await;
    let node = scene(&stores).await;
    let other = "others";
    node.create(other).await;
    let client = node.client();
    for name in [FILMS, other] {
        client.write(name, &Insert(vec![(5, 5)])).await.unwrap();
        client.flush().await;
        client.write(name, &DeleteKeys(vec![5])).await.unwrap();
        client.flush().await;
        merge(&node, name).await.unwrap().unwrap();
    }
    // One that was called so before.
    node.create("older").await;
    client.write("older", &Insert(vec![(1, 1)])).await.unwrap();
    client.flush().await;
    node.drop_collection("older").await;
    let catalog = node.database.snapshot(redkite_table::Visibility::Strong).await.unwrap();
    let unknown = Scope::named(&catalog, "nobody's").unwrap_err();
    assert!(matches!(unknown, Error::CollectionNotFound { .. }), "{unknown}");
    let scopes = [FILMS, "older"].map(|name| Scope::named(&catalog, name).unwrap());
    drop(catalog);
    let graves = async || {
        let catalog = node.database.snapshot(redkite_table::Visibility::Strong).await.unwrap();
        let mut segments: Vec<String> = catalog.graves.entries().map(|grave| grave.segment.to_string()).collect();
        segments.extend(catalog.graves.collections().map(|dropped| dropped.tombstone.segment.clone()));
        segments.sort_unstable();
        segments.dedup();
        segments
    };
    assert_eq!(graves().await, [FILMS, "older", other]);
    for scope in &scopes {
        while collect(&node.database, &no_retention(), scope).await.unwrap() != CollectReport::default() {}
        assert_eq!(sweep(&node.database, scope).await.unwrap(), CollectReport::default());
    }
    assert_eq!(graves().await, [other]);
    assert_eq!(node.rows(FILMS).await, [(1, 1), (2, 2), (3, 3)]);
    check_files_of(&node).await;
}

/// As [`check_files`], with tombstones left.
async fn check_files_of(node: &Node) {
    collect_all(node).await;
    check_files(node).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_not_ours_is_left_alone() {
    let stores = Stores::new().await;
    let node = scene(&stores).await;
    let strange: Vec<(String, _)> =
        ["u/films/notes.txt", "u/films/data/readme", "u/films/data/other/file", "v/x/data/y/z"]
            .iter()
            .map(|path| ((*path).to_owned(), "mine".into()))
            .collect();
    stores.data.put_all(strange.clone()).await.unwrap();
    assert_eq!(sweep(&node.database, &Scope::All).await.unwrap(), CollectReport::default());
    let listed = stores.data.list("").await.unwrap();
    assert!(strange.iter().all(|(path, _)| listed.iter().any(|file| file.path == *path)));
}

#[tokio::test(start_paused = true)]
async fn a_zombie_collector_does_no_harm() {
    // Paused before every one of its calls, resumed after others merged, deleted, collected and wrote on.
    for n in 1.. {
        let stores = Stores::new().await;
        let node = scene(&stores).await;
        flush(&node, DeleteKeys(vec![1])).await;
        merge(&node, FILMS).await.unwrap().unwrap();
        let zombie = stores.node(2).await;
        zombie.meta.stop_before(n);
        let collecting: JoinHandle<_> = {
            let zombie = zombie.clone();
            tokio::spawn(async move {
                let round = collect(&zombie.database, &no_retention(), &Scope::All).await;
                (round, sweep(&zombie.database, &Scope::All).await)
            })
        };
        let stopped = zombie.meta.stopped_or_ended(&collecting).await;
        let held = flush(&node, Insert(vec![(5, 5)])).await;
        flush(&node, Upsert(vec![(2, 20), (6, 6)])).await;
        merge(&node, FILMS).await.unwrap().unwrap();
        collect_all(&node).await;
        let late = flush(&node, DeleteKeys(vec![5])).await;
        let pinned = node.database.as_of(FILMS, Moment::Revision(late)).await.unwrap();
        zombie.meta.stop_never();
        zombie.meta.resume();
        let (round, swept) = collecting.await.unwrap();
        round.unwrap();
        swept.unwrap();
        assert_eq!(node.rows(FILMS).await, [(2, 20), (3, 3), (6, 6)]);
        assert_eq!(rows_of(&node, &pinned).await.unwrap(), [(2, 20), (3, 3), (6, 6)]);
        let _ = held;
        if !stopped {
            assert!(n > 5, "collecting makes more calls than that");
            break;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_zombie_writer_does_no_harm() {
    // Paused before every one of its calls; what it uploaded is collected; then it goes on.
    for n in 1.. {
        let stores = Stores::new().await;
        let node = scene(&stores).await;
        let zombie = stores.node(2).await;
        let client = zombie.client();
        client.films(Insert(vec![(8, 8)])).await;
        client.films(DeleteKeys(vec![1])).await;
        zombie.meta.stop_before(n);
        let flushing: JoinHandle<_> = tokio::spawn(async move { client.try_flush().await });
        let stopped = zombie.meta.stopped_or_ended(&flushing).await;
        zombie.meta.stop_never();
        zombie.database.leave().await.unwrap();
        merge(&node, FILMS).await.unwrap();
        collect_all(&node).await;
        zombie.meta.resume();
        flushing.await.unwrap().unwrap();
        assert_eq!(node.rows(FILMS).await, [(2, 2), (3, 3), (8, 8)]);
        collect_all(&node).await;
        check_files(&node).await;
        assert_eq!(node.rows(FILMS).await, [(2, 2), (3, 3), (8, 8)]);
        if !stopped {
            assert!(n > 3, "a flush makes more calls than that");
            break;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_pin_and_a_rising_horizon_never_both_win() {
    // A reader of the past that stops before every one of its calls, against a collector.
    for n in 1.. {
        let stores = Stores::new().await;
        let node = scene(&stores).await;
        let past = node.database.newest().revision;
        flush(&node, DeleteKeys(vec![1])).await;
        merge(&node, FILMS).await.unwrap().unwrap();
        let reader = stores.node(2).await;
        reader.meta.stop_before(n);
        let reading: JoinHandle<_> = {
            let reader = reader.clone();
            tokio::spawn(async move { rows_as_of(&reader, FILMS, past).await })
        };
        let stopped = reader.meta.stopped_or_ended(&reading).await;
        collect_all(&node).await;
        reader.meta.stop_never();
        reader.meta.resume();
        match reading.await.unwrap() {
            Ok(rows) => assert_eq!(rows, [(1, 1), (2, 2), (3, 3)]),
            Err(error) => assert!(matches!(error, Error::TooOld { .. }), "{error}"),
        }
        if !stopped {
            break;
        }
    }
}

/// A node lets the metadata store forget its history, after a while; what can be read of the past does not depend on it.
#[tokio::test(start_paused = true)]
async fn the_history_of_the_metadata_is_forgotten() {
    use redkite_jobs::{Maintenance, MaintenanceOptions};
    use redkite_meta::{KeyRange, RangeRequest};
    let stores = Stores::new().await;
    let node = scene(&stores).await;
    let past = node.database.newest().revision;
    let rows = node.rows(FILMS).await;
    let range = async |revision: Revision| {
        let request = RangeRequest::new(KeyRange::Prefix("/u/".into())).at(revision);
        stores.meta.range(request).await
    };
    let mut options = MaintenanceOptions::default();
    options.merge.enabled = false;
    options.collect.enabled = false;
    let maintenance = Maintenance::start(node.database.clone(), options).unwrap();
    tokio::time::sleep(Duration::from_secs(100)).await;
    flush(&node, DeleteKeys(vec![1])).await;
    let newest = node.database.newest().revision;
    tokio::time::sleep(Duration::from_secs(150)).await;
    range(past).await.expect("watchers that fell behind a little find what they need");
    tokio::time::sleep(Duration::from_secs(100)).await;
    let forgotten = range(Revision(past.0 - 1)).await.unwrap_err();
    assert!(matches!(forgotten, redkite_meta::Error::Compacted { .. }), "{forgotten}");
    range(newest).await.unwrap();
    assert_eq!(rows_as_of(&node, FILMS, past).await.unwrap(), rows);
    maintenance.stop().await;
}
