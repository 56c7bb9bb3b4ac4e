//! Who a client is: connections that end, reconnects nobody tells of, and what a client is told it lost.

use std::time::Duration;

use redkite_ingest::{Error, FlushRequest, IngestOptions};
use redkite_types::ErrorKind;

use crate::faulty_meta::{Call, Fault};
use crate::plain::Write;
use crate::world::{Client, FILMS, Node, Stores, op, schema};

async fn node() -> Node {
    let node = Stores::new().await.node(1).await;
    node.create(FILMS).await;
    node
}

/// The client is told of a loss exactly once; afterwards it has a new, empty session.
async fn told_once(client: &Client, reason: &str) {
    let error = client.write(FILMS, &Write::Insert(vec![(50, 50)])).await.unwrap_err();
    assert!(matches!(error, Error::SessionLost { .. }), "{error}");
    assert!(error.to_string().contains(reason), "{error}");
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert_eq!(client.try_flush().await.unwrap().ops, 0);
}

#[tokio::test(start_paused = true)]
async fn s10_what_was_not_flushed_is_gone_with_the_connection() {
    let node = node().await;
    let client = node.client();
    client.insert(&[(1, 1)]).await;
    client.flush().await;
    client.insert(&[(2, 2)]).await;
    client.delete(&[1]).await;
    client.disconnect();
    assert_eq!(node.rows(FILMS).await, [(1, 1)]);
    let client = client.reconnected();
    told_once(&client, "2 operations (1 rows) unflushed").await;
    client.insert(&[(3, 3)]).await;
    client.flush().await;
    assert_eq!(node.rows(FILMS).await, [(1, 1), (3, 3)]);
    crate::world::until(|| async { node.ingest.buffered_bytes() == 0 }).await;
}

#[tokio::test(start_paused = true)]
async fn s10_a_flush_never_answers_success_over_a_lost_session() {
    let node = node().await;
    let client = node.client();
    client.insert(&[(1, 1)]).await;
    client.disconnect();
    let client = client.reconnected();
    assert!(matches!(client.try_flush().await, Err(Error::SessionLost { .. })));
    assert_eq!(client.try_flush().await.unwrap().ops, 0);
}

#[tokio::test(start_paused = true)]
async fn an_identifier_that_died_empty_comes_back_silently() {
    let node = node().await;
    let client = node.client();
    client.insert(&[(1, 1)]).await;
    client.flush().await;
    client.disconnect();
    let client = client.reconnected();
    client.insert(&[(2, 2)]).await;
    client.flush().await;
    assert_eq!(node.rows(FILMS).await, [(1, 1), (2, 2)]);
}

#[tokio::test(start_paused = true)]
async fn a_reconnect_before_the_old_connection_is_known_to_be_dead() {
    let node = node().await;
    let old = node.client();
    old.insert(&[(1, 1)]).await;
    let new = old.reconnected();
    told_once(&new, "the client reconnected").await;
    new.insert(&[(2, 2)]).await;
    // A straggler of the old connection must not disturb the new session, nor must its end.
    assert!(matches!(old.try_flush().await, Err(Error::SessionLost { .. })));
    old.disconnect();
    assert!(matches!(old.try_flush().await, Err(Error::SessionLost { .. })));
    new.insert(&[(3, 3)]).await;
    assert_eq!(new.try_flush().await.unwrap().ops, 2);
    assert_eq!(node.rows(FILMS).await, [(2, 2), (3, 3)]);
}

#[tokio::test(start_paused = true)]
async fn two_clients_on_one_connection_are_two_sessions() {
    let node = node().await;
    let connection = node.connect();
    let clients = [(), ()].map(|()| node.client_on(connection, node.ingest.new_identifier(connection)));
    clients[0].insert(&[(1, 1)]).await;
    clients[1].insert(&[(2, 2)]).await;
    // The first is closed without a word: its channel lives on with the other.
    clients[1].flush().await;
    assert_eq!(node.rows(FILMS).await, [(2, 2)]);
    clients[1].disconnect();
    let [first, second] = clients.map(|client| client.reconnected());
    told_once(&first, "1 operations").await;
    second.insert(&[(3, 3)]).await;
    second.flush().await;
    assert_eq!(node.rows(FILMS).await, [(2, 2), (3, 3)]);
    assert_eq!(node.ingest.session_count(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_identifier_of_an_earlier_boot_fails_once() {
    let stores = Stores::new().await;
    let before = stores.node(1).await;
    before.create(FILMS).await;
    let client = before.client();
    client.insert(&[(1, 1)]).await;
    let after = stores.node(1).await;
    let client = after.client_on(after.connect(), client.id.identifier);
    told_once(&client, "restarted").await;
    client.insert(&[(2, 2)]).await;
    client.flush().await;
    assert_eq!(after.rows(FILMS).await, [(2, 2)]);
}

/// Where every write is committed before it is answered there are still collections whose flush is their clients', and
/// there is what was set before the restart.
#[tokio::test(start_paused = true)]
async fn s10_a_restart_with_interval_0_and_a_collection_flushed_by_hand() {
    let immediate = IngestOptions { auto_flush: true, flush_interval: Duration::ZERO, ..IngestOptions::default() };
    for (before, by_hand) in [(immediate.clone(), "false"), (IngestOptions::default(), "true")] {
        let stores = Stores::new().await;
        let node = stores.node_with(1, before).await;
        let properties = [("auto_flush", by_hand), ("flush_interval", "86400000")];
        node.create_with(FILMS, schema(), &properties).await;
        let client = node.client();
        client.insert(&[(1, 1)]).await;
        let node = stores.node_with(1, immediate.clone()).await;
        let client = node.client_on(node.connect(), client.id.identifier);
        let flushed = client.try_flush().await;
        assert!(matches!(flushed, Err(Error::SessionLost { .. })), "{flushed:?}");
        assert_eq!(client.try_flush().await.unwrap().ops, 0);
        assert!(node.rows(FILMS).await.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_without_identifier_has_its_connection_alone() {
    let node = node().await;
    let client = node.client_on(node.connect(), 0);
    let other = node.client_on(node.connect(), 0);
    client.insert(&[(1, 1)]).await;
    other.insert(&[(2, 2)]).await;
    other.disconnect();
    client.flush().await;
    assert_eq!(node.rows(FILMS).await, [(1, 1)]);
}

#[tokio::test(start_paused = true)]
async fn an_idle_session_is_dropped_as_if_disconnected() {
    let options = IngestOptions { idle_timeout: Duration::from_secs(100), ..IngestOptions::default() };
    let node = Stores::new().await.node_with(1, options).await;
    node.create(FILMS).await;
    let (idle, busy) = (node.client(), node.client());
    idle.insert(&[(1, 1)]).await;
    for round in 0..8 {
        busy.insert(&[(10 + round, 0)]).await;
        tokio::time::sleep(Duration::from_secs(50)).await;
    }
    assert_eq!(node.ingest.session_count(), 1);
    told_once(&idle, "idle").await;
    busy.flush().await;
    assert_eq!(node.rows(FILMS).await.len(), 8);
}

/// Its connection is still there, and by that it is known.
#[tokio::test(start_paused = true)]
async fn s10_an_idle_session_without_identifier_is_told() {
    let options = IngestOptions { idle_timeout: Duration::from_secs(100), ..IngestOptions::default() };
    let node = Stores::new().await.node_with(1, options).await;
    node.create(FILMS).await;
    let client = node.client_on(node.connect(), 0);
    for _ in 0..2 {
        client.insert(&[(1, 1)]).await;
        tokio::time::sleep(Duration::from_secs(1_000)).await;
        assert_eq!(node.ingest.session_count(), 0);
        let flushed = client.try_flush().await;
        assert!(matches!(flushed, Err(Error::SessionLost { .. })), "{flushed:?}");
        assert_eq!(client.try_flush().await.unwrap().ops, 0);
    }
    // Another one is another client.
    client.insert(&[(1, 1)]).await;
    client.disconnect();
    assert_eq!(node.client_on(node.connect(), 0).try_flush().await.unwrap().ops, 0);
    assert!(node.rows(FILMS).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_session_whose_flush_runs_is_not_idle() {
    let options = IngestOptions { idle_timeout: Duration::from_secs(100), ..IngestOptions::default() };
    let node = Stores::new().await.node_with(1, options).await;
    node.create(FILMS).await;
    let client = node.client();
    client.insert(&[(1, 1)]).await;
    node.meta.slow_down(Call::Commit, Duration::from_secs(1_000));
    client.flush().await;
    assert_eq!(node.rows(FILMS).await, [(1, 1)]);
}

/// At every call of a flush the connection ends: the flush completes.
#[tokio::test(start_paused = true)]
async fn a_flush_completes_although_its_client_disconnects() {
    for n in 1.. {
        let node = node().await;
        let client = node.client();
        client.insert(&[(1, 1)]).await;
        node.meta.stop_before(n);
        let request = client.clone();
        let flushing = tokio::spawn(async move { request.try_flush().await });
        if !node.meta.stopped_or_ended(&flushing).await {
            assert!(n > 2);
            break;
        }
        // The request's task goes with the connection, the flush does not.
        flushing.abort();
        client.disconnect();
        node.meta.resume();
        crate::world::until(|| async { node.rows(FILMS).await == [(1, 1)] }).await;
        told_once(&client.reconnected(), "may have been committed").await;
        crate::world::until(|| async { node.ingest.buffered_bytes() == 0 }).await;
    }
}

/// A flush that still runs for the old connection is older than everything that comes on the new one.
#[tokio::test(start_paused = true)]
async fn s06_a_client_that_reconnects_does_not_overtake_its_own_flush() {
    use crate::faulty_meta::Fault;
    for fault in [None, Some(Fault::AnswerLost), Some(Fault::NeverSent), Some(Fault::Late)] {
        for cut in [false, true] {
            let node = node().await;
            let old = node.client();
            old.insert(&[(1, 1)]).await;
            if let Some(fault) = fault {
                node.meta.fail_next(Call::Commit, fault);
                node.meta.fail_always(Call::Settle, Fault::Refused);
            }
            node.meta.stop_at(Call::Commit);
            let request = old.clone();
            let flushing = tokio::spawn(async move { request.try_flush().await });
            node.meta.stopped().await;
            if cut {
                old.disconnect();
            }
            let new = old.reconnected();
            assert!(matches!(new.try_flush().await, Err(Error::SessionLost { .. })));
            let deleting = tokio::spawn(async move {
                loop {
                    match new.write(FILMS, &Write::DeleteKeys(vec![1])).await {
                        Ok(_) => return new.flush().await,
                        // The outcome of the old flush is open.
                        Err(error) => assert_eq!(error.kind(), ErrorKind::Unknown, "{error}"),
                    }
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            });
            tokio::time::sleep(Duration::from_secs(30)).await;
            assert!(!deleting.is_finished());
            node.meta.resume();
            tokio::time::sleep(Duration::from_secs(60)).await;
            assert_eq!(deleting.is_finished(), fault.is_none(), "{fault:?}");
            node.meta.recover();
            deleting.await.unwrap();
            assert_eq!(flushing.await.unwrap().is_ok(), fault.is_none());
            node.meta.land().await;
            assert!(node.rows(FILMS).await.is_empty(), "{fault:?} {cut}");
        }
    }
}

/// Calls on the new connection wait for a flush of the old one; one that comes just when that ends gets behind them.
#[tokio::test(start_paused = true)]
async fn s06_calls_that_wait_for_the_flush_of_an_earlier_connection_keep_their_order() {
    let node = node().await;
    let old = node.client();
    old.insert(&[(1, -1)]).await;
    node.meta.stop_at(Call::Commit);
    let new = old.reconnected();
    let last = tokio::spawn({
        let (old, new) = (old.clone(), new.clone());
        async move {
            old.try_flush().await.unwrap();
            tokio::spawn(async move { new.upsert(&[(1, 3)]).await }).await.unwrap();
        }
    });
    node.meta.stopped().await;
    assert!(matches!(new.try_flush().await, Err(Error::SessionLost { .. })));
    let mut calls = Vec::new();
    for tag in [1, 2] {
        let new = new.clone();
        calls.push(tokio::spawn(async move { new.upsert(&[(1, tag)]).await }));
        tokio::task::yield_now().await;
    }
    calls.push(last);
    node.meta.resume();
    for call in calls {
        call.await.unwrap();
    }
    new.flush().await;
    assert_eq!(node.rows(FILMS).await, [(1, 3)]);
}

#[tokio::test(start_paused = true)]
async fn s06_concurrent_calls_take_effect_in_the_order_they_arrive() {
    let node = node().await;
    let client = node.client();
    client.insert(&[(1, -1)]).await;
    // A flush runs while more calls arrive, a flush among them; they wait for their turn, in order.
    node.meta.stop_at(Call::Commit);
    let run = |what: Option<Write>| {
        let client = client.clone();
        tokio::spawn(async move {
            match what {
                Some(write) => client.write(FILMS, &write).await.map(|_| 0),
                None => client.try_flush().await.map(|flushed| flushed.ops),
            }
        })
    };
    let mut calls = vec![run(None)];
    node.meta.stopped().await;
    for tag in 0..20 {
        calls.push(run(Some(Write::Upsert(vec![(1, tag)]))));
        tokio::task::yield_now().await;
    }
    calls.push(run(None));
    tokio::task::yield_now().await;
    calls.push(run(Some(Write::DeleteKeys(vec![1]))));
    tokio::task::yield_now().await;
    node.meta.resume();
    let mut flushed = Vec::new();
    for call in calls {
        flushed.push(call.await.unwrap().unwrap());
    }
    assert_eq!((flushed[0], flushed[21]), (1, 20));
    assert_eq!(node.rows(FILMS).await, [(1, 19)]);
    client.flush().await;
    assert!(node.rows(FILMS).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_call_that_waits_when_the_connection_ends_does_nothing() {
    let node = node().await;
    let client = node.client();
    client.insert(&[(1, 1)]).await;
    node.meta.stop_at(Call::Commit);
    let run = |client: Client| tokio::spawn(async move { client.try_flush().await });
    let first = run(client.clone());
    node.meta.stopped().await;
    let writer = client.clone();
    let waiting = tokio::spawn(async move { writer.write(FILMS, &Write::Insert(vec![(2, 2)])).await });
    tokio::task::yield_now().await;
    client.disconnect();
    node.meta.resume();
    first.await.unwrap().unwrap();
    assert!(matches!(waiting.await.unwrap(), Err(Error::SessionLost { .. })));
    assert_eq!(node.rows(FILMS).await, [(1, 1)]);
}

/// A write that has its turn when the client reconnects would be acknowledged into a block that is thrown away, and the
/// client told nothing: when its session ended there was nothing in it.
#[tokio::test(start_paused = true)]
async fn s10_a_write_whose_session_ends_meanwhile_is_not_acknowledged() {
    let node = node().await;
    let record = node.collection(FILMS).await.record().unwrap().clone();
    let old = node.client();
    let turn = node.ingest.turn(old.id).await.unwrap();
    let new = old.reconnected();
    let flushing = tokio::spawn(async move { new.try_flush().await });
    tokio::task::yield_now().await;
    let written = turn.submit(op(&record, &Write::Insert(vec![(1, 1)]))).await;
    assert!(matches!(written, Err(Error::SessionLost { .. })), "{written:?}");
    assert_eq!(flushing.await.unwrap().unwrap().ops, 0);
    assert!(node.rows(FILMS).await.is_empty());
}

/// The client is told that the block is lost, so it must be.
#[tokio::test(start_paused = true)]
async fn s10_a_flush_that_has_not_begun_when_its_session_ends_publishes_nothing() {
    let node = node().await;
    let client = node.client();
    client.insert(&[(1, 1)]).await;
    let turn = node.ingest.turn(client.id).await.unwrap();
    client.disconnect();
    let flushed = turn.flush(FlushRequest::default()).await;
    assert!(matches!(flushed, Err(Error::SessionLost { .. })), "{flushed:?}");
    told_once(&client.reconnected(), "1 operations").await;
    assert!(node.rows(FILMS).await.is_empty());
}

fn counting(block_ops: u64) -> FlushRequest {
    FlushRequest { name: None, block_ops: Some(block_ops) }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_counts_finds_out_what_its_server_lost() {
    let stores = Stores::new().await;
    let node = stores.node(1).await;
    node.create(FILMS).await;
    let client = node.client();
    client.insert(&[(1, 1)]).await;
    client.delete(&[7]).await;
    // Restarted; the client asks for a new identifier, so the server cannot know.
    let node = stores.node(1).await;
    let client = node.client();
    client.insert(&[(2, 2)]).await;
    let error = client.flush_with(counting(3)).await.unwrap_err();
    assert!(matches!(error, Error::BlockOpsMismatch { client: 3, session: 1 }), "{error}");
    assert!(node.rows(FILMS).await.is_empty());
    assert_eq!(client.flush_with(counting(0)).await.unwrap().ops, 0);
    client.insert(&[(3, 3)]).await;
    client.upsert(&[(4, 4)]).await;
    assert_eq!(client.flush_with(counting(2)).await.unwrap().ops, 2);
    assert_eq!(node.rows(FILMS).await, [(3, 3), (4, 4)]);
    assert_eq!(client.flush_with(counting(0)).await.unwrap().ops, 0);
}

#[tokio::test(start_paused = true)]
async fn a_count_survives_a_flush_that_fails_and_a_collection_that_is_dropped() {
    let node = node().await;
    node.create("b").await;
    let client = node.client();
    client.insert(&[(1, 1)]).await;
    client.write("b", &Write::Insert(vec![(1, 1)])).await.unwrap();
    client.write("b", &Write::Insert(vec![(2, 2)])).await.unwrap();
    node.meta.fail_next(Call::Commit, crate::faulty_meta::Fault::Refused);
    client.flush_with(counting(3)).await.unwrap_err();
    node.drop_collection("b").await;
    let error = client.flush_with(counting(3)).await.unwrap_err();
    assert!(matches!(error, Error::CollectionDropped { ops: 2, .. }), "{error}");
    // The client's own count is still three.
    assert_eq!(client.flush_with(counting(3)).await.unwrap().ops, 1);
    assert_eq!(node.rows(FILMS).await, [(1, 1)]);
}

#[tokio::test(start_paused = true)]
async fn a_count_holds_over_an_unknown_outcome() {
    use crate::faulty_meta::Fault;
    for fault in [Fault::AnswerLost, Fault::NeverSent] {
        let node = node().await;
        let client = node.client();
        client.insert(&[(1, 1)]).await;
        node.meta.fail_next(Call::Commit, fault);
        node.meta.fail_always(Call::Settle, Fault::Refused);
        client.flush_with(counting(1)).await.unwrap_err();
        node.meta.recover();
        client.flush_with(counting(1)).await.unwrap();
        assert_eq!(node.rows(FILMS).await, [(1, 1)]);
    }
}

/// What was given up for lost and turns out committed is missed by nobody.
#[tokio::test(start_paused = true)]
async fn a_count_holds_over_an_automatic_flush_with_an_unknown_outcome() {
    use crate::faulty_meta::Fault;
    for (fault, flush_interval) in [
        (Fault::AnswerLost, Duration::from_secs(1)),
        (Fault::NeverSent, Duration::from_secs(1)),
        // A write that its client was told to have failed.
        (Fault::AnswerLost, Duration::ZERO),
        (Fault::NeverSent, Duration::ZERO),
    ] {
        let options = IngestOptions { auto_flush: true, flush_interval, ..IngestOptions::default() };
        let node = Stores::new().await.node_with(1, options).await;
        node.create(FILMS).await;
        let client = node.client();
        node.meta.fail_next(Call::Commit, fault);
        node.meta.fail_always(Call::Settle, Fault::Refused);
        let acknowledged = client.write(FILMS, &Write::Insert(vec![(1, 1)])).await.is_ok();
        assert_eq!(acknowledged, !flush_interval.is_zero());
        tokio::time::sleep(Duration::from_secs(60)).await;
        node.meta.recover();
        let flushed = client.flush_with(counting(u64::from(acknowledged))).await;
        if acknowledged && fault == Fault::NeverSent {
            assert!(matches!(flushed, Err(Error::BlockOpsMismatch { client: 1, session: 0 })), "{flushed:?}");
        } else {
            assert!(flushed.is_ok(), "{fault:?} {flush_interval:?}: {flushed:?}");
        }
        assert_eq!(node.rows(FILMS).await.is_empty(), fault == Fault::NeverSent);
    }
}

#[tokio::test(start_paused = true)]
async fn a_count_includes_what_was_flushed_automatically() {
    let options = IngestOptions { auto_flush: true, ..IngestOptions::default() };
    let node = Stores::new().await.node_with(1, options).await;
    node.create(FILMS).await;
    let client = node.client();
    client.insert(&[(1, 1)]).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(node.rows(FILMS).await, [(1, 1)]);
    client.insert(&[(2, 2)]).await;
    client.flush_with(counting(2)).await.unwrap();
    assert_eq!(node.rows(FILMS).await, [(1, 1), (2, 2)]);
    // What an automatic flush lost is missed.
    client.insert(&[(3, 3)]).await;
    node.meta.fail_always(Call::Commit, crate::faulty_meta::Fault::Refused);
    tokio::time::sleep(Duration::from_secs(5)).await;
    node.meta.recover();
    assert!(matches!(client.flush_with(counting(1)).await, Err(Error::BlockOpsMismatch { client: 1, session: 0 })));
}

#[tokio::test(start_paused = true)]
async fn what_a_client_wrote_into_a_collection_it_drops_itself_is_forgotten() {
    let node = node().await;
    node.create("b").await;
    let client = node.client();
    client.insert(&[(1, 1)]).await;
    client.write("b", &Write::Insert(vec![(1, 1)])).await.unwrap();
    let id = node.collection("b").await.record().unwrap().id;
    node.drop_collection("b").await;
    node.ingest.turn(client.id).await.unwrap().discard(id);
    client.flush_with(counting(2)).await.unwrap();
    assert_eq!(node.rows(FILMS).await, [(1, 1)]);
}

#[tokio::test(start_paused = true)]
async fn a_reader_with_unflushed_rows_is_told_once_a_collection() {
    let node = node().await;
    node.create("b").await;
    let client = node.client();
    let id = node.collection(FILMS).await.record().unwrap().id;
    let warning = |client: &Client| node.ingest.unflushed_warning(client.id, id, FILMS);
    assert_eq!(warning(&client), None);
    client.delete(&[1]).await;
    client.write("b", &Write::Insert(vec![(1, 1)])).await.unwrap();
    assert_eq!(warning(&client), None);
    client.insert(&[(1, 1), (2, 2)]).await;
    let told = warning(&client).unwrap();
    assert!(told.contains("2 rows") && told.contains("flush()") && told.contains("auto_flush"), "{told}");
    assert_eq!(warning(&client), None);
    assert_eq!(warning(&node.client()), None);
}

/// A client that was on another node meanwhile, and lost there what it had not flushed, is told when it comes back.
#[tokio::test(start_paused = true)]
async fn s10_a_client_that_comes_back_from_another_node_is_told() {
    let stores = Stores::new().await;
    let nodes = [stores.node(1).await, stores.node(2).await];
    nodes[0].create(FILMS).await;
    let on = |node: usize, client: &Client| nodes[node].client_on(nodes[node].connect(), client.id.identifier);
    let first = nodes[0].client();
    first.insert(&[(1, 1)]).await;
    first.flush().await;
    first.disconnect();
    let second = on(1, &first);
    told_once(&second, "connected to another one").await;
    second.insert(&[(2, 2)]).await;
    second.disconnect();
    let third = on(0, &first);
    told_once(&third, "connected to node 2 of cluster c").await;
    third.insert(&[(3, 3)]).await;
    third.flush().await;
    // Here it has been last: it comes back silently.
    third.disconnect();
    let fourth = on(0, &first);
    fourth.insert(&[(4, 4)]).await;
    fourth.flush().await;
    let fifth = on(1, &first);
    assert!(matches!(fifth.try_flush().await, Err(Error::SessionLost { .. })));
    fifth.insert(&[(5, 5)]).await;
    fifth.flush().await;
    assert_eq!(nodes[0].rows(FILMS).await, [(1, 1), (3, 3), (4, 4), (5, 5)]);
}

/// A flush that still runs on the node a client has left does not land behind what the client does on its new one.
#[tokio::test(start_paused = true)]
async fn s06_a_flush_on_the_node_a_client_has_left_does_not_land_late() {
    let stores = Stores::new().await;
    let (old, new) = (stores.node(1).await, stores.node(2).await);
    old.create(FILMS).await;
    let left = old.client();
    left.insert(&[(1, 1)]).await;
    old.meta.stop_at(Call::Commit);
    let request = left.clone();
    let flushing = tokio::spawn(async move { request.try_flush().await });
    old.meta.stopped().await;
    let here = new.client_on(new.connect(), left.id.identifier);
    assert!(matches!(here.try_flush().await, Err(Error::SessionLost { .. })));
    here.delete(&[1]).await;
    here.insert(&[(2, 2)]).await;
    here.flush().await;
    old.meta.resume();
    let error = flushing.await.unwrap().unwrap_err();
    assert!(error.to_string().contains("another node has taken up this client"), "{error}");
    assert_eq!(new.rows(FILMS).await, [(2, 2)]);
    // It was told: who goes on writing where it was starts anew.
    left.insert(&[(4, 4)]).await;
    left.flush().await;
    assert_eq!(new.rows(FILMS).await, [(2, 2), (4, 4)]);
}

/// A mark that is gone with its lease is missed by nobody.
#[tokio::test(start_paused = true)]
async fn a_client_outlives_its_mark() {
    let stores = Stores::new().await;
    let (one, two) = (stores.node(1).await, stores.node(2).await);
    one.create(FILMS).await;
    let client = two.client_on(two.connect(), one.client().id.identifier);
    told_once(&client, "connected to another one").await;
    client.insert(&[(1, 1)]).await;
    stores.advance(Duration::from_secs(100 * 3_600));
    client.flush().await;
    client.insert(&[(2, 2)]).await;
    client.flush().await;
    assert_eq!(one.rows(FILMS).await, [(1, 1), (2, 2)]);
}

/// What a node does by itself, as when it stops, takes no client away from the one it is on.
#[tokio::test(start_paused = true)]
async fn s10_a_node_that_stops_takes_nobody_back() {
    let stores = Stores::new().await;
    let (old, new) = (stores.node(1).await, stores.node(2).await);
    old.create(FILMS).await;
    let left = old.client();
    left.insert(&[(1, 1)]).await;
    let here = new.client_on(new.connect(), left.id.identifier);
    told_once(&here, "connected to another one").await;
    here.insert(&[(2, 2)]).await;
    assert!(left.try_flush().await.is_err());
    old.ingest.flush_owed().await;
    here.flush().await;
    assert_eq!(new.rows(FILMS).await, [(2, 2)]);
}

/// Nobody hears of an automatic flush that fails as its client has gone; who comes back to that very connection is told.
#[tokio::test(start_paused = true)]
async fn s10_a_client_that_comes_back_to_an_automatic_session_is_told() {
    let stores = Stores::new().await;
    let options = IngestOptions { auto_flush: true, ..IngestOptions::default() };
    let (old, new) = (stores.node_with(1, options).await, stores.node(2).await);
    old.create(FILMS).await;
    let left = old.client();
    left.insert(&[(1, 1)]).await;
    let here = new.client_on(new.connect(), left.id.identifier);
    told_once(&here, "connected to another one").await;
    here.insert(&[(2, 2)]).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    told_once(&left, "connected to node 2 of cluster c").await;
}

/// A call that is given up while it takes up its client leaves the mark, but does not make the client forget what it lost.
#[tokio::test(start_paused = true)]
async fn s10_a_client_that_gives_up_the_call_that_would_tell_it_is_told_with_the_next_one() {
    for reconnects in [false, true] {
        let stores = Stores::new().await;
        let (one, two) = (stores.node(1).await, stores.node(2).await);
        one.create(FILMS).await;
        let first = one.client();
        first.insert(&[(1, 1)]).await;
        first.disconnect();
        let mut second = two.client_on(two.connect(), first.id.identifier);
        two.meta.fail_next_put("/.client/", Fault::AnswerLost);
        two.meta.stop_at(Call::Write);
        let request = second.clone();
        let call = tokio::spawn(async move { request.try_flush().await });
        two.meta.stopped().await;
        two.meta.stop_at(Call::Read);
        two.meta.resume();
        two.meta.stopped().await;
        call.abort();
        assert!(call.await.unwrap_err().is_cancelled());
        if reconnects {
            second.disconnect();
            second = second.reconnected();
        }
        told_once(&second, "connected to another one").await;
    }
}

/// However long a client stays on another node, the one that gave it its identifier knows that it has been away.
#[tokio::test(start_paused = true)]
async fn s10_a_client_that_comes_back_after_days_is_told() {
    let stores = Stores::new().await;
    let (one, two) = (stores.node(1).await, stores.node(2).await);
    one.create(FILMS).await;
    let first = one.client();
    let away = two.client_on(two.connect(), first.id.identifier);
    told_once(&away, "connected to another one").await;
    for key in 0..6 {
        stores.advance(Duration::from_secs(10 * 3_600));
        away.insert(&[(key, key)]).await;
        away.flush().await;
    }
    away.insert(&[(6, 6)]).await;
    away.disconnect();
    let back = one.client_on(one.connect(), first.id.identifier);
    told_once(&back, "connected to node 2 of cluster c").await;
}

/// A drop that hangs on a node whose client has gone on elsewhere takes with it nothing that was done there.
#[tokio::test]
async fn s06_a_change_on_the_node_a_client_has_left_does_not_land_late() {
    for with_session in [true, false] {
        let stores = Stores::new().await;
        let (old, there) = (stores.node(1).await, stores.node(2).await);
        old.create(FILMS).await;
        let here = old.client();
        if with_session {
            here.insert(&[(1, 1)]).await;
            here.flush().await;
        }
        // As far as the call had got: it has the client's turn, or has found that there is none to wait for.
        let (ingest, client) = (&here.node.ingest, here.id);
        let fence = match ingest.turn_if_any(client).await.unwrap() {
            Some(turn) => turn.fence(),
            None => ingest.fence(client).await.unwrap(),
        };
        let fence = fence.unwrap();
        let moved = there.client_on(there.connect(), client.identifier);
        assert!(moved.write(FILMS, &Write::Insert(vec![(2, 2)])).await.is_err(), "it is told once");
        moved.insert(&[(2, 2)]).await;
        moved.flush().await;
        let late = here.node.database.changing(Some(&*fence)).drop_collection(FILMS).await.unwrap_err();
        assert!(matches!(late, redkite_table::Error::ClientMoved { .. }), "{late}");
        assert!(moved.node.rows(FILMS).await.contains(&(2, 2)));
        // Who has no session there and only changes collections is fenced as well.
        let fence = there.ingest.fence(moved.id).await.unwrap().unwrap();
        there.database.changing(Some(&*fence)).rename_collection(FILMS, "others").await.unwrap();
        let back = here.node.client_on(here.node.connect(), client.identifier);
        let again = here.node.ingest.fence(back.id).await.unwrap().unwrap();
        here.node.database.changing(Some(&*again)).rename_collection("others", FILMS).await.unwrap();
        let late = there.database.changing(Some(&*fence)).drop_collection(FILMS).await.unwrap_err();
        assert!(matches!(late, redkite_table::Error::ClientMoved { .. }), "{late}");
        // It hears of what it may have lost with its next write, once.
        assert!(back.write(FILMS, &Write::Insert(vec![(3, 3)])).await.is_err());
        back.insert(&[(3, 3)]).await;
        back.flush().await;
    }
}
