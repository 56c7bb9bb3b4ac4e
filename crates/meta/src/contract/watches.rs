//! Watches: whole revisions, in order, without gaps.

use futures::StreamExt;
use redkite_types::Revision;

use super::{PATIENCE, Store, next_batch, next_batches};
use crate::{Event, KeyRange, Op, Txn, WatchBatch};

/// A batch as text: revisions counted from `start`, names below the prefix.
fn text(store: &Store, start: Revision, batch: &WatchBatch) -> String {
    let events = batch.events.iter().map(|event| match event {
        Event::Put(kv) => {
            assert_eq!(kv.mod_revision, batch.revision);
            let (name, value) = store.pair(kv);
            format!("{name}={value}")
        }
        Event::Delete { key, revision } => {
            assert_eq!(*revision, batch.revision);
            format!("{}!", key.strip_prefix(&store.prefix).unwrap())
        }
    });
    format!("{}: {}", batch.revision.0 - start.0, events.collect::<Vec<_>>().join(" "))
}

pub(super) async fn sets_of_keys(store: Store) {
    let start = store.newest().await;
    store.then(vec![store.put_op("b", "1"), store.put_op("a/1", "1"), store.put_op("a", "1")]).await;
    store.put("c", "1").await;
    store.then(vec![Op::Delete(KeyRange::Prefix(store.key("a"))), store.put_op("d", "1")]).await;
    store.put("a", "2").await;
    let table: [(KeyRange, &[&str]); 5] = [
        (store.all(), &["1: a=1 a/1=1 b=1", "2: c=1", "3: a! a/1! d=1", "4: a=2"]),
        (store.exact("a"), &["1: a=1", "3: a!", "4: a=2"]),
        (KeyRange::Prefix(store.key("a/")), &["1: a/1=1", "3: a/1!"]),
        (KeyRange::Between(store.key("b"), store.key("d")), &["1: b=1", "2: c=1"]),
        (store.exact("d"), &["3: d=1"]),
    ];
    for (range, want) in table {
        let mut stream = store.watch(range.clone(), start.next()).await;
        let batches = next_batches(&mut stream, want.len()).await;
        let got: Vec<_> = batches.iter().map(|batch| text(&store, start, batch)).collect();
        assert_eq!(got, want, "{range:?}");
    }
}

pub(super) async fn from_the_past_and_from_the_future(store: Store) {
    let start = store.newest().await;
    for value in ["1", "2", "3"] {
        store.put("a", value).await;
    }
    // From the middle of the past, on into what comes.
    let mut past = store.watch(store.all(), Revision(start.0 + 2)).await;
    // From two revisions ahead: what comes before is not reported.
    let mut future = store.watch(store.all(), Revision(start.0 + 5)).await;
    for value in ["4", "5"] {
        store.put("a", value).await;
    }
    for (stream, want) in [(&mut past, vec!["2: a=2", "3: a=3", "4: a=4", "5: a=5"]), (&mut future, vec!["5: a=5"])] {
        let batches = next_batches(stream, want.len()).await;
        assert_eq!(batches.iter().map(|batch| text(&store, start, batch)).collect::<Vec<_>>(), want);
    }
    // From the very beginning of the store.
    for from in [Revision::ZERO, Revision(1), Revision(2)] {
        let mut stream = store.watch(KeyRange::Prefix("/".to_owned()), from).await;
        assert_eq!(next_batch(&mut stream).await.revision, Revision(2), "from {from}");
    }
}

pub(super) async fn no_gaps_under_concurrent_writers(store: Store) {
    const WRITERS: usize = 4;
    const TXNS: usize = 60;
    let start = store.newest().await;
    let writers: Vec<_> = (0..WRITERS).map(|writer| tokio::spawn(write(store.clone(), writer, TXNS))).collect();
    let watchers: Vec<_> = (0..3)
        .map(|watcher| {
            let store = store.clone();
            tokio::spawn(async move {
                // The later ones join while it is written, from the beginning all the same.
                while store.newest().await.0 < start.0 + watcher * 40 {
                    tokio::task::yield_now().await;
                }
                let mut stream = store.watch(store.all(), start.next()).await;
                next_batches(&mut stream, WRITERS * TXNS).await
            })
        })
        .collect();
    let mut written = Vec::new();
    for writer in writers {
        written.extend(writer.await.unwrap());
    }
    written.sort();
    for watcher in watchers {
        let batches = watcher.await.unwrap();
        assert_eq!(batches.iter().map(|batch| batch.revision).collect::<Vec<_>>(), written);
        assert!(batches.iter().all(|batch| batch.events.len() == 3), "a revision came in parts");
    }
}

async fn write(store: Store, writer: usize, txns: usize) -> Vec<Revision> {
    let mut revisions = Vec::new();
    for i in 0..txns {
        let puts = ["x", "y", "z"].map(|name| store.put_op(&format!("{name}/{writer}"), &i.to_string()));
        revisions.push(store.then(puts.to_vec()).await.revision);
    }
    revisions
}

/// Many revisions of more than a megabyte each, in the past and as they happen, and one of thousands of keys.
pub(super) async fn large_revisions_come_whole(store: Store) {
    const REVISIONS: usize = 4;
    let value = "x".repeat(100_000);
    let start = store.newest().await;
    let mut live = store.watch(store.all(), start.next()).await;
    for _ in 0..REVISIONS {
        store.then((0..13).map(|i| store.put_op(&format!("large/{i:02}"), &value)).collect()).await;
    }
    let many = (0..4_000).map(|i| store.put_op(&format!("many/{i:04}"), &value[..100])).collect();
    store.inner.txn(Txn::packed(Vec::new(), many, Vec::new()).unwrap()).await.unwrap();
    let mut past = store.watch(store.all(), start.next()).await;
    for stream in [&mut live, &mut past] {
        for (i, batch) in next_batches(stream, REVISIONS + 1).await.iter().enumerate() {
            let want = if i < REVISIONS { 13 } else { 4_000 };
            assert_eq!((batch.revision.0 - start.0, batch.events.len()), (i as i64 + 1, want));
        }
    }
    // Nothing is left over, and a watch that is dropped does not disturb another.
    drop(past);
    store.then(vec![Op::Delete(store.all())]).await;
    let last = tokio::time::timeout(PATIENCE, live.next()).await.unwrap().unwrap().unwrap();
    assert_eq!(last.events.len(), 4_013);
}
