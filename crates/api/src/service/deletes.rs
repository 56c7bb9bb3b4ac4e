//! Deletes: a filter goes into the client's block.

use std::sync::Arc;

use redkite_ingest::block::{BlockOp, OpKind};

use super::errors::filter_error;
use super::writes::timestamp;
use super::{Call, Shared};
use crate::convert::params::{check_namespace, check_partitions};
use crate::convert::templates::templates;
use crate::proto::milvus as wire;
use crate::status::{WireResult, invalid_parameter};

pub(super) async fn delete(shared: &Shared, mut call: Call<wire::DeleteRequest>) -> WireResult<wire::MutationResult> {
    let turn = shared.turn_to_write(&mut call).await?;
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
    // What the client is told it deletes: the keys it named, or the rows its filter matches now, those it has inserted
    // and not flushed included. What is removed in the end is what matches when the block is flushed.
    let (turn, count) = match predicate.exact_keys() {
        Some(keys) => (turn, keys.len() as u64),
        None => turn.count_matching(&resolved.collection, &predicate).await?,
    };
    let op = BlockOp { collection: record.id, record, kind: OpKind::Delete { predicate, text } };
    let report = turn.submit(op).await?;
    Ok(wire::MutationResult {
        acknowledged: true,
        delete_cnt: i64::try_from(count).unwrap_or(i64::MAX),
        timestamp: timestamp(shared, report),
        ..Default::default()
    })
}
