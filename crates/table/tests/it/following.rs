//! What keeps a node up to date: the watch, ranging when it is slow, shared reads of the head.

use std::sync::Arc;
use std::time::Duration;

use redkite_meta::{MetaStore, Op, Txn};
use redkite_table::{HeadReader, Visibility};
use redkite_types::Revision;

use crate::faulty_meta::{Call, FaultyMeta};
use crate::world::{Stores, collection};

/// S08 does not rest on the watch.
#[tokio::test(start_paused = true)]
async fn s08_a_node_whose_watch_is_slow_ranges_itself() {
    let stores = Stores::new();
    let writer = stores.node(1).await;
    let deaf = FaultyMeta::new(stores.meta.clone());
    deaf.go_deaf();
    let reader = stores.node_over(2, false, deaf).await;
    for name in ["a", "b", "c"] {
        let (_, revision) = writer.database.create_collection(collection(name, 2)).await.unwrap();
        assert!(reader.database.newest().collection(name).is_err());
        let before = reader.meta.count(Call::Read);
        let reads = (0..50).map(|_| reader.database.snapshot(Visibility::Strong));
        for catalog in futures::future::try_join_all(reads).await.unwrap() {
            assert!(catalog.revision >= revision && catalog.collection(name).is_ok());
        }
        // Each asks for the head; one of them ranges for all.
        assert_eq!(reader.meta.count(Call::Read) - before, 51);
        assert!(reader.database.newest().collection(name).is_ok());
    }
}

#[tokio::test(start_paused = true)]
async fn an_eventual_read_asks_nobody() {
    let stores = Stores::new();
    let node = stores.node(1).await;
    let before = node.meta.count(Call::Read);
    node.database.snapshot(Visibility::Eventual).await.unwrap();
    assert_eq!(node.meta.count(Call::Read), before);
}

/// The watch falls behind a compaction: the catalog is read anew and followed from there.
#[tokio::test(start_paused = true)]
async fn a_watch_overtaken_by_a_compaction_starts_over() {
    let stores = Stores::new();
    let (writer, reader) = (stores.node(1).await, stores.node(2).await);
    for round in 0..3 {
        let name = format!("c{round}");
        writer.database.create_collection(collection(&name, 2)).await.unwrap();
        // On this one thread the reader's watch does not run in between.
        let mut newest = Revision::ZERO;
        for _ in 0..5 {
            let put = Op::put("/u/.commit/x", round.to_string());
            newest = stores.meta.txn(Txn { then: vec![put], ..Txn::default() }).await.unwrap().revision;
        }
        stores.meta.compact(newest).await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        let catalog = reader.database.newest();
        assert!(catalog.collection(&name).is_ok() && catalog.revision >= newest);
    }
    // Followed by the watch again, not by ranging.
    let before = reader.meta.count(Call::Read);
    writer.database.create_collection(collection("last", 2)).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(reader.database.newest().collection("last").is_ok());
    assert_eq!(reader.meta.count(Call::Read), before);
}

#[tokio::test(start_paused = true)]
async fn many_readers_share_a_read_of_the_head() {
    let stores = Stores::new();
    let node = stores.node_with(1, true).await;
    node.meta.slow_down(Call::Read, Duration::from_millis(10));
    let before = node.meta.count(Call::Read);
    let reads: Vec<_> = (0..200)
        .map(|at| {
            let database = node.database.clone();
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_micros(at * 100)).await;
                database.snapshot(Visibility::Strong).await.unwrap().revision
            })
        })
        .collect();
    for read in reads {
        read.await.unwrap();
    }
    // 200 reads over 20 ms at 10 ms a read.
    assert!(node.meta.count(Call::Read) - before <= 5, "{}", node.meta.count(Call::Read) - before);
}

/// A request must not use a read that was sent before it arrived, however fresh that looks.
#[tokio::test(start_paused = true)]
async fn s08_a_reader_joins_the_next_read_never_the_one_in_flight() {
    let stores = Stores::new();
    let meta = FaultyMeta::new(stores.meta.clone());
    meta.slow_down_answers(Duration::from_millis(100));
    let heads = Arc::new(HeadReader::new(meta.clone(), "/u/.head".into(), true, || Revision::ZERO));
    let put = || async {
        let put = Op::put("/u/.head", "{}");
        stores.meta.txn(Txn { then: vec![put], ..Txn::default() }).await.unwrap().revision
    };
    let first = put().await;
    let read = |heads: &Arc<HeadReader>| {
        let heads = heads.clone();
        tokio::spawn(async move { heads.read().await.unwrap() })
    };
    let in_flight = read(&heads);
    // It has read, and its answer is on its way.
    tokio::time::sleep(Duration::from_millis(50)).await;
    let second = put().await;
    let late = read(&heads);
    assert_eq!((in_flight.await.unwrap(), late.await.unwrap()), (first, second));
}
