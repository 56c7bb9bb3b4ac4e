//! What a query asks for beside its filter and output fields.

use redkite_types::limits::RESULT_WINDOW_MAX;

use super::{Pairs, check_namespace, check_partitions};
use crate::proto::milvus::QueryRequest;
use crate::status::{WireError, WireResult, invalid_parameter};

/// The parameters of a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueryParams {
    /// Most rows wanted; none means all that match.
    pub limit: Option<usize>,
    /// Rows to skip; only together with a limit.
    pub offset: usize,
    /// Whether this is a page of an iterator: rows must come ordered by primary key.
    pub is_iterator: bool,
    /// The collection the client believes it queries; an iterator pins it.
    pub collection_id: Option<i64>,
}

/// Reads the parameters of `request` and refuses what this version cannot do.
pub fn query_params(request: &QueryRequest) -> WireResult<QueryParams> {
    check_partitions(request.partition_names.iter().map(String::as_str))?;
    check_namespace(request.namespace.as_deref())?;
    let pairs = Pairs::new(&request.query_params)?;
    pairs.refuse(&["order_by_fields", "group_by_fields", "query_iter_last_element_offset"])?;
    let (limit, offset) = window(&pairs)?;
    Ok(QueryParams {
        limit,
        offset,
        is_iterator: pairs.flag("iterator")?,
        collection_id: pairs.integer("collection_id")?.filter(|id| *id > 0),
    })
}

fn window(pairs: &Pairs) -> WireResult<(Option<usize>, usize)> {
    // As in Milvus an offset without limit means nothing, and -1 is no limit.
    let Some(limit) = pairs.integer("limit")?.filter(|limit| *limit != -1) else {
        return Ok((None, 0));
    };
    let offset = pairs.integer("offset")?.unwrap_or(0);
    if offset < 0 {
        return Err(bad_window(format!("offset [{offset}] is invalid, should be gte than 0")));
    }
    if limit <= 0 {
        return Err(bad_window(format!("limit [{limit}] is invalid, should be greater than 0")));
    }
    let end = limit.saturating_add(offset);
    if usize::try_from(end).map_or(true, |end| end > RESULT_WINDOW_MAX) {
        return Err(bad_window(format!("(offset+limit) should be in range [1, {RESULT_WINDOW_MAX}], but got {end}")));
    }
    Ok((usize::try_from(limit).ok(), usize::try_from(offset).unwrap_or(0)))
}

fn bad_window(why: String) -> WireError {
    invalid_parameter(format!("invalid max query result window, {why}"))
}
