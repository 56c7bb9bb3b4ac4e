//! Index definitions.

use redkite_table::Visibility;
use redkite_table::entry::IndexRecord;

use super::collections::to_the_end;
use super::{Call, Shared};
use crate::convert::moments::refuse_past;
use crate::convert::params::index_params;
use crate::proto::common::{IndexState, KeyValuePair, Status};
use crate::proto::milvus as wire;
use crate::status::{WireError, WireResult, success};

pub(super) async fn create(shared: &Shared, mut call: Call<wire::CreateIndexRequest>) -> WireResult<Status> {
    let precedence = shared.precedence(&mut call).await?;
    let request = call.message;
    let resolved = shared.resolve(&call.metadata, &request.db_name, &request.collection_name).await?;
    let record = resolved.collection.record()?;
    let field = record
        .schema
        .field(&request.field_name)
        .ok_or_else(|| WireError::FieldNotExist { field: request.field_name.clone() })?;
    let params = index_params(field, &request.index_name, &request.extra_params)?;
    let index = IndexRecord {
        name: params.name,
        field: field.id,
        index_type: params.index_type,
        metric: params.metric,
        params: params.params,
    };
    let database = shared.database.clone();
    to_the_end(async move {
        let precedence = precedence;
        database.changing(precedence.guard()).create_index(&request.collection_name, index).await?;
        Ok(success())
    })
    .await
}

pub(super) async fn describe(
    shared: &Shared,
    call: Call<wire::DescribeIndexRequest>,
) -> WireResult<wire::DescribeIndexResponse> {
    let request = call.message;
    let name = &request.collection_name;
    let resolved = shared.resolve_at(&call.metadata, &request.db_name, name, Visibility::Strong).await?;
    let record = resolved.collection.record()?;
    let rows = i64::try_from(resolved.collection.live_rows()).unwrap_or(i64::MAX);
    let field_name = |index: &IndexRecord| {
        record.schema.field_by_id(index.field).map_or_else(String::new, |field| field.name.clone())
    };
    let wanted = |index: &&IndexRecord| {
        (request.index_name.is_empty() || index.name == request.index_name)
            && (request.field_name.is_empty() || field_name(index) == request.field_name)
    };
    let describe = |index: &IndexRecord| wire::IndexDescription {
        index_name: index.name.clone(),
        index_id: index.field.0,
        params: pairs(index),
        field_name: field_name(index),
        // Searches are exact, over all rows: there is nothing that an index could still lack.
        indexed_rows: rows,
        total_rows: rows,
        state: IndexState::Finished.into(),
        ..Default::default()
    };
    let found: Vec<_> = record.indexes.iter().filter(wanted).map(describe).collect();
    if found.is_empty() {
        return Err(match request.index_name.is_empty() {
            true => WireError::IndexNotFoundInCollection { collection: request.collection_name },
            false => WireError::IndexNotFound { index: request.index_name },
        });
    }
    Ok(wire::DescribeIndexResponse { index_descriptions: found, ..Default::default() })
}

fn pairs(index: &IndexRecord) -> Vec<KeyValuePair> {
    let pair = |key: &str, value: &str| KeyValuePair { key: key.to_owned(), value: value.to_owned() };
    let mut pairs = vec![pair("index_type", &index.index_type)];
    pairs.extend(index.metric.map(|metric| pair("metric_type", metric.name())));
    pairs.extend(index.params.iter().map(|(key, value)| pair(key, value)));
    pairs
}

pub(super) async fn drop(shared: &Shared, mut call: Call<wire::DropIndexRequest>) -> WireResult<Status> {
    let precedence = shared.precedence(&mut call).await?;
    let request = call.message;
    shared.check_database(&call.metadata, &request.db_name)?;
    refuse_past(&request.collection_name)?;
    let database = shared.database.clone();
    to_the_end(async move {
        let precedence = precedence;
        database
            .changing(precedence.guard())
            .drop_index(&request.collection_name, &request.index_name, &request.field_name)
            .await?;
        Ok(success())
    })
    .await
}
