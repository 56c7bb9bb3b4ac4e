//! Parameters as the clients send them.

use redkite_types::Metric;

use super::*;
use crate::convert::tests::every_type;
use crate::proto::milvus::{QueryRequest, SearchRequest, SubSearchRequest};
use crate::status::WireError;

fn pairs(pairs: &[(&str, &str)]) -> Vec<KeyValuePair> {
    pairs.iter().map(|(key, value)| KeyValuePair { key: (*key).into(), value: (*value).into() }).collect()
}

fn search(params: &[(&str, &str)]) -> WireResult<SearchParams> {
    search_params(&SearchRequest { search_params: pairs(params), ..Default::default() })
}

fn query(params: &[(&str, &str)]) -> WireResult<QueryParams> {
    query_params(&QueryRequest { query_params: pairs(params), ..Default::default() })
}

const PLAIN: SearchParams = SearchParams {
    top_k: 10,
    offset: 0,
    anns_field: None,
    metric: None,
    range: Range { radius: None, range_filter: None },
    round_decimal: None,
    nprobe: None,
    ef: None,
    iterator: None,
    collection_id: None,
};

#[test]
fn searches_are_read_from_every_client() {
    // pymilvus, plain.
    let python = [("topk", "10"), ("round_decimal", "-1"), ("ignore_growing", "False"), ("params", "{}")];
    assert_eq!(search(&python), Ok(PLAIN));
    // Node: an empty metric, everything twice.
    let node = [
        ("anns_field", "vector"),
        ("topk", "10"),
        ("offset", "5"),
        ("metric_type", ""),
        ("params", "{\"metric_type\":\"L2\",\"nprobe\":16,\"ef\":\"64\",\"radius\":2.5,\"range_filter\":\"0.5\"}"),
        ("ignore_growing", "false"),
    ];
    let wanted = SearchParams {
        offset: 5,
        anns_field: Some("vector".into()),
        metric: Some(Metric::L2),
        range: Range { radius: Some(2.5), range_filter: Some(0.5) },
        nprobe: Some(16),
        ef: Some(64),
        ..PLAIN
    };
    assert_eq!(search(&node), Ok(wanted));
    // A pair of its own wins over the same key inside params.
    let both = [("topk", "10"), ("metric_type", "ip"), ("params", "{\"metric_type\":\"L2\",\"x\":null}")];
    assert_eq!(search(&both), Ok(SearchParams { metric: Some(Metric::Ip), ..PLAIN }));
    let rounded = [("topk", "10"), ("round_decimal", "3"), ("params", "")];
    assert_eq!(search(&rounded), Ok(SearchParams { round_decimal: Some(3), ..PLAIN }));
    let page = [
        ("topk", "10"),
        ("iterator", "True"),
        ("search_iter_v2", "True"),
        ("search_iter_batch_size", "10"),
        ("search_iter_last_bound", "0.25"),
        ("search_iter_id", "token"),
        ("collection_id", "7"),
    ];
    let iterator =
        SearchIterator { is_v2: true, batch_size: Some(10), id: Some("token".into()), last_bound: Some(0.25) };
    assert_eq!(search(&page), Ok(SearchParams { iterator: Some(iterator), collection_id: Some(7), ..PLAIN }));
}

#[test]
fn wrong_searches_are_refused() {
    let cases: [(&[(&str, &str)], &str); 19] = [
        (&[], "topk not found in search_params"),
        (&[("topk", "0")], "topk [0] is invalid, it should be in range [1, 16384], but got 0"),
        (&[("topk", "16385")], "topk [16385] is invalid, it should be in range [1, 16384], but got 16385"),
        (&[("topk", "-1")], "topk [-1] is invalid"),
        (&[("topk", "ten")], "topk [ten] is invalid, it should be an integer"),
        (&[("topk", "99999999999999999999")], "topk [99999999999999999999] is invalid"),
        (&[("topk", "1"), ("offset", "-1")], "offset [-1] is invalid"),
        (&[("topk", "16384"), ("offset", "1")], "offset+topk [16385] is invalid"),
        (
            &[("topk", "9223372036854775807"), ("offset", "9223372036854775807")],
            "topk [9223372036854775807] is invalid",
        ),
        (
            &[("topk", "1"), ("round_decimal", "7")],
            "round_decimal [7] is invalid, it should be -1 or an integer in range [0, 6]",
        ),
        (&[("topk", "1"), ("metric_type", "BM25")], "metric type \"BM25\" is not supported"),
        (&[("topk", "1"), ("params", "[1]")], "params is not a JSON object"),
        (&[("topk", "1"), ("params", "{\"radius\": \"far\"}")], "radius [far] is invalid, it should be a number"),
        (&[("topk", "1"), ("params", "{\"nprobe\": -1}")], "nprobe [-1] is invalid"),
        (&[("topk", "1"), ("iterator", "yes")], "iterator [yes] is invalid, it should be true or false"),
        (&[("topk", "1"), ("iterator", "True"), ("offset", "1")], "an iterator does not support offset"),
        (&[("topk", "1"), ("group_by_field", "a")], "the parameter group_by_field is not supported yet"),
        (
            &[("topk", "1"), ("params", "{\"group_by_field\": \"a\"}")],
            "the parameter group_by_field is not supported yet",
        ),
        (&[("topk", "1"), ("order_by_fields", "a")], "the parameter order_by_fields is not supported yet"),
    ];
    for (params, fragment) in cases {
        let error = search(params).expect_err(fragment);
        assert!(error.to_string().contains(fragment), "{params:?}: {error}");
        assert_eq!(error.code().number(), 1100);
    }
    let plain = SearchRequest { search_params: pairs(&[("topk", "1")]), ..Default::default() };
    let hybrid = SearchRequest { sub_reqs: vec![SubSearchRequest::default()], ..plain.clone() };
    assert!(search_params(&hybrid).unwrap_err().to_string().contains("hybrid search"));
    let partition = SearchRequest { partition_names: vec!["_default".into(), "p".into()], ..plain.clone() };
    assert_eq!(search_params(&partition), Err(WireError::PartitionNotFound { partition: "p".into() }));
    let namespace = SearchRequest { namespace: Some("n".into()), ..plain };
    assert!(search_params(&namespace).unwrap_err().to_string().contains("namespace n is not supported yet"));
}

#[test]
fn range_bounds_leave_room_between_them() {
    let range = |radius, range_filter| Range { radius, range_filter };
    assert!(range(None, None).check(Metric::L2).is_ok());
    assert!(range(Some(2.0), Some(1.0)).check(Metric::L2).is_ok());
    assert!(range(Some(0.5), Some(0.9)).check(Metric::Cosine).is_ok());
    let error = range(Some(1.0), Some(2.0)).check(Metric::L2).unwrap_err();
    assert!(error.to_string().contains("metric type (L2), range_filter(2) must be less than radius(1)"), "{error}");
    assert!(range(Some(1.0), Some(1.0)).check(Metric::Ip).is_err());
    assert!(range(None, Some(1.0)).check(Metric::Ip).unwrap_err().to_string().contains("radius must be set"));
}

#[test]
fn queries_are_read_and_checked() {
    let plain = QueryParams { limit: None, offset: 0, is_iterator: false, collection_id: None };
    assert_eq!(query(&[("ignore_growing", "False"), ("reduce_stop_for_best", "False")]), Ok(plain.clone()));
    let limited = QueryParams { limit: Some(5), offset: 3, ..plain.clone() };
    assert_eq!(query(&[("limit", "5"), ("offset", "3")]), Ok(limited));
    let page = [("limit", "1"), ("offset", "0"), ("iterator", "True"), ("collection_id", "9")];
    assert_eq!(
        query(&page),
        Ok(QueryParams { limit: Some(1), is_iterator: true, collection_id: Some(9), ..plain.clone() })
    );
    assert_eq!(query(&[("offset", "3")]), Ok(plain.clone()), "an offset without limit means nothing");
    assert_eq!(query(&[("limit", "-1")]), Ok(plain), "no limit");
    let cases: [(&[(&str, &str)], &str); 6] = [
        (
            &[("limit", "16385")],
            "invalid max query result window, (offset+limit) should be in range [1, 16384], but got 16385",
        ),
        (&[("limit", "16384"), ("offset", "1")], "but got 16385"),
        (&[("limit", "0")], "limit [0] is invalid, should be greater than 0"),
        (&[("limit", "1"), ("offset", "-1")], "offset [-1] is invalid, should be gte than 0"),
        (&[("limit", "9223372036854775807"), ("offset", "9223372036854775807")], "but got 9223372036854775807"),
        (&[("order_by_fields", "a:desc")], "the parameter order_by_fields is not supported yet"),
    ];
    for (params, fragment) in cases {
        let error = query(params).expect_err(fragment);
        assert!(error.to_string().contains(fragment), "{params:?}: {error}");
        assert_eq!(error.code().number(), 1100);
    }
}

#[test]
fn indexes_are_read_from_every_client() {
    let schema = every_type();
    let index = |field: &str, name: &str, extra: &[(&str, &str)]| {
        index_params(schema.field(field).unwrap(), name, &pairs(extra))
    };
    let wanted = |name: &str, index_type: &str, metric, params: &[(&str, &str)]| IndexParams {
        name: name.into(),
        index_type: index_type.into(),
        metric,
        params: params.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect(),
    };
    // Flat as from pymilvus, nested as from Node, both with the name left out.
    let flat = [("index_type", "HNSW"), ("metric_type", "cosine"), ("M", "8"), ("efConstruction", "64")];
    let nested =
        [("index_type", "HNSW"), ("metric_type", "COSINE"), ("params", "{\"M\": 8, \"efConstruction\": \"64\"}")];
    let hnsw = wanted("vector", "HNSW", Some(Metric::Cosine), &[("M", "8"), ("efConstruction", "64")]);
    assert_eq!(index("vector", "", &flat), Ok(hnsw.clone()));
    assert_eq!(index("vector", "", &nested), Ok(hnsw));
    assert_eq!(index("vector", "by_meaning", &[]), Ok(wanted("by_meaning", "AUTOINDEX", Some(Metric::Cosine), &[])));
    let binary = index("binary_vector", "", &[("index_type", "BIN_FLAT")]);
    assert_eq!(binary, Ok(wanted("binary_vector", "BIN_FLAT", Some(Metric::Hamming), &[])));
    assert_eq!(index("text", "", &[("index_type", "Trie")]), Ok(wanted("text", "TRIE", None, &[])));
    let cases = [
        (index("vector", "a b", &[]), "Invalid index name: a b"),
        (index("vector", "", &[("index_type", "BEST")]), "invalid index type: BEST"),
        (index("vector", "", &[("index_type", "INVERTED")]), "does not suit field vector of data type FloatVector"),
        (index("text", "", &[("index_type", "HNSW")]), "does not suit field text of data type VarChar"),
        (index("vector", "", &[("metric_type", "HAMMING")]), "metric type HAMMING does not suit field vector"),
        (index("binary_vector", "", &[("metric_type", "L2")]), "metric type L2 does not suit field binary_vector"),
        (index("vector", "", &[("metric_type", "NEAR")]), "metric type \"NEAR\" is not supported"),
        (index("vector", "", &[("index_type", "SPARSE_WAND")]), "not supported yet"),
    ];
    for (result, fragment) in cases {
        let error = result.expect_err(fragment);
        assert!(error.to_string().contains(fragment), "{error}");
        assert_eq!(error.code().number(), 1100);
    }
}
