use redkite_meta::{MemoryStore, Op, Txn};
use serde_json::json;

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
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let want = [
        json!({"key": "/a", "value": 18446744073709551615u64, "create_revision": 2, "mod_revision": 4}),
        json!({"key": "/b", "value": "no json", "create_revision": 3, "mod_revision": 3}),
    ];
    assert_eq!(lines, want);
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
    let text = lines(&store, true).await.unwrap();
    let keys: Vec<String> = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["key"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(keys, ["/alice/collection_list", "/bob/.head", USER_LIST]);
    assert_eq!(lines(&MemoryStore::new(), true).await.unwrap(), "");
}
