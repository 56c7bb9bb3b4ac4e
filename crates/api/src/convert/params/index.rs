//! The index a client asks for on a field.

use std::collections::BTreeMap;

use redkite_types::{DataType, Field, Metric};

use super::Pairs;
use crate::convert::names::check_index_name;
use crate::convert::schema_out::wire_type;
use crate::proto::common::KeyValuePair;
use crate::status::{WireResult, invalid_parameter, unsupported};

const AUTO: &str = "AUTOINDEX";
/// Kinds for vectors of numbers.
const DENSE: [&str; 13] = [
    "FLAT",
    "IVF_FLAT",
    "IVF_SQ8",
    "IVF_PQ",
    "IVF_RABITQ",
    "HNSW",
    "HNSW_SQ",
    "HNSW_PQ",
    "HNSW_PRQ",
    "SCANN",
    "DISKANN",
    "GPU_BRUTE_FORCE",
    "GPU_CAGRA",
];
/// Kinds for vectors of bits.
const BINARY: [&str; 3] = ["BIN_FLAT", "BIN_IVF_FLAT", "FLAT"];
/// Kinds for scalars.
const SCALAR: [&str; 5] = ["INVERTED", "BITMAP", "STL_SORT", "TRIE", "NGRAM"];

/// An index definition as a client gave it, checked against the field it is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexParams {
    /// The index's name; that of the field if the client gave none.
    pub name: String,
    /// The kind in upper case.
    pub index_type: String,
    /// How vectors are compared; none for scalar fields.
    pub metric: Option<Metric>,
    /// Everything else, such as M or nlist.
    pub params: BTreeMap<String, String>,
}

/// Reads what `CreateIndex` asks for on `field`.
pub fn index_params(field: &Field, index_name: &str, extra: &[KeyValuePair]) -> WireResult<IndexParams> {
    let name = if index_name.is_empty() { field.name.as_str() } else { index_name };
    // The dynamic field's own name is no index name; every other field's name is one.
    if !index_name.is_empty() {
        check_index_name(index_name)?;
    }
    let mut pairs = Pairs::new(extra)?;
    let index_type = pairs.values.remove("index_type").unwrap_or_default().trim().to_ascii_uppercase();
    let index_type = if index_type.is_empty() { AUTO.to_owned() } else { index_type };
    let metric = pairs.values.remove("metric_type");
    check_kind(field, &index_type)?;
    let metric = match field.data_type.is_vector() {
        true => Some(metric_of(field, metric.as_deref().unwrap_or_default())?),
        false => None,
    };
    Ok(IndexParams { name: name.to_owned(), index_type, metric, params: pairs.values })
}

fn check_kind(field: &Field, kind: &str) -> WireResult<()> {
    let known: &[&str] = match field.data_type {
        DataType::BinaryVector { .. } => &BINARY,
        other if other.is_vector() => &DENSE,
        _ => &SCALAR,
    };
    if kind == AUTO || known.contains(&kind) {
        return Ok(());
    }
    let of_field = format!("field {} of data type {}", field.name, wire_type(field.data_type).as_str_name());
    if [DENSE.as_slice(), &BINARY, &SCALAR].concat().contains(&kind) {
        return Err(invalid_parameter(format!("index type {kind} does not suit {of_field}, use {}", known.join(", "))));
    }
    match kind {
        "SPARSE_INVERTED_INDEX" | "SPARSE_WAND" | "RTREE" | "MINHASH_LSH" => {
            Err(unsupported(format!("index type {kind}, asked for on {of_field},")))
        }
        _ => Err(invalid_parameter(format!("invalid index type: {kind} for {of_field}, use {}", known.join(", ")))),
    }
}

fn metric_of(field: &Field, name: &str) -> WireResult<Metric> {
    let is_binary = matches!(field.data_type, DataType::BinaryVector { .. });
    let metric: Metric = match name.trim() {
        "" if is_binary => Metric::Hamming,
        "" => Metric::Cosine,
        name => name.parse().map_err(invalid_parameter)?,
    };
    if metric.is_binary() == is_binary {
        return Ok(metric);
    }
    let ty = wire_type(field.data_type).as_str_name();
    Err(invalid_parameter(format!("metric type {metric} does not suit field {} of data type {ty}", field.name)))
}
