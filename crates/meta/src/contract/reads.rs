//! Reads of sets of keys, now and in the past.

use redkite_types::Revision;

use super::{Store, pairs};
use crate::{Error, KeyRange, Op, RangeRequest, Txn};

pub(super) async fn sets_of_keys(store: Store) {
    for name in ["b", "a", "ab", "a/2", "a/1", "c", "ä"] {
        store.put(name, "v").await;
    }
    let between = |start: &str, end: &str| KeyRange::Between(store.key(start), store.key(end));
    let table: [(KeyRange, &[&str]); 7] = [
        (store.exact("a"), &["a"]),
        (store.exact("aa"), &[]),
        (KeyRange::Prefix(store.key("a")), &["a", "a/1", "a/2", "ab"]),
        (KeyRange::Prefix(store.key("a/")), &["a/1", "a/2"]),
        (between("a", "b"), &["a", "a/1", "a/2", "ab"]),
        (between("a/", "c"), &["a/1", "a/2", "ab", "b"]),
        (store.all(), &["a", "a/1", "a/2", "ab", "b", "c", "ä"]),
    ];
    for (range, want) in table {
        let answer = store.inner.range(RangeRequest::new(range.clone())).await.unwrap();
        let names: Vec<_> = answer.kvs.iter().map(|kv| store.pair(kv).0).collect();
        assert_eq!(names, want, "{range:?}");
        assert!(!answer.more);
    }
    for range in [KeyRange::Exact(String::new()), KeyRange::Prefix(String::new()), between("b", "b"), between("b", "a")]
    {
        let answer = store.inner.range(RangeRequest::new(range.clone())).await;
        assert!(matches!(answer, Err(Error::Invalid(_))), "{range:?}");
    }
}

pub(super) async fn limits_and_keys_only(store: Store) {
    for name in ["a", "b", "c"] {
        store.put(name, "value").await;
    }
    for (limit, count, more) in [(0, 0, true), (1, 1, true), (2, 2, true), (3, 3, false), (4, 3, false)] {
        let request = RangeRequest { limit: Some(limit), ..RangeRequest::new(store.all()) };
        let answer = store.inner.range(request).await.unwrap();
        assert_eq!((answer.kvs.len(), answer.more), (count, more), "limit {limit}");
    }
    let request = RangeRequest { keys_only: true, ..RangeRequest::new(store.all()) };
    let answer = store.inner.range(request).await.unwrap();
    assert_eq!(answer.kvs.len(), 3);
    assert!(answer.kvs.iter().all(|kv| kv.value.is_empty() && kv.mod_revision > Revision::ZERO));
}

pub(super) async fn ranges_at_a_revision(store: Store) {
    let mut history = Vec::new();
    history.push((store.put("a", "1").await, pairs(&[("a", "1")])));
    history.push((store.put("b", "1").await, pairs(&[("a", "1"), ("b", "1")])));
    history.push((store.put("a", "2").await, pairs(&[("a", "2"), ("b", "1")])));
    history.push((store.delete("a").await, pairs(&[("b", "1")])));
    let swap = vec![Op::Delete(store.exact("b")), store.put_op("a", "3")];
    history.push((store.then(swap).await.revision, pairs(&[("a", "3")])));
    for (revision, want) in &history {
        assert_eq!(&store.listing(Some(*revision)).await, want, "at {revision}");
        let answer = store.inner.range(RangeRequest::new(store.exact("a")).at(*revision)).await.unwrap();
        assert_eq!(answer.revision, *revision);
    }
    // A key of the past has the fields it had then.
    let then = store.inner.range(RangeRequest::new(store.exact("a")).at(history[2].0)).await.unwrap().kvs.remove(0);
    assert_eq!((then.create_revision, then.mod_revision, then.version), (history[0].0, history[2].0, 2));
}

pub(super) async fn revisions_that_are_not_there(store: Store) {
    let newest = store.put("a", "1").await;
    let future = store.inner.range(RangeRequest::new(store.all()).at(newest.next())).await;
    assert!(matches!(future, Err(Error::FutureRevision { asked }) if asked == newest.next()), "{future:?}");
    for revision in [Revision::ZERO, Revision(-1)] {
        let answer = store.inner.range(RangeRequest::new(store.all()).at(revision)).await;
        assert!(matches!(answer, Err(Error::Invalid(_))), "{revision}");
    }
}

/// Values large and small, read while every one of them is overwritten again and again in one transaction: a reader
/// sees one generation, never two.
pub(super) async fn more_than_four_megabytes_at_one_revision(store: Store) {
    let large = "x".repeat(300_000);
    for i in 0..40 {
        store.put(&format!("large/{i:02}"), &large).await;
    }
    let puts = |generation: usize| {
        (0..4_000).map(|i| store.put_op(&format!("small/{i:04}"), &generation.to_string())).collect()
    };
    let overwrite = |generation| store.inner.txn(Txn::packed(Vec::new(), puts(generation), Vec::new()).unwrap());
    overwrite(0).await.unwrap();
    let writing = async {
        for generation in 1..=5 {
            overwrite(generation).await.unwrap();
        }
    };
    let reading = async {
        for _ in 0..5 {
            let all = store.inner.range(RangeRequest::new(store.all())).await.unwrap();
            assert_eq!(all.kvs.len(), 4_040);
            assert!(all.kvs[..40].iter().all(|kv| kv.value.len() == large.len()));
            assert!(all.kvs[40..].iter().all(|kv| kv.value == all.kvs[40].value));
            assert!(all.kvs.windows(2).all(|pair| pair[0].key < pair[1].key));
            assert!(all.kvs.iter().all(|kv| kv.mod_revision <= all.revision));
        }
    };
    futures::join!(writing, reading);
    let request = RangeRequest { limit: Some(1_000), ..RangeRequest::new(store.all()) };
    let first = store.inner.range(request).await.unwrap();
    assert_eq!((first.kvs.len(), first.more), (1_000, true));
    store.then(vec![Op::Delete(store.all())]).await;
}
