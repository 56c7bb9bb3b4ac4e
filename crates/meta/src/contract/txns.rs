//! Transactions: revisions, compares, results.

use redkite_types::Revision;

use super::{Store, pairs};
use crate::{Compare, CompareOp, CompareTarget, KeyRange, Op, OpResult, RangeRequest, Txn};

pub(super) async fn first_revisions_are_those_of_a_fresh_etcd(store: Store) {
    assert_eq!(store.newest().await, Revision(1));
    assert_eq!(store.put("a", "1").await, Revision(2));
    assert_eq!(store.put("a", "2").await, Revision(3));
    assert_eq!(store.newest().await, Revision(3));
}

pub(super) async fn create_revision_mod_revision_and_version(store: Store) {
    let first = store.put("a", "1").await;
    let second = store.put("a", "2").await;
    assert_eq!(second, first.next());
    let kv = store.get("a").await.unwrap();
    assert_eq!((kv.create_revision, kv.mod_revision, kv.version, kv.lease), (first, second, 2, None));
    assert_eq!(kv.value.as_ref(), b"2");

    store.delete("a").await;
    assert_eq!(store.get("a").await, None);
    let again = store.put("a", "3").await;
    let kv = store.get("a").await.unwrap();
    assert_eq!((kv.create_revision, kv.mod_revision, kv.version), (again, again, 1));

    // All changes of one transaction carry its revision.
    let both = store.then(vec![store.put_op("b", "1"), store.put_op("a", "4")]).await.revision;
    assert_eq!(both, again.next());
    assert_eq!(store.get("a").await.unwrap().mod_revision, both);
    assert_eq!(store.get("b").await.unwrap().create_revision, both);
}

pub(super) async fn compares_of_every_kind(store: Store) {
    use CompareOp::{Equal, Greater, Less, NotEqual};
    let created = store.put("there", "a").await;
    let modified = store.put("there", "m").await;
    // How the stored thing relates to the given one: the operators that hold.
    let less: &[CompareOp] = &[Less, NotEqual];
    let equal: &[CompareOp] = &[Equal];
    let greater: &[CompareOp] = &[Greater, NotEqual];
    let none: &[CompareOp] = &[];
    let table = [
        ("there", CompareTarget::CreateRevision(created), equal),
        ("there", CompareTarget::CreateRevision(modified), less),
        ("there", CompareTarget::CreateRevision(Revision::ZERO), greater),
        ("there", CompareTarget::ModRevision(modified), equal),
        ("there", CompareTarget::ModRevision(created), greater),
        ("there", CompareTarget::ModRevision(modified.next()), less),
        ("there", CompareTarget::Version(2), equal),
        ("there", CompareTarget::Version(1), greater),
        ("there", CompareTarget::Version(3), less),
        ("there", CompareTarget::Value("m".into()), equal),
        ("there", CompareTarget::Value("z".into()), less),
        ("there", CompareTarget::Value("ma".into()), less),
        ("there", CompareTarget::Value("a".into()), greater),
        ("there", CompareTarget::Value("".into()), greater),
        ("absent", CompareTarget::CreateRevision(Revision::ZERO), equal),
        ("absent", CompareTarget::CreateRevision(created), less),
        ("absent", CompareTarget::ModRevision(Revision::ZERO), equal),
        ("absent", CompareTarget::ModRevision(created), less),
        ("absent", CompareTarget::Version(0), equal),
        ("absent", CompareTarget::Version(1), less),
        ("absent", CompareTarget::Version(-1), greater),
        ("absent", CompareTarget::Value("".into()), none),
        ("absent", CompareTarget::Value("m".into()), none),
    ];
    for (name, target, holding) in table {
        for op in [Equal, NotEqual, Less, Greater] {
            let compare = Compare { key: store.key(name), op, target: target.clone() };
            let response = store.inner.txn(Txn { compares: vec![compare.clone()], ..Txn::default() }).await.unwrap();
            assert_eq!(response.succeeded, holding.contains(&op), "{compare:?}");
        }
    }
    // All have to hold, and a deleted key is an absent one.
    store.delete("there").await;
    for (second, want) in
        [(Compare::absent(store.key("other")), true), (Compare::created_at(store.key("there"), created), false)]
    {
        let compares = vec![Compare::absent(store.key("there")), second];
        assert_eq!(store.inner.txn(Txn { compares, ..Txn::default() }).await.unwrap().succeeded, want);
    }
}

pub(super) async fn results_come_in_order_and_see_what_came_before(store: Store) {
    store.then(vec![store.put_op("a", "old"), store.put_op("x/1", "1"), store.put_op("x/2", "2")]).await;
    let below = KeyRange::Prefix(store.key("x/"));
    let txn = Txn {
        compares: vec![Compare::absent(store.key("a"))],
        then: vec![store.put_op("never", "1")],
        otherwise: vec![
            Op::Range(store.exact("a")),
            store.put_op("a", "new"),
            Op::Range(store.exact("a")),
            Op::Delete(below.clone()),
            Op::Range(below.clone()),
            Op::Delete(below),
        ],
    };
    let response = store.inner.txn(txn).await.unwrap();
    assert!(!response.succeeded);
    let now = store.get("a").await.unwrap();
    assert_eq!(now.mod_revision, response.revision);
    assert_eq!(now.version, 2);
    let [OpResult::Range(old), OpResult::Put, OpResult::Range(new), rest @ ..] = response.results.as_slice() else {
        panic!("{:?}", response.results);
    };
    assert_eq!(old.iter().map(|kv| store.pair(kv)).collect::<Vec<_>>(), pairs(&[("a", "old")]));
    assert_eq!(new.as_slice(), [now]);
    assert_eq!(rest, [OpResult::Deleted(2), OpResult::Range(Vec::new()), OpResult::Deleted(0)]);
    assert_eq!(store.listing(None).await, pairs(&[("a", "new")]));
}

pub(super) async fn no_change_no_revision(store: Store) {
    let before = store.put("a", "1").await;
    let idle = [
        Txn::default(),
        Txn { then: vec![Op::Delete(store.exact("absent"))], ..Txn::default() },
        Txn { then: vec![Op::Range(store.all())], ..Txn::default() },
        Txn { compares: vec![Compare::absent(store.key("a"))], then: vec![store.put_op("b", "1")], ..Txn::default() },
    ];
    for txn in idle {
        let response = store.inner.txn(txn.clone()).await.unwrap();
        assert_eq!(response.revision, before, "{txn:?}");
    }
    assert_eq!(store.newest().await, before);
    // A put of the same value is a change.
    assert_eq!(store.put("a", "1").await, before.next());
}

pub(super) async fn writers_in_conflict_lose_nothing(store: Store) {
    const WRITERS: usize = 6;
    const ADDITIONS: usize = 15;
    store.put("sum", "0").await;
    let writers: Vec<_> = (0..WRITERS).map(|_| tokio::spawn(add(store.clone(), ADDITIONS))).collect();
    for writer in writers {
        writer.await.unwrap();
    }
    let kv = store.get("sum").await.unwrap();
    assert_eq!(kv.value.as_ref(), (WRITERS * ADDITIONS).to_string().as_bytes());
    assert_eq!(kv.version, i64::try_from(WRITERS * ADDITIONS).unwrap() + 1);
}

async fn add(store: Store, times: usize) {
    let mut added = 0;
    while added < times {
        let answer = store.inner.range(RangeRequest::new(store.exact("sum"))).await.unwrap();
        let kv = &answer.kvs[0];
        let sum: usize = std::str::from_utf8(&kv.value).unwrap().parse().unwrap();
        let txn = Txn {
            compares: vec![Compare::unchanged_since(&kv.key, kv.mod_revision)],
            then: vec![store.put_op("sum", &(sum + 1).to_string())],
            otherwise: Vec::new(),
        };
        added += usize::from(store.inner.txn(txn).await.unwrap().succeeded);
    }
}
