//! Flushes the client gave a name (S37): at most once, and an answer that is final.

use redkite_ingest::{Error, FlushRequest};
use redkite_types::{DataType, Field};

use crate::faulty_meta::{Call, Fault};
use crate::plain::{Row, Write};
use crate::world::{Client, FILMS, ID, Stores, TAG, VECTOR, field, schema};

async fn two_nodes() -> (Stores, Client, Client) {
    let stores = Stores::new().await;
    let (a, b) = (stores.node(1).await, stores.node(2).await);
    a.create(FILMS).await;
    (stores, a.client(), b.client())
}

const ROWS: [Row; 2] = [(1, 1), (2, 2)];

#[tokio::test(start_paused = true)]
async fn s37_the_same_block_again_is_not_committed_twice() {
    let (_stores, a, b) = two_nodes().await;
    for client in [&a, &b] {
        client.insert(&ROWS).await;
        client.delete(&[7]).await;
    }
    let first = a.flush_named("load 1").await.unwrap();
    let again = b.flush_named("load 1").await.unwrap();
    assert_eq!((first.revision, first.ops), (again.revision, again.ops));
    assert_eq!(a.node.rows(FILMS).await, ROWS);
    // The resent block is gone, as after any successful flush.
    assert_eq!(b.try_flush().await.unwrap().ops, 0);
    assert_eq!(a.node.rows(FILMS).await, ROWS);
}

#[tokio::test(start_paused = true)]
async fn s37_the_same_name_with_another_block_is_an_error() {
    let (_stores, a, b) = two_nodes().await;
    a.insert(&ROWS).await;
    a.flush_named("n").await.unwrap();
    b.insert(&[(3, 3)]).await;
    let error = b.flush_named("n").await.unwrap_err();
    assert!(matches!(error, Error::FlushNameReused { .. }), "{error}");
    assert_eq!(a.node.rows(FILMS).await, ROWS);
    b.flush_named("m").await.unwrap();
    assert_eq!(a.node.rows(FILMS).await, [(1, 1), (2, 2), (3, 3)]);
}

#[tokio::test(start_paused = true)]
async fn s37_an_unknown_name_is_not_committed_and_never_will_be() {
    for ask in ["empty flush", "question"] {
        let (_stores, a, b) = two_nodes().await;
        a.insert(&ROWS).await;
        match ask {
            "question" => assert!(!b.node.ingest.flush_outcome(b"n").await.unwrap()),
            _ => assert!(matches!(b.flush_named("n").await, Err(Error::FlushNotCommitted))),
        }
        let error = a.flush_named("n").await.unwrap_err();
        assert!(matches!(error, Error::FlushNotCommitted), "{ask}: {error}");
        assert!(a.node.rows(FILMS).await.is_empty());
        // The block is still there for another name.
        a.flush_named("n2").await.unwrap();
        assert_eq!(a.node.rows(FILMS).await, ROWS);
        assert!(a.node.ingest.flush_outcome(b"n2").await.unwrap() && !a.node.ingest.flush_outcome(b"n").await.unwrap());
    }
}

/// At every call of the first flush, another node is asked for its outcome: both agree, for ever.
#[tokio::test(start_paused = true)]
async fn s37_asked_while_the_first_one_still_runs_elsewhere() {
    for empty_flush in [false, true] {
        let (mut committed, mut refused) = (0, 0);
        for n in 1.. {
            let (_stores, a, b) = two_nodes().await;
            a.insert(&ROWS).await;
            a.node.meta.stop_before(n);
            let flushing = tokio::spawn({
                let a = a.clone();
                async move { a.flush_named("n").await }
            });
            let stopped = a.node.meta.stopped_or_ended(&flushing).await;
            let told = match empty_flush {
                true => b.flush_named("n").await.is_ok(),
                false => b.node.ingest.flush_outcome(b"n").await.unwrap(),
            };
            a.node.meta.resume();
            let first = flushing.await.unwrap();
            assert_eq!(first.is_ok(), told, "stopped before call {n}: {first:?}");
            assert_eq!(a.node.rows(FILMS).await, if told { &ROWS[..] } else { &[] });
            assert_eq!(b.node.ingest.flush_outcome(b"n").await.unwrap(), told);
            if told {
                committed += 1
            } else {
                refused += 1
            }
            if !stopped {
                break;
            }
        }
        assert!(committed > 0 && refused > 2, "{committed} {refused}");
    }
}

#[tokio::test(start_paused = true)]
async fn s37_resent_to_an_empty_session_while_the_first_still_runs_here() {
    for n in 1.. {
        let (_stores, a, _) = two_nodes().await;
        a.insert(&ROWS).await;
        a.node.meta.stop_before(n);
        let first = tokio::spawn({
            let a = a.clone();
            async move { a.flush_named("n").await }
        });
        if !a.node.meta.stopped_or_ended(&first).await {
            assert!(n > 2);
            break;
        }
        // The connection is cut and the client comes back under its old identifier: told once, then it resends.
        let again = a.reconnected();
        let error = again.flush_named("n").await.unwrap_err();
        assert!(
            matches!(&error, Error::SessionLost { reason } if reason.contains("may have been committed")),
            "{error}"
        );
        let resent = tokio::spawn(async move {
            again.flush_with(FlushRequest { name: Some(b"n".to_vec()), block_ops: Some(1) }).await
        });
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        assert!(!resent.is_finished(), "it must wait for the one that runs");
        a.node.meta.resume();
        let first = first.await.unwrap().unwrap();
        assert_eq!(resent.await.unwrap().unwrap().revision, first.revision);
        assert_eq!(a.node.rows(FILMS).await, ROWS);
    }
}

#[tokio::test(start_paused = true)]
async fn s37_a_question_does_not_wait_for_ever() {
    let (_stores, a, _) = two_nodes().await;
    a.insert(&ROWS).await;
    a.node.meta.stop_at(Call::Commit);
    let first = tokio::spawn({
        let a = a.clone();
        async move { a.flush_named("n").await }
    });
    a.node.meta.stopped().await;
    assert!(!a.node.ingest.flush_outcome(b"n").await.unwrap());
    a.node.meta.resume();
    assert!(matches!(first.await.unwrap(), Err(Error::FlushNotCommitted)));
    assert!(a.node.rows(FILMS).await.is_empty());
}

/// Two clients use one name, at every interleaving: one commit; the same block is a success for both, another one an error
/// for the later one.
#[tokio::test(start_paused = true)]
async fn s37_two_clients_using_one_name() {
    for same in [true, false] {
        for here in [true, false] {
            for n in 1.. {
                let (_stores, a, elsewhere) = two_nodes().await;
                let b = if here { a.node.client() } else { elsewhere };
                a.insert(&ROWS).await;
                b.insert(if same { &ROWS } else { &[(3, 3)] }).await;
                a.node.meta.stop_before(n);
                let first = tokio::spawn({
                    let a = a.clone();
                    async move { a.flush_named("n").await }
                });
                let stopped = a.node.meta.stopped_or_ended(&first).await;
                let second = tokio::spawn({
                    let b = b.clone();
                    async move { b.flush_named("n").await }
                });
                if !here {
                    while !second.is_finished() {
                        tokio::task::yield_now().await;
                    }
                }
                a.node.meta.resume();
                let (first, second) = (first.await.unwrap(), second.await.unwrap());
                let rows = a.node.rows(FILMS).await;
                if same {
                    assert_eq!(first.unwrap().revision, second.unwrap().revision);
                    assert_eq!(rows, ROWS);
                } else {
                    let reused = |result: &Result<_, _>| matches!(result, Err(Error::FlushNameReused { .. }));
                    assert!(
                        first.is_ok() != second.is_ok() && reused(&first) != reused(&second),
                        "{first:?} {second:?}"
                    );
                    assert_eq!(rows, if first.is_ok() { &ROWS[..] } else { &[(3, 3)] });
                }
                if !stopped {
                    break;
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn s37_a_named_flush_without_an_answer_is_found_by_its_name() {
    for fault in [Fault::AnswerLost, Fault::NeverSent, Fault::Late] {
        for cut in [false, true] {
            let (_stores, a, b) = two_nodes().await;
            let meta = a.node.meta.clone();
            a.insert(&ROWS).await;
            meta.fail_next(Call::Commit, fault);
            meta.fail_always(Call::Settle, Fault::Refused);
            assert!(matches!(a.flush_named("n").await, Err(Error::OutcomeUnknown { .. })));
            meta.recover();
            if cut {
                a.disconnect();
                let told = b.node.ingest.flush_outcome(b"n").await.unwrap();
                assert_eq!(told, fault == Fault::AnswerLost);
                meta.land().await;
                assert_eq!(b.node.rows(FILMS).await, if told { &ROWS[..] } else { &[] });
            } else {
                a.flush_named("n").await.unwrap();
                meta.land().await;
                assert_eq!(b.node.rows(FILMS).await, ROWS);
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn s37_automatic_keys_do_not_tell_resent_blocks_apart() {
    let stores = Stores::new().await;
    let (a, b) = (stores.node(1).await, stores.node(2).await);
    let mut keyless = schema();
    keyless.fields[0] = Field { primary_key: true, auto_id: true, ..field(ID, "id", DataType::Int64) };
    a.create_with(FILMS, keyless, &[]).await;
    // Vectors are alike here only because the model's vectors depend on the key; keep the key out of them.
    let (a, b) = (a.client(), b.client());
    for (client, first_key) in [(&a, 10), (&b, 20)] {
        let record = client.node.collection(FILMS).await.record().unwrap().clone();
        let mut op = crate::world::op(&record, &Write::Insert(vec![(0, 5), (0, 6)]));
        let redkite_ingest::block::OpKind::Insert(batch) = &op.kind else { unreachable!() };
        let keys = std::sync::Arc::new(arrow_array::Int64Array::from(vec![first_key, first_key + 1]));
        let columns = vec![keys as _, batch.column(1).clone(), batch.column(2).clone()];
        let batch = arrow_array::RecordBatch::try_new(batch.schema(), columns).unwrap();
        op.kind = redkite_ingest::block::OpKind::Insert(batch);
        client.node.ingest.turn(client.id).await.unwrap().submit(op).await.unwrap();
    }
    let first = a.flush_named("n").await.unwrap();
    assert_eq!(b.flush_named("n").await.unwrap(), first);
    let collection = a.node.collection(FILMS).await;
    assert_eq!(collection.live_rows(), 2);
    let reader = {
        let fragment = collection.fragments.values().next().unwrap();
        a.node.database.readers.open(&collection, fragment, [ID, TAG, VECTOR]).await.unwrap()
    };
    let keys = reader.take(ID, &[0, 1]).unwrap();
    assert_eq!(*keys, arrow_array::Int64Array::from(vec![10, 11]));
}

#[tokio::test(start_paused = true)]
async fn s37_names_are_any_bytes_but_not_too_many() {
    let (_stores, a, _) = two_nodes().await;
    for name in [&b"a/b"[..], b"..", &[0, 255, b'\n'], &[7; 128]] {
        a.insert(&[(1, 1)]).await;
        a.flush_with(FlushRequest { name: Some(name.to_vec()), block_ops: None }).await.unwrap();
        assert!(a.node.ingest.flush_outcome(name).await.unwrap());
    }
    a.insert(&[(1, 1)]).await;
    let long = FlushRequest { name: Some(vec![7; 129]), block_ops: None };
    assert!(matches!(a.flush_with(long).await, Err(Error::FlushNameTooLong { limit: 128, length: 129 })));
    // Nor is it asked for, as asking puts a key.
    let asked = a.node.ingest.flush_outcome(&[7; 129]).await;
    assert!(matches!(asked, Err(Error::FlushNameTooLong { limit: 128, length: 129 })), "{asked:?}");
    assert_eq!(a.try_flush().await.unwrap().ops, 1);
}
