//! The digest tells blocks apart and resent ones not; the counts are the client's.

use arrow_array::{Int64Array, StringArray};
use redkite_expr::{Templates, parse};
use redkite_table::entry::FORMAT;
use redkite_types::{DataType, Field, FieldId, Schema};

use super::*;

fn field(id: i64, name: &str, data_type: DataType) -> Field {
    serde_json::from_value(serde_json::json!({ "id": id, "name": name, "type": "bool" }))
        .map(|field: Field| Field { id: FieldId(id), data_type, nullable: false, ..field })
        .unwrap()
}

fn record(collection: i64, auto_id: bool) -> Arc<CollectionRecord> {
    let key = Field { primary_key: true, auto_id, ..field(100, "id", DataType::Int64) };
    let name = Field { nullable: true, ..field(101, "name", DataType::VarChar { max_length: 100 }) };
    Arc::new(CollectionRecord {
        format: FORMAT,
        id: CollectionId(collection),
        name: String::new(),
        schema: Schema { fields: vec![key, name], description: String::new() },
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

fn batch(record: &CollectionRecord, rows: &[(i64, Option<&str>)]) -> RecordBatch {
    let keys: Int64Array = rows.iter().map(|(key, _)| *key).collect();
    let names: StringArray = rows.iter().map(|(_, name)| *name).collect();
    RecordBatch::try_new(record.schema.arrow(), vec![Arc::new(keys), Arc::new(names)]).unwrap()
}

const ROWS: [(i64, Option<&str>); 3] = [(1, Some("a")), (2, None), (3, Some("c"))];

fn op(record: &Arc<CollectionRecord>, kind: OpKind) -> BlockOp {
    BlockOp { collection: record.id, record: record.clone(), kind }
}

fn insert(collection: i64, rows: &[(i64, Option<&str>)]) -> BlockOp {
    let record = record(collection, false);
    op(&record, OpKind::Insert(batch(&record, rows)))
}

fn delete(collection: i64, text: &str) -> BlockOp {
    let record = record(collection, false);
    let predicate = Arc::new(parse(text, &Templates::new(), &record.schema).unwrap());
    op(&record, OpKind::Delete { predicate, text: text.to_owned() })
}

fn block(ops: impl IntoIterator<Item = BlockOp>) -> Block {
    let mut block = Block::default();
    ops.into_iter().for_each(|op| block.push(op));
    block
}

#[test]
fn equal_operations_have_equal_digests_and_others_have_others() {
    let upsert = {
        let record = record(1, false);
        op(&record, OpKind::Upsert(batch(&record, &ROWS)))
    };
    let replace = |key: i64| {
        let record = record(1, true);
        op(&record, OpKind::Replace { keys: redkite_types::Keys::Int(vec![key]), batch: batch(&record, &ROWS) })
    };
    let blocks = [
        vec![],
        vec![replace(1)],
        vec![replace(2)],
        vec![insert(1, &ROWS)],
        vec![insert(2, &ROWS)],
        vec![upsert],
        vec![insert(1, &ROWS[..2])],
        vec![insert(1, &ROWS[1..])],
        vec![insert(1, &[(1, Some("a")), (2, Some("")), (3, Some("c"))])],
        vec![insert(1, &[(1, Some("ac")), (2, None), (3, Some(""))])],
        vec![insert(1, &ROWS), insert(1, &ROWS)],
        vec![insert(1, &ROWS[..1]), insert(1, &ROWS[1..])],
        vec![insert(1, &ROWS), delete(1, "id == 1")],
        vec![delete(1, "id == 1"), insert(1, &ROWS)],
        vec![insert(1, &ROWS), delete(1, "id == 2")],
        vec![insert(1, &ROWS), delete(2, "id == 1")],
        vec![delete(1, "id == 1")],
    ];
    let digests: Vec<u128> = blocks.iter().map(|ops| block(ops.clone()).digest()).collect();
    for (at, ops) in blocks.iter().enumerate() {
        assert_eq!(block(ops.clone()).digest(), digests[at]);
        assert!(!digests[..at].contains(&digests[at]), "block {at}");
    }
}

#[test]
fn a_slice_is_told_from_the_whole() {
    let record = record(1, false);
    let whole = batch(&record, &ROWS);
    let digest = |start, length| block([op(&record, OpKind::Insert(whole.slice(start, length)))]).digest();
    assert_ne!(digest(0, 2), digest(1, 2));
    assert_ne!(digest(0, 2), digest(0, 3));
}

#[test]
fn automatic_keys_are_left_out() {
    let digest = |auto_id, first: i64| {
        let record = record(1, auto_id);
        block([op(&record, OpKind::Insert(batch(&record, &[(first, Some("a")), (first + 1, None)])))]).digest()
    };
    assert_eq!(digest(true, 1), digest(true, 100));
    assert_ne!(digest(false, 1), digest(false, 100));
    // Not so where they say which rows to replace.
    let upsert = |key| {
        let record = record(1, true);
        block([op(&record, OpKind::Upsert(batch(&record, &[(key, None)])))]).digest()
    };
    assert_ne!(upsert(1), upsert(2));
}

#[test]
fn a_digest_does_not_depend_on_when_rows_were_uploaded_or_asked_for() {
    let ops = || [insert(1, &ROWS), insert(2, &ROWS), delete(1, "id == 1"), insert(1, &ROWS[..1])];
    let want = block(ops()).digest();
    for cut in 0..=ops().len() {
        let mut block = Block::default();
        for (at, op) in ops().into_iter().enumerate() {
            if at == cut {
                block.digest();
                block.replace(CollectionId(1), vec![delete(1, "id == 7")]);
            }
            block.push(op);
        }
        assert_eq!(block.digest(), want, "cut at {cut}");
        assert_eq!(block.acknowledged(), 4);
    }
}

#[test]
fn discarding_a_collection_leaves_what_never_had_it() {
    let mut mixed = block([insert(1, &ROWS), insert(2, &ROWS), delete(1, "id == 1"), delete(2, "id == 2")]);
    mixed.replace(CollectionId(1), vec![delete(1, "id == 7")]);
    assert_eq!(mixed.discard(CollectionId(1)), 2);
    let mut plain = block([insert(2, &ROWS), delete(2, "id == 2")]);
    assert_eq!(mixed.digest(), plain.digest());
    assert_eq!((mixed.acknowledged(), mixed.bytes()), (plain.acknowledged(), plain.bytes()));
    assert_eq!(mixed.discard(CollectionId(9)), 0);
    assert_eq!(mixed.discard(CollectionId(2)), 2);
    assert!(mixed.is_empty() && mixed.bytes() == 0 && mixed.acknowledged() == 0);
}

#[test]
fn the_last_operation_can_be_taken_back() {
    let mut block = block([insert(1, &ROWS)]);
    let (digest, bytes) = (block.digest(), block.bytes());
    block.push(insert(1, &ROWS));
    block.pop();
    assert_eq!((block.digest(), block.bytes(), block.acknowledged()), (digest, bytes, 1));
    assert_eq!(block.rows_by_collection(), &HashMap::from([(CollectionId(1), 3)]));
    // As if it had never been there, even if it was the only one of its collection.
    block.push(delete(2, "id == 1"));
    assert_eq!(block.deletes(), 1);
    block.pop();
    assert_eq!((block.digest(), block.bytes(), block.deletes()), (digest, bytes, 0));
}

#[test]
fn a_block_asks_for_the_same_wherever_its_rows_are() {
    let ops = || [insert(1, &ROWS), delete(1, "id == 1"), insert(1, &ROWS[..1]), insert(2, &ROWS)];
    let mut here = block(ops());
    let keys = Some(Keys::Int(vec![1]));
    let there = ops().map(|op| {
        let removes = keys.clone().filter(|_| op.removes());
        op.forwarded(NodeId(2), removes)
    });
    let mut there = block(there);
    assert!(there.is_forwarded() && !here.is_forwarded());
    assert_eq!((there.bytes(), there.asked_bytes()), (8, here.asked_bytes()));
    assert_eq!((there.acknowledged(), there.deletes()), (here.acknowledged(), here.deletes()));
    assert_eq!(there.rows_by_collection(), here.rows_by_collection());
    there.pop();
    assert!(there.asks_of(CollectionId(1)) && !there.asks_of(CollectionId(2)));
    there.push(insert(2, &ROWS));
    assert_eq!(there.digest(), here.digest());
    there.replace(CollectionId(1), Vec::new());
    assert!(!there.is_forwarded());
    assert_eq!((there.digest(), there.asked_bytes()), (here.digest(), here.asked_bytes()));
}

#[test]
fn the_only_operation_can_be_taken_back_whatever_has_become_of_it() {
    let mut only = block([insert(1, &ROWS)]);
    only.replace(CollectionId(1), vec![delete(1, "id == 7")]);
    only.pop();
    assert!(only.is_empty() && only.acknowledged() == 0 && only.asked_bytes() == 0);
    assert_eq!(only.digest(), Block::default().digest());
}
