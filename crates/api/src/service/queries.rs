//! Queries: rows that satisfy a filter, or their number.

use std::sync::Arc;

use redkite_query::QueryRequest;
use redkite_table::Collection;
use redkite_types::Schema;

use super::errors::filter_error;
use super::output::Output;
use super::{Call, Resolved, Shared, visibility};
use crate::convert::params::query_params;
use crate::convert::templates::templates;
use crate::proto::common::Status;
use crate::proto::milvus as wire;
use crate::proto::schema::field_data::Field as Column;
use crate::proto::schema::scalar_field::Data;
use crate::proto::schema::{DataType, FieldData, LongArray, ScalarField};
use crate::status::{WireError, WireResult, invalid_parameter, success};

/// The output field that asks for a number instead of rows.
const COUNT: &str = "count(*)";

pub(super) async fn query(shared: &Shared, call: Call<wire::QueryRequest>) -> WireResult<wire::QueryResults> {
    let _watched = shared.slow.watch("query", &call.message.collection_name, &call.message.expr);
    let params = query_params(&call.message)?;
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
    let values = templates(request.expr_template_values)?;
    let filter = redkite_expr::parse(&request.expr, &values, &record.schema)
        .map_err(|error| filter_error(&request.expr, &error))?;
    let is_blank = request.expr.trim().is_empty();
    let filter = Arc::new(filter.written_as(request.expr, values));
    let warning = shared.ingest.unflushed_warning(call.client, record.id, &request.collection_name);
    let mut answer = wire::QueryResults {
        status: Some(status_with(warning)),
        collection_name: request.collection_name,
        session_ts: shared.timestamps.next(),
        primary_field_name: key_name(&record.schema),
        ..Default::default()
    };
    if request.output_fields.iter().any(|name| name.eq_ignore_ascii_case(COUNT)) {
        if request.output_fields.len() > 1 {
            return Err(invalid_parameter("count(*) cannot be asked for together with other output fields"));
        }
        if params.limit.is_some() {
            return Err(invalid_parameter("count entities with pagination is not allowed"));
        }
        let count = |collection: Arc<Collection>| {
            let (shared, filter) = (&shared, &filter);
            async move { shared.reads.count(&collection, filter).await }
        };
        let count = shared.read(&resolved, &answer.collection_name, count).await?;
        answer.fields_data = vec![count_column(i64::try_from(count).unwrap_or(i64::MAX))];
        answer.output_fields = vec![COUNT.to_owned()];
        return Ok(answer);
    }
    if is_blank && params.limit.is_none() {
        return Err(invalid_parameter("empty expression should be used with limit"));
    }
    let output = Output::new(&record.schema, &request.output_fields, true)?;
    let query = |collection| {
        let query = QueryRequest {
            collection,
            filter: filter.clone(),
            offset: params.offset,
            limit: params.limit,
            fields: output.fields.clone(),
        };
        shared.reads.query(query)
    };
    let rows = shared.read(&resolved, &answer.collection_name, query).await?;
    answer.fields_data = output.to_fields(&record.schema, &rows)?;
    answer.output_fields = output.names;
    Ok(answer)
}

/// The collection a read is about, on a snapshot as new as the read asks for; refused while it is released.
pub(super) async fn resolve_for_reading(
    shared: &Shared,
    metadata: &tonic::metadata::MetadataMap,
    database: &str,
    name: &str,
    (level, use_default): (i32, bool),
    pinned_id: Option<i64>,
) -> WireResult<Resolved> {
    // What the collection's own level is may be read from what is known here: it only chooses how to read on.
    let known = shared.database.newest();
    let known_level = known.collection(name).ok().and_then(|known| known.record.as_ref().map(|r| r.consistency_level));
    let visibility = visibility(level, use_default, known_level.unwrap_or_default());
    let resolved = shared.resolve_at(metadata, database, name, visibility).await?;
    let record = resolved.collection.record()?;
    if record.released && !resolved.is_past() {
        return Err(WireError::CollectionNotLoaded { collection: name.to_owned() });
    }
    if let Some(id) = pinned_id
        && id != record.id.0
    {
        let what = format!("the iterator is over collection {id}, {name} is now {}", record.id);
        return Err(invalid_parameter(what));
    }
    Ok(resolved)
}

/// Success, with a hint where there is one.
pub(super) fn status_with(warning: Option<String>) -> Status {
    let mut status = success();
    if let Some(warning) = warning {
        status.extra_info.insert("redkite_warning".to_owned(), warning);
    }
    status
}

pub(super) fn key_name(schema: &Schema) -> String {
    schema.primary_key().map_or_else(String::new, |key| key.name.clone())
}

fn count_column(count: i64) -> FieldData {
    let data = Data::LongData(LongArray { data: vec![count] });
    let mut column = FieldData {
        field_name: COUNT.to_owned(),
        field: Some(Column::Scalars(ScalarField { data: Some(data) })),
        ..Default::default()
    };
    column.set_type(DataType::Int64);
    column
}
