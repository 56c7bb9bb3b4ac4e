//! Replaying operations in order: what is left to insert and what is to be removed from older rows.

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Int64Array, StringArray};
use redkite_expr::{Templates, parse};
use redkite_table::Fragment;
use redkite_table::entry::FORMAT;
use redkite_types::{DataType, Field, FieldId, FragmentId, Revision, Schema};

use super::*;

fn field(id: i64, name: &str, data_type: DataType, primary_key: bool) -> Field {
    serde_json::from_value(serde_json::json!({ "id": id, "name": name, "type": "bool" }))
        .map(|field: Field| Field { id: FieldId(id), data_type, primary_key, ..field })
        .unwrap()
}

fn record(key: DataType) -> Arc<CollectionRecord> {
    let fields = vec![field(100, "id", key, true), field(101, "tag", DataType::Int64, false)];
    Arc::new(CollectionRecord {
        format: FORMAT,
        id: CollectionId(1),
        name: String::new(),
        schema: Schema { fields, description: String::new() },
        indexes: Vec::new(),
        properties: Default::default(),
        consistency_level: 0,
        shards: 1,
        released: false,
        created_ms: 0,
        updated_ms: 0,
        committed_ms: 0,
    })
}

const TEXT: DataType = DataType::VarChar { max_length: 100 };

fn batch(record: &CollectionRecord, rows: &[(i64, i64)]) -> RecordBatch {
    let keys: arrow_array::ArrayRef = match record.schema.fields[0].data_type {
        DataType::Int64 => Arc::new(rows.iter().map(|(key, _)| *key).collect::<Int64Array>()),
        _ => Arc::new(rows.iter().map(|(key, _)| Some(key.to_string())).collect::<StringArray>()),
    };
    let tags: Int64Array = rows.iter().map(|(_, tag)| *tag).collect();
    RecordBatch::try_new(record.schema.arrow(), vec![keys, Arc::new(tags)]).unwrap()
}

/// One operation: `+` inserts, `~` upserts rows `key:tag`; `-` deletes keys, `?` by filter.
fn op(record: &Arc<CollectionRecord>, text: &str) -> BlockOp {
    let rows = || -> Vec<(i64, i64)> {
        let row =
            |row: &str| row.split_once(':').map(|(key, tag)| (key.parse().unwrap(), tag.parse().unwrap())).unwrap();
        text[1..].split_whitespace().map(row).collect()
    };
    let delete = |filter: String| {
        let predicate = Arc::new(parse(&filter, &Templates::new(), &record.schema).unwrap());
        OpKind::Delete { predicate, text: filter }
    };
    let kind = match &text[..1] {
        "+" => OpKind::Insert(batch(record, &rows())),
        "~" => OpKind::Upsert(batch(record, &rows())),
        "-" => {
            let quote = if record.schema.fields[0].data_type == DataType::Int64 { "" } else { "\"" };
            let keys: Vec<String> = text[1..].split_whitespace().map(|key| format!("{quote}{key}{quote}")).collect();
            delete(format!("id in [{}]", keys.join(", ")))
        }
        "?" => delete(text[1..].to_owned()),
        _ => {
            let id = FragmentId::new(Revision(1), 7);
            let fragment = Arc::new(Fragment::new(id, Vec::new()));
            OpKind::Uploaded(UploadedFragment {
                fragment,
                entries: Vec::new(),
                ops: 1,
                ids: redkite_table::IdGuard::of_nothing(),
            })
        }
    };
    BlockOp { collection: record.id, record: record.clone(), kind }
}

fn tags(staged: &Staged) -> Vec<i64> {
    staged.batches.iter().flat_map(|batch| batch.column(1).as_primitive::<Int64Type>().values().to_vec()).collect()
}

fn removed(removals: &Removals, record: &CollectionRecord) -> Vec<String> {
    let shown = |predicate: &Arc<Predicate>| match predicate.exact_keys() {
        Some(Keys::Int(keys)) => format!("{keys:?}"),
        Some(Keys::Text(keys)) => format!("{keys:?}").replace('"', ""),
        None => "filter".to_owned(),
    };
    removals.predicates(record).unwrap().iter().map(shown).collect()
}

/// The tags that are left to insert and what is removed from older rows, for both kinds of keys.
fn check(ops: &[&str], want_tags: &[i64], want_removed: &[&str]) {
    for key in [DataType::Int64, TEXT] {
        let record = record(key);
        let ops: Vec<BlockOp> = ops.iter().map(|text| op(&record, text)).collect();
        let staged = stage(&ops).unwrap();
        assert_eq!(staged.len(), 1);
        assert_eq!(tags(&staged[0]), want_tags);
        assert_eq!(removed(&staged[0].removals, &record), want_removed);
        assert_eq!((staged[0].ops, staged[0].rows()), (ops.len(), want_tags.len() as u64));
        assert_eq!(staged[0].removes(), !want_removed.is_empty());
    }
}

#[test]
fn operations_take_effect_in_order() {
    check(&["+1:1 2:2"], &[1, 2], &[]);
    check(&["+1:1 2:2", "-1"], &[2], &["[1]"]);
    check(&["-1", "+1:1"], &[1], &["[1]"]);
    check(&["+1:1", "-1", "+1:2", "-3"], &[2], &["[1, 3]"]);
    check(&["+1:1", "+1:2", "-1"], &[], &["[1]"]);
    check(&["+1:1 1:2", "~1:3"], &[3], &["[1]"]);
    check(&["~1:1", "~1:2", "~2:3"], &[2, 3], &["[1, 2]"]);
    check(&["~1:1", "+1:2"], &[1, 2], &["[1]"]);
    check(&["+1:1 2:2", "?tag < 2", "+3:1"], &[2, 1], &["filter"]);
    check(&["+1:1 2:2", "?tag < 2", "-2", "?tag > 7"], &[], &["[2]", "filter", "filter"]);
    check(&["+1:1", "?tag > 7"], &[1], &["filter"]);
}

#[test]
fn a_delete_by_key_and_more_is_not_taken_for_one_by_key() {
    let record = record(DataType::Int64);
    let ops: Vec<BlockOp> = ["+1:1 1:2", "?id == 1 and tag == 1"].iter().map(|text| op(&record, text)).collect();
    assert_eq!(tags(&stage(&ops).unwrap()[0]), [2]);
}

#[test]
fn uploaded_rows_are_reached_by_later_operations_only() {
    let record = record(DataType::Int64);
    let ops: Vec<BlockOp> = ["-1", "^", "-2", "?tag > 7", "^", "~3:3"].iter().map(|text| op(&record, text)).collect();
    let staged = &stage(&ops).unwrap()[0];
    assert_eq!(removed(&staged.removals, &record), ["[1, 2, 3]", "filter"]);
    let uploaded: Vec<_> = staged.uploaded.iter().map(|(_, removals)| removed(removals, &record)).collect();
    assert_eq!(uploaded, [vec!["[2, 3]", "filter"], vec!["[3]"]]);
}

#[test]
fn one_predicate_is_kept_once_however_often_it_is_handed_on() {
    let record = record(DataType::Int64);
    let filter = op(&record, "?tag > 7");
    let ops = vec![op(&record, "^"), filter.clone(), op(&record, "^"), filter.clone(), filter];
    let staged = &stage(&ops).unwrap()[0];
    assert_eq!(removed(&staged.removals, &record), ["filter"]);
    for (_, removals) in &staged.uploaded {
        assert_eq!(removed(removals, &record), ["filter"]);
    }
}

#[test]
fn collections_are_staged_apart_in_the_order_they_occur() {
    let (first, second) = (record(DataType::Int64), record(DataType::Int64));
    let second = Arc::new(CollectionRecord { id: CollectionId(2), ..CollectionRecord::clone(&second) });
    let ops = vec![op(&second, "+1:1"), op(&first, "+1:2"), op(&second, "-1")];
    let staged = stage(&ops).unwrap();
    let ids: Vec<i64> = staged.iter().map(|staged| staged.collection.0).collect();
    assert_eq!(ids, [2, 1]);
    assert_eq!((tags(&staged[0]), tags(&staged[1])), (vec![], vec![2]));
}
