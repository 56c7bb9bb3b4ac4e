use std::sync::Arc;

use redkite_meta::base::State;
use redkite_meta::{MemoryStore, Op, Rebased, Txn};
use serde_json::{Value, json};

use super::*;

async fn store(keys: &[(&str, &'static str)]) -> MemoryStore {
    let store = MemoryStore::new();
    for (key, value) in keys {
        let txn = Txn { then: vec![Op::put(*key, *value)], ..Txn::default() };
        store.txn(txn).await.unwrap();
    }
    store
}

#[tokio::test]
async fn values_are_json_where_they_can_be() {
    let store = store(&[("/a", "{\"b\": [1, 2]}"), ("/b", "no json"), ("/a", "18446744073709551615")]).await;
    let text = lines(&store, false).await.unwrap();
    let want = [
        json!({"redkite_dump": 1, "revision": 4, "users": {}}),
        json!({"key": "/a", "value": 18446744073709551615u64, "create_revision": 2, "mod_revision": 4}),
        json!({"key": "/b", "value": "no json", "text": true, "create_revision": 3, "mod_revision": 3}),
    ];
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[..3], want);
    assert_eq!(lines[3]["keys"], 2);
}

#[tokio::test]
async fn keys_of_others_are_left_out_of_a_shared_store() {
    let store = store(&[
        ("/alice/collection_list", "[]"),
        ("/bob/.head", "1"),
        ("/registry/pods", "{}"),
        (USER_LIST, "[\"bob\",\"alice\"]"),
    ])
    .await;
    assert_eq!(keys_of(&lines(&store, true).await.unwrap()), ["/alice/collection_list", "/bob/.head", USER_LIST]);
    assert_eq!(keys_of(&lines(&MemoryStore::new(), true).await.unwrap()), Vec::<String>::new());
}

#[tokio::test]
async fn each_user_has_its_own_revisions() {
    let base = |base| serde_json::to_vec(&Base::new(State::Restored, Revision(base), String::new(), 0)).unwrap();
    let store =
        Arc::new(store(&[("/alice/.head", "1"), ("/bob/.head", "1"), (USER_LIST, "[\"bob\",\"alice\"]")]).await);
    store.txn(Txn { then: vec![Op::put("/bob/.head/base", base(1_000))], ..Txn::default() }).await.unwrap();
    let text = lines(store.as_ref(), true).await.unwrap();
    let read: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(read[0], json!({"redkite_dump": 1, "revision": 5, "users": {"alice": 5, "bob": 1_005}}));
    let revisions: Vec<(&str, i64)> =
        read[1..5].iter().map(|line| (line["key"].as_str().unwrap(), line["mod_revision"].as_i64().unwrap())).collect();
    assert_eq!(revisions, [("/alice/.head", 2), ("/bob/.head", 1_003), ("/bob/.head/base", 1_005), (USER_LIST, 4)]);
    // Whoever reads it.
    assert_eq!(lines(&Rebased::new(store.clone(), Revision(1_000)), false).await.unwrap(), text);
    let half = serde_json::to_vec(&Base::new(State::Restoring, Revision(9), String::new(), 0)).unwrap();
    store.txn(Txn { then: vec![Op::put("/alice/.head/base", half)], ..Txn::default() }).await.unwrap();
    assert!(lines(store.as_ref(), true).await.unwrap_err().to_string().contains("half restored"));
}

fn keys_of(text: &str) -> Vec<String> {
    let keys = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["key"].clone());
    keys.filter_map(|key| key.as_str().map(str::to_owned)).collect()
}
