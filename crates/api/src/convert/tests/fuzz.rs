//! Random and damaged bytes as every request, through every conversion: errors are fine, panics are not.

use proptest::collection::vec;
use proptest::prelude::*;
use prost::Message;
use redkite_types::{Keys, Schema};

use super::{dynamic_data, every_type, every_type_message, key_data, scalar_data, vector_data};
use crate::convert::keys::{ids_to_keys, keys_of_batch};
use crate::convert::params::{index_params, query_params, search_params};
use crate::convert::query_vectors::query_vectors;
use crate::convert::rows_in::{KeySource, check_row_count, keys_in_request, rows_to_batch};
use crate::convert::rows_out::{DynamicKeys, batch_to_fields};
use crate::convert::schema_in::schema_from_bytes;
use crate::convert::templates::templates;
use crate::float_array::FloatArray;
use crate::proto::common::{KeyValuePair, PlaceholderGroup, PlaceholderValue};
use crate::proto::milvus::*;
use crate::proto::schema::scalar_field::Data as Scalars;
use crate::proto::schema::vector_field::Data as Vectors;
use crate::proto::schema::*;

fn rows(schema: &Schema, fields: Vec<FieldData>, num_rows: u32) {
    let _ = keys_in_request(schema, &fields, num_rows);
    if let Ok(rows) = check_row_count(&fields, num_rows)
        && rows < 1000
    {
        let keys = Keys::Int((0..rows as i64).collect());
        let _ = rows_to_batch(schema, fields.clone(), num_rows, KeySource::Replaced(keys));
    }
    if let Ok(batch) = rows_to_batch(schema, fields, num_rows, KeySource::Request) {
        assert_eq!(keys_of_batch(schema, &batch).unwrap().len(), batch.num_rows());
        batch_to_fields(schema, &batch, &DynamicKeys::All).unwrap();
    }
}

fn pass_through_everything(schema: &Schema, bytes: &[u8]) {
    macro_rules! decode {
        ($($request:ty),*) => { $( let _ = <$request>::decode(bytes); )* };
    }
    decode!(
        ConnectRequest,
        GetVersionRequest,
        CheckHealthRequest,
        AllocTimestampRequest,
        DropCollectionRequest,
        HasCollectionRequest,
        DescribeCollectionRequest,
        ShowCollectionsRequest,
        GetCollectionStatisticsRequest,
        AlterCollectionRequest,
        DescribeIndexRequest,
        DropIndexRequest,
        LoadCollectionRequest,
        ReleaseCollectionRequest,
        GetLoadingProgressRequest,
        GetLoadStateRequest,
        FlushRequest,
        GetFlushStateRequest,
        FlushAllRequest,
        GetFlushAllStateRequest,
        ListDatabasesRequest,
        DescribeDatabaseRequest
    );
    let _ = schema_from_bytes("films", bytes);
    for field in &schema.fields {
        let _ = query_vectors(field, bytes::Bytes::copy_from_slice(bytes), 0);
    }
    if let Ok(request) = CreateCollectionRequest::decode(bytes) {
        let _ = schema_from_bytes(&request.collection_name, &request.schema);
    }
    if let Ok(request) = CreateIndexRequest::decode(bytes) {
        for field in &schema.fields {
            let _ = index_params(field, &request.index_name, &request.extra_params);
        }
    }
    if let Ok(request) = InsertRequest::decode(bytes) {
        rows(schema, request.fields_data, request.num_rows);
    }
    if let Ok(request) = UpsertRequest::decode(bytes) {
        rows(schema, request.fields_data, request.num_rows);
    }
    if let Ok(request) = DeleteRequest::decode(bytes) {
        let _ = templates(request.expr_template_values);
    }
    if let Ok(request) = QueryRequest::decode(bytes) {
        let _ = query_params(&request);
        let _ = templates(request.expr_template_values);
    }
    if let Ok(request) = SearchRequest::decode(bytes) {
        let _ = search_params(&request);
        if let Some(search_request::SearchInput::Ids(ids)) = request.search_input {
            let _ = ids_to_keys(schema.primary_key().unwrap(), ids);
        }
        let _ = templates(request.expr_template_values);
    }
}

/// Requests that are in order, to be damaged.
fn good_requests(schema: &Schema) -> Vec<Vec<u8>> {
    let pairs = |pairs: &[(&str, &str)]| -> Vec<KeyValuePair> {
        pairs.iter().map(|(key, value)| KeyValuePair { key: (*key).into(), value: (*value).into() }).collect()
    };
    let list = |values: Vec<i64>| ScalarField { data: Some(Scalars::LongData(LongArray { data: values })) };
    let insert = InsertRequest {
        fields_data: vec![
            key_data(schema, [1, 2]),
            scalar_data(schema, "text", Scalars::StringData(StringArray { data: vec!["a".into(), "b".into()] })),
            scalar_data(schema, "int8", Scalars::IntData(IntArray { data: vec![1, -1] })),
            scalar_data(schema, "json", Scalars::JsonData(JsonArray { data: vec!["{}".into(), "[[1]]".into()] })),
            scalar_data(
                schema,
                "int64s",
                Scalars::ArrayData(ArrayArray { data: vec![list(vec![1]), list(vec![])], element_type: 5 }),
            ),
            vector_data(schema, "vector", Vectors::FloatVector(FloatArray { data: vec![0.5; 8] })),
            vector_data(schema, "binary_vector", Vectors::BinaryVector(vec![1; 4].into())),
            dynamic_data(&["{\"a\":1}", "{}"]),
        ],
        num_rows: 2,
        ..Default::default()
    };
    let group = PlaceholderGroup {
        placeholders: vec![PlaceholderValue {
            tag: "$0".into(),
            r#type: 101,
            values: vec![vec![0; 16].into()],
            element_level: false,
        }],
    };
    let search = SearchRequest {
        search_params: pairs(&[("topk", "10"), ("offset", "1"), ("params", "{\"radius\": 1, \"ef\": 8}")]),
        search_input: Some(search_request::SearchInput::PlaceholderGroup(group.encode_to_vec().into())),
        nq: 1,
        ..Default::default()
    };
    let query = QueryRequest { query_params: pairs(&[("limit", "5"), ("iterator", "True")]), ..Default::default() };
    let create_index = CreateIndexRequest {
        extra_params: pairs(&[("index_type", "HNSW"), ("metric_type", "L2"), ("params", "{\"M\": 8}")]),
        ..Default::default()
    };
    let create = CreateCollectionRequest { schema: every_type_message().encode_to_vec().into(), ..Default::default() };
    vec![
        insert.encode_to_vec(),
        group.encode_to_vec(),
        search.encode_to_vec(),
        query.encode_to_vec(),
        create_index.encode_to_vec(),
        create.encode_to_vec(),
        every_type_message().encode_to_vec(),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn random_bytes_never_panic(bytes in vec(any::<u8>(), 0..300)) {
        pass_through_everything(&every_type(), &bytes);
    }

    #[test]
    fn damaged_requests_never_panic(
        which in any::<prop::sample::Index>(),
        flips in vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        keep in any::<prop::sample::Index>(),
        is_cut in any::<bool>(),
    ) {
        let schema = every_type();
        let mut bytes = which.get(&good_requests(&schema)).clone();
        for (at, value) in flips {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if is_cut {
            bytes.truncate(keep.index(bytes.len() + 1));
        }
        pass_through_everything(&schema, &bytes);
    }
}
