//! What only etcd can do: be somewhere else, go away, come back, refuse.

use std::sync::Arc;
use std::time::Duration;

use etcd_client::{Client, PermissionType};
use redkite_meta::{Error, EtcdOptions, EtcdStore, MetaStore, Op, Txn, contract};
use redkite_testkit::{Authority, Etcd, free_port};
use redkite_types::Revision;

use crate::{FAILPOINTS, everything, next_batch, put, value};

pub async fn connect(endpoint: String) -> EtcdStore {
    EtcdStore::connect(EtcdOptions::new(vec![endpoint])).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn contract_holds() {
    let _shared = FAILPOINTS.read().await;
    let etcd = Etcd::start().unwrap();
    contract::run(Arc::new(connect(etcd.endpoint()).await)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_etcd_that_comes_back_is_the_same_store() {
    let _shared = FAILPOINTS.read().await;
    let mut etcd = Etcd::start().unwrap();
    let store = connect(etcd.endpoint()).await;
    let mut stream = store.watch(everything(), Revision(1)).await.unwrap();
    let mut expected = Revision(1);
    for round in 0..4 {
        for i in 0..5 {
            put(&store, "/a", &format!("{round}-{i}")).await.unwrap();
        }
        // Some of it was delivered before the kill, the rest comes after it.
        for _ in 0..3 {
            expected = expected.next();
            assert_eq!(next_batch(&mut stream).await.revision, expected);
        }
        etcd.kill9().unwrap();
        assert!(matches!(put(&store, "/a", "down").await, Err(Error::Unavailable(_) | Error::OutcomeUnknown(_))));
        etcd.restart().unwrap();
        assert_eq!(value(&store, "/a").await.unwrap(), format!("{round}-4"));
        for _ in 0..2 {
            expected = expected.next();
            assert_eq!(next_batch(&mut stream).await.revision, expected);
        }
    }
}

#[tokio::test]
async fn nobody_there_is_said_with_the_endpoint() {
    let endpoint = format!("http://127.0.0.1:{}", free_port().unwrap());
    let error = EtcdStore::connect(EtcdOptions::new(vec![endpoint.clone()])).await.unwrap_err();
    assert!(matches!(&error, Error::Unavailable(text) if text.contains(&endpoint)), "{error}");
    let none = EtcdStore::connect(EtcdOptions::new(Vec::new())).await.unwrap_err();
    assert!(matches!(none, Error::Invalid(_)), "{none}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_etcd_is_told_from_a_broken_one() {
    let _shared = FAILPOINTS.read().await;
    let etcd = Etcd::start_with(&["--quota-backend-bytes=20000000"]).unwrap();
    let store = connect(etcd.endpoint()).await;
    let large = "x".repeat(1_000_000);
    let mut full = None;
    for i in 0..60 {
        match put(&store, &format!("/k{i:02}"), &large).await {
            Ok(_) => {}
            Err(error) => {
                full = Some(error);
                break;
            }
        }
    }
    assert!(matches!(full, Some(Error::NoSpace(_))), "{full:?}");
    // Reads and deletes go on.
    assert!(store.get("/k00").await.unwrap().is_some());
    store.txn(Txn { then: vec![Op::Delete(everything())], ..Txn::default() }).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn user_and_password() {
    let _shared = FAILPOINTS.read().await;
    let mut etcd = Etcd::start().unwrap();
    let mut admin = Client::connect([etcd.endpoint()], None).await.unwrap();
    admin.user_add("root", "secret", None).await.unwrap();
    admin.user_grant_role("root", "root").await.unwrap();
    admin.role_add("films").await.unwrap();
    let films = etcd_client::Permission::new(PermissionType::Readwrite, "/films/").with_prefix();
    admin.role_grant_permission("films", films).await.unwrap();
    admin.user_add("app", "pass", None).await.unwrap();
    admin.user_grant_role("app", "films").await.unwrap();
    admin.auth_enable().await.unwrap();

    let endpoint = etcd.endpoint();
    let with = |user: Option<(&str, &str)>| EtcdOptions {
        user: user.map(|(name, password)| (name.to_owned(), password.to_owned())),
        ..EtcdOptions::new(vec![endpoint.clone()])
    };
    for user in [None, Some(("root", "wrong")), Some(("nobody", "secret"))] {
        let error = EtcdStore::connect(with(user)).await.unwrap_err();
        assert!(!error.to_string().contains("wrong"), "the password is in {error}");
    }
    assert!(!format!("{:?}", with(Some(("root", "secret")))).contains("secret"));
    let store = EtcdStore::connect(with(Some(("root", "secret")))).await.unwrap();
    let revision = put(&store, "/films/a", "1").await.unwrap().revision;
    let mut stream = store.watch(everything(), revision).await.unwrap();
    assert_eq!(next_batch(&mut stream).await.revision, revision);
    // A restart forgets all tokens: they are fetched anew.
    etcd.restart().unwrap();
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    while let Err(error) = put(&store, "/films/b", "1").await {
        assert!(tokio::time::Instant::now() < deadline, "{error}");
    }
    assert_eq!(next_batch(&mut stream).await.events.len(), 1);
    // Where nothing else is asked, the watch does that by itself.
    let other = EtcdStore::connect(with(Some(("root", "secret")))).await.unwrap();
    etcd.restart().unwrap();
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    while let Err(error) = put(&other, "/films/c", "1").await {
        assert!(tokio::time::Instant::now() < deadline, "{error}");
    }
    assert_eq!(next_batch(&mut stream).await.events.len(), 1);
}

/// Tokens that say of when they are, as etcd's documentation advises, are refused once its users have changed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_from_before_a_change_of_users_are_fetched_anew() {
    let _shared = FAILPOINTS.read().await;
    let authority = Authority::new().unwrap();
    let signer = authority.issue("signer", "DNS:localhost").unwrap();
    let [public, private] = [&signer.cert, &signer.key].map(|path| path.display().to_string());
    let tokens = format!("--auth-token=jwt,pub-key={public},priv-key={private},sign-method=ES256,ttl=10m");
    let etcd = Etcd::start_with(&[&tokens]).unwrap();
    let mut admin = Client::connect([etcd.endpoint()], None).await.unwrap();
    admin.user_add("root", "secret", None).await.unwrap();
    admin.user_grant_role("root", "root").await.unwrap();
    admin.auth_enable().await.unwrap();
    let user = Some(("root".to_owned(), "secret".to_owned()));
    let store = EtcdStore::connect(EtcdOptions { user, ..EtcdOptions::new(vec![etcd.endpoint()]) }).await.unwrap();
    put(&store, "/a", "1").await.unwrap();
    let mut admin =
        Client::connect([etcd.endpoint()], Some(etcd_client::ConnectOptions::new().with_user("root", "secret")))
            .await
            .unwrap();
    admin.user_add("another", "secret", None).await.unwrap();
    assert_eq!(value(&store, "/a").await.unwrap(), "1");
    admin.refresh_token().await.unwrap();
    admin.user_add("one more", "secret", None).await.unwrap();
    // A write that was refused has not happened, so it is tried again as well.
    put(&store, "/a", "2").await.unwrap();
    assert_eq!(value(&store, "/a").await.unwrap(), "2");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_that_grow_old_are_fetched_anew() {
    let _shared = FAILPOINTS.read().await;
    let etcd = Etcd::start_with(&["--auth-token-ttl=1"]).unwrap();
    let mut admin = Client::connect([etcd.endpoint()], None).await.unwrap();
    admin.user_add("root", "secret", None).await.unwrap();
    admin.user_grant_role("root", "root").await.unwrap();
    admin.auth_enable().await.unwrap();
    let user = Some(("root".to_owned(), "secret".to_owned()));
    let store = EtcdStore::connect(EtcdOptions { user, ..EtcdOptions::new(vec![etcd.endpoint()]) }).await.unwrap();
    let revision = put(&store, "/a", "1").await.unwrap().revision;
    // Longer than a token lives.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let mut stream = store.watch(everything(), revision).await.unwrap();
    assert_eq!(next_batch(&mut stream).await.revision, revision);
    tokio::time::sleep(Duration::from_secs(3)).await;
    put(&store, "/a", "2").await.unwrap();
}
