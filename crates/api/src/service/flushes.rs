//! Flushes, and what became of them.

use std::collections::HashMap;

use redkite_ingest::Flushed;

use super::client::{flush_name, flush_request};
use super::{Call, DEFAULT_DATABASE, Shared};
use crate::proto::milvus as wire;
use crate::proto::schema::LongArray;
use crate::status::{WireError, WireResult};

pub(super) async fn flush(shared: &Shared, mut call: Call<wire::FlushRequest>) -> WireResult<wire::FlushResponse> {
    let asked = flush_request(&call.metadata)?;
    let turn = shared.turn(&mut call).await?;
    let request = call.message;
    for name in &request.collection_names {
        shared.resolve(&call.metadata, &request.db_name, name).await?;
    }
    // Whatever collections the call names, the client's whole block is published: it is one atom.
    let timestamp = timestamp(turn.flush(asked).await?);
    let seal_time = i64::try_from(shared.database.ambient.now_ms() / 1_000).unwrap_or(i64::MAX);
    let names = request.collection_names;
    let no_segments: HashMap<String, LongArray> =
        names.iter().map(|name| (name.clone(), LongArray::default())).collect();
    Ok(wire::FlushResponse {
        db_name: DEFAULT_DATABASE.to_owned(),
        coll_seg_i_ds: no_segments.clone(),
        flush_coll_seg_i_ds: no_segments,
        coll_seal_times: names.iter().map(|name| (name.clone(), seal_time)).collect(),
        coll_flush_ts: names.into_iter().map(|name| (name, timestamp)).collect(),
        ..Default::default()
    })
}

/// What a client asks for the state of its flush with: the revision, which is the same however often the flush is named.
fn timestamp(flushed: Flushed) -> u64 {
    flushed.revision.0.unsigned_abs()
}

/// A flush that was answered is done. Asked with a flush's name, the outcome of that one, which is final; a flush that the
/// client sent before is waited for, as the answer would keep it from ever committing.
pub(super) async fn state(
    shared: &Shared,
    mut call: Call<wire::GetFlushStateRequest>,
) -> WireResult<wire::GetFlushStateResponse> {
    if let Some(name) = flush_name(&call.metadata)? {
        let _precedence = shared.precedence(&mut call).await?;
        if !shared.ingest.flush_outcome(&name).await? {
            return Err(WireError::Unexpected { what: redkite_ingest::Error::FlushNotCommitted.to_string() });
        }
    }
    Ok(wire::GetFlushStateResponse { flushed: true, ..Default::default() })
}

pub(super) async fn flush_all(
    shared: &Shared,
    mut call: Call<wire::FlushAllRequest>,
) -> WireResult<wire::FlushAllResponse> {
    shared.check_database(&call.metadata, &call.message.db_name)?;
    let asked = flush_request(&call.metadata)?;
    let turn = shared.turn(&mut call).await?;
    let flush_all_ts = timestamp(turn.flush(asked).await?);
    Ok(wire::FlushAllResponse { flush_all_ts, ..Default::default() })
}

pub(super) async fn all_state(
    _: &Shared,
    _: Call<wire::GetFlushAllStateRequest>,
) -> WireResult<wire::GetFlushAllStateResponse> {
    Ok(wire::GetFlushAllStateResponse { flushed: true, ..Default::default() })
}
