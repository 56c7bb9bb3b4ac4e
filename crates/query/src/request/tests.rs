//! What is asked is what is read, and nothing that was not checked.

use redkite_table::entry::{FORMAT, IndexRecord};
use redkite_types::{CollectionId, DataType, Field, Schema};
use serde_json::{Value, json};

use super::*;

fn field(id: i64, name: &str, data_type: DataType) -> Field {
    Field {
        id: FieldId(id),
        name: name.to_owned(),
        description: String::new(),
        data_type,
        nullable: false,
        default: None,
        primary_key: name == "id",
        auto_id: false,
        partition_key: false,
        dynamic: false,
        params: Default::default(),
    }
}

fn record() -> CollectionRecord {
    let fields = vec![
        field(100, "id", DataType::Int64),
        field(101, "tag", DataType::Int64),
        field(102, "vector", DataType::FloatVector { dim: 2 }),
    ];
    CollectionRecord {
        format: FORMAT,
        id: CollectionId(1),
        name: "films".to_owned(),
        schema: Schema { fields, description: String::new() },
        indexes: Vec::<IndexRecord>::new(),
        properties: Default::default(),
        consistency_level: 0,
        shards: 1,
        released: false,
        created_ms: 1,
        updated_ms: 1,
        committed_ms: 0,
    }
}

fn entry(file_type: FileType, field: Option<i64>, rows: u64) -> FileEntry {
    FileEntry {
        format: FORMAT,
        file_type,
        size: 10,
        crc32: 7,
        node: 1,
        cluster: "c".to_owned(),
        rows,
        field: field.map(FieldId),
        column: Some("name".to_owned()),
        vector_file: None,
        vector_files: vec!["x".to_owned()],
        delete_log: None,
        deleted: 0,
        keys: None,
        committed_ms: 5,
    }
}

fn id(number: u64) -> FragmentId {
    FragmentId::new(Revision(3), number)
}

fn log() -> String {
    format!("{}/deletes.rkd", CommitId::new(Revision(4), 1))
}

fn source() -> Source {
    let fragment = |number: u64| {
        let mut anchor = entry(FileType::RawVector, Some(102), number);
        if number == 2 {
            (anchor.delete_log, anchor.deleted) = (Some(log()), 1);
        }
        let file = |name: &str, entry| File {
            path: format!("{}/{name}", id(number)).into(),
            entry,
            created: Revision(3),
            modified: Revision(3),
        };
        let files = vec![
            file("v102.arrow", anchor),
            file("s100.arrow", entry(FileType::Scalar, Some(100), number)),
            file("s101.arrow", entry(FileType::Scalar, Some(101), number)),
        ];
        Arc::new(Fragment::new(id(number), files))
    };
    let mut collection = Collection::of_fragments("films.7", Vec::new());
    let entry = entry(FileType::DeleteLog, None, 1);
    let file = File { path: log().into(), entry, created: Revision(4), modified: Revision(4) };
    collection.delete_logs.insert(log().into(), Arc::new(file));
    let fragments = (1..5).map(fragment).collect();
    Source { collection: Arc::new(collection), record: Arc::new(record()), fragments, key: FieldId(100), told: None }
}

fn asked() -> Bytes {
    let ask = Ask::Count { filter: Portable::All };
    encode(&source(), &[1, 3], &[FieldId(101)], ask, b"body").unwrap()
}

#[test]
fn what_is_needed_is_told_and_no_more() {
    let (told, ask, body) = decode(&asked()).unwrap();
    assert!(matches!(ask, Ask::Count { filter: Portable::All }));
    assert_eq!(&body.rest()[..], b"body");
    assert_eq!((&*told.collection.segment, told.key), ("films.7", FieldId(100)));
    assert_eq!(*told.record, record());
    let fragments: Vec<_> = told.fragments.iter().map(|fragment| (fragment.id, fragment.rows())).collect();
    assert_eq!(fragments, [(id(2), 2), (id(4), 4)]);
    for fragment in &told.fragments {
        let fields: Vec<_> = fragment.files.iter().map(|file| file.entry.field.unwrap().0).collect();
        assert_eq!(fields, [101, 102], "the field, and the anchor");
    }
    assert_eq!(told.fragments[0].live_rows(), 1);
    let logs: Vec<&str> = told.collection.delete_logs.keys().map(|path| &**path).collect();
    assert_eq!(logs, [log()]);
}

#[test]
fn bounds_of_scores_arrive_as_they_are() {
    for bound in [f32::INFINITY, f32::NEG_INFINITY, -0.0, 1e-40, f32::NAN] {
        let window = Window::range(bound, Some(bound));
        let bytes = serde_json::to_vec(&Bits::from(window)).unwrap();
        let told: Window = serde_json::from_slice::<Bits>(&bytes).unwrap().into();
        assert_eq!(Bits::from(told).best, Bits::from(window).best);
        assert_eq!(Bits::from(told).worst, Bits::from(window).worst);
    }
}

/// The request with a part of its head changed.
fn changed(change: impl FnOnce(&mut Value)) -> Result<(Source, Ask, Body)> {
    let (mut head, body) = frame::decode::<Value>(frame::NOTHING, &asked()).unwrap();
    change(&mut head);
    decode(&frame::encode(frame::NOTHING, &head, &[&body.rest()]).unwrap())
}

#[test]
fn what_lies_elsewhere_is_refused() {
    assert!(changed(|_| {}).is_ok());
    for segment in ["", ".", "..", "../x", "a/b", "a\\b", "a/../../b", ".tomb", "a\0", &"x".repeat(1_000)] {
        assert!(changed(|head| head["segment"] = json!(segment)).is_err(), "{segment:?}");
    }
    let own = id(2);
    for path in [
        "".to_owned(),
        "v102.arrow".to_owned(),
        "../v102.arrow".to_owned(),
        format!("{own}/"),
        format!("{own}/.."),
        format!("{own}/../x"),
        format!("{own}/a/b"),
        format!("/{own}/a"),
        format!("{own}//a"),
        format!("{own}/a\\b"),
        format!("{own}/a%2f..%2fb"),
    ] {
        let refused = changed(|head| head["fragments"][0]["files"][1][0] = json!(path));
        assert!(refused.is_err(), "{path:?}");
        let refused = changed(|head| head["delete_logs"][0][0] = json!(path));
        assert!(refused.is_err(), "{path:?}");
    }
    let other = format!("{}/v102.arrow", id(4));
    assert!(changed(|head| head["fragments"][0]["files"][1][0] = json!(other)).is_err(), "another fragment's");
}

#[test]
fn what_cannot_be_is_refused() {
    for (pointer, value) in [
        ("/fragments/0/id", json!("..")),
        ("/fragments/0/files", json!([])),
        ("/fragments/0/files/1/1/type", json!("delete_log")),
        ("/fragments/0/files/1/1/format", json!(FORMAT + 1)),
        ("/fragments/0/files/1/1/rows", json!(1u64 << 33)),
        ("/delete_logs/0/1/type", json!("scalar")),
        ("/record/format", json!(FORMAT + 1)),
        ("/record/schema/fields", json!([])),
        ("/ask", json!({ "sing": {} })),
        ("/ask", json!("count")),
    ] {
        let refused = changed(|head| *head.pointer_mut(pointer).unwrap() = value.clone());
        assert!(refused.is_err(), "{pointer} {value}");
    }
    // What only a newer version knows: to pass over it would be to answer something else.
    for pointer in ["", "/fragments/0", "/ask/count"] {
        let refused = changed(|head| head.pointer_mut(pointer).unwrap()["group_by"] = json!(101));
        assert!(refused.is_err(), "{pointer}");
    }
}

/// A column that was left out must not pass for one that the fragment never had.
#[test]
fn only_fields_that_are_told_are_read() {
    let (told, ..) = decode(&asked()).unwrap();
    told.check_told(&[FieldId(101)]).unwrap();
    let error = told.check_told(&[FieldId(101), FieldId(100)]).unwrap_err();
    assert!(matches!(&error, Error::SubRequest { detail } if detail.contains("field 100")), "{error}");
    source().check_told(&[FieldId(100)]).unwrap();
}

#[test]
fn a_request_that_is_too_large_is_not_sent() {
    let ask = Ask::Count { filter: Portable::All };
    let body = vec![0; SUBREQUEST_BYTES_MAX];
    let error = encode(&source(), &[0], &[], ask, &body).unwrap_err();
    assert!(matches!(error, Error::SubRequest { .. }), "{error}");
}
