//! Loading and releasing. A collection never released is searchable; loading it opens its files ahead of the queries.

use redkite_table::Visibility;
use tonic::metadata::MetadataMap;

use super::collections::to_the_end;
use super::turns::Precedence;
use super::{Call, Shared};
use crate::convert::params::check_partitions;
use crate::proto::common::{LoadState, Status};
use crate::proto::milvus as wire;
use crate::status::{WireError, WireResult, success};

/// What a finished load reports.
const DONE_PERCENT: i64 = 100;

pub(super) async fn load(shared: &Shared, mut call: Call<wire::LoadCollectionRequest>) -> WireResult<Status> {
    let precedence = shared.precedence(&mut call).await?;
    load_collection(shared, precedence, &call.metadata, &call.message.db_name, call.message.collection_name).await
}

/// Opens the files and, where it was released, makes the collection searchable again.
pub(super) async fn load_collection(
    shared: &Shared,
    precedence: Precedence,
    metadata: &MetadataMap,
    database: &str,
    name: String,
) -> WireResult<Status> {
    let resolved = shared.resolve(metadata, database, &name).await?;
    let record = resolved.collection.record()?;
    let unindexed = record.schema.vector_fields().find(|field| record.index_on(field.id).is_none());
    if let Some(field) = unindexed {
        return Err(WireError::NoIndexToLoad { field: field.name.clone() });
    }
    if !record.released {
        // Nothing changes, so the client's next calls need not wait.
        drop(precedence);
        redkite_query::warm(&shared.database, &resolved.collection).await?;
        return Ok(success());
    }
    redkite_query::warm(&shared.database, &resolved.collection).await?;
    set_released(shared, precedence, name, false).await
}

pub(super) async fn release(shared: &Shared, mut call: Call<wire::ReleaseCollectionRequest>) -> WireResult<Status> {
    let precedence = shared.precedence(&mut call).await?;
    release_collection(shared, precedence, &call.metadata, &call.message.db_name, call.message.collection_name).await
}

/// Makes the collection unsearchable.
pub(super) async fn release_collection(
    shared: &Shared,
    precedence: Precedence,
    metadata: &MetadataMap,
    database: &str,
    name: String,
) -> WireResult<Status> {
    shared.resolve(metadata, database, &name).await?;
    set_released(shared, precedence, name, true).await
}

async fn set_released(shared: &Shared, precedence: Precedence, name: String, released: bool) -> WireResult<Status> {
    let database = shared.database.clone();
    to_the_end(async move {
        let precedence = precedence;
        database.changing(precedence.guard()).set_released(&name, released).await?;
        Ok(success())
    })
    .await
}

pub(super) async fn progress(
    shared: &Shared,
    call: Call<wire::GetLoadingProgressRequest>,
) -> WireResult<wire::GetLoadingProgressResponse> {
    let request = call.message;
    check_partitions(request.partition_names.iter().map(String::as_str))?;
    let resolved = shared.resolve(&call.metadata, &request.db_name, &request.collection_name).await?;
    if resolved.collection.record()?.released {
        return Err(WireError::CollectionNotLoaded { collection: request.collection_name });
    }
    Ok(wire::GetLoadingProgressResponse {
        progress: DONE_PERCENT,
        refresh_progress: DONE_PERCENT,
        ..Default::default()
    })
}

pub(super) async fn state(
    shared: &Shared,
    call: Call<wire::GetLoadStateRequest>,
) -> WireResult<wire::GetLoadStateResponse> {
    let request = call.message;
    shared.check_database(&call.metadata, &request.db_name)?;
    check_partitions(request.partition_names.iter().map(String::as_str))?;
    let catalog = shared.database.snapshot(Visibility::Strong).await?;
    let state = match catalog.collection(&request.collection_name) {
        Err(redkite_table::Error::CollectionNotFound { .. }) => LoadState::NotExist,
        Err(error) => return Err(error.into()),
        Ok(collection) if collection.record()?.released => LoadState::NotLoad,
        Ok(_) => LoadState::Loaded,
    };
    Ok(wire::GetLoadStateResponse { state: state.into(), ..Default::default() })
}
