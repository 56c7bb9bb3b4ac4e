//! A network that fails between us and etcd: what may have happened is told from what has not.

use std::time::Duration;

use redkite_meta::{Error, EtcdOptions, EtcdStore, MetaStore};
use redkite_testkit::{Direction, Etcd, Fault, Proxy, free_port};
use redkite_types::Revision;

use crate::etcd::connect;
use crate::{FAILPOINTS, PATIENCE, everything, next_batch, put, value};

/// Short, so that a test of silence is.
const REQUEST_TIMEOUT: Duration = Duration::from_millis(700);

struct Network {
    proxy: Proxy,
    /// Through the proxy.
    store: EtcdStore,
    /// Around it.
    direct: EtcdStore,
    _etcd: Etcd,
}

async fn network() -> Network {
    let etcd = Etcd::start().unwrap();
    let proxy = Proxy::start(etcd.address()).await.unwrap();
    let options = EtcdOptions { request_timeout: REQUEST_TIMEOUT, ..EtcdOptions::new(vec![proxy.endpoint()]) };
    let store = EtcdStore::connect(options).await.unwrap();
    Network { proxy, store, direct: connect(etcd.endpoint()).await, _etcd: etcd }
}

/// Until the store is reached again.
async fn recovered(store: &EtcdStore) {
    let answered = async { while store.get("/probe").await.is_err() {} };
    tokio::time::timeout(PATIENCE, answered).await.expect("it never recovers");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_reply_leaves_the_outcome_unknown() {
    let _shared = FAILPOINTS.read().await;
    let network = network().await;
    for (round, fault) in [Fault::Stall, Fault::CutAfter(0)].into_iter().enumerate() {
        put(&network.store, "/a", "before").await.unwrap();
        network.proxy.set(Direction::ToClient, fault);
        let written = round.to_string();
        let answer = put(&network.store, "/a", &written).await;
        assert!(matches!(answer, Err(Error::OutcomeUnknown(_))), "{fault:?}: {answer:?}");
        if fault == Fault::Stall {
            // The request got through. A cut may come on any byte of etcd's, before the request as well as after it.
            let happened = async { while value(&network.direct, "/a").await.unwrap() != written {} };
            tokio::time::timeout(PATIENCE, happened).await.expect("the request never arrives");
        }
        network.proxy.set(Direction::Both, Fault::None);
        network.proxy.reset();
        recovered(&network.store).await;
        // Once, not twice: nothing was tried again.
        let version = network.direct.get("/a").await.unwrap().unwrap().version;
        assert!(version <= 2 * (round as i64 + 1), "{fault:?}: version {version}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_never_left_did_not_happen() {
    let _shared = FAILPOINTS.read().await;
    let network = network().await;
    put(&network.store, "/a", "1").await.unwrap();
    network.proxy.refuse(true);
    // The first may still find the old connection half open; then it is refused.
    let mut answers = Vec::new();
    for i in 0..5 {
        answers.push(put(&network.store, "/a", &format!("refused {i}")).await);
    }
    assert!(matches!(answers.last(), Some(Err(Error::Unavailable(_)))), "{answers:?}");
    assert!(matches!(network.store.get("/a").await, Err(Error::Unavailable(_))));
    assert!(matches!(network.store.watch(everything(), Revision(1)).await, Err(Error::Unavailable(_))));
    assert_eq!(value(&network.direct, "/a").await.unwrap(), "1");
    network.proxy.refuse(false);
    recovered(&network.store).await;
    put(&network.store, "/a", "2").await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_are_tried_again() {
    let _shared = FAILPOINTS.read().await;
    let network = network().await;
    put(&network.store, "/a", "1").await.unwrap();
    for _ in 0..5 {
        network.proxy.reset();
        assert_eq!(value(&network.store, "/a").await.unwrap(), "1");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_member_is_passed_over() {
    let _shared = FAILPOINTS.read().await;
    let etcd = Etcd::start().unwrap();
    let dead = format!("http://127.0.0.1:{}", free_port().unwrap());
    // They begin with either.
    for round in 0..16 {
        let store = EtcdStore::connect(EtcdOptions::new(vec![dead.clone(), etcd.endpoint()])).await.unwrap();
        put(&store, "/a", &round.to_string()).await.unwrap();
        assert_eq!(value(&store, "/a").await.unwrap(), round.to_string());
        let mut stream = store.watch(everything(), Revision(2)).await.unwrap();
        assert_eq!(next_batch(&mut stream).await.revision, Revision(2));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_member_is_waited_for_once() {
    let _shared = FAILPOINTS.read().await;
    let etcd = Etcd::start().unwrap();
    // To the client these are two.
    let members = [Proxy::start(etcd.address()).await.unwrap(), Proxy::start(etcd.address()).await.unwrap()];
    let endpoints = members.iter().map(Proxy::endpoint).collect();
    let options = EtcdOptions { request_timeout: REQUEST_TIMEOUT, ..EtcdOptions::new(endpoints) };
    let store = EtcdStore::connect(options).await.unwrap();
    put(&store, "/a", "1").await.unwrap();
    for written in ["2", "3"] {
        let asked = members.iter().position(|member| member.open_connections() > 0).unwrap();
        members[asked].set(Direction::Both, Fault::Stall);
        // A read is asked of the other one; of a write it is not known.
        match written {
            "2" => assert_eq!(value(&store, "/a").await.unwrap(), "1"),
            _ => assert!(matches!(put(&store, "/b", "x").await, Err(Error::OutcomeUnknown(_)))),
        }
        for _ in 0..5 {
            put(&store, "/a", written).await.unwrap();
        }
        members[asked].set(Direction::Both, Fault::None);
        members[asked].reset();
        let closed = async {
            while members[asked].open_connections() > 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, closed).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_survives_its_connections_without_a_gap() {
    let _shared = FAILPOINTS.read().await;
    let network = network().await;
    let large = "x".repeat(200_000);
    let mut stream = network.store.watch(everything(), Revision(1)).await.unwrap();
    let writing = async {
        for i in 0..60 {
            let ops = (0..6).map(|key| redkite_meta::Op::put(format!("/{key}"), large.clone())).collect();
            network.direct.txn(redkite_meta::Txn { then: ops, ..Default::default() }).await.unwrap();
            match i % 10 {
                3 => network.proxy.reset(),
                // In the middle of a response.
                6 => network.proxy.set(Direction::ToClient, Fault::CutAfter(700_000)),
                8 => network.proxy.set(Direction::ToClient, Fault::None),
                _ => {}
            }
        }
        network.proxy.set(Direction::Both, Fault::None);
    };
    let watching = async {
        for revision in 2..62 {
            let batch = next_batch(&mut stream).await;
            assert_eq!((batch.revision, batch.events.len()), (Revision(revision), 6));
        }
    };
    futures::join!(writing, watching);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_that_comes_back_behind_a_compaction_says_so() {
    let _shared = FAILPOINTS.read().await;
    let network = network().await;
    let mut stream = network.store.watch(everything(), Revision(1)).await.unwrap();
    put(&network.direct, "/a", "1").await.unwrap();
    assert_eq!(next_batch(&mut stream).await.revision, Revision(2));
    network.proxy.refuse(true);
    for value in ["2", "3", "4"] {
        put(&network.direct, "/a", value).await.unwrap();
    }
    network.direct.compact(Revision(4)).await.unwrap();
    network.proxy.refuse(false);
    let next = tokio::time::timeout(PATIENCE, futures::StreamExt::next(&mut stream)).await.unwrap();
    assert!(matches!(next, Some(Err(Error::Compacted { asked: Revision(3), oldest: Revision(4) }))), "{next:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failpoints_around_the_sending_of_a_transaction() {
    let _alone = FAILPOINTS.write().await;
    let etcd = Etcd::start().unwrap();
    let store = connect(etcd.endpoint()).await;
    fail::cfg("meta-etcd-before-txn", "return").unwrap();
    let before = put(&store, "/a", "1").await;
    fail::remove("meta-etcd-before-txn");
    assert!(matches!(before, Err(Error::Unavailable(_))), "{before:?}");
    assert!(store.get("/a").await.unwrap().is_none());
    fail::cfg("meta-etcd-after-txn", "return").unwrap();
    let after = put(&store, "/a", "1").await;
    fail::remove("meta-etcd-after-txn");
    assert!(matches!(after, Err(Error::OutcomeUnknown(_))), "{after:?}");
    assert!(store.get("/a").await.unwrap().is_some());
}
