//! The catalog derived by range and by watch is the same, and damage is named.

use redkite_types::{NodeId, UserName};

use super::*;
use crate::entry::FORMAT;

fn keys() -> UserKeys {
    UserKeys::new(&UserName::new("u").unwrap())
}

fn kv(key: String, value: &str, created: i64, modified: i64) -> KeyValue {
    KeyValue {
        key,
        value: value.to_owned().into(),
        create_revision: Revision(created),
        mod_revision: Revision(modified),
        version: 1,
        lease: None,
    }
}

fn record_json(id: i64) -> String {
    format!(r#"{{"format":1,"id":{id},"schema":{{"fields":[]}},"created_ms":1,"updated_ms":1}}"#)
}

fn names_json(id: i64) -> String {
    format!(r#"[{{"name":"films","create_time":"2026-11-22T06:00:00Z","index_type":"NONE","id":{id}}}]"#)
}

fn file_json(field: i64, kind: &str, extra: &str) -> String {
    format!(
        r#"{{"format":{FORMAT},"type":"{kind}","size":1,"crc32":0,"node":{},"cluster":"c","rows":10,"field":{field}{extra}}}"#,
        NodeId(1)
    )
}

const F1: &str = "0000000000000000003-000000000000000a";

fn events() -> Vec<KeyValue> {
    let keys = keys();
    vec![
        kv(keys.collection_list(), &names_json(7), 2, 2),
        kv(keys.schema("films"), &record_json(7), 2, 2),
        kv(keys.collection_head("films"), "{}", 2, 3),
        kv(keys.data("films", &format!("{F1}/s100.arrow")), &file_json(100, "scalar", ""), 3, 3),
        kv(keys.data("films", &format!("{F1}/v102.arrow")), &file_json(102, "raw_vector", ""), 3, 3),
        kv(keys.data("films", &format!("{F1}/v101.arrow")), &file_json(101, "raw_vector", r#","deleted":4"#), 3, 4),
    ]
}

#[test]
fn range_and_watch_agree() {
    let whole = Catalog::load(&keys(), events(), Revision(4));
    let mut stepwise = Catalog::default();
    for event in events() {
        let revision = event.mod_revision;
        stepwise = stepwise.apply(&keys(), WatchBatch { revision, events: vec![Event::Put(event)] });
    }
    for catalog in [whole, stepwise] {
        assert_eq!(catalog.revision, Revision(4));
        let films = catalog.collection("films").unwrap();
        assert_eq!((films.head, films.created, films.live_rows()), (Revision(3), Revision(2), 6));
        let fragment = films.fragments.values().next().unwrap();
        assert_eq!(&*fragment.anchor().unwrap().path, format!("{F1}/v101.arrow"));
        assert!(fragment.file(FieldId(100)).is_some() && fragment.file(FieldId(103)).is_none());
    }
}

#[test]
fn a_dropped_collection_is_gone_but_its_segment_is_not() {
    let keys = keys();
    let catalog = Catalog::load(&keys, events(), Revision(4));
    let gone = |key: String| Event::Delete { key, revision: Revision(5) };
    let events = vec![
        gone(keys.schema("films")),
        gone(keys.collection_head("films")),
        Event::Put(kv(keys.collection_list(), "[]", 2, 5)),
    ];
    let dropped = catalog.apply(&keys, WatchBatch { revision: Revision(5), events });
    assert!(matches!(dropped.collection("films"), Err(Error::CollectionNotFound { .. })));
    assert!(dropped.segment_in_use("films"));
    // The snapshot taken before is untouched.
    assert_eq!(catalog.collection("films").unwrap().live_rows(), 6);
    let files: Vec<Event> =
        ["s100", "v101", "v102"].iter().map(|f| gone(keys.data("films", &format!("{F1}/{f}.arrow")))).collect();
    let collected = dropped.apply(&keys, WatchBatch { revision: Revision(6), events: files });
    assert!(!collected.segment_in_use("films"));
}

#[test]
fn damage_is_named_and_stays_in_its_collection() {
    let keys = keys();
    let bad = keys.data("films", "not-a-fragment/v1.arrow");
    let catalog = Catalog::load(&keys, events(), Revision(4))
        .apply(&keys, WatchBatch { revision: Revision(5), events: vec![Event::Put(kv(bad.clone(), "{", 5, 5))] });
    let error = catalog.collection("films").unwrap().record().unwrap_err();
    assert!(error.to_string().contains(&bad), "{error}");
}
