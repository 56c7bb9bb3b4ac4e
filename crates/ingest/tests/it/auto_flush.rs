//! Data that becomes visible by itself (S15..S18).

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use redkite_ingest::{Error, IngestOptions};

use crate::faulty_meta::{Call, Fault};
use crate::plain::{Row, Write};
use crate::world::{FILMS, Node, Stores, schema, until};

fn on() -> IngestOptions {
    IngestOptions { auto_flush: true, ..IngestOptions::default() }
}

async fn node(options: IngestOptions) -> Node {
    let node = Stores::new().await.node_with(1, options).await;
    node.create(FILMS).await;
    node
}

#[tokio::test(start_paused = true)]
async fn s15_off_means_that_the_client_flushes() {
    let node = node(IngestOptions::default()).await;
    let client = node.client();
    client.insert(&[(1, 1)]).await;
    tokio::time::sleep(Duration::from_secs(1_000)).await;
    assert!(node.rows(FILMS).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn s16_a_block_is_flushed_when_the_interval_has_passed() {
    let node = node(on()).await;
    let client = node.client();
    for round in 0..3 {
        client.insert(&[(round, 1)]).await;
        tokio::time::sleep(Duration::from_millis(600)).await;
        client.insert(&[(100 + round, 1)]).await;
        // The interval counts from the block's first operation.
        assert_eq!(node.rows(FILMS).await.len() as i64, 2 * round);
        tokio::time::sleep(Duration::from_millis(600)).await;
        assert_eq!(node.rows(FILMS).await.len() as i64, 2 * round + 2);
    }
    assert_eq!(node.fragments(FILMS).await, 3);
}

#[tokio::test(start_paused = true)]
async fn s17_a_block_is_flushed_when_it_exceeds_the_limit() {
    let options = IngestOptions { flush_limit_bytes: 4_096, flush_interval: Duration::from_secs(1_000_000), ..on() };
    let node = node(options).await;
    let client = node.client();
    let rows: Vec<Row> = (0..16).map(|key| (key, 0)).collect();
    let mut inserted = 0;
    while node.rows(FILMS).await.is_empty() {
        client.insert(&rows).await;
        inserted += rows.len();
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert!(inserted < 1_000);
    }
    // Cut between requests: all of them, the one that exceeded the limit included.
    assert_eq!(node.rows(FILMS).await.len(), inserted);
    assert!(inserted > rows.len());
}

#[tokio::test(start_paused = true)]
async fn s17_requests_that_arrive_during_an_automatic_flush_wait_for_it() {
    let options = IngestOptions { flush_limit_bytes: 1, ..on() };
    let node = node(options).await;
    let client = node.client();
    node.meta.slow_down(Call::Commit, Duration::from_millis(10));
    for tag in 0..10 {
        client.upsert(&[(1, tag)]).await;
    }
    until(|| async { node.rows(FILMS).await == [(1, 9)] }).await;
}

#[tokio::test(start_paused = true)]
async fn s18_an_automatic_flush_that_fails_loses_the_data_and_counts() {
    let counters = Counters::default();
    let _guard = metrics::set_default_local_recorder(&counters);
    let node = node(on()).await;
    let client = node.client();
    node.meta.fail_always(Call::Commit, Fault::Refused);
    client.insert(&[(1, 1)]).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    node.meta.recover();
    assert_eq!(counters.value("redkite_auto_flush_failures_total"), 1);
    // The client is told nothing and goes on.
    client.insert(&[(2, 2)]).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(node.rows(FILMS).await, [(2, 2)]);
    assert_eq!(counters.value("redkite_auto_flush_failures_total"), 1);
    assert_eq!(node.ingest.buffered_bytes(), 0);
}

#[tokio::test(start_paused = true)]
async fn s18_with_interval_zero_every_write_is_committed_before_it_is_answered() {
    let options = IngestOptions { flush_interval: Duration::ZERO, ..on() };
    let node = node(options).await;
    let client = node.client();
    let report = client.write(FILMS, &Write::Insert(vec![(1, 1), (2, 2)])).await.unwrap();
    assert!(report.revision.is_some());
    assert_eq!(node.rows(FILMS).await, [(1, 1), (2, 2)]);
    client.delete(&[1]).await;
    client.upsert(&[(2, 3)]).await;
    assert_eq!(node.rows(FILMS).await, [(2, 3)]);
    // The write itself fails, and is gone.
    node.meta.fail_next(Call::Commit, Fault::Refused);
    client.write(FILMS, &Write::Insert(vec![(9, 9)])).await.unwrap_err();
    client.insert(&[(4, 4)]).await;
    assert_eq!(node.rows(FILMS).await, [(2, 3), (4, 4)]);
}

#[tokio::test(start_paused = true)]
async fn s15_collections_may_have_settings_of_their_own() {
    let node = node(IngestOptions::default()).await;
    node.create_with("now", schema(), &[("auto_flush", "true"), ("flush_interval", "0")]).await;
    node.create_with("soon", schema(), &[("auto_flush", "True"), ("flush_interval", "50")]).await;
    node.create_with("later", schema(), &[("auto_flush", "true")]).await;
    let write = Write::Insert(vec![(1, 1)]);
    let client = node.client();
    client.write("now", &write).await.unwrap();
    assert_eq!(node.rows("now").await, [(1, 1)]);
    client.write("later", &write).await.unwrap();
    client.write("soon", &write).await.unwrap();
    // A block is flushed whole: the most impatient of its collections decides.
    tokio::time::sleep(Duration::from_millis(60)).await;
    assert_eq!((node.rows("soon").await, node.rows("later").await), (vec![(1, 1)], vec![(1, 1)]));
    client.write("later", &write).await.unwrap();
    tokio::time::sleep(Duration::from_millis(60)).await;
    assert_eq!(node.rows("later").await.len(), 1);
    tokio::time::sleep(Duration::from_millis(1_000)).await;
    assert_eq!(node.rows("later").await.len(), 2);
    // One that leaves flushing to the client.
    client.insert(&[(5, 5)]).await;
    tokio::time::sleep(Duration::from_secs(100)).await;
    assert!(node.rows(FILMS).await.is_empty());
    client.write("now", &write).await.unwrap();
    assert_eq!(node.rows(FILMS).await, [(5, 5)]);
}

#[tokio::test(start_paused = true)]
async fn a_collection_may_switch_automatic_flushing_off() {
    let node = node(on()).await;
    node.create_with("by hand", schema(), &[("auto_flush", "false")]).await;
    let client = node.client();
    client.write("by hand", &Write::Insert(vec![(1, 1)])).await.unwrap();
    tokio::time::sleep(Duration::from_secs(100)).await;
    assert!(node.rows("by hand").await.is_empty());
    client.flush().await;
    assert_eq!(node.rows("by hand").await, [(1, 1)]);
}

/// A committed-at-once write into a collection that is dropped takes nothing else with it.
#[tokio::test(start_paused = true)]
async fn a_write_that_fails_takes_no_other_operation_with_it() {
    for (fault, own) in [(false, true), (false, false), (true, true)] {
        let node = node(IngestOptions::default()).await;
        node.create("other").await;
        node.create_with("now", schema(), &[("auto_flush", "true"), ("flush_interval", "0")]).await;
        let client = node.client();
        client.insert(&[(1, 1)]).await;
        client.write("other", &Write::Insert(vec![(2, 2)])).await.unwrap();
        client.insert(&[(3, 3)]).await;
        let turn = node.ingest.turn(client.id).await.unwrap();
        let record = node.collection("now").await.record().unwrap().clone();
        if fault {
            node.meta.fail_next(Call::Commit, Fault::Refused);
        } else {
            // Between the resolving of the name and the commit.
            node.drop_collection(if own { "now" } else { "other" }).await;
        }
        let error = turn.submit(crate::world::op(&record, &Write::Insert(vec![(9, 9)]))).await.unwrap_err();
        assert_eq!(matches!(error, Error::CollectionDropped { .. }), !fault, "{error}");
        client.flush().await;
        assert_eq!(node.rows(FILMS).await, [(1, 1), (3, 3)], "{fault} {own}");
        if fault || own {
            assert_eq!(node.rows("other").await, [(2, 2)]);
        }
        if fault || !own {
            assert!(node.rows("now").await.is_empty());
        }
    }
}

/// The client was told that the write failed; should it not have happened, it must not happen with a later one.
#[tokio::test(start_paused = true)]
async fn a_write_with_an_unknown_outcome_is_not_made_up_for_later() {
    for fault in [Fault::AnswerLost, Fault::NeverSent, Fault::Late] {
        let options = IngestOptions { flush_interval: Duration::ZERO, ..on() };
        let node = node(options).await;
        let client = node.client();
        node.meta.fail_next(Call::Commit, fault);
        node.meta.fail_always(Call::Settle, Fault::Refused);
        let error = client.write(FILMS, &Write::Insert(vec![(1, 1)])).await.unwrap_err();
        assert!(matches!(error, Error::OutcomeUnknown { .. }), "{error}");
        node.meta.recover();
        client.insert(&[(2, 2)]).await;
        node.meta.land().await;
        let happened = fault == Fault::AnswerLost;
        assert_eq!(node.rows(FILMS).await, if happened { vec![(1, 1), (2, 2)] } else { vec![(2, 2)] }, "{fault:?}");
    }
}

/// A flush the client asked for has an unknown outcome; the timer of the block still flushes it, once that is settled.
#[tokio::test(start_paused = true)]
async fn s16_the_interval_outlasts_an_unknown_outcome() {
    for fault in [Fault::AnswerLost, Fault::NeverSent, Fault::Late] {
        let node = node(IngestOptions { flush_interval: Duration::from_secs(5), ..on() }).await;
        let client = node.client();
        client.insert(&[(1, 1)]).await;
        node.meta.fail_next(Call::Commit, fault);
        node.meta.fail_always(Call::Settle, Fault::Refused);
        assert!(matches!(client.try_flush().await, Err(Error::OutcomeUnknown { .. })));
        tokio::time::sleep(Duration::from_secs(60)).await;
        node.meta.recover();
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(node.rows(FILMS).await, [(1, 1)], "{fault:?}");
        node.meta.land().await;
        assert_eq!(node.rows(FILMS).await, [(1, 1)], "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_dropped_collection_does_not_take_automatically_flushed_rows_of_others_with_it() {
    let node = node(on()).await;
    for name in ["a", "b"] {
        node.create(name).await;
    }
    let client = node.client();
    client.insert(&[(1, 1)]).await;
    for name in ["a", "b"] {
        client.write(name, &Write::Insert(vec![(2, 2)])).await.unwrap();
        node.drop_collection(name).await;
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(node.rows(FILMS).await, [(1, 1)]);
}

/// What asked for an automatic flush is gone, and what is left does not, or not yet.
#[tokio::test(start_paused = true)]
async fn s09_a_dropped_collections_timer_publishes_nothing_of_others() {
    for (automatic, visible) in [("false", false), ("true", true)] {
        let node = Stores::new().await.node(1).await;
        node.create_with(FILMS, schema(), &[("auto_flush", automatic), ("flush_interval", "60000")]).await;
        node.create_with("soon", schema(), &[("auto_flush", "true"), ("flush_interval", "500")]).await;
        let client = node.client();
        client.insert(&[(1, 1)]).await;
        client.write("soon", &Write::Insert(vec![(2, 2)])).await.unwrap();
        let id = node.collection("soon").await.record().unwrap().id;
        node.drop_collection("soon").await;
        node.ingest.turn(client.id).await.unwrap().discard(id);
        tokio::time::sleep(Duration::from_secs(59)).await;
        assert!(node.rows(FILMS).await.is_empty());
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(!node.rows(FILMS).await.is_empty(), visible);
        assert_eq!(client.try_flush().await.unwrap().ops, u64::from(!visible));
    }
}

#[tokio::test(start_paused = true)]
async fn s16_the_interval_counts_again_after_a_flush_that_found_its_collection_dropped() {
    let node = node(on()).await;
    node.create("gone").await;
    let client = node.client();
    client.write("gone", &Write::Insert(vec![(1, 1)])).await.unwrap();
    node.drop_collection("gone").await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    client.insert(&[(2, 2)]).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(node.rows(FILMS).await, [(2, 2)]);
}

/// A block that is flushed, or whose client is gone, leaves nothing behind that waits for its interval.
#[tokio::test(start_paused = true)]
async fn timers_end_with_their_blocks() {
    let node = node(IngestOptions { flush_interval: Duration::from_secs(86_400), ..on() }).await;
    let client = node.client();
    client.insert(&[(-1, 1)]).await;
    client.flush().await;
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    for key in 0..100 {
        client.insert(&[(key, 1)]).await;
        client.flush().await;
    }
    client.insert(&[(100, 1)]).await;
    client.disconnect();
    until(|| async { tasks() <= before }).await;
}

/// The node stops while an automatic flush runs whose client has just gone.
#[tokio::test(start_paused = true)]
async fn s18_a_node_that_stops_waits_for_the_flushes_of_sessions_that_have_closed() {
    for identifier in [true, false] {
        let node = node(on()).await;
        let client = if identifier { node.client() } else { node.client_on(node.connect(), 0) };
        client.insert(&[(1, 1)]).await;
        node.meta.stop_at(Call::Commit);
        node.meta.stopped().await;
        client.disconnect();
        let stopping = tokio::spawn({
            let ingest = node.ingest.clone();
            async move { ingest.flush_owed().await }
        });
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert!(!stopping.is_finished());
        node.meta.resume();
        stopping.await.unwrap();
        assert_eq!(node.rows(FILMS).await, [(1, 1)]);
    }
}

/// Counts what counters count.
#[derive(Debug, Default)]
struct Counters(Mutex<HashMap<String, Arc<AtomicU64>>>);

impl Counters {
    fn value(&self, name: &str) -> u64 {
        self.0.lock().unwrap().get(name).map_or(0, |value| value.load(Ordering::Relaxed))
    }
}

impl Recorder for Counters {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.0.lock().unwrap().entry(key.name().to_owned()).or_default().clone())
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

/// A node whose first write is held up at its commit, and three more clients whose writes wait to be published together.
async fn a_group() -> (Node, Vec<tokio::task::JoinHandle<Result<redkite_ingest::WriteReport, Error>>>) {
    let node = node(IngestOptions { flush_interval: Duration::ZERO, ..on() }).await;
    node.meta.stop_at(Call::Commit);
    let mut writes = Vec::new();
    for key in 0..4 {
        let client = node.client();
        writes.push(tokio::spawn(async move { client.write(FILMS, &Write::Insert(vec![(key, key)])).await }));
        if key == 0 {
            node.meta.stopped().await;
        }
    }
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
    assert!(writes.iter().all(|write| !write.is_finished()));
    (node, writes)
}

#[tokio::test(start_paused = true)]
async fn writes_of_a_group_become_visible_together_each_of_them_whole() {
    let (node, writes) = a_group().await;
    node.meta.stop_never();
    node.meta.resume();
    let mut revisions = Vec::new();
    for write in writes {
        revisions.push(write.await.unwrap().unwrap().revision.unwrap());
    }
    assert!(revisions[0] < revisions[1] && revisions[1..].iter().all(|revision| *revision == revisions[1]));
    assert_eq!((node.rows(FILMS).await.len(), node.fragments(FILMS).await), (4, 2));
}

/// A store that does not answer has failed for all of them: asking it again for each would only add to its need.
#[tokio::test(start_paused = true)]
async fn a_group_that_meets_a_store_in_need_fails_as_one() {
    let (node, writes) = a_group().await;
    node.meta.fail_always(Call::Commit, Fault::Refused);
    node.meta.stop_never();
    node.meta.resume();
    let mut writes = writes.into_iter();
    // Its commit was on its way already.
    writes.next().unwrap().await.unwrap().unwrap();
    let before = node.meta.count(Call::Commit);
    for write in writes {
        let error = write.await.unwrap().unwrap_err();
        assert!(matches!(&error, Error::Shared { .. }), "{error:?}");
        assert_eq!(error.kind(), redkite_types::ErrorKind::Unavailable);
    }
    let tried = node.meta.count(Call::Commit) - before;
    node.meta.recover();
    let (alone, client) = (node.meta.count(Call::Commit), node.client());
    node.meta.fail_always(Call::Commit, Fault::Refused);
    client.write(FILMS, &Write::Insert(vec![(9, 9)])).await.unwrap_err();
    assert!(tried <= node.meta.count(Call::Commit) - alone, "{tried} tries for three blocks");
    node.meta.recover();
    client.write(FILMS, &Write::Insert(vec![(8, 8)])).await.unwrap();
    assert_eq!(node.rows(FILMS).await, [(0, 0), (8, 8)]);
}

/// What is wrong with one block, or with the collection, is told to each by itself.
#[tokio::test(start_paused = true)]
async fn a_group_into_a_dropped_collection_fails_one_by_one() {
    let (node, writes) = a_group().await;
    node.database.drop_collection(FILMS).await.unwrap();
    node.meta.stop_never();
    node.meta.resume();
    for write in writes {
        let error = write.await.unwrap().unwrap_err();
        assert!(matches!(error, Error::CollectionDropped { .. } | Error::Discarded { .. }), "{error:?}");
    }
}
