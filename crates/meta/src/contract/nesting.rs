//! Nested transactions and what is refused.

use redkite_types::Revision;

use super::Store;
use crate::{Compare, Error, KeyRange, Op, OpResult, TXN_BYTES_MAX, TXN_OPS_MAX, Txn, TxnResponse};

fn nested(then: Vec<Op>) -> Op {
    Op::Txn(Txn { then, ..Txn::default() })
}

pub(super) async fn nested_compares_see_the_state_before(store: Store) {
    let txn = Txn {
        compares: vec![Compare::absent(store.key("a"))],
        then: vec![
            store.put_op("a", "1"),
            Op::Txn(Txn {
                // Still absent, though put one line above.
                compares: vec![Compare::absent(store.key("a"))],
                then: vec![store.put_op("b", "1"), Op::Range(store.exact("a")), nested(vec![store.put_op("c", "1")])],
                otherwise: vec![store.put_op("wrong1", "1")],
            }),
            Op::Txn(Txn {
                compares: vec![Compare::created_at(store.key("a"), Revision(1))],
                then: vec![store.put_op("wrong2", "1")],
                otherwise: vec![store.put_op("d", "1")],
            }),
        ],
        otherwise: vec![store.put_op("wrong3", "1")],
    };
    let response = store.inner.txn(txn).await.unwrap();
    let a = store.get("a").await.unwrap();
    let revision = response.revision;
    let inner = |succeeded, results| OpResult::Txn(TxnResponse { succeeded, revision, results });
    let want = vec![
        OpResult::Put,
        inner(true, vec![OpResult::Put, OpResult::Range(vec![a]), inner(true, vec![OpResult::Put])]),
        inner(false, vec![OpResult::Put]),
    ];
    assert_eq!(response, TxnResponse { succeeded: true, revision, results: want });
    let names: Vec<_> = store.listing(None).await.into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["a", "b", "c", "d"]);
}

pub(super) async fn more_than_128_operations_are_one_revision(store: Store) {
    let before = store.newest().await;
    let puts = (0..2_000).map(|i| store.put_op(&format!("{i:04}"), "v")).collect();
    let txn = Txn::packed(vec![Compare::absent(store.key("0000"))], puts, Vec::new()).unwrap();
    let response = store.inner.txn(txn).await.unwrap();
    assert!(response.succeeded);
    assert_eq!(response.revision, before.next());
    let all = store.inner.range(crate::RangeRequest::new(store.all())).await.unwrap();
    assert_eq!(all.kvs.len(), 2_000);
    assert!(all.kvs.iter().all(|kv| kv.mod_revision == response.revision));
}

/// Each shape just fits or is just too large; sizes are those of the levels from the outermost on.
pub(super) async fn limits_of_every_level(store: Store) {
    let level = |outer: usize, inner: usize, compares: usize| {
        let put = |i, j| store.put_op(&format!("{outer}-{inner}-{compares}/{i}/{j}"), "v");
        Txn {
            compares: (0..compares).map(|_| Compare::absent(store.key("absent"))).collect(),
            then: (0..outer).map(|i| nested((0..inner).map(|j| put(i, j)).collect())).collect(),
            otherwise: Vec::new(),
        }
    };
    let table = [
        (1, 127, 0, true),
        (1, 128, 0, false),
        (2, 126, 0, true),
        (2, 127, 0, false),
        (64, 64, 0, true),
        (64, 65, 0, false),
        (127, 1, 0, true),
        (128, 0, 0, true),
        (128, 1, 0, false),
        (129, 0, 0, false),
        (10, 28, 100, true),
        (10, 29, 100, false),
        (0, 0, TXN_OPS_MAX, true),
        (0, 0, TXN_OPS_MAX + 1, false),
    ];
    for (outer, inner, compares, fits) in table {
        match store.inner.txn(level(outer, inner, compares)).await {
            Ok(response) => assert!(fits && response.succeeded, "{outer} x {inner}, {compares} compares"),
            Err(Error::Invalid(text)) => assert!(!fits, "{outer} x {inner}, {compares} compares: {text}"),
            Err(error) => panic!("{outer} x {inner}, {compares} compares: {error}"),
        }
    }
    let flat = |count| (0..count).map(|i| store.put_op(&format!("flat/{i}"), "v")).collect::<Vec<_>>();
    assert!(store.try_then(flat(TXN_OPS_MAX)).await.is_ok());
    assert!(matches!(store.try_then(flat(TXN_OPS_MAX + 1)).await, Err(Error::Invalid(_))));
}

pub(super) async fn a_key_is_changed_once_at_most(store: Store) {
    let put = || store.put_op("a", "1");
    let delete = || Op::Delete(store.exact("a"));
    let sweep = || Op::Delete(KeyRange::Prefix(store.prefix.clone()));
    let either =
        |then, otherwise| Op::Txn(Txn { compares: vec![Compare::absent(store.key("absent"))], then, otherwise });
    let table = [
        ("put, put", vec![put(), put()], false),
        ("put, delete", vec![put(), delete()], false),
        ("delete, put", vec![delete(), put()], false),
        ("put, delete all", vec![put(), sweep()], false),
        ("delete all, put", vec![sweep(), put()], false),
        ("put, nested put", vec![put(), nested(vec![put()])], false),
        ("nested put, put", vec![nested(vec![put()]), put()], false),
        ("nested put, nested put", vec![nested(vec![put()]), nested(vec![put()])], false),
        ("nested put, nested delete", vec![nested(vec![put()]), nested(vec![delete()])], false),
        ("nested delete, nested put", vec![nested(vec![delete()]), nested(vec![put()])], false),
        ("nested delete all, put", vec![nested(vec![sweep()]), put()], false),
        ("put in an untaken branch, put", vec![either(Vec::new(), vec![put()]), put()], false),
        ("put in either branch", vec![either(vec![put()], vec![put()])], true),
        ("put or delete", vec![either(vec![put()], vec![delete()])], true),
        ("delete, delete all", vec![delete(), sweep(), delete()], true),
    ];
    for (what, then, fits) in table {
        match store.try_then(then).await {
            Ok(_) => assert!(fits, "{what}"),
            Err(Error::Invalid(text)) => assert!(!fits && text.contains("twice"), "{what}: {text}"),
            Err(error) => panic!("{what}: {error}"),
        }
    }
}

pub(super) async fn what_is_refused_did_not_happen(store: Store) {
    let before = store.put("a", "1").await;
    let long = "x".repeat(TXN_BYTES_MAX);
    let table = [
        ("empty key", vec![store.put_op("a", "2"), Op::put("", "v")]),
        ("empty deleted key", vec![store.put_op("a", "2"), Op::Delete(KeyRange::Exact(String::new()))]),
        ("empty prefix", vec![store.put_op("a", "2"), Op::Range(KeyRange::Prefix(String::new()))]),
        ("too long", vec![store.put_op("a", "2"), store.put_op("b", &long)]),
        (
            "too long together",
            vec![store.put_op("a", &long[..long.len() / 2]), store.put_op("b", &long[..long.len() / 2])],
        ),
    ];
    for (what, then) in table {
        let answer = store.try_then(then).await;
        assert!(matches!(answer, Err(Error::Invalid(_))), "{what}: {:?}", answer.map(|response| response.revision));
    }
    assert_eq!(store.newest().await, before);
    // What is as long as can be is taken.
    store.put("b", &long[..long.len() - 1_000]).await;
    assert_eq!(store.get("b").await.unwrap().value.len(), long.len() - 1_000);
    store.delete("b").await;
}
