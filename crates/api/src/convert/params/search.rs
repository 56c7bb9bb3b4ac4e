//! What a search asks for beside its vectors and filter.

use redkite_types::Metric;
use redkite_types::limits::RESULT_WINDOW_MAX;

use super::{Pairs, check_namespace, check_partitions};
use crate::proto::milvus::SearchRequest;
use crate::status::{WireResult, invalid_parameter, unsupported};

/// Most decimals scores can be rounded to.
const ROUND_DECIMAL_MAX: i64 = 6;

/// The parameters of a search, checked on their own; whether they suit the collection is the caller's question.
#[derive(Debug, Clone, PartialEq)]
pub struct SearchParams {
    /// Hits wanted per query vector, 1 to the largest window.
    pub top_k: usize,
    /// Hits to skip; together with `top_k` within the largest window.
    pub offset: usize,
    /// The vector field; none means "the only one".
    pub anns_field: Option<String>,
    /// The metric, which has to be that of the field's index; none means "whatever that is".
    pub metric: Option<Metric>,
    /// Bounds on the scores.
    pub range: Range,
    /// Decimals to round scores to; none leaves them as they are.
    pub round_decimal: Option<u32>,
    /// Clusters to look into, where the index has clusters.
    pub nprobe: Option<usize>,
    /// Candidates to keep, where the index is a graph.
    pub ef: Option<usize>,
    /// Set where the search is a page of a search iterator.
    pub iterator: Option<SearchIterator>,
    /// The collection the client believes it searches; an iterator pins it.
    pub collection_id: Option<i64>,
}

/// One page of a search iterator.
#[derive(Debug, Clone, PartialEq)]
pub struct SearchIterator {
    /// Whether the client speaks the second protocol of iterators, which continues behind `last_bound`.
    pub is_v2: bool,
    /// Rows wanted on this page.
    pub batch_size: Option<usize>,
    /// Which iterator this is a page of; none on the first.
    pub id: Option<String>,
    /// Only rows strictly behind this score.
    pub last_bound: Option<f32>,
}

/// Bounds on scores, `radius` being the outer one. Both are in the metric's own scale.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Range {
    /// Hits no worse than this.
    pub radius: Option<f64>,
    /// Hits no better than this.
    pub range_filter: Option<f64>,
}

impl Range {
    /// Checks that the bounds leave room between them under `metric`.
    pub fn check(&self, metric: Metric) -> WireResult<()> {
        let (radius, filter) = match (self.radius, self.range_filter) {
            (None, Some(_)) => return Err(invalid_parameter("range_filter is set, radius must be set, too")),
            (Some(radius), Some(filter)) => (radius, filter),
            _ => return Ok(()),
        };
        let (fits, word) = match metric.larger_is_better() {
            true => (filter > radius, "greater"),
            false => (filter < radius, "less"),
        };
        if fits {
            return Ok(());
        }
        let what = format!("metric type ({metric}), range_filter({filter}) must be {word} than radius({radius})");
        Err(invalid_parameter(what))
    }
}

/// Reads the parameters of `request` and refuses what this version cannot do.
pub fn search_params(request: &SearchRequest) -> WireResult<SearchParams> {
    refuse_unsupported(request)?;
    let pairs = Pairs::new(&request.search_params)?;
    pairs.refuse(&[
        "group_by_field",
        "group_by_fields",
        "order_by_fields",
        "json_path",
        "json_type",
        "strict_cast",
        "analyzer_name",
    ])?;
    let iterator = iterator(&pairs)?;
    let (top_k, offset) = window(&pairs)?;
    if iterator.is_some() && offset > 0 {
        return Err(invalid_parameter("an iterator does not support offset"));
    }
    let metric = match pairs.text("metric_type") {
        Some(name) => Some(name.parse().map_err(invalid_parameter)?),
        None => None,
    };
    Ok(SearchParams {
        top_k,
        offset,
        anns_field: pairs.text("anns_field").map(str::to_owned),
        metric,
        range: Range { radius: pairs.number("radius")?, range_filter: pairs.number("range_filter")? },
        round_decimal: round_decimal(&pairs)?,
        nprobe: pairs.count("nprobe")?,
        ef: pairs.count("ef")?,
        iterator,
        collection_id: pairs.integer("collection_id")?.filter(|id| *id > 0),
    })
}

fn refuse_unsupported(request: &SearchRequest) -> WireResult<()> {
    check_partitions(request.partition_names.iter().map(String::as_str))?;
    check_namespace(request.namespace.as_deref())?;
    let unknown = [
        (!request.sub_reqs.is_empty(), "a hybrid search (sub_reqs)"),
        (request.function_score.is_some(), "a rerank function (function_score)"),
        (!request.function_chains.is_empty(), "a function chain"),
        (request.highlighter.is_some(), "a highlighter"),
        (request.search_aggregation.is_some(), "a search aggregation"),
        (request.search_by_primary_keys, "a search by primary keys"),
    ];
    match unknown.iter().find(|(asked, _)| *asked) {
        Some((_, what)) => Err(unsupported(*what)),
        None => Ok(()),
    }
}

/// Top-k and offset, each and together within the largest window.
fn window(pairs: &Pairs) -> WireResult<(usize, usize)> {
    let top_k = pairs.integer("topk")?.ok_or_else(|| invalid_parameter("topk not found in search_params"))?;
    let offset = pairs.integer("offset")?.unwrap_or(0);
    let within =
        |value: i64, min: usize| usize::try_from(value).ok().filter(|value| (min..=RESULT_WINDOW_MAX).contains(value));
    let bad = |what: &str, value: i64, min: usize| {
        let range = format!("it should be in range [{min}, {RESULT_WINDOW_MAX}]");
        invalid_parameter(format!("{what} [{value}] is invalid, {range}, but got {value}"))
    };
    let top_k_checked = within(top_k, 1).ok_or_else(|| bad("topk", top_k, 1))?;
    let offset_checked = within(offset, 0).ok_or_else(|| bad("offset", offset, 0))?;
    within(top_k + offset, 1).ok_or_else(|| bad("offset+topk", top_k + offset, 1))?;
    Ok((top_k_checked, offset_checked))
}

fn round_decimal(pairs: &Pairs) -> WireResult<Option<u32>> {
    match pairs.integer("round_decimal")? {
        None | Some(-1) => Ok(None),
        Some(decimals) if (0..=ROUND_DECIMAL_MAX).contains(&decimals) => Ok(u32::try_from(decimals).ok()),
        Some(decimals) => Err(invalid_parameter(format!(
            "round_decimal [{decimals}] is invalid, it should be -1 or an integer in range [0, {ROUND_DECIMAL_MAX}]"
        ))),
    }
}

fn iterator(pairs: &Pairs) -> WireResult<Option<SearchIterator>> {
    if !pairs.flag("iterator")? {
        return Ok(None);
    }
    Ok(Some(SearchIterator {
        is_v2: pairs.flag("search_iter_v2")?,
        batch_size: pairs.count("search_iter_batch_size")?,
        id: pairs.text("search_iter_id").map(str::to_owned),
        last_bound: pairs.number("search_iter_last_bound")?.map(|bound| bound as f32),
    }))
}
