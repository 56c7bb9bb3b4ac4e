//! Commits whose answer never comes, comes late, or comes after the world has changed.

use redkite_ingest::{Error, IngestOptions};
use redkite_types::ErrorKind;

use crate::faulty_meta::{Call, Fault};
use crate::plain::Write;
use crate::world::{Client, FILMS, Stores};

const LOST: [Fault; 3] = [Fault::AnswerLost, Fault::NeverSent, Fault::Late];

async fn client_with_one_row() -> (Stores, Client) {
    let stores = Stores::new().await;
    let node = stores.node(1).await;
    node.create(FILMS).await;
    let client = node.client();
    client.insert(&[(1, 1)]).await;
    (stores, client)
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_never_comes_is_settled_whether_or_not_it_happened() {
    for fault in LOST {
        let (stores, client) = client_with_one_row().await;
        client.node.meta.fail_next(Call::Commit, fault);
        client.flush().await;
        assert_eq!(client.node.rows(FILMS).await, [(1, 1)], "{fault:?}");
        assert!(client.node.meta.land().await.iter().all(|landed| !landed), "{fault:?}");
        assert_eq!(stores.node(2).await.rows(FILMS).await, [(1, 1)], "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn settling_may_lose_answers_itself() {
    for commit in LOST {
        for settle in [Fault::AnswerLost, Fault::NeverSent, Fault::Refused, Fault::Late] {
            let (_stores, client) = client_with_one_row().await;
            client.node.meta.fail_next(Call::Commit, commit);
            client.node.meta.fail_next(Call::Settle, settle);
            client.node.meta.fail_next(Call::Settle, settle);
            client.flush().await;
            assert_eq!(client.node.rows(FILMS).await, [(1, 1)], "{commit:?} {settle:?}");
            client.node.meta.land().await;
            assert_eq!(client.node.rows(FILMS).await, [(1, 1)], "{commit:?} {settle:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_outcome_that_cannot_be_learnt_is_told_and_the_block_stays_frozen() {
    for fault in LOST {
        for lands in [false, true] {
            let (_stores, client) = client_with_one_row().await;
            let meta = client.node.meta.clone();
            meta.fail_next(Call::Commit, fault);
            meta.fail_always(Call::Settle, Fault::Refused);
            let error = client.try_flush().await.unwrap_err();
            assert!(matches!(error, Error::OutcomeUnknown { .. }), "{error}");
            assert_eq!(error.kind(), ErrorKind::Unknown);
            // Nothing may be added to a block that may have been committed.
            let error = client.write(FILMS, &Write::Insert(vec![(2, 2)])).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unknown);
            if lands {
                meta.land().await;
            }
            meta.recover();
            client.insert(&[(3, 3)]).await;
            client.flush().await;
            assert_eq!(client.node.rows(FILMS).await, [(1, 1), (3, 3)], "{fault:?} {lands}");
            meta.land().await;
            assert_eq!(client.node.rows(FILMS).await, [(1, 1), (3, 3)], "{fault:?} {lands}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_and_then_the_collection_is_dropped_and_created_again() {
    for fault in LOST {
        let (stores, client) = client_with_one_row().await;
        let meta = client.node.meta.clone();
        meta.fail_next(Call::Commit, fault);
        meta.fail_always(Call::Settle, Fault::Refused);
        client.try_flush().await.unwrap_err();
        let other = stores.node(2).await;
        other.drop_collection(FILMS).await;
        other.create(FILMS).await;
        meta.recover();
        let result = client.try_flush().await;
        if fault == Fault::AnswerLost {
            // It happened, before the drop.
            result.unwrap();
        } else {
            assert!(matches!(result, Err(Error::CollectionDropped { .. })), "{result:?}");
        }
        meta.land().await;
        assert!(other.rows(FILMS).await.is_empty(), "{fault:?}");
    }
}

/// Neither after the client was told that the collection exists, nor if it just goes on.
#[tokio::test(start_paused = true)]
async fn a_late_drop_does_not_take_what_was_flushed_after_it() {
    for created_again in [true, false] {
        let (_stores, client) = client_with_one_row().await;
        let node = client.node.clone();
        node.meta.fail_next(Call::Commit, Fault::Late);
        node.meta.fail_always(Call::Settle, Fault::Refused);
        let error = node.database.drop_collection(FILMS).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unknown);
        // The outcome of the flush itself is known, so its block stays as it is and may be added to.
        let error = client.try_flush().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        node.meta.recover();
        if created_again {
            node.create(FILMS).await;
        }
        client.insert(&[(2, 2)]).await;
        client.flush().await;
        assert!(node.meta.land().await.iter().all(|landed| !landed), "{created_again}");
        assert_eq!(node.rows(FILMS).await, [(1, 1), (2, 2)], "{created_again}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_commit_keeps_the_block() {
    let (stores, _) = client_with_one_row().await;
    // A node that has no lease for outcomes yet.
    let client = stores.node(2).await.client();
    client.insert(&[(1, 1)]).await;
    for call in [Call::Read, Call::Lease, Call::Commit] {
        client.node.meta.fail_next(call, Fault::Refused);
        let error = client.try_flush().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{call:?}");
    }
    client.flush().await;
    assert_eq!(client.node.rows(FILMS).await, [(1, 1)]);
}

#[tokio::test(start_paused = true)]
async fn an_automatic_flush_that_may_still_land_is_not_overtaken() {
    for fault in LOST {
        let stores = Stores::new().await;
        let options = IngestOptions { auto_flush: true, ..IngestOptions::default() };
        let node = stores.node_with(1, options).await;
        node.create(FILMS).await;
        let client = node.client();
        node.meta.fail_next(Call::Commit, fault);
        node.meta.fail_always(Call::Settle, Fault::Refused);
        client.insert(&[(1, 1)]).await;
        tokio::time::sleep(std::time::Duration::from_secs(60)).await;
        // Issued after the insert, so it must not take effect before it.
        let error = client.write(FILMS, &Write::DeleteKeys(vec![1])).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unknown);
        node.meta.recover();
        client.delete(&[1]).await;
        client.flush().await;
        node.meta.land().await;
        assert!(node.rows(FILMS).await.is_empty(), "{fault:?}");
    }
}

/// A flush whose commit was late finds the floor raised: it commits under new ids, and so do its files.
#[tokio::test(start_paused = true)]
async fn ids_below_the_floor_are_made_anew() {
    use redkite_meta::{Op, Txn};
    use redkite_table::commit::floor_value;
    let (stores, client) = client_with_one_row().await;
    let node = client.node.clone();
    for round in 0..10 {
        client.write(FILMS, &Write::Upsert(vec![(1, round)])).await.unwrap();
    }
    // By then the files are uploaded.
    node.meta.stop_at(Call::Commit);
    let flushing = tokio::spawn({
        let client = client.clone();
        async move { client.try_flush().await }
    });
    node.meta.stopped().await;
    let keys = node.database.keys.clone();
    for _ in 0..5 {
        stores.meta.txn(Txn { then: vec![Op::put("/elsewhere", "x")], ..Txn::default() }).await.unwrap();
    }
    let now = stores.meta.txn(Txn::default()).await.unwrap().revision;
    let raise = Txn { then: vec![Op::put(keys.id_floor(), floor_value(now))], ..Txn::default() };
    stores.meta.txn(raise).await.unwrap();
    node.meta.resume();
    flushing.await.unwrap().unwrap();
    assert_eq!(node.rows(FILMS).await, [(1, 9)]);
    let collection = node.collection(FILMS).await;
    assert!(collection.fragments.keys().all(|id| id.revision() >= now));
}
