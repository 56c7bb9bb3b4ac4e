//! Flushes, and what became of them.

use std::collections::HashMap;

use super::client::{flush_name, flush_request};
use super::{Call, DEFAULT_DATABASE, Shared};
use crate::proto::milvus as wire;
use crate::proto::schema::LongArray;
use crate::status::{WireError, WireResult};

pub(super) async fn flush(shared: &Shared, call: Call<wire::FlushRequest>) -> WireResult<wire::FlushResponse> {
    let request = call.message;
    let asked = flush_request(&call.metadata)?;
    let turn = shared.ingest.turn(call.client).await?;
    for name in &request.collection_names {
        shared.resolve(&call.metadata, &request.db_name, name).await?;
    }
    // Whatever collections the call names, the client's whole block is published: it is one atom.
    turn.flush(asked).await?;
    let timestamp = shared.timestamps.next();
    let names = request.collection_names;
    let no_segments: HashMap<String, LongArray> =
        names.iter().map(|name| (name.clone(), LongArray::default())).collect();
    Ok(wire::FlushResponse {
        db_name: DEFAULT_DATABASE.to_owned(),
        coll_seg_i_ds: no_segments.clone(),
        flush_coll_seg_i_ds: no_segments,
        coll_seal_times: names.iter().map(|name| (name.clone(), (timestamp >> 18) as i64 / 1_000)).collect(),
        coll_flush_ts: names.into_iter().map(|name| (name, timestamp)).collect(),
        ..Default::default()
    })
}

/// A flush that was answered is done. Asked with a flush's name, the outcome of that one, which is final.
pub(super) async fn state(
    shared: &Shared,
    call: Call<wire::GetFlushStateRequest>,
) -> WireResult<wire::GetFlushStateResponse> {
    if let Some(name) = flush_name(&call.metadata)?
        && !shared.ingest.flush_outcome(&name).await?
    {
        return Err(WireError::Unexpected { what: redkite_ingest::Error::FlushNotCommitted.to_string() });
    }
    Ok(wire::GetFlushStateResponse { flushed: true, ..Default::default() })
}

pub(super) async fn flush_all(
    shared: &Shared,
    call: Call<wire::FlushAllRequest>,
) -> WireResult<wire::FlushAllResponse> {
    shared.check_database(&call.metadata, &call.message.db_name)?;
    let asked = flush_request(&call.metadata)?;
    let turn = shared.ingest.turn(call.client).await?;
    turn.flush(asked).await?;
    Ok(wire::FlushAllResponse { flush_all_ts: shared.timestamps.next(), ..Default::default() })
}

pub(super) async fn all_state(
    _: &Shared,
    _: Call<wire::GetFlushAllStateRequest>,
) -> WireResult<wire::GetFlushAllStateResponse> {
    Ok(wire::GetFlushAllStateResponse { flushed: true, ..Default::default() })
}
