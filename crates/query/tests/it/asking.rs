//! Short ways to ask.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use redkite_query::{QueryRequest, Result, SearchHits, SearchRequest, Window, count, query, search};
use redkite_table::Collection;
use redkite_types::Metric;

use crate::plain::Row;
use crate::world::{ID, Node, TAG, VECTOR, filter};

/// Ids and tags of rows that satisfy a filter, in the order of the answer.
pub async fn ask(node: &Node, name: &str, text: &str) -> Vec<Row> {
    ask_page(node, name, text, 0, None).await
}

pub async fn ask_page(node: &Node, name: &str, text: &str, offset: usize, limit: Option<usize>) -> Vec<Row> {
    try_ask(node, &node.collection(name).await, text, offset, limit).await.unwrap()
}

pub async fn try_ask(
    node: &Node,
    collection: &Arc<Collection>,
    text: &str,
    offset: usize,
    limit: Option<usize>,
) -> Result<Vec<Row>> {
    let filter = filter(&collection.record()?.schema, text);
    let request = QueryRequest { collection: collection.clone(), filter, offset, limit, fields: vec![TAG, ID] };
    let rows = query(&node.database, request).await?;
    assert_eq!(rows.columns.iter().map(|(field, _)| *field).collect::<Vec<_>>(), [TAG, ID]);
    let [tags, keys] = [0, 1].map(|at| rows.columns[at].1.as_primitive::<Int64Type>().values().to_vec());
    assert_eq!((tags.len(), keys.len()), (rows.rows, rows.rows));
    Ok(keys.into_iter().zip(tags).collect())
}

pub async fn count_of(node: &Node, name: &str, text: &str) -> u64 {
    let collection = node.collection(name).await;
    let filter = filter(&collection.record().unwrap().schema, text);
    count(&node.database, &collection, &filter).await.unwrap()
}

/// A search for the vectors `queries` of two components.
pub fn request(
    collection: &Arc<Collection>,
    metric: Metric,
    queries: &[[f32; 2]],
    text: &str,
    limit: usize,
) -> SearchRequest {
    let bytes: Vec<u8> = queries.iter().flatten().flat_map(|component| component.to_le_bytes()).collect();
    SearchRequest {
        collection: collection.clone(),
        vector: VECTOR,
        metric,
        queries: bytes.into(),
        filter: filter(&collection.record().unwrap().schema, text),
        limit,
        offset: 0,
        window: Window::ALL,
        whole_ties: false,
        fields: vec![TAG],
    }
}

/// Hits of each query: score, key, tag.
pub fn hits(found: &SearchHits) -> Vec<Vec<(f32, i64, i64)>> {
    let keys = found.keys.as_primitive::<Int64Type>();
    let tags = found.rows.columns[0].1.as_primitive::<Int64Type>();
    assert_eq!(found.scores.len(), keys.len());
    assert_eq!(found.rows.rows, keys.len());
    let mut at = 0;
    found
        .counts
        .iter()
        .map(|count| {
            let start = at;
            at += count;
            (start..at).map(|hit| (found.scores[hit], keys.value(hit), tags.value(hit))).collect()
        })
        .collect()
}

/// Hits of a search for one vector.
pub async fn nearest(
    node: &Node,
    name: &str,
    metric: Metric,
    vector: [f32; 2],
    text: &str,
    limit: usize,
) -> Vec<(f32, i64, i64)> {
    let collection = node.collection(name).await;
    let found = search(&node.database, request(&collection, metric, &[vector], text, limit)).await.unwrap();
    hits(&found).remove(0)
}
