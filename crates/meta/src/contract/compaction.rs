//! Compaction.

use redkite_types::Revision;

use super::{Store, next_batches, pairs};
use crate::{Error, Op, RangeRequest};

fn is_compacted(error: &Error, revision: Revision) -> bool {
    matches!(error, Error::Compacted { asked, .. } if *asked == revision)
}

pub(super) async fn reads_and_watches_of_the_past_fail(store: Store) {
    let first = store.put("a", "1").await;
    let second = store.put("a", "2").await;
    let third = store.put("a", "3").await;
    let mut behind = store.watch(store.all(), third).await;
    store.inner.compact(second).await.unwrap();

    let read = |revision| store.inner.range(RangeRequest::new(store.all()).at(revision));
    assert!(is_compacted(&read(first).await.unwrap_err(), first));
    assert_eq!(store.listing(Some(second)).await, pairs(&[("a", "2")]));
    assert_eq!(store.listing(Some(third)).await, pairs(&[("a", "3")]));
    // A change at the compacted revision itself might be gone.
    for revision in [first, second] {
        let error = store.watch_error(revision).await;
        assert!(is_compacted(&error, revision), "from {revision}: {error}");
    }
    let mut after = store.watch(store.all(), third).await;
    for stream in [&mut behind, &mut after] {
        assert_eq!(next_batches(stream, 1).await[0].revision, third);
    }

    for (revision, newest) in [(first, third), (second, third)] {
        assert!(is_compacted(&store.inner.compact(revision).await.unwrap_err(), revision), "below {newest}");
    }
    let future = store.inner.compact(third.next()).await;
    assert!(matches!(future, Err(Error::FutureRevision { asked }) if asked == third.next()), "{future:?}");
}

pub(super) async fn what_is_current_stays(store: Store) {
    let created = store.put("old", "1").await;
    store.put("gone", "1").await;
    store.put("changed", "1").await;
    store.then(vec![Op::Delete(store.exact("gone")), store.put_op("changed", "2")]).await;
    let at = store.newest().await;
    store.put("changed", "3").await;
    let last = store.delete("old").await;
    store.inner.compact(at).await.unwrap();
    assert_eq!(store.listing(Some(at)).await, pairs(&[("changed", "2"), ("old", "1")]));
    assert_eq!(store.listing(None).await, pairs(&[("changed", "3")]));
    let old = store.inner.range(RangeRequest::new(store.exact("old")).at(at)).await.unwrap();
    assert_eq!((old.kvs[0].create_revision, old.kvs[0].version), (created, 1));
    let changed = store.get("changed").await.unwrap();
    assert_eq!(changed.version, 3);

    // To the very newest, then on as ever.
    store.inner.compact(last).await.unwrap();
    assert_eq!(store.listing(Some(last)).await, pairs(&[("changed", "3")]));
    let next = store.put("changed", "4").await;
    assert_eq!(next, last.next());
    assert_eq!(store.get("changed").await.unwrap().version, 4);
    let mut stream = store.watch(store.all(), next).await;
    assert_eq!(next_batches(&mut stream, 1).await[0].revision, next);
}
