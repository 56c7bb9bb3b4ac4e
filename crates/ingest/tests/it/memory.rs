//! Blocks that outgrow their memory: uploaded early, still invisible, or refused.

use redkite_ingest::{Error, IngestOptions};
use redkite_types::ErrorKind;

use crate::faulty_meta::Call;
use crate::plain::{Plain, Row, Write};
use crate::world::{FILMS, Node, Stores, filter, op};

/// Every operation but the first finds the block too large and uploads what is there.
async fn tiny_memory() -> Node {
    let node =
        Stores::new().await.node_with(1, IngestOptions { memory_soft_bytes: 1, ..IngestOptions::default() }).await;
    node.create(FILMS).await;
    node
}

#[tokio::test]
async fn rows_uploaded_early_are_invisible_until_the_flush() {
    let node = tiny_memory().await;
    let client = node.client();
    for at in 0..5 {
        client.insert(&[(at, at), (at + 100, at)]).await;
    }
    assert!(node.rows(FILMS).await.is_empty());
    assert_eq!(client.try_flush().await.unwrap().ops, 5);
    assert_eq!(node.rows(FILMS).await.len(), 10);
    assert_eq!(node.fragments(FILMS).await, 5);
}

#[tokio::test]
async fn later_operations_reach_rows_uploaded_early() {
    use Write::{DeleteKeys, DeleteTags, Insert, Upsert};
    let writes = [
        Insert(vec![(1, 1), (2, 2), (3, 3)]),
        DeleteKeys(vec![1]),
        Insert(vec![(1, 11)]),
        Upsert(vec![(2, 22), (9, 99)]),
        DeleteTags(3, 5),
        Insert(vec![(3, 3), (4, 4)]),
        DeleteTags(4, 5),
        Upsert(vec![(3, 33)]),
        DeleteKeys(vec![9]),
        Insert(vec![(9, 4)]),
    ];
    // Over rows that were committed before, too.
    let old: [Row; 4] = [(1, 0), (2, 0), (5, 4), (9, 0)];
    for flush_after in 1..=writes.len() {
        let node = tiny_memory().await;
        let client = node.client();
        let mut plain = Plain(old.to_vec());
        client.insert(&old).await;
        client.flush().await;
        for (at, write) in writes.iter().enumerate() {
            client.films(write.clone()).await;
            plain.apply(write);
            if at + 1 == flush_after {
                client.flush().await;
                assert_eq!(node.rows(FILMS).await, plain.sorted(), "after {:?}", &writes[..flush_after]);
            }
        }
        client.flush().await;
        assert_eq!(node.rows(FILMS).await, plain.sorted());
    }
}

/// What a delete by filter is said to take with it is what is there: committed, in the block, or uploaded early.
#[tokio::test]
async fn rows_that_a_delete_matches_are_counted_as_the_block_leaves_them() {
    use Write::{DeleteKeys, DeleteTags, Insert, Upsert};
    let writes = [
        DeleteTags(0, 2),
        Insert(vec![(1, 1), (2, 2), (3, 3)]),
        DeleteTags(2, 3),
        DeleteTags(1, 4),
        DeleteTags(0, 100),
        Insert(vec![(1, 11), (7, 12)]),
        DeleteKeys(vec![1]),
        Upsert(vec![(8, 13), (9, 14)]),
        DeleteTags(10, 14),
        DeleteTags(10, 15),
        Insert(vec![(9, 15)]),
        DeleteTags(0, 100),
    ];
    let old: [Row; 5] = [(1, 0), (2, 1), (5, 4), (9, 14), (8, 200)];
    for memory_soft_bytes in [1, 1 << 20] {
        let options = IngestOptions { memory_soft_bytes, ..IngestOptions::default() };
        let node = Stores::new().await.node_with(1, options).await;
        node.create(FILMS).await;
        let client = node.client();
        let mut plain = Plain(old.to_vec());
        client.insert(&old).await;
        client.flush().await;
        let collection = node.collection(FILMS).await;
        for write in &writes {
            let before = plain.0.len();
            plain.apply(write);
            if let DeleteTags(..) = write {
                let filter = filter(&collection.record().unwrap().schema, &write.filter());
                let turn = node.ingest.turn(client.id).await.unwrap();
                let matching = turn.count_matching(&collection, &filter).await.unwrap().1;
                assert_eq!(matching as usize, before - plain.0.len(), "{write:?}");
            }
            client.films(write.clone()).await;
        }
        client.flush().await;
        assert_eq!(node.rows(FILMS).await, plain.sorted());
    }
}

#[tokio::test]
async fn early_uploads_of_a_block_that_is_lost_are_never_seen() {
    let node = tiny_memory().await;
    let client = node.client();
    for at in 0..5 {
        client.insert(&[(at, at)]).await;
    }
    client.disconnect();
    let client = client.reconnected();
    client.try_flush().await.unwrap_err();
    client.flush().await;
    assert!(node.rows(FILMS).await.is_empty());
}

/// Of rows with one key the newest fragment's is shown, so fragments of one block sort in the order of its operations.
#[tokio::test]
async fn fragments_of_one_block_sort_in_the_order_of_its_operations() {
    let node = tiny_memory().await;
    let client = node.client();
    for tag in 0..50 {
        client.insert(&[(1, tag)]).await;
    }
    client.flush().await;
    let collection = node.collection(FILMS).await;
    let mut tags = Vec::new();
    for fragment in collection.fragments.values() {
        let reader = node.database.readers.open(&collection, fragment, [crate::world::TAG]).await.unwrap();
        let column = reader.take(crate::world::TAG, &[0]).unwrap();
        tags.push(arrow_array::cast::AsArray::as_primitive::<arrow_array::types::Int64Type>(&column).value(0));
    }
    assert_eq!(tags, (0..50).collect::<Vec<_>>());
}

/// Deletes are handed on from one early upload to the next; they must not multiply on the way.
#[tokio::test]
async fn what_early_uploads_leave_of_deletes_stays_small() {
    let node = tiny_memory().await;
    let client = node.client();
    let mut plain = Plain::default();
    for round in 0..30 {
        let writes = [
            Write::Insert(vec![(round, round)]),
            Write::DeleteTags(round - 1, round),
            Write::Upsert(vec![(1_000 + round % 3, round + 500)]),
        ];
        for write in writes {
            plain.apply(&write);
            client.films(write).await;
        }
    }
    let ops = node.ingest.turn(client.id).await.unwrap().block().ops().len();
    assert!(ops < 30 * 90, "{ops}");
    client.flush().await;
    assert_eq!(node.rows(FILMS).await, plain.sorted());
}

#[tokio::test]
async fn beyond_the_hard_limit_writes_are_refused_and_what_was_buffered_stays() {
    let options = IngestOptions { memory_hard_bytes: 2_000, ..IngestOptions::default() };
    let node = Stores::new().await.node_with(1, options).await;
    node.create(FILMS).await;
    let (client, other) = (node.client(), node.client());
    let mut accepted = 0;
    let error = loop {
        match client.write(FILMS, &Write::Insert(vec![(accepted, 0)])).await {
            Ok(_) => accepted += 1,
            Err(error) => break error,
        }
        assert!(accepted < 100);
    };
    assert!(accepted > 0 && matches!(error, Error::MemoryExhausted { limit: 2_000 }), "{error}");
    assert_eq!(error.kind(), ErrorKind::Exhausted);
    // The limit is the node's.
    assert!(other.write(FILMS, &Write::Insert(vec![(77, 7)])).await.is_err());
    assert_eq!(client.try_flush().await.unwrap().ops as i64, accepted);
    assert_eq!(node.rows(FILMS).await.len() as i64, accepted);
    assert_eq!(node.ingest.buffered_bytes(), 0);
    other.insert(&[(77, 7)]).await;
    other.flush().await;
    assert_eq!(node.rows(FILMS).await.len() as i64, accepted + 1);
}

/// Requests are in memory while they wait, be it behind one flush and a thousand at a time.
#[tokio::test(start_paused = true)]
async fn writes_that_wait_for_their_turn_count_in_the_hard_limit() {
    let options = IngestOptions { memory_hard_bytes: 10_000, ..IngestOptions::default() };
    let node = Stores::new().await.node_with(1, options).await;
    node.create(FILMS).await;
    let (client, other) = (node.client(), node.client());
    client.insert(&[(1, 1)]).await;
    node.meta.stop_at(Call::Commit);
    let flushing = tokio::spawn({
        let client = client.clone();
        async move { client.try_flush().await }
    });
    node.meta.stopped().await;
    let waiting = tokio::spawn({
        let (ingest, client) = (node.ingest.clone(), client.id);
        async move { ingest.turn_to_write(client, 6_000).await }
    });
    tokio::task::yield_now().await;
    for client in [&other, &client] {
        let error = node.ingest.turn_to_write(client.id, 6_000).await.unwrap_err();
        assert!(matches!(error, Error::MemoryExhausted { limit: 10_000 }), "{error}");
    }
    node.meta.resume();
    flushing.await.unwrap().unwrap();
    let turn = waiting.await.unwrap().unwrap();
    assert_eq!(node.ingest.buffered_bytes(), 6_000);
    // The operation takes the place of its request: both together would be too much.
    let record = node.collection(FILMS).await.record().unwrap().clone();
    let rows: Vec<Row> = (0..250).map(|key| (key, 0)).collect();
    turn.submit(op(&record, &Write::Insert(rows))).await.unwrap();
    let held = node.ingest.buffered_bytes();
    assert!((6_000..10_000).contains(&held), "{held}");
    // A request that is given up, or never gets its turn, is forgotten.
    drop(node.ingest.turn_to_write(other.id, 100).await.unwrap());
    other.disconnect();
    node.ingest.turn_to_write(other.id, 100).await.unwrap_err();
    assert_eq!(node.ingest.buffered_bytes(), held);
}

#[tokio::test]
async fn memory_is_given_back_however_a_session_ends() {
    let node = Stores::new().await.node(1).await;
    node.create(FILMS).await;
    for how in ["flush", "disconnect", "mismatch"] {
        let client = node.client();
        client.insert(&[(1, 1)]).await;
        assert!(node.ingest.buffered_bytes() > 0);
        match how {
            "flush" => drop(client.flush().await),
            "disconnect" => client.disconnect(),
            _ => {
                let request = redkite_ingest::FlushRequest { name: None, block_ops: Some(9) };
                client.flush_with(request).await.unwrap_err();
            }
        }
        crate::world::until(|| async { node.ingest.buffered_bytes() == 0 }).await;
    }
}
