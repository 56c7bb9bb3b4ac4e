//! Deletes: a filter goes into the client's block.

use std::sync::Arc;

use prost::Message;
use redkite_expr::Predicate;
use redkite_ingest::Turn;
use redkite_ingest::block::{BlockOp, OpKind};
use redkite_types::CollectionId;

use super::errors::filter_error;
use super::{Call, Resolved, Shared};
use crate::convert::params::{check_namespace, check_partitions};
use crate::convert::templates::templates;
use crate::proto::milvus as wire;
use crate::status::{WireResult, invalid_parameter};

pub(super) async fn delete(shared: &Shared, call: Call<wire::DeleteRequest>) -> WireResult<wire::MutationResult> {
    let turn = shared.ingest.turn_to_write(call.client, call.message.encoded_len()).await?;
    let request = call.message;
    check_partitions([request.partition_name.as_str()])?;
    check_namespace(request.namespace.as_deref())?;
    let resolved = shared.resolve(&call.metadata, &request.db_name, &request.collection_name).await?;
    let record = resolved.collection.record()?.clone();
    let values = templates(request.expr_template_values)?;
    let mut named: Vec<_> = values.iter().collect();
    named.sort_unstable_by(|a, b| a.0.cmp(b.0));
    let text = format!("{}{named:?}", request.expr);
    let predicate = redkite_expr::parse(&request.expr, &values, &record.schema)
        .map_err(|error| filter_error(&request.expr, &error))?;
    if predicate.is_always_true() {
        let what = format!("delete plan can't be empty or always true : {}", request.expr);
        return Err(invalid_parameter(what));
    }
    let predicate = Arc::new(predicate);
    let count = matching(shared, &turn, &resolved, &predicate, record.id).await?;
    let op = BlockOp { collection: record.id, record, kind: OpKind::Delete { predicate, text } };
    turn.submit(op).await?;
    Ok(wire::MutationResult {
        acknowledged: true,
        delete_cnt: count,
        timestamp: shared.timestamps.next(),
        ..Default::default()
    })
}

/// What the client is told it deletes: the keys it named, or the rows its filter matches now, those it has inserted and
/// not flushed included. What is removed in the end is what matches when the block is flushed.
async fn matching(
    shared: &Shared,
    turn: &Turn,
    resolved: &Resolved,
    predicate: &Arc<Predicate>,
    collection: CollectionId,
) -> WireResult<i64> {
    if let Some(keys) = predicate.exact_keys() {
        return Ok(i64::try_from(keys.len()).unwrap_or(i64::MAX));
    }
    let committed = redkite_query::count(&shared.database, &resolved.collection, predicate).await?;
    let mut buffered = 0;
    for op in turn.block().ops().iter().filter(|op| op.collection == collection) {
        let (OpKind::Insert(batch) | OpKind::Upsert(batch) | OpKind::Replace { batch, .. }) = &op.kind else {
            continue;
        };
        let columns = redkite_expr::BatchColumns::new(batch, &op.record.schema);
        buffered += predicate.evaluate(&columns).map_err(redkite_table::Error::from)?.count_set_bits() as u64;
    }
    Ok(i64::try_from(committed + buffered).unwrap_or(i64::MAX))
}
