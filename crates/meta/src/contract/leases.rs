//! Leases.

use std::time::Duration;

use redkite_types::Revision;

use super::{PATIENCE, Store, next_batch};
use crate::{Error, Event, KeyValue, LeaseId, Op};

/// Long enough that it does not end while the suite runs.
const LONG: Duration = Duration::from_secs(600);

async fn lease_of(store: &Store, name: &str) -> Option<LeaseId> {
    store.get(name).await.and_then(|kv: KeyValue| kv.lease)
}

fn deleted(events: &[Event]) -> Vec<&str> {
    events
        .iter()
        .map(|event| match event {
            Event::Delete { key, .. } => key.rsplit('/').next().unwrap(),
            Event::Put(kv) => panic!("{} was put", kv.key),
        })
        .collect()
}

pub(super) async fn revoked_lease_deletes_its_keys_at_once(store: Store) {
    let lease = store.inner.lease_grant(LONG).await.unwrap();
    let other = store.inner.lease_grant(LONG).await.unwrap();
    assert_ne!(lease, other);
    for (name, lease) in [("a", lease), ("b", lease), ("c", other)] {
        store.put_under(name, lease).await.unwrap();
    }
    store.put("d", "stays").await;
    assert_eq!(lease_of(&store, "a").await, Some(lease));
    let before = store.newest().await;
    let mut stream = store.watch(store.all(), before.next()).await;
    store.inner.lease_revoke(lease).await.unwrap();
    let batch = next_batch(&mut stream).await;
    assert_eq!((batch.revision, deleted(&batch.events)), (before.next(), vec!["a", "b"]));
    let names: Vec<_> = store.listing(None).await.into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["c", "d"]);

    // A lease without keys ends without a revision.
    store.delete("c").await;
    let before = store.newest().await;
    store.inner.lease_revoke(other).await.unwrap();
    assert_eq!(store.newest().await, before);
}

pub(super) async fn a_put_moves_its_key_between_leases(store: Store) {
    let first = store.inner.lease_grant(LONG).await.unwrap();
    let second = store.inner.lease_grant(LONG).await.unwrap();
    for name in ["none", "moved", "kept", "again"] {
        store.put_under(name, first).await.unwrap();
    }
    store.put("none", "free").await;
    store.put_under("moved", second).await.unwrap();
    store.delete("again").await;
    store.put("again", "free").await;
    assert_eq!(lease_of(&store, "none").await, None);
    assert_eq!(lease_of(&store, "moved").await, Some(second));
    store.inner.lease_revoke(first).await.unwrap();
    let names: Vec<_> = store.listing(None).await.into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["again", "moved", "none"]);
    store.inner.lease_revoke(second).await.unwrap();
    assert!(store.get("moved").await.is_none());
}

pub(super) async fn unknown_leases(store: Store) {
    let lease = store.inner.lease_grant(LONG).await.unwrap();
    store.inner.lease_keep_alive(lease).await.unwrap();
    store.inner.lease_revoke(lease).await.unwrap();
    let before = store.newest().await;
    for lease in [lease, LeaseId(0x7777_7777)] {
        let is_named = |error: &Error| matches!(error, Error::LeaseNotFound(id) if *id == lease.0);
        assert!(is_named(&store.inner.lease_keep_alive(lease).await.unwrap_err()));
        assert!(is_named(&store.inner.lease_revoke(lease).await.unwrap_err()));
        assert!(is_named(&store.put_under("a", lease).await.unwrap_err()));
        let puts = vec![store.put_op("b", "1"), Op::Put { key: store.key("a"), value: "1".into(), lease: Some(lease) }];
        assert!(is_named(&store.try_then(puts).await.unwrap_err()));
    }
    assert_eq!(store.newest().await, before, "something of it happened");
    assert!(matches!(store.inner.lease_grant(Duration::ZERO).await, Err(Error::Invalid(_))));
}

pub(super) async fn expiry_deletes_and_renewal_prevents_it(store: Store) {
    let term = Duration::from_secs(2);
    let ends = store.inner.lease_grant(term).await.unwrap();
    let kept = store.inner.lease_grant(term).await.unwrap();
    store.put_under("ends", ends).await.unwrap();
    store.put_under("kept", kept).await.unwrap();
    let from = store.newest().await.next();
    let mut stream = store.watch(store.all(), from).await;
    let until_gone = async {
        while store.get("ends").await.is_some() {
            store.inner.lease_keep_alive(kept).await.unwrap();
            tokio::time::sleep(term / 20).await;
        }
    };
    tokio::time::timeout(PATIENCE, until_gone).await.expect("the lease never ends");
    let batch = next_batch(&mut stream).await;
    assert_eq!((batch.revision, deleted(&batch.events)), (from, vec!["ends"]));
    assert_eq!(lease_of(&store, "kept").await, Some(kept));
    assert!(matches!(store.inner.lease_keep_alive(ends).await, Err(Error::LeaseNotFound(_))));
    store.inner.lease_revoke(kept).await.unwrap();
    assert_ne!(store.newest().await, Revision(from.0));
}
