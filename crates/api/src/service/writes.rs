//! Inserts and upserts: rows go into the client's block.

use prost::Message;
use redkite_ingest::WriteReport;
use redkite_ingest::block::{BlockOp, OpKind};
use redkite_table::entry::CollectionRecord;
use redkite_types::{DataType, ErrorKind, Keys};

use super::timestamps::from_ms;
use super::{Call, Shared};
use crate::convert::keys::{keys_of_batch, keys_to_ids};
use crate::convert::params::{check_namespace, check_partitions};
use crate::convert::rows_in::{KeySource, check_row_count, keys_in_request, rows_to_batch};
use crate::proto::milvus as wire;
use crate::proto::schema::FieldData;
use crate::status::{WireError, WireResult, engine, invalid_parameter, unsupported};

/// Bytes of a request above which its rows are converted on a thread for CPU work.
const INLINE_BYTES_MAX: usize = 256 * 1024;

pub(super) async fn insert(shared: &Shared, mut call: Call<wire::InsertRequest>) -> WireResult<wire::MutationResult> {
    // The turn first: a client's operations take effect in the order they arrived (S06).
    let turn = shared.turn_to_write(&mut call).await?;
    let request = call.message;
    check_partitions([request.partition_name.as_str()])?;
    check_namespace(request.namespace.as_deref())?;
    let resolved = shared.resolve(&call.metadata, &request.db_name, &request.collection_name).await?;
    let record = resolved.collection.record()?.clone();
    check_schema_timestamp(&record, request.schema_timestamp, &request.collection_name)?;
    let rows = check_row_count(&request.fields_data, request.num_rows)?;
    let keys = match auto_id(&record) {
        true => KeySource::Assigned(new_keys(shared, &record, rows).await?),
        false => KeySource::Request,
    };
    let batch = to_batch(&record, request.fields_data, request.num_rows, keys).await?;
    let ids = keys_of_batch(&record.schema, &batch)?;
    let op = BlockOp { collection: record.id, record, kind: OpKind::Insert(batch) };
    let report = turn.submit(op).await?;
    Ok(wire::MutationResult {
        i_ds: Some(keys_to_ids(ids)),
        succ_index: (0..request.num_rows).collect(),
        acknowledged: true,
        insert_cnt: i64::from(request.num_rows),
        timestamp: timestamp(shared, report),
        ..Default::default()
    })
}

pub(super) async fn upsert(shared: &Shared, mut call: Call<wire::UpsertRequest>) -> WireResult<wire::MutationResult> {
    let turn = shared.turn_to_write(&mut call).await?;
    let request = call.message;
    check_partitions([request.partition_name.as_str()])?;
    check_namespace(request.namespace.as_deref())?;
    if request.partial_update || !request.field_ops.is_empty() {
        return Err(unsupported("a partial update (partial_update)"));
    }
    let resolved = shared.resolve(&call.metadata, &request.db_name, &request.collection_name).await?;
    let record = resolved.collection.record()?.clone();
    check_schema_timestamp(&record, request.schema_timestamp, &request.collection_name)?;
    let rows = check_row_count(&request.fields_data, request.num_rows)?;
    let replaced = keys_in_request(&record.schema, &request.fields_data, request.num_rows)?;
    refuse_duplicates(&replaced)?;
    let (ids, kind) = match auto_id(&record) {
        // The rows of the given keys go, the new rows get keys of their own.
        true => {
            let assigned = new_keys(shared, &record, rows).await?;
            let keys = KeySource::Replaced(assigned.clone());
            let batch = to_batch(&record, request.fields_data, request.num_rows, keys).await?;
            (assigned, OpKind::Replace { keys: replaced, batch })
        }
        false => {
            let batch = to_batch(&record, request.fields_data, request.num_rows, KeySource::Request).await?;
            (replaced, OpKind::Upsert(batch))
        }
    };
    let report = turn.submit(BlockOp { collection: record.id, record, kind }).await?;
    Ok(wire::MutationResult {
        i_ds: Some(keys_to_ids(ids)),
        succ_index: (0..request.num_rows).collect(),
        acknowledged: true,
        upsert_cnt: i64::from(request.num_rows),
        timestamp: timestamp(shared, report),
        ..Default::default()
    })
}

/// Of a write that was committed before it was answered the revision it is visible from, else a timestamp as Milvus gives
/// them. Not in the status's `extra_info`: where that is not empty pymilvus wants a cost in it.
pub(super) fn timestamp(shared: &Shared, report: WriteReport) -> u64 {
    report.revision.map_or_else(|| shared.timestamps.next(), |revision| revision.0.unsigned_abs())
}

/// A client that still has an older schema in its cache drops it on this error and tries again.
fn check_schema_timestamp(record: &CollectionRecord, timestamp: u64, collection: &str) -> WireResult<()> {
    match timestamp != 0 && timestamp < from_ms(record.updated_ms) {
        true => Err(WireError::SchemaMismatch { collection: collection.to_owned() }),
        false => Ok(()),
    }
}

fn auto_id(record: &CollectionRecord) -> bool {
    record.schema.primary_key().is_some_and(|key| key.auto_id)
}

async fn new_keys(shared: &Shared, record: &CollectionRecord, rows: usize) -> WireResult<Keys> {
    let keys = shared.database.auto_ids.take(rows).await?;
    Ok(match record.schema.primary_key().map(|key| key.data_type) {
        Some(DataType::VarChar { .. }) => Keys::Text(keys.map(|key| key.to_string()).collect()),
        _ => Keys::Int(keys.collect()),
    })
}

async fn to_batch(
    record: &std::sync::Arc<CollectionRecord>,
    data: Vec<FieldData>,
    rows: u32,
    keys: KeySource,
) -> WireResult<arrow_array::RecordBatch> {
    let bytes: usize = data.iter().map(Message::encoded_len).sum();
    if bytes <= INLINE_BYTES_MAX {
        return rows_to_batch(&record.schema, data, rows, keys);
    }
    let record = record.clone();
    tokio::task::spawn_blocking(move || rows_to_batch(&record.schema, data, rows, keys))
        .await
        .map_err(|error| engine(ErrorKind::Internal, format!("converting rows failed: {error}")))?
}

fn refuse_duplicates(keys: &Keys) -> WireResult<()> {
    let duplicate = match keys {
        Keys::Int(keys) => {
            let mut seen = std::collections::HashSet::with_capacity(keys.len());
            keys.iter().find(|key| !seen.insert(**key)).map(ToString::to_string)
        }
        Keys::Text(keys) => {
            let mut seen = std::collections::HashSet::with_capacity(keys.len());
            keys.iter().find(|key| !seen.insert(key.as_str())).cloned()
        }
    };
    match duplicate {
        Some(key) => Err(invalid_parameter(format!("duplicate primary keys are not allowed in the same batch: {key}"))),
        None => Ok(()),
    }
}
