//! Text keys, vectors that may be null, several vector fields.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Float32Type;
use arrow_array::{Array, ArrayRef, BooleanArray, FixedSizeBinaryArray, FixedSizeListArray, RecordBatch, StringArray};
use redkite_ingest::block::{BlockOp, OpKind};
use redkite_query::{QueryRequest, SearchRequest, Window, count, query, search};
use redkite_types::{DataType, Field, FieldId, Metric, Schema};

use crate::world::{Client, Node, Stores, field, filter};

pub const KEY: FieldId = FieldId(100);
pub const SEEN: FieldId = FieldId(101);
pub const FLOATS: FieldId = FieldId(102);
pub const BITS: FieldId = FieldId(103);

fn schema() -> Schema {
    let fields = vec![
        Field { primary_key: true, ..field(KEY, "title", DataType::VarChar { max_length: 1_000 }) },
        Field { nullable: true, ..field(SEEN, "seen", DataType::Bool) },
        Field { nullable: true, ..field(FLOATS, "floats", DataType::FloatVector { dim: 2 }) },
        field(BITS, "bits", DataType::BinaryVector { dim: 8 }),
    ];
    Schema { fields, description: String::new() }
}

type Film<'a> = (&'a str, Option<bool>, Option<[f32; 2]>, u8);

fn batch(rows: &[Film<'_>]) -> RecordBatch {
    let schema = schema();
    let keys: StringArray = rows.iter().map(|row| Some(row.0)).collect();
    let seen: BooleanArray = rows.iter().map(|row| row.1).collect();
    let items: Vec<f32> = rows.iter().flat_map(|row| row.2.unwrap_or_default()).collect();
    let arrow_schema::DataType::FixedSizeList(item, size) = schema.fields[2].data_type.arrow() else { unreachable!() };
    let nulls: Vec<bool> = rows.iter().map(|row| row.2.is_some()).collect();
    let items: ArrayRef = Arc::new(arrow_array::Float32Array::from(items));
    let floats = FixedSizeListArray::new(item, size, items, Some(nulls.into()));
    let bits = FixedSizeBinaryArray::try_from_iter(rows.iter().map(|row| [row.3])).unwrap();
    let columns: Vec<ArrayRef> = vec![Arc::new(keys), Arc::new(seen), Arc::new(floats), Arc::new(bits)];
    RecordBatch::try_new(schema.arrow(), columns).unwrap()
}

async fn submit(client: &Client, make: impl FnOnce(&Schema) -> OpKind) {
    let turn = client.node.ingest.turn(client.id).await.unwrap();
    let record = client.node.collection("films").await.record().unwrap().clone();
    let kind = make(&record.schema);
    turn.submit(BlockOp { collection: record.id, record, kind }).await.unwrap();
}

fn delete(text: &str) -> impl FnOnce(&Schema) -> OpKind {
    let text = text.to_owned();
    move |schema| OpKind::Delete { predicate: filter(schema, &text), text }
}

async fn titles(node: &Node, text: &str) -> Vec<String> {
    let collection = node.collection("films").await;
    let filter = filter(&schema(), text);
    assert!(count(&node.database, &collection, &filter).await.unwrap() > 0 || !text.is_empty());
    let request = QueryRequest { collection, filter, offset: 0, limit: None, fields: vec![KEY, FLOATS] };
    let rows = query(&node.database, request).await.unwrap();
    rows.columns[0].1.as_string::<i32>().iter().map(|title| title.unwrap().to_owned()).collect()
}

async fn nearest(node: &Node, vector: FieldId, metric: Metric, queries: Vec<u8>, text: &str) -> Vec<(String, f32)> {
    let request = SearchRequest {
        collection: node.collection("films").await,
        vector,
        metric,
        queries: queries.into(),
        filter: filter(&schema(), text),
        limit: 10,
        offset: 0,
        window: Window::ALL,
        whole_ties: false,
        fields: Vec::new(),
    };
    let found = search(&node.database, request).await.unwrap();
    assert!(found.rows.columns.is_empty());
    let keys = found.keys.as_string::<i32>().iter().map(|key| key.unwrap().to_owned());
    keys.zip(found.scores).collect()
}

async fn films() -> (Node, Client) {
    let node = Stores::new().await.node(1).await;
    let client = films_on(&node, &node).await;
    (node, client)
}

/// The films, in a fragment of each node.
pub async fn films_on(node: &Node, other: &Node) -> Client {
    node.create_with("films", schema(), &[]).await;
    let client = node.client();
    let long = "z".repeat(300);
    submit(&client, |_| {
        OpKind::Insert(batch(&[
            ("b", Some(true), Some([1.0, 0.0]), 0b1111),
            ("a", None, None, 0b0001),
            (&long, Some(false), Some([3.0, 0.0]), 0b0000),
        ]))
    })
    .await;
    client.flush().await;
    let client = other.client();
    submit(&client, |_| {
        OpKind::Insert(batch(&[("ä", Some(true), None, 0b0011), ("", None, Some([2.0, 0.0]), 0b0111)]))
    })
    .await;
    client.flush().await;
    client
}

#[tokio::test]
async fn text_keys_are_ordered_and_looked_up_by_bytes() {
    let (node, client) = films().await;
    let long = "z".repeat(300);
    assert_eq!(titles(&node, "").await, ["", "a", "b", long.as_str(), "ä"]);
    assert_eq!(titles(&node, &format!(r#"title in ["a", "{long}", "none", ""]"#)).await, ["", "a", long.as_str()]);
    assert_eq!(titles(&node, r#"title == "b" and seen == true"#).await, ["b"]);
    assert_eq!(titles(&node, r#"title > "a" and seen == true"#).await, ["b", "ä"]);
    submit(&client, delete(&format!(r#"title in ["{long}", ""]"#))).await;
    submit(&client, |_| OpKind::Upsert(batch(&[("ä", None, Some([0.0, 0.0]), 0)]))).await;
    client.flush().await;
    assert_eq!(titles(&node, "").await, ["a", "b", "ä"]);
    assert_eq!(titles(&node, "seen is null").await, ["a", "ä"]);
}

#[tokio::test]
async fn rows_without_a_vector_are_queried_but_not_found_by_it() {
    let (node, client) = films().await;
    let origin = [0.0f32, 0.0].iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>();
    let found = nearest(&node, FLOATS, Metric::L2, origin.clone(), "").await;
    assert_eq!(found, [("b".into(), 1.0), (String::new(), 4.0), ("z".repeat(300), 9.0)]);
    assert!(nearest(&node, FLOATS, Metric::L2, origin.clone(), r#"title == "a""#).await.is_empty());
    // The null comes back as one.
    let collection = node.collection("films").await;
    let request = QueryRequest {
        collection,
        filter: filter(&schema(), r#"title in ["a", "b"]"#),
        offset: 0,
        limit: None,
        fields: vec![FLOATS],
    };
    let rows = query(&node.database, request).await.unwrap();
    let floats = rows.columns[0].1.as_fixed_size_list();
    assert!(floats.is_null(0) && floats.is_valid(1));
    assert_eq!(floats.value(1).as_primitive::<Float32Type>().values(), &[1.0, 0.0]);
    submit(&client, delete("seen is null")).await;
    client.flush().await;
    let found = nearest(&node, FLOATS, Metric::L2, origin, "").await;
    assert_eq!(found, [("b".into(), 1.0), ("z".repeat(300), 9.0)]);
}

#[tokio::test]
async fn several_vector_fields_are_searched_apart() {
    let (node, _) = films().await;
    let found = nearest(&node, BITS, Metric::Hamming, vec![0b0011], "").await;
    let long = "z".repeat(300);
    let want = [("ä", 0.0), ("", 1.0), ("a", 1.0), ("b", 2.0), (long.as_str(), 2.0)];
    assert_eq!(found, want.map(|(title, score)| (title.to_owned(), score)));
    let found = nearest(&node, BITS, Metric::Jaccard, vec![0b0011], "seen == true").await;
    assert_eq!(found, [("ä", 0.0), ("b", 0.5)].map(|(title, score)| (title.to_owned(), score)));
}

/// Rows written before a field existed hold its default, or null.
#[tokio::test]
async fn rows_older_than_a_field_hold_its_default() {
    let (node, client) = films().await;
    let collection = node.collection("films").await;
    let mut record = collection.record().unwrap().as_ref().clone();
    let added = [
        Field { default: Some(redkite_types::Scalar::Int(7)), ..field(FieldId(104), "stars", DataType::Int64) },
        Field { nullable: true, ..field(FieldId(105), "note", DataType::VarChar { max_length: 10 }) },
    ];
    record.schema.fields.extend(added);
    let put = |key: String, value| redkite_meta::Op::put(key, value);
    let keys = &node.database.keys;
    let then =
        vec![put(keys.schema("films"), redkite_table::entry::encode(&record).unwrap()), put(keys.head(), "{}".into())];
    node.database.meta.txn(redkite_meta::Txn { then, ..Default::default() }).await.unwrap();
    let collection = node.collection("films").await;
    let filter = crate::world::filter(&record.schema, "stars == 7 and note is null");
    assert_eq!(count(&node.database, &collection, &filter).await.unwrap(), 5);
    let fields = vec![FieldId(104), FieldId(105)];
    let request = QueryRequest { collection, filter, offset: 0, limit: Some(2), fields };
    let rows = query(&node.database, request).await.unwrap();
    assert_eq!(*rows.columns[0].1, arrow_array::Int64Array::from(vec![7, 7]));
    assert_eq!(rows.columns[1].1.null_count(), 2);
    // A delete by the new field reaches the old rows.
    let text = "stars == 7".to_owned();
    let predicate = crate::world::filter(&record.schema, &text);
    submit(&client, |_| OpKind::Delete { predicate, text }).await;
    client.flush().await;
    assert_eq!(node.collection("films").await.live_rows(), 0);
}
