//! The requests, as Milvus's own clients would write them.

use bytes::Bytes;
use prost::Message as _;
use redkite_api::proto::common::{DslType, KeyValuePair, PlaceholderGroup, PlaceholderType, PlaceholderValue};
use redkite_api::proto::milvus::search_request::SearchInput;
use redkite_api::proto::milvus::{
    CreateCollectionRequest, CreateIndexRequest, InsertRequest, QueryRequest, SearchRequest, UpsertRequest,
};
use redkite_api::proto::schema::field_data::Field as Column;
use redkite_api::proto::schema::scalar_field::Data;
use redkite_api::proto::schema::vector_field::Data as Vectors;
use redkite_api::proto::schema::{
    CollectionSchema, DataType, FieldData, FieldSchema, FloatArray, LongArray, ScalarField, VectorField,
};

/// The primary key field.
pub const KEY: &str = "id";
/// The vector field.
pub const VECTOR: &str = "vector";
/// The output field that asks for a number instead of rows.
pub const COUNT: &str = "count(*)";

/// A collection with an int64 key, a float32 vector and int64 `columns`, and its exact index by inner product.
pub fn create_collection(name: &str, dim: usize, columns: &[&str]) -> (CreateCollectionRequest, CreateIndexRequest) {
    let field = |name: &str, kind: DataType| FieldSchema {
        name: name.to_owned(),
        data_type: kind.into(),
        is_primary_key: name == KEY,
        ..Default::default()
    };
    let mut vector = field(VECTOR, DataType::FloatVector);
    vector.type_params = vec![pair("dim", dim)];
    let mut fields = vec![field(KEY, DataType::Int64), vector];
    fields.extend(columns.iter().map(|column| field(column, DataType::Int64)));
    let schema = CollectionSchema { name: name.to_owned(), fields, ..Default::default() };
    let collection = CreateCollectionRequest {
        collection_name: name.to_owned(),
        schema: schema.encode_to_vec().into(),
        shards_num: 1,
        ..Default::default()
    };
    let index = CreateIndexRequest {
        collection_name: name.to_owned(),
        field_name: VECTOR.to_owned(),
        extra_params: vec![pair("index_type", "FLAT"), pair("metric_type", "IP")],
        ..Default::default()
    };
    (collection, index)
}

/// Rows with the keys `keys`; `vectors` holds theirs one after the other.
pub fn insert(collection: &str, keys: Vec<i64>, vectors: &[f32]) -> InsertRequest {
    let num_rows = keys.len() as u32;
    InsertRequest {
        collection_name: collection.to_owned(),
        fields_data: columns(keys, vectors),
        num_rows,
        ..Default::default()
    }
}

/// As [`insert`].
pub fn upsert(collection: &str, keys: Vec<i64>, vectors: &[f32]) -> UpsertRequest {
    let num_rows = keys.len() as u32;
    UpsertRequest {
        collection_name: collection.to_owned(),
        fields_data: columns(keys, vectors),
        num_rows,
        ..Default::default()
    }
}

fn columns(keys: Vec<i64>, vectors: &[f32]) -> Vec<FieldData> {
    let dim = vectors.len() / keys.len().max(1);
    let keys = ScalarField { data: Some(Data::LongData(LongArray { data: keys })) };
    let vectors =
        VectorField { dim: dim as i64, data: Some(Vectors::FloatVector(FloatArray { data: vectors.to_vec() })) };
    vec![
        column(KEY, DataType::Int64, Column::Scalars(keys)),
        column(VECTOR, DataType::FloatVector, Column::Vectors(vectors)),
    ]
}

fn column(name: &str, kind: DataType, values: Column) -> FieldData {
    FieldData { field_name: name.to_owned(), r#type: kind.into(), field: Some(values), ..Default::default() }
}

/// The `limit` nearest rows of each of `queries`.
pub fn search(collection: &str, queries: &[&[f32]], limit: usize) -> SearchRequest {
    let bytes = |query: &&[f32]| query.iter().flat_map(|value| value.to_le_bytes()).collect::<Bytes>();
    let placeholder = PlaceholderValue {
        tag: "$0".to_owned(),
        r#type: PlaceholderType::FloatVector.into(),
        values: queries.iter().map(bytes).collect(),
        ..Default::default()
    };
    let group = PlaceholderGroup { placeholders: vec![placeholder] };
    SearchRequest {
        collection_name: collection.to_owned(),
        search_input: Some(SearchInput::PlaceholderGroup(group.encode_to_vec().into())),
        dsl_type: DslType::BoolExprV1.into(),
        search_params: vec![pair("topk", limit), pair("round_decimal", -1), pair("params", "{}")],
        nq: queries.len() as i64,
        use_default_consistency: true,
        ..Default::default()
    }
}

/// The number of rows.
pub fn count_query(collection: &str) -> QueryRequest {
    query(collection, "", &[COUNT])
}

/// Rows that satisfy `filter`.
pub fn query(collection: &str, filter: &str, output: &[&str]) -> QueryRequest {
    QueryRequest {
        collection_name: collection.to_owned(),
        expr: filter.to_owned(),
        output_fields: output.iter().map(|&field| field.to_owned()).collect(),
        use_default_consistency: true,
        ..Default::default()
    }
}

fn pair(key: &str, value: impl ToString) -> KeyValuePair {
    KeyValuePair { key: key.to_owned(), value: value.to_string() }
}
