//! Creating, changing and dropping collections from several nodes at once.

use std::collections::BTreeMap;

use redkite_meta::{MetaStore, Op, Txn};
use redkite_table::entry::{CollectionTombstone, IndexRecord, NameRecord, encode, parse};
use redkite_table::{Error, Visibility};
use redkite_types::{CollectionId, ErrorKind, FieldId, Metric, limits};

use crate::faulty_meta::{Call, Fault};
use crate::world::{Node, Stores, collection};

async fn names(node: &Node) -> Vec<String> {
    let catalog = node.database.snapshot(Visibility::Strong).await.unwrap();
    catalog.names.iter().map(|record| record.name.clone()).collect()
}

#[tokio::test]
async fn s33_names_are_listed_newest_first() {
    let stores = Stores::new();
    let (a, b) = (stores.node(1).await, stores.node(2).await);
    for (at, name) in ["x", "y", "z"].iter().enumerate() {
        let node = if at % 2 == 0 { &a } else { &b };
        node.database.create_collection(collection(name, 2)).await.unwrap();
    }
    b.database.drop_collection("y").await.unwrap();
    for node in [&a, &b] {
        assert_eq!(names(node).await, ["z", "x"]);
    }
    let listed = stores.meta.get("/u/collection_list").await.unwrap().unwrap();
    let text = String::from_utf8(listed.value.to_vec()).unwrap();
    assert!(text.starts_with(r#"[{"name":"z","create_time":"2027-01-15T08:00:00Z","index_type":"NONE","#), "{text}");
    assert_eq!(stores.meta.get("/user_list").await.unwrap().unwrap().value, r#"["u"]"#);
}

/// At every call of one creation, another node creates the same name: one collection, and both know it.
#[tokio::test(start_paused = true)]
async fn two_nodes_create_one_name_at_once() {
    for same in [true, false] {
        for n in 1.. {
            let stores = Stores::new();
            let (a, b) = (stores.node(1).await, stores.node(2).await);
            a.meta.stop_before(n);
            let database = a.database.clone();
            let first = tokio::spawn(async move { database.create_collection(collection("films", 2)).await });
            let stopped = a.meta.stopped_or_ended(&first).await;
            let second = b.database.create_collection(collection("films", if same { 2 } else { 3 })).await;
            a.meta.resume();
            let first = first.await.unwrap();
            if same {
                assert_eq!(first.unwrap().0, second.unwrap().0);
            } else {
                assert!(first.is_ok() != second.is_ok());
                let error = first.err().or(second.err()).unwrap();
                assert!(matches!(error, Error::CollectionExists { .. }), "{error}");
            }
            assert_eq!(names(&a).await, ["films"]);
            if !stopped {
                assert!(n > 3);
                break;
            }
        }
    }
}

/// A node that was frozen in the middle of a drop does not drop what was created under the name meanwhile.
#[tokio::test(start_paused = true)]
async fn s06_a_drop_that_comes_late_is_about_the_collection_it_was_about() {
    let stores = Stores::new();
    let (a, b) = (stores.node(1).await, stores.node(2).await);
    a.database.create_collection(collection("films", 2)).await.unwrap();
    a.meta.stop_at(Call::Commit);
    let database = a.database.clone();
    let first = tokio::spawn(async move { database.drop_collection("films").await });
    a.meta.stopped().await;
    assert!(b.database.drop_collection("films").await.unwrap().0.is_some());
    let (created, _) = b.database.create_collection(collection("films", 2)).await.unwrap();
    a.meta.resume();
    assert_eq!(first.await.unwrap().unwrap().0, None);
    let catalog = b.database.snapshot(Visibility::Strong).await.unwrap();
    assert_eq!(catalog.name_record("films").unwrap().unwrap().id, created);
}

#[tokio::test(start_paused = true)]
async fn a_change_whose_answer_is_lost_is_settled() {
    for fault in [Fault::AnswerLost, Fault::NeverSent, Fault::Late] {
        let node = Stores::new().node(1).await;
        node.meta.fail_next(Call::Commit, fault);
        let (id, _) = node.database.create_collection(collection("films", 2)).await.unwrap();
        node.meta.fail_next(Call::Commit, fault);
        assert!(node.database.drop_collection("films").await.unwrap().0.is_some(), "{fault:?}");
        node.meta.land().await;
        assert!(names(&node).await.is_empty(), "{fault:?}");
        let (again, _) = node.database.create_collection(collection("films", 2)).await.unwrap();
        assert_ne!(id, again);
    }
}

#[tokio::test]
async fn a_segment_that_still_has_files_is_not_used_again() {
    let stores = Stores::new();
    let node = stores.node(1).await;
    let segment = || async {
        let catalog = node.database.snapshot(Visibility::Strong).await.unwrap();
        catalog.collection("films").unwrap().segment.to_string()
    };
    node.database.create_collection(collection("films", 2)).await.unwrap();
    assert_eq!(segment().await, "films");
    let id = node.database.newest().collection("films").unwrap().record().unwrap().id;
    let fragment = node.database.fragment_id(redkite_types::Revision(9), None);
    let entry = r#"{"format":1,"type":"raw_vector","size":1,"crc32":0,"node":1,"cluster":"c","rows":7,"field":101}"#;
    let put = Op::put(node.database.keys.data("films", &format!("{fragment}/v101.arrow")), entry);
    stores.meta.txn(Txn { then: vec![put], ..Txn::default() }).await.unwrap();
    node.database.drop_collection("films").await.unwrap();
    let tombstone = stores.meta.get(&node.database.keys.collection_tombstone(id)).await.unwrap().unwrap();
    let tombstone: CollectionTombstone = parse(&tombstone.key, &tombstone.value).unwrap();
    assert_eq!(
        (tombstone.name.as_str(), tombstone.segment.as_str(), tombstone.record.unwrap().id),
        ("films", "films", id)
    );
    let (next, _) = node.database.create_collection(collection("films", 2)).await.unwrap();
    assert_eq!(segment().await, format!("films.{next}"));
    let catalog = node.database.snapshot(Visibility::Strong).await.unwrap();
    assert_eq!(catalog.collection("films").unwrap().live_rows(), 0);
    // A node that starts now sees the same.
    let catalog = stores.node(2).await.database.newest();
    assert_eq!(&*catalog.collection("films").unwrap().segment, format!("films.{next}"));
}

#[tokio::test]
async fn dropping_what_is_not_there_is_no_failure() {
    let node = Stores::new().node(1).await;
    assert_eq!(node.database.drop_collection("films").await.unwrap().0, None);
    let catalog = node.database.snapshot(Visibility::Strong).await.unwrap();
    assert!(matches!(catalog.collection("films"), Err(Error::CollectionNotFound { .. })));
}

#[tokio::test(start_paused = true)]
async fn changes_of_one_collection_on_two_nodes_are_both_kept() {
    for n in 1.. {
        let stores = Stores::new();
        let (a, b) = (stores.node(1).await, stores.node(2).await);
        a.database.create_collection(collection("films", 2)).await.unwrap();
        a.meta.stop_before(n);
        let database = a.database.clone();
        let first = tokio::spawn(async move {
            let set = BTreeMap::from([("x".to_owned(), "1".to_owned())]);
            database.alter_properties("films", &set, &[]).await
        });
        let stopped = a.meta.stopped_or_ended(&first).await;
        let set = BTreeMap::from([("y".to_owned(), "2".to_owned())]);
        b.database.alter_properties("films", &set, &[]).await.unwrap();
        a.meta.resume();
        first.await.unwrap().unwrap();
        let catalog = b.database.snapshot(Visibility::Strong).await.unwrap();
        let record = catalog.collection("films").unwrap().record().unwrap().clone();
        let found: Vec<_> = record.properties.iter().map(|(key, value)| format!("{key}={value}")).collect();
        assert_eq!(found, ["x=1", "y=2"]);
        if !stopped {
            break;
        }
    }
}

#[tokio::test]
async fn indexes_are_one_a_field_and_told_with_the_name() {
    let stores = Stores::new();
    let node = stores.node(1).await;
    node.database.create_collection(collection("films", 2)).await.unwrap();
    let index = |name: &str, index_type: &str| IndexRecord {
        name: name.to_owned(),
        field: FieldId(101),
        index_type: index_type.to_owned(),
        metric: Some(Metric::L2),
        params: BTreeMap::new(),
    };
    node.database.create_index("films", index("v", "HNSW")).await.unwrap();
    let again = node.database.create_index("films", index("v", "HNSW")).await.unwrap();
    for other in [index("v", "FLAT"), index("w", "HNSW")] {
        let error = node.database.create_index("films", other).await.unwrap_err();
        assert!(matches!(error, Error::IndexConflict { .. }), "{error}");
    }
    let index_type = || async {
        let catalog = node.database.snapshot(Visibility::Strong).await.unwrap();
        assert!(catalog.revision >= again);
        catalog.names[0].index_type.clone()
    };
    assert_eq!(index_type().await, "HNSW");
    node.database.drop_index("films", "", "v").await.unwrap();
    assert_eq!(index_type().await, "NONE");
    // Dropping what is not there is success.
    node.database.drop_index("films", "v", "").await.unwrap();
    node.database.create_index("films", index("w", "FLAT")).await.unwrap();
    assert_eq!(index_type().await, "FLAT");
}

/// All names are one value of the metadata, which has a largest size.
#[tokio::test]
async fn the_number_of_collections_is_limited() {
    let scene = async |count: usize, name_bytes: usize| {
        let stores = Stores::new();
        let node = stores.node(1).await;
        let record = |number: usize| NameRecord {
            name: format!("n{number:0>width$}", width = name_bytes - 1),
            create_time: "2026-11-22T06:00:00Z".to_owned(),
            index_type: "NONE".to_owned(),
            id: CollectionId(i64::MAX - number as i64),
            segment: None,
        };
        let names: Vec<NameRecord> = (0..count).map(record).collect();
        let put = Op::put(node.database.keys.collection_list(), encode(&names).unwrap());
        stores.meta.txn(Txn { then: vec![put], ..Txn::default() }).await.unwrap();
        node
    };
    let create = async |node: &Node, name: &str| node.database.create_collection(collection(name, 2)).await;
    let node = scene(limits::COLLECTIONS_MAX - 1, 100).await;
    create(&node, "one").await.unwrap();
    let error = create(&node, "two").await.unwrap_err();
    assert!(matches!(error, Error::TooManyCollections { limit: limits::COLLECTIONS_MAX }), "{error}");
    node.database.rename_collection("one", "uno").await.unwrap();
    node.database.drop_collection("uno").await.unwrap();
    create(&node, "two").await.unwrap();
    // Names of the greatest length are too many before that.
    let node = scene(3_430, limits::NAME_BYTES_MAX).await;
    let long = |number: usize| format!("x{number:0>width$}", width = limits::NAME_BYTES_MAX - 1);
    let error = async {
        for number in 0..limits::COLLECTIONS_MAX {
            if let Err(error) = create(&node, &long(number)).await {
                return error;
            }
        }
        panic!("it is not limited");
    };
    let error = error.await;
    assert_eq!(error.kind(), ErrorKind::Exhausted);
    assert!(error.to_string().contains("use shorter names"), "{error}");
    create(&node, "one").await.unwrap();
    let error = node.database.rename_collection("one", &long(9_999)).await.unwrap_err();
    assert!(error.to_string().contains("use shorter names"), "{error}");
    node.database.drop_collection("one").await.unwrap();
}
