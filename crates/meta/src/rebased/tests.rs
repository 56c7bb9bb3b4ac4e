use super::*;
use crate::MemoryStore;

const BASE: Revision = Revision(1_000);

async fn put(store: &dyn MetaStore, key: &str) -> Revision {
    store.txn(Txn { then: vec![Op::put(key, "v")], ..Txn::default() }).await.unwrap().revision
}

#[tokio::test]
async fn revisions_are_those_of_the_store_above_the_base() {
    let inner: Arc<dyn MetaStore> = Arc::new(MemoryStore::new());
    let first = put(inner.as_ref(), "/a").await;
    let store = Rebased::new(inner.clone(), BASE);
    let kv = store.get("/a").await.unwrap().unwrap();
    assert_eq!((kv.create_revision, kv.mod_revision), (Revision(1_000 + first.0), Revision(1_000 + first.0)));
    let second = put(&store, "/a").await;
    assert_eq!(second, kv.mod_revision.next());
    let mut watch = store.watch(KeyRange::Exact("/a".into()), second).await.unwrap();
    assert_eq!(watch.next().await.unwrap().unwrap().revision, second);
    let past = RangeRequest::new(KeyRange::Exact("/a".into())).at(kv.mod_revision);
    assert_eq!(store.range(past).await.unwrap().kvs, vec![kv]);
}

#[tokio::test]
async fn the_time_of_the_lost_store_is_forgotten() {
    let inner: Arc<dyn MetaStore> = Arc::new(MemoryStore::new());
    put(inner.as_ref(), "/a").await;
    let store = Rebased::new(inner, BASE);
    let range = || KeyRange::Exact("/a".into());
    for lost in [Revision(1), BASE] {
        let errors = [
            store.range(RangeRequest::new(range()).at(lost)).await.map(drop),
            store.watch(range(), lost).await.map(drop),
            store.compact(lost).await,
        ];
        for error in errors {
            let told =
                matches!(error, Err(Error::Compacted { asked, oldest }) if asked == lost && oldest == BASE.next());
            assert!(told, "{error:?}");
        }
    }
    let future = store.range(RangeRequest::new(range()).at(Revision(1_003))).await;
    assert!(matches!(future, Err(Error::FutureRevision { asked: Revision(1_003) })), "{future:?}");
}

#[tokio::test]
async fn compares_hold_as_if_the_store_had_these_revisions() {
    let inner: Arc<dyn MetaStore> = Arc::new(MemoryStore::new());
    let store = Rebased::new(inner, BASE);
    let there = put(&store, "/there").await;
    put(&store, "/other").await;
    for (key, seen) in [("/there", there), ("/absent", Revision::ZERO)] {
        for asked in [Revision::ZERO, Revision(1), Revision(999), BASE, there, there.next()] {
            for op in [CompareOp::Equal, CompareOp::NotEqual, CompareOp::Less, CompareOp::Greater] {
                let want = match op {
                    CompareOp::Equal => seen == asked,
                    CompareOp::NotEqual => seen != asked,
                    CompareOp::Less => seen < asked,
                    CompareOp::Greater => seen > asked,
                };
                for target in [CompareTarget::CreateRevision(asked), CompareTarget::ModRevision(asked)] {
                    let compare = Compare { key: key.to_owned(), op, target };
                    let nested = Txn { compares: vec![compare.clone()], ..Txn::default() };
                    let txn = Txn {
                        compares: vec![compare],
                        then: vec![Op::Txn(nested.clone())],
                        otherwise: vec![Op::Txn(nested)],
                    };
                    let answer = store.txn(txn).await.unwrap();
                    let inside = matches!(&answer.results[..], [OpResult::Txn(inside)] if inside.succeeded == want);
                    assert!(answer.succeeded == want && inside, "{key} {op:?} {asked}");
                }
            }
        }
    }
}
