//! Searches: the nearest rows of query vectors.

use std::sync::Arc;

use bytes::Bytes;
use redkite_query::{SearchHits, SearchRequest, Window};
use redkite_table::entry::CollectionRecord;
use redkite_types::{DataType, Field, Metric};

use super::errors::filter_error;
use super::output::Output;
use super::queries::{key_name, resolve_for_reading, status_with};
use super::search_by_ids::vectors_of_ids;
use super::{Call, Shared};
use crate::convert::keys::{array_to_keys, keys_to_ids};
use crate::convert::params::{SearchParams, search_params};
use crate::convert::query_vectors::{QueryVectors, query_vectors};
use crate::convert::templates::templates;
use crate::proto::milvus as wire;
use crate::proto::milvus::search_request::SearchInput;
use crate::proto::schema::{SearchIteratorV2Results, SearchResultData};
use crate::status::{WireError, WireResult, invalid_parameter};

pub(super) async fn search(shared: &Shared, call: Call<wire::SearchRequest>) -> WireResult<wire::SearchResults> {
    let _watched = shared.slow.watch("search", &call.message.collection_name, &call.message.dsl);
    let params = search_params(&call.message)?;
    let request = call.message;
    let resolved = resolve_for_reading(
        shared,
        &call.metadata,
        &request.db_name,
        &request.collection_name,
        (request.consistency_level, request.use_default_consistency),
        params.collection_id,
    )
    .await?;
    let record = resolved.collection.record()?.clone();
    let field = vector_field(&record, params.anns_field.as_deref())?;
    let metric = metric_of(&record, field, params.metric)?;
    params.range.check(metric)?;
    let (queries, count) = match request.search_input {
        Some(SearchInput::PlaceholderGroup(group)) => {
            let vectors = query_vectors(field, group, request.nq)?;
            let count = vectors.count;
            (little_endian(vectors), count)
        }
        Some(SearchInput::Ids(ids)) => vectors_of_ids(shared, &resolved, &record, field, ids).await?,
        None => return Err(invalid_parameter("the search has no query vectors")),
    };
    let values = templates(request.expr_template_values)?;
    let filter = redkite_expr::parse(&request.dsl, &values, &record.schema)
        .map_err(|error| filter_error(&request.dsl, &error))?
        .written_as(request.dsl, values);
    let output = Output::new(&record.schema, &request.output_fields, false)?;
    let warning = shared.ingest.unflushed_warning(call.client, record.id, &request.collection_name);
    let page = params.iterator.as_ref().filter(|iterator| iterator.is_v2);
    let search = SearchRequest {
        collection: resolved.collection.clone(),
        vector: field.id,
        metric,
        queries,
        filter: Arc::new(filter),
        limit: page.and_then(|page| page.batch_size).unwrap_or(params.top_k),
        offset: params.offset,
        whole_ties: page.is_some(),
        window: window(&params),
        fields: output.fields.clone(),
    };
    let run = |collection| shared.reads.search(SearchRequest { collection, ..search.clone() });
    let hits = shared.read(&resolved, &request.collection_name, run).await?;
    let mut results = results(&record, &output, &hits, count)?;
    if let Some(decimals) = params.round_decimal {
        round(&mut results.scores, decimals);
    }
    if let Some(page) = page {
        let last_bound = hits.scores.last().copied().or(page.last_bound).unwrap_or_default();
        let token = page.id.clone().unwrap_or_else(|| format!("{:016x}", shared.database.ambient.random()));
        results.search_iterator_v2_results = Some(SearchIteratorV2Results { token, last_bound });
    }
    Ok(wire::SearchResults {
        status: Some(status_with(warning)),
        results: Some(results),
        collection_name: request.collection_name,
        session_ts: shared.timestamps.next(),
    })
}

/// The field to search: the one named, or the only one.
fn vector_field<'r>(record: &'r CollectionRecord, name: Option<&str>) -> WireResult<&'r Field> {
    if let Some(name) = name.filter(|name| !name.is_empty()) {
        let field = record.schema.field(name);
        return match field {
            Some(field) if field.data_type.is_vector() => Ok(field),
            Some(field) => {
                Err(invalid_parameter(format!("field ({}) to search is not of vector data type", field.name)))
            }
            None => Err(invalid_parameter(format!("failed to get field schema by name: fieldName({name}) not found"))),
        };
    }
    let mut fields = record.schema.vector_fields();
    match (fields.next(), fields.next()) {
        (Some(only), None) => Ok(only),
        _ => Err(invalid_parameter("multiple anns_fields exist, please specify a anns_field in search_params")),
    }
}

/// The metric of the field's index, which a request may repeat but not change; without index the request's, else the
/// usual one for the type.
fn metric_of(record: &CollectionRecord, field: &Field, asked: Option<Metric>) -> WireResult<Metric> {
    let indexed = record.index_on(field.id).and_then(|index| index.metric);
    match (indexed, asked) {
        (Some(indexed), Some(asked)) if indexed != asked => {
            Err(WireError::MetricMismatch { expected: indexed.to_string(), actual: asked.to_string() })
        }
        (Some(metric), _) | (None, Some(metric)) => Ok(metric),
        (None, None) => match field.data_type {
            DataType::BinaryVector { .. } => Ok(Metric::Hamming),
            _ => Ok(Metric::Cosine),
        },
    }
}

fn window(params: &SearchParams) -> Window {
    if let Some(bound) = params.iterator.as_ref().and_then(|iterator| iterator.last_bound) {
        return Window::beyond(bound);
    }
    match params.range.radius {
        Some(radius) => Window::range(radius as f32, params.range.range_filter.map(|filter| filter as f32)),
        None => Window::ALL,
    }
}

/// Query vectors as a column of the field holds them.
fn little_endian(vectors: QueryVectors) -> Bytes {
    use crate::convert::query_vectors::VectorValues;
    match vectors.values {
        VectorValues::Float(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        VectorValues::Float16(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        VectorValues::BFloat16(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        VectorValues::Int8(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        VectorValues::Binary(values) => values.into(),
    }
}

fn results(
    record: &CollectionRecord,
    output: &Output,
    hits: &SearchHits,
    queries: usize,
) -> WireResult<SearchResultData> {
    let topks: Vec<i64> = hits.counts.iter().map(|count| *count as i64).collect();
    Ok(SearchResultData {
        num_queries: queries as i64,
        top_k: topks.iter().copied().max().unwrap_or(0),
        fields_data: output.to_fields(&record.schema, &hits.rows)?,
        scores: hits.scores.clone(),
        ids: Some(keys_to_ids(array_to_keys(&hits.keys)?)),
        topks,
        output_fields: output.names.clone(),
        primary_field_name: key_name(&record.schema),
        ..Default::default()
    })
}

fn round(scores: &mut [f32], decimals: u32) {
    let factor = 10f64.powi(decimals as i32);
    scores.iter_mut().for_each(|score| *score = ((f64::from(*score) * factor).round() / factor) as f32);
}
