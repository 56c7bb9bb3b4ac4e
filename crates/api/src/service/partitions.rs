//! Partitions: every collection has the one called `_default`, which holds all its rows, and no other.
//!
//! So what is asked of that partition is answered by its collection, and any other one is not found.

use redkite_table::Visibility;

use super::collections::named;
use super::timestamps::from_ms;
use super::{Call, Shared, loading};
use crate::convert::params::{DEFAULT_PARTITION, check_partitions};
use crate::proto::common::{KeyValuePair, Status};
use crate::proto::milvus as wire;
use crate::status::{WireError, WireResult, invalid_parameter};

pub(super) async fn has(shared: &Shared, call: Call<wire::HasPartitionRequest>) -> WireResult<wire::BoolResponse> {
    let request = call.message;
    shared.resolve(&call.metadata, &request.db_name, &request.collection_name).await?;
    Ok(wire::BoolResponse { value: request.partition_name == DEFAULT_PARTITION, ..Default::default() })
}

pub(super) async fn show(
    shared: &Shared,
    call: Call<wire::ShowPartitionsRequest>,
) -> WireResult<wire::ShowPartitionsResponse> {
    let request = call.message;
    shared.check_database(&call.metadata, &request.db_name)?;
    let catalog = shared.database.snapshot(Visibility::Strong).await?;
    let (name, collection) = named(&catalog, &request.collection_name, request.collection_id)?;
    let record = collection.record()?;
    check_partitions(request.partition_names.iter().map(String::as_str))?;
    if request.r#type() == wire::ShowType::InMemory && record.released {
        return Err(WireError::CollectionNotLoaded { collection: name });
    }
    Ok(wire::ShowPartitionsResponse {
        partition_names: vec![DEFAULT_PARTITION.to_owned()],
        // Ids of partitions and of collections are not compared anywhere.
        partition_i_ds: vec![record.id.0],
        created_timestamps: vec![from_ms(record.created_ms)],
        created_utc_timestamps: vec![record.created_ms],
        in_memory_percentages: vec![if record.released { 0 } else { 100 }],
        ..Default::default()
    })
}

pub(super) async fn statistics(
    shared: &Shared,
    call: Call<wire::GetPartitionStatisticsRequest>,
) -> WireResult<wire::GetPartitionStatisticsResponse> {
    let request = call.message;
    let resolved = shared.resolve(&call.metadata, &request.db_name, &request.collection_name).await?;
    check_partitions([request.partition_name.as_str()])?;
    let rows = KeyValuePair { key: "row_count".into(), value: resolved.collection.live_rows().to_string() };
    Ok(wire::GetPartitionStatisticsResponse { stats: vec![rows], ..Default::default() })
}

pub(super) async fn load(shared: &Shared, mut call: Call<wire::LoadPartitionsRequest>) -> WireResult<Status> {
    check_some(&call.message.partition_names)?;
    let precedence = shared.precedence(&mut call).await?;
    loading::load_collection(shared, precedence, &call.metadata, &call.message.db_name, call.message.collection_name)
        .await
}

pub(super) async fn release(shared: &Shared, mut call: Call<wire::ReleasePartitionsRequest>) -> WireResult<Status> {
    check_some(&call.message.partition_names)?;
    let precedence = shared.precedence(&mut call).await?;
    loading::release_collection(shared, precedence, &call.metadata, &call.message.db_name, call.message.collection_name)
        .await
}

/// Which partitions are meant has to be said.
fn check_some(names: &[String]) -> WireResult<()> {
    if names.is_empty() {
        return Err(invalid_parameter("due to no partition specified"));
    }
    check_partitions(names.iter().map(String::as_str))
}
