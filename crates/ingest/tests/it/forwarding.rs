//! Rows that another node holds until they are flushed (S27): nobody but the metadata can tell the difference, and when a node
//! dies nothing is torn and whoever lost something hears of it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use redkite_ingest::block::{BlockOp, OpKind};
use redkite_ingest::forward::Guests;
use redkite_ingest::{Error, FlushRequest, Flushed, IngestOptions};
use redkite_meta::MemoryStore;
use redkite_storage::DataStore;
use redkite_types::{ErrorKind, Keys, NodeId, Revision};
use tokio::task::JoinHandle;

use crate::fake_s3::{FakeS3, Fault as S3Fault};
use crate::faulty_meta::{Call, Fault};
use crate::plain::{Plain, Row, Write};
use crate::switch::{Switch, Trouble};
use crate::world::{Client, FILMS, Node, Stores, TAG, batch, filter, schema, until};

/// Two nodes over the same stores, of which the first one passes on to the second.
struct Pair {
    a: Node,
    b: Node,
    switch: Arc<Switch>,
    client: Client,
}

async fn pair_with(a: IngestOptions, b: IngestOptions) -> Pair {
    let stores = Stores::new().await;
    let (a, b) = (stores.node_with(1, a).await, stores.node_with(2, b).await);
    a.create(FILMS).await;
    let switch = Switch::between(&a, &b);
    let client = a.client();
    Pair { a, b, switch, client }
}

async fn pair() -> Pair {
    pair_with(IngestOptions::default(), IngestOptions::default()).await
}

/// The nodes that the fragments of a collection are said to be of, oldest first.
async fn nodes(node: &Node) -> Vec<u32> {
    let collection = node.collection(FILMS).await;
    let of = |fragment: &Arc<redkite_table::Fragment>| {
        let mut nodes: Vec<u32> = fragment.files.iter().map(|file| file.entry.node).collect();
        nodes.dedup();
        assert_eq!(nodes.len(), 1, "all files of a fragment are one node's");
        nodes[0]
    };
    collection.fragments.values().map(of).collect()
}

/// The error says that the block is lost with node 2, and what to do; nothing is visible and nothing is held any more.
async fn lost(pair: &Pair, error: Error, ops: u64) {
    let text = error.to_string();
    for words in ["node 2", "forwarded", &format!("its {ops} unflushed operations"), "insert them again", "discarded"] {
        assert!(text.contains(words), "no {words:?} in {text}");
    }
    let Error::Discarded { cause } = error else { panic!("{text}") };
    assert!(matches!(*cause, Error::ForwardedLost { node: NodeId(2), .. }), "{text}");
    // Not one that clients try again by themselves.
    assert_eq!(cause.kind(), ErrorKind::Conflict);
    assert!(pair.a.rows(FILMS).await.is_empty() && pair.b.rows(FILMS).await.is_empty());
    let held = || pair.a.ingest.buffered_bytes() + pair.b.ingest.buffered_bytes();
    until(|| async { held() == 0 }).await;
    // And from here on all is well.
    assert_eq!(pair.client.try_flush().await.unwrap().ops, 0);
    pair.client.insert(&[(77, 7)]).await;
    assert_eq!(pair.client.try_flush().await.unwrap().ops, 1);
    assert_eq!(pair.a.rows(FILMS).await, [(77, 7)]);
}

/// A flush that has stopped before its commit.
async fn before_its_commit(pair: &Pair) -> JoinHandle<Result<Flushed, Error>> {
    pair.a.meta.stop_at(Call::Commit);
    let client = pair.client.clone();
    let flushing = tokio::spawn(async move { client.try_flush().await });
    pair.a.meta.stopped().await;
    flushing
}

#[tokio::test]
async fn s27_forwarded_rows_are_those_of_the_node_that_received_them() {
    let pair = pair().await;
    for key in 0..10 {
        pair.client.insert(&[(key, key), (key + 100, key)]).await;
    }
    assert!(pair.a.rows(FILMS).await.is_empty() && pair.b.rows(FILMS).await.is_empty());
    assert_eq!(pair.a.ingest.buffered_bytes(), 0);
    assert!(pair.b.ingest.buffered_bytes() > 0);
    assert_eq!(pair.b.ingest.session_count(), 0);
    assert_eq!(pair.client.try_flush().await.unwrap().ops, 10);
    assert_eq!(pair.a.rows(FILMS).await.len(), 20);
    assert_eq!(pair.b.rows(FILMS).await.len(), 20);
    assert_eq!(nodes(&pair.a).await, [2]);
    assert_eq!(pair.switch.opened.load(Ordering::Relaxed), 1);
    assert_eq!(pair.b.ingest.buffered_bytes(), 0);
    pair.switch.need(false);
    pair.client.insert(&[(7, 7)]).await;
    pair.client.flush().await;
    assert_eq!(nodes(&pair.a).await, [2, 1]);
}

#[tokio::test]
async fn s27_what_was_forwarded_is_not_forwarded_again() {
    let pair = pair().await;
    let back = Switch::between(&pair.b, &pair.a);
    pair.client.insert(&[(1, 1)]).await;
    pair.client.flush().await;
    assert_eq!(nodes(&pair.a).await, [2]);
    assert_eq!(back.opened.load(Ordering::Relaxed), 0);
}

const WRITES: usize = 10;

fn writes() -> [Write; WRITES] {
    use Write::{DeleteKeys, DeleteTags, Insert, Upsert};
    [
        Insert(vec![(1, 1), (2, 2), (3, 3)]),
        DeleteKeys(vec![1]),
        Insert(vec![(1, 11)]),
        Upsert(vec![(2, 22), (9, 99)]),
        DeleteTags(3, 5),
        Insert(vec![(3, 3), (4, 4)]),
        Upsert(vec![(3, 33), (5, 55)]),
        DeleteTags(4, 5),
        DeleteKeys(vec![9, 5]),
        Insert(vec![(9, 4)]),
    ]
}

/// S06 and S12: whichever writes find the node short of memory, and whether the other one has room for one or for all.
#[tokio::test]
async fn s06_a_block_means_the_same_wherever_its_rows_are() {
    // Over rows that were committed before, too.
    let old: [Row; 4] = [(1, 0), (2, 0), (5, 4), (9, 0)];
    for memory_soft_bytes in [1, 1 << 20] {
        for short in 0_u32..1 << WRITES {
            // Each pattern of the first writes and of the last ones with the other ones all short, all not, or by turns.
            let (first, last) = (short & 0b11111, short >> 5);
            if ![0, 0b11111, 0b10101].contains(&first) && ![0, 0b11111, 0b01010].contains(&last) {
                continue;
            }
            let options = IngestOptions { memory_soft_bytes, ..IngestOptions::default() };
            let pair = pair_with(IngestOptions::default(), options).await;
            pair.switch.need(false);
            let mut plain = Plain(old.to_vec());
            pair.client.insert(&old).await;
            pair.client.flush().await;
            for (at, write) in writes().iter().enumerate() {
                pair.switch.need(short >> at & 1 == 1);
                pair.client.films(write.clone()).await;
                plain.apply(write);
            }
            assert_eq!(pair.b.rows(FILMS).await, Plain(old.to_vec()).sorted(), "S09");
            assert_eq!(pair.client.try_flush().await.unwrap().ops, WRITES as u64);
            assert_eq!(pair.b.rows(FILMS).await, plain.sorted(), "{short:010b}, soft {memory_soft_bytes}");
            assert_eq!(pair.a.ingest.buffered_bytes() + pair.b.ingest.buffered_bytes(), 0);
        }
    }
}

#[tokio::test]
async fn rows_that_a_delete_matches_are_counted_wherever_they_are() {
    let pair = pair().await;
    let mut plain = Plain::default();
    let collection = pair.a.collection(FILMS).await;
    for write in writes() {
        if let Write::DeleteTags(..) = write {
            let before = plain.0.len();
            plain.apply(&write);
            let filter = filter(&schema(), &write.filter());
            let turn = pair.a.ingest.turn(pair.client.id).await.unwrap();
            let (turn, matching) = turn.count_matching(&collection, &filter).await.unwrap();
            drop(turn);
            assert_eq!(matching as usize, before - plain.0.len(), "{write:?}");
        } else {
            plain.apply(&write);
        }
        pair.client.films(write).await;
    }
    pair.client.flush().await;
    assert_eq!(pair.a.rows(FILMS).await, plain.sorted());
}

/// Of rows with one key the newest fragment's is shown, so fragments of one block sort in the order of its operations.
#[tokio::test]
async fn fragments_of_one_block_sort_in_the_order_of_its_operations() {
    let pair = pair().await;
    for tag in 0..40 {
        pair.switch.need(tag % 6 < 3);
        pair.client.insert(&[(1, tag)]).await;
        if tag % 3 == 2 {
            // A delete by filter, which ends the run.
            pair.client.films(Write::DeleteTags(1_000, 2_000)).await;
        }
    }
    pair.client.flush().await;
    let collection = pair.a.collection(FILMS).await;
    let mut tags = Vec::new();
    for fragment in collection.fragments.values() {
        let reader = pair.a.database.readers.open(&collection, fragment, [TAG]).await.unwrap();
        let rows = reader.live().to_rows();
        let column = reader.take(TAG, &rows).unwrap();
        let column = arrow_array::cast::AsArray::as_primitive::<arrow_array::types::Int64Type>(&column);
        tags.extend(column.values().iter().copied());
    }
    assert_eq!(tags, (0..40).collect::<Vec<_>>());
    let nodes = nodes(&pair.a).await;
    assert!(nodes.contains(&1) && nodes.contains(&2), "{nodes:?}");
}

#[tokio::test]
async fn s10_a_receiver_that_dies_before_the_flush_loses_the_block_loudly() {
    for trouble in [Trouble::Before, Trouble::After] {
        let pair = pair().await;
        pair.client.insert(&[(1, 1)]).await;
        pair.client.insert(&[(2, 2)]).await;
        pair.switch.trouble(0, trouble);
        let error = pair.client.try_flush().await.unwrap_err();
        lost(&pair, error, 2).await;
    }
    // Restarted meanwhile: it knows nothing of the block.
    let pair = pair().await;
    pair.client.insert(&[(1, 1)]).await;
    pair.switch.kill();
    let error = pair.client.try_flush().await.unwrap_err();
    lost(&pair, error, 1).await;
}

#[tokio::test]
async fn s10_the_next_write_is_told_what_was_lost_and_is_not_in_the_session() {
    for (trouble, write) in [
        (Trouble::Before, Write::Insert(vec![(3, 3)])),
        (Trouble::After, Write::Upsert(vec![(3, 3)])),
        (Trouble::Before, Write::DeleteKeys(vec![1])),
        (Trouble::After, Write::DeleteTags(0, 9)),
        (Trouble::Nonsense, Write::Insert(vec![(3, 3)])),
    ] {
        let pair = pair().await;
        pair.client.insert(&[(1, 1), (5, 5)]).await;
        // Not short of memory any more: what has begun goes on all the same.
        pair.switch.need(false);
        pair.switch.trouble(0, trouble);
        let error = pair.client.write(FILMS, &write).await.unwrap_err();
        lost(&pair, error, 1).await;
    }
}

/// Nor does a fresh line stand for one that went with the task that asked over it.
#[tokio::test]
async fn s10_what_a_defect_takes_with_it_is_told() {
    for short in [false, true] {
        let pair = pair().await;
        pair.client.insert(&[(1, 1)]).await;
        pair.switch.trouble(0, Trouble::Panics);
        let error = pair.client.write(FILMS, &Write::Insert(vec![(2, 2)])).await.unwrap_err();
        assert!(matches!(error, Error::Internal { .. }), "{error}");
        pair.switch.need(short);
        let error = pair.client.write(FILMS, &Write::Insert(vec![(3, 3)])).await.unwrap_err();
        lost(&pair, error, 1).await;
    }
}

#[tokio::test]
async fn where_nothing_was_held_yet_nothing_is_lost_and_rows_stay() {
    for trouble in [Trouble::Before, Trouble::After, Trouble::Nonsense] {
        let pair = pair().await;
        pair.switch.trouble(0, trouble);
        pair.client.insert(&[(1, 1)]).await;
        assert_eq!(pair.switch.avoided.load(Ordering::Relaxed), 1);
        pair.client.flush().await;
        assert_eq!(pair.a.rows(FILMS).await, [(1, 1)]);
        assert_eq!(nodes(&pair.a).await, [1]);
    }
    let pair = pair().await;
    pair.switch.end();
    pair.client.insert(&[(1, 1)]).await;
    pair.client.flush().await;
    assert_eq!(nodes(&pair.a).await, [1]);
}

/// Once its files are stored nobody needs the receiver any more.
#[tokio::test]
async fn a_receiver_that_dies_between_upload_and_commit_is_not_missed() {
    let pair = pair().await;
    pair.client.insert(&[(1, 1)]).await;
    let flushing = before_its_commit(&pair).await;
    pair.switch.end();
    pair.a.meta.resume();
    assert_eq!(flushing.await.unwrap().unwrap().ops, 1);
    assert_eq!(pair.a.rows(FILMS).await, [(1, 1)]);
    assert_eq!(nodes(&pair.a).await, [2]);
}

#[tokio::test]
async fn s10_what_a_client_leaves_behind_is_dropped_at_once_on_both_nodes() {
    let pair = pair().await;
    pair.client.insert(&[(1, 1)]).await;
    assert!(pair.b.ingest.buffered_bytes() > 0);
    pair.client.disconnect();
    until(|| async { pair.b.ingest.buffered_bytes() == 0 }).await;
    let client = pair.client.reconnected();
    assert!(matches!(client.try_flush().await.unwrap_err(), Error::SessionLost { .. }));
    client.flush().await;
    assert!(pair.a.rows(FILMS).await.is_empty());
}

/// The sender dies in the middle of its commit: what it sent counts or does not, as a whole.
#[tokio::test]
async fn a_sender_that_dies_at_the_commit_leaves_all_or_nothing() {
    let pair = pair().await;
    pair.client.insert(&[(1, 1)]).await;
    let flushing = before_its_commit(&pair).await;
    pair.a.meta.die();
    flushing.await.unwrap().unwrap_err();
    assert!(pair.b.rows(FILMS).await.is_empty());
    assert_eq!(pair.b.ingest.buffered_bytes(), 0);
}

/// Files that were uploaded for a block are protected until it is published, and not any longer.
#[tokio::test]
async fn the_sender_keeps_what_the_receiver_stored_from_being_collected() {
    let pair = pair().await;
    let oldest = async || {
        pair.a.database.tell_needs().await.unwrap();
        pair.b.database.tell_needs().await.unwrap();
        pair.a.database.needs().await.unwrap().oldest_id().unwrap()
    };
    let other = pair.b.client();
    let move_on = async || {
        other.insert(&[(500, 5)]).await;
        other.flush().await
    };
    pair.client.insert(&[(1, 1)]).await;
    // Stored before the flush, as a filter has to see it.
    pair.client.films(Write::DeleteTags(50, 60)).await;
    let stored = pair.a.database.newest().revision;
    for _ in 0..3 {
        move_on().await;
    }
    pair.a.database.at_least(move_on().await).await.unwrap();
    assert!(oldest().await <= stored);
    pair.client.flush().await;
    assert!(oldest().await > stored);
    // A block that is lost is protected no longer either.
    pair.client.insert(&[(2, 2)]).await;
    pair.client.films(Write::DeleteTags(50, 60)).await;
    let stored = pair.a.database.newest().revision;
    pair.client.disconnect();
    until(|| async {
        move_on().await;
        oldest().await > stored
    })
    .await;
}

#[tokio::test]
async fn lost_commits_of_forwarded_blocks_are_settled() {
    for fault in [Fault::AnswerLost, Fault::NeverSent, Fault::Late, Fault::Refused] {
        for settle_fails in [false, true] {
            let pair = pair().await;
            pair.client.insert(&[(1, 1), (2, 2)]).await;
            pair.client.upsert(&[(2, 22)]).await;
            pair.a.meta.fail_next(Call::Commit, fault);
            if settle_fails {
                pair.a.meta.fail_always(Call::Settle, Fault::NeverSent);
            }
            let flushed = pair.client.try_flush().await;
            pair.a.meta.recover();
            // Nobody is needed for the second try but the one who has the block.
            pair.switch.end();
            match flushed {
                Ok(flushed) => assert_eq!(flushed.ops, 2),
                Err(_) => drop(pair.client.flush().await),
            }
            pair.a.meta.land().await;
            assert_eq!(pair.a.rows(FILMS).await, [(1, 1), (2, 22)], "{fault:?} {settle_fails}");
            assert_eq!(nodes(&pair.a).await, [2]);
        }
    }
}

#[tokio::test]
async fn a_store_that_does_not_take_the_rows_leaves_them_where_they_are() {
    let server = FakeS3::start().await;
    let caches = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let meta = Arc::new(MemoryStore::new());
    let node = async |number: u32| {
        let data = DataStore::connect(server.options(caches[number as usize].path())).await.unwrap();
        Stores::over(meta.clone(), data).node(number).await
    };
    let (a, b) = (node(0).await, node(1).await);
    a.create(FILMS).await;
    Switch::between(&a, &b);
    let client = a.client();
    client.insert(&[(1, 1)]).await;
    server.fail_always("PUT", S3Fault::Status(403, "Forbidden"));
    for _ in 0..2 {
        let error = client.try_flush().await.unwrap_err();
        assert!(matches!(error, Error::NotStored { node: NodeId(1), .. }), "{error}");
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        let error = client.write(FILMS, &Write::DeleteTags(5, 6)).await.unwrap_err();
        assert!(error.to_string().contains("what was buffered stays"), "{error}");
    }
    client.upsert(&[(1, 11)]).await;
    server.recover();
    assert_eq!(client.try_flush().await.unwrap().ops, 2);
    assert_eq!(a.rows(FILMS).await, [(1, 11)]);
    assert_eq!(nodes(&b).await, [1]);
}

#[tokio::test]
async fn two_collections_of_one_block_are_one_atom_and_one_may_be_dropped() {
    let pair = pair().await;
    pair.a.create("books").await;
    let books = |write: Write| {
        let client = pair.client.clone();
        async move { client.write("books", &write).await.unwrap() }
    };
    for drop_films in [false, true] {
        pair.client.insert(&[(1, 1), (2, 2)]).await;
        books(Write::Insert(vec![(10, 10)])).await;
        pair.client.upsert(&[(2, 22)]).await;
        pair.switch.need(false);
        books(Write::Upsert(vec![(11, 11)])).await;
        pair.switch.need(true);
        if drop_films {
            pair.b.drop_collection(FILMS).await;
            let error = pair.client.try_flush().await.unwrap_err();
            assert!(matches!(error, Error::CollectionDropped { ops: 2, .. }), "{error}");
            assert_eq!(pair.client.try_flush().await.unwrap().ops, 2);
            assert_eq!(pair.a.rows("books").await, [(10, 10), (10, 10), (11, 11)]);
        } else {
            assert_eq!(pair.client.try_flush().await.unwrap().ops, 4);
            assert_eq!(pair.b.rows(FILMS).await, [(1, 1), (2, 22)]);
            assert_eq!(pair.b.rows("books").await, [(10, 10), (11, 11)]);
        }
        assert_eq!(pair.b.ingest.buffered_bytes(), 0);
    }
}

#[tokio::test]
async fn a_collection_the_client_itself_drops_leaves_the_block_and_another_may_have_its_name() {
    let pair = pair().await;
    pair.client.insert(&[(1, 1)]).await;
    let id = pair.a.collection(FILMS).await.record().unwrap().id;
    let mut turn = pair.a.ingest.turn(pair.client.id).await.unwrap();
    pair.a.drop_collection(FILMS).await;
    turn.discard(id);
    drop(turn);
    until(|| async { pair.b.ingest.buffered_bytes() == 0 }).await;
    pair.a.create(FILMS).await;
    pair.client.insert(&[(2, 2)]).await;
    assert_eq!(pair.client.try_flush().await.unwrap().ops, 1);
    assert_eq!(pair.b.rows(FILMS).await, [(2, 2)]);
}

#[tokio::test]
async fn a_receiver_without_room_refuses_and_rows_stay_in_order() {
    let options = IngestOptions { memory_hard_bytes: 2_000, ..IngestOptions::default() };
    let pair = pair_with(IngestOptions::default(), options).await;
    let mut plain = Plain::default();
    for key in 0..60 {
        let write = match key % 4 {
            3 => Write::Upsert(vec![(key - 2, 100 + key)]),
            _ => Write::Insert(vec![(key, key), (key + 1_000, key)]),
        };
        plain.apply(&write);
        pair.client.films(write).await;
        assert!(pair.b.ingest.buffered_bytes() <= 2_000);
    }
    assert!(pair.switch.avoided.load(Ordering::Relaxed) > 0);
    assert_eq!(pair.client.try_flush().await.unwrap().ops, 60);
    assert_eq!(pair.b.rows(FILMS).await, plain.sorted());
    let nodes = nodes(&pair.a).await;
    assert!(nodes.contains(&1) && nodes.contains(&2), "{nodes:?}");
}

/// The rows of one collection that fill the other node do not make a fragment of each operation on the next collection.
#[tokio::test]
async fn a_receiver_that_is_full_of_one_collection_is_emptied_of_it_by_operations_on_another() {
    let options = IngestOptions { memory_soft_bytes: 4_000, ..IngestOptions::default() };
    let pair = pair_with(IngestOptions::default(), options).await;
    pair.a.create("books").await;
    let rows: Vec<Row> = (0..200).map(|key| (key, key)).collect();
    pair.client.insert(&rows).await;
    assert!(pair.b.ingest.buffered_bytes() > 4_000);
    for key in 0..8 {
        pair.client.write("books", &Write::Insert(vec![(key, key)])).await.unwrap();
    }
    assert_eq!(pair.client.try_flush().await.unwrap().ops, 9);
    assert_eq!(pair.a.rows(FILMS).await.len(), 200);
    assert_eq!(pair.a.rows("books").await.len(), 8);
    let fragments = pair.a.collection("books").await.fragments.len();
    assert!(fragments < 4, "{fragments}");
}

/// How long a session lasts is set on the node that has it, which may be another time, and reads prolong it.
#[tokio::test]
async fn s10_rows_are_held_for_as_long_as_the_other_node_has_the_session() {
    let options = IngestOptions { idle_timeout: Duration::from_millis(10), ..IngestOptions::default() };
    let pair = pair_with(IngestOptions::default(), options).await;
    let guest = Guests::new(pair.b.ingest.clone()).begin();
    assert!(guest.patience() > IngestOptions::default().idle_timeout * 100);
}

/// The columns of what came over a line are parts of one buffer, which is there once.
#[tokio::test]
async fn forwarded_rows_count_for_as_much_memory_as_they_do_where_they_came_in() {
    let rows: Vec<Row> = (0..10_000).map(|key| (key, key)).collect();
    let pair = pair().await;
    pair.client.insert(&rows).await;
    let there = pair.b.ingest.buffered_bytes();
    pair.client.flush().await;
    pair.switch.need(false);
    pair.client.insert(&rows).await;
    let here = pair.a.ingest.buffered_bytes();
    assert!(there <= here * 5 / 4 && here <= there * 5 / 4, "{there} {here}");
}

/// Where another node has room, the limit of this one does not matter.
#[tokio::test]
async fn a_node_that_is_full_itself_passes_on() {
    let options = IngestOptions { memory_hard_bytes: 2_000, ..IngestOptions::default() };
    let pair = pair_with(options, IngestOptions::default()).await;
    for key in 0..100 {
        pair.client.insert(&[(key, key)]).await;
    }
    pair.client.flush().await;
    assert_eq!(pair.a.rows(FILMS).await.len(), 100);
}

/// A client that gives up waiting does not get this node and the other one out of step.
#[tokio::test]
async fn a_write_whose_client_gave_up_is_in_the_block_whole() {
    let pair = pair().await;
    pair.client.insert(&[(1, 1)]).await;
    pair.switch.trouble(0, Trouble::Stops);
    let given_up = tokio::time::timeout(Duration::from_millis(20), pair.client.insert(&[(2, 2)])).await;
    assert!(given_up.is_err());
    pair.switch.stopped().await;
    pair.switch.resume();
    pair.client.insert(&[(3, 3)]).await;
    assert_eq!(pair.client.try_flush().await.unwrap().ops, 3);
    assert_eq!(pair.a.rows(FILMS).await, [(1, 1), (2, 2), (3, 3)]);
}

#[tokio::test]
async fn a_name_stands_for_the_same_operations_wherever_their_rows_were() {
    let pair = pair().await;
    let write = async |short: bool, tag: i64| {
        pair.switch.need(short);
        pair.client.insert(&[(1, 1), (2, 2)]).await;
        pair.client.upsert(&[(2, tag)]).await;
        pair.client.delete(&[1]).await;
    };
    write(true, 22).await;
    let revision = pair.client.flush_named("n").await.unwrap().revision;
    for short in [false, true] {
        write(short, 22).await;
        assert_eq!(pair.client.flush_named("n").await.unwrap().revision, revision);
    }
    write(true, 23).await;
    assert!(matches!(pair.client.flush_named("n").await, Err(Error::FlushNameReused { .. })));
    write(false, 24).await;
    // The block of before is still there.
    assert_eq!(pair.client.flush_named("m").await.unwrap().ops, 6);
    assert_eq!(pair.a.rows(FILMS).await, [(2, 24)]);
    assert_eq!(pair.b.ingest.buffered_bytes(), 0);
}

#[tokio::test]
async fn the_client_counts_its_operations_as_ever() {
    let pair = pair().await;
    for key in 0..3 {
        pair.client.insert(&[(key, key)]).await;
    }
    let counted = |block_ops| FlushRequest { name: None, block_ops: Some(block_ops) };
    let error = pair.client.flush_with(counted(2)).await.unwrap_err();
    assert!(matches!(error, Error::BlockOpsMismatch { client: 2, session: 3 }), "{error}");
    assert_eq!(pair.b.ingest.buffered_bytes(), 0);
    pair.client.insert(&[(7, 7)]).await;
    assert_eq!(pair.client.flush_with(counted(1)).await.unwrap().ops, 1);
    assert_eq!(pair.a.rows(FILMS).await, [(7, 7)]);
}

fn at_once() -> IngestOptions {
    IngestOptions { auto_flush: true, flush_interval: Duration::ZERO, ..IngestOptions::default() }
}

#[tokio::test]
async fn writes_that_are_committed_at_once_are_forwarded_and_fail_as_they_do_otherwise() {
    let pair = pair_with(at_once(), IngestOptions::default()).await;
    let report = pair.client.write(FILMS, &Write::Insert(vec![(1, 1)])).await.unwrap();
    assert!(report.revision.is_some_and(|revision| revision > Revision::ZERO));
    assert_eq!(nodes(&pair.a).await, [2]);
    for fault in [Fault::Refused, Fault::NeverSent, Fault::Late] {
        pair.a.meta.fail_next(Call::Commit, fault);
        pair.a.meta.fail_always(Call::Settle, Fault::NeverSent);
        pair.client.write(FILMS, &Write::Upsert(vec![(2, 2)])).await.unwrap_err();
        pair.a.meta.recover();
        // The write is not in the session any more: nothing of it comes with the next one.
        pair.client.write(FILMS, &Write::Insert(vec![(3, 3)])).await.unwrap();
        assert_eq!(pair.b.rows(FILMS).await.iter().filter(|row| row.0 == 2).count(), 0, "{fault:?}");
    }
    pair.switch.trouble(0, Trouble::Before);
    pair.client.write(FILMS, &Write::Insert(vec![(4, 4)])).await.unwrap();
    pair.switch.trouble(1, Trouble::Before);
    pair.client.write(FILMS, &Write::Insert(vec![(5, 5)])).await.unwrap_err();
    assert_eq!(pair.client.try_flush().await.unwrap().ops, 0);
    assert_eq!(pair.a.rows(FILMS).await.iter().map(|row| row.0).collect::<Vec<_>>(), [1, 3, 3, 3, 4]);
}

/// A write that is committed at once takes those before it along, and leaves them where it fails.
#[tokio::test]
async fn a_write_that_is_committed_at_once_may_follow_others() {
    let pair = pair().await;
    pair.a.create_with("eager", schema(), &[("auto_flush", "true"), ("flush_interval", "0")]).await;
    pair.client.insert(&[(1, 1)]).await;
    pair.a.meta.fail_next(Call::Commit, Fault::Refused);
    pair.client.write("eager", &Write::Insert(vec![(10, 10)])).await.unwrap_err();
    pair.client.insert(&[(2, 2)]).await;
    pair.client.write("eager", &Write::Insert(vec![(11, 11)])).await.unwrap();
    assert_eq!(pair.b.rows("eager").await, [(11, 11)]);
    assert_eq!(pair.b.rows(FILMS).await, [(1, 1), (2, 2)]);
    assert_eq!(pair.client.try_flush().await.unwrap().ops, 0);
}

#[tokio::test(start_paused = true)]
async fn s18_an_automatic_flush_publishes_forwarded_rows_or_loses_them_quietly() {
    let interval = Duration::from_millis(500);
    let options = IngestOptions { auto_flush: true, flush_interval: interval, ..IngestOptions::default() };
    let pair = pair_with(options, IngestOptions::default()).await;
    pair.client.insert(&[(1, 1)]).await;
    tokio::time::sleep(interval * 2).await;
    assert_eq!(pair.b.rows(FILMS).await, [(1, 1)]);
    pair.client.insert(&[(2, 2)]).await;
    pair.switch.kill();
    tokio::time::sleep(interval * 2).await;
    pair.client.insert(&[(3, 3)]).await;
    tokio::time::sleep(interval * 2).await;
    assert_eq!(pair.b.rows(FILMS).await, [(1, 1), (3, 3)]);
    assert_eq!(nodes(&pair.a).await, [2, 2]);
}

#[tokio::test]
async fn s17_what_was_forwarded_counts_for_the_limit_of_automatic_flushes() {
    let options = IngestOptions {
        auto_flush: true,
        flush_interval: Duration::from_secs(1_000_000),
        flush_limit_bytes: 4_096,
        ..IngestOptions::default()
    };
    let pair = pair_with(options, IngestOptions::default()).await;
    let rows: Vec<Row> = (0..16).map(|key| (key, 0)).collect();
    for _ in 0..64 {
        pair.client.insert(&rows).await;
    }
    until(|| async { !pair.b.rows(FILMS).await.is_empty() }).await;
}

/// Automatic blocks of many clients at once, some forwarded and some not: each is whole.
#[tokio::test]
async fn automatic_blocks_here_and_there_are_published_beside_each_other() {
    let pair = pair_with(at_once(), IngestOptions::default()).await;
    pair.a.meta.yield_always();
    let mut writing = Vec::new();
    for key in 0..30 {
        let client = pair.a.client();
        pair.switch.need(key % 2 == 0);
        writing.push(tokio::spawn(async move {
            client.write(FILMS, &Write::Insert(vec![(key, 1), (key + 100, 1)])).await.unwrap();
        }));
        tokio::task::yield_now().await;
    }
    for write in writing {
        write.await.unwrap();
    }
    assert_eq!(pair.b.rows(FILMS).await.len(), 60);
    let nodes = nodes(&pair.a).await;
    assert!(nodes.contains(&1) && nodes.contains(&2), "{nodes:?}");
}

/// An upsert whose rows get keys of their own, as those of a collection with automatic keys do.
#[tokio::test]
async fn rows_of_other_keys_than_those_they_replace_are_forwarded_too() {
    let pair = pair().await;
    pair.client.insert(&[(1, 1), (2, 2)]).await;
    pair.client.flush().await;
    pair.client.insert(&[(3, 3), (4, 4)]).await;
    let record = pair.a.collection(FILMS).await.record().unwrap().clone();
    let kind = OpKind::Replace { keys: Keys::Int(vec![1, 3]), batch: batch(&record.schema, &[(10, 5), (11, 6)]) };
    let turn = pair.a.ingest.turn(pair.client.id).await.unwrap();
    turn.submit(BlockOp { collection: record.id, record, kind }).await.unwrap();
    pair.client.delete(&[11]).await;
    assert_eq!(pair.client.try_flush().await.unwrap().ops, 3);
    assert_eq!(pair.b.rows(FILMS).await, [(2, 2), (4, 4), (10, 5)]);
    assert_eq!(nodes(&pair.a).await, [2, 2]);
}

/// What the other node says it has stored is not believed.
#[tokio::test]
async fn answers_that_do_not_fit_lose_the_block_and_harm_nothing() {
    for (word, by) in [
        ("\"node\":2", "\"node\":3"),
        ("\"cluster\":\"c\"", "\"cluster\":\"d\""),
        ("\"rows\":2", "\"rows\":3"),
        ("\"rows\":2", "\"rows\":4294967297"),
        ("/s100.arrow", "/s101.arrow"),
        ("raw_vector", "scalar"),
        ("\"column\":\"id\"", "\"column\":\"di\""),
        ("\"field\":100", "\"field\":101"),
        ("{\"stored\":{\"files\":", "{\"stored\":{\"files\":[],\"x\":"),
        ("{\"stored\":", "{\"taken\":{\"full\":true},\"x\":"),
    ] {
        let pair = pair().await;
        pair.client.insert(&[(1, 1), (2, 2)]).await;
        pair.switch.trouble(0, Trouble::Replaced(word, by));
        let error = pair.client.try_flush().await.unwrap_err();
        lost(&pair, error, 1).await;
    }
    let pair = pair().await;
    pair.client.insert(&[(1, 1)]).await;
    pair.switch.trouble(0, Trouble::Nonsense);
    let error = pair.client.try_flush().await.unwrap_err();
    lost(&pair, error, 1).await;
}

/// What comes over a line is not believed either: it ends.
#[tokio::test]
async fn questions_that_do_not_fit_end_the_line() {
    for (word, by) in [
        ("\"number\":2", "\"number\":1"),
        ("\"number\":2", "\"number\":3"),
        ("\"number\":2", "\"number\":-2"),
        ("\"name\":\"tag\"", "\"name\":\"gat\""),
        ("\"removes\":\"nothing\"", "\"removes\":\"all\""),
        ("\"take\"", "\"give\""),
    ] {
        let pair = pair().await;
        pair.client.insert(&[(1, 1)]).await;
        pair.switch.trouble(0, Trouble::Misheard(word, by));
        let error = pair.client.write(FILMS, &Write::Insert(vec![(2, 2)])).await.unwrap_err();
        lost(&pair, error, 1).await;
    }
    for (word, by) in [
        ("\"number\":1", "\"number\":0"),
        ("\"segment\":\"films\"", "\"segment\":\"../films\""),
        ("\"segment\":\"films\"", "\"segment\":\"\""),
        ("\"fragment\":\"", "\"fragment\":\"x"),
        // Nothing is held of it.
        ("\"collection\":", "\"collection\":9"),
    ] {
        let pair = pair().await;
        pair.client.insert(&[(1, 1)]).await;
        pair.switch.trouble(0, Trouble::Misheard(word, by));
        let error = pair.client.try_flush().await.unwrap_err();
        lost(&pair, error, 1).await;
    }
}

/// Collections change while rows wait elsewhere.
#[tokio::test]
async fn a_rename_or_another_property_changes_nothing_for_rows_that_wait() {
    let pair = pair().await;
    pair.client.insert(&[(1, 1)]).await;
    pair.b.database.rename_collection(FILMS, "movies").await.unwrap();
    pair.client.write("movies", &Write::Upsert(vec![(1, 11)])).await.unwrap();
    pair.client.flush().await;
    assert_eq!(pair.a.rows("movies").await, [(1, 11)]);
}
