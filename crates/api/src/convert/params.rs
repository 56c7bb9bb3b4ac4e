//! Parameters that clients send as pairs of text: of searches, queries and indexes.
//!
//! Clients differ: some send a parameter as a pair of its own, some inside one pair `params` that holds a JSON object,
//! some both. A pair of its own wins; an empty one counts as not sent. Booleans are `True`, `true` and the like.

mod index;
mod query;
mod search;

use std::collections::BTreeMap;

use serde_json::Value;

pub use index::{IndexParams, index_params};
pub use query::{QueryParams, query_params};
pub use search::{Range, SearchIterator, SearchParams, search_params};

use crate::proto::common::KeyValuePair;
use crate::status::{WireResult, invalid_parameter};

/// The one partition every collection has.
pub const DEFAULT_PARTITION: &str = "_default";
/// Largest JSON object inside a pair.
const NESTED_BYTES_MAX: usize = 64 * 1024;

/// All parameters of a request, flat.
struct Pairs {
    values: BTreeMap<String, String>,
}

impl Pairs {
    fn new(pairs: &[KeyValuePair]) -> WireResult<Self> {
        let mut values = BTreeMap::new();
        for pair in pairs.iter().filter(|pair| pair.key == "params") {
            values.extend(nested(&pair.value)?);
        }
        let own = pairs.iter().filter(|pair| pair.key != "params" && !pair.value.is_empty());
        values.extend(own.map(|pair| (pair.key.clone(), pair.value.clone())));
        Ok(Self { values })
    }

    fn text(&self, key: &str) -> Option<&str> {
        self.values.get(key).map(String::as_str).filter(|text| !text.is_empty())
    }

    fn integer(&self, key: &str) -> WireResult<Option<i64>> {
        self.parsed(key, "an integer", |text| text.parse().ok())
    }

    /// Of numbers that are never negative.
    fn count(&self, key: &str) -> WireResult<Option<usize>> {
        self.parsed(key, "a number that is not negative", |text| text.parse().ok())
    }

    fn number(&self, key: &str) -> WireResult<Option<f64>> {
        self.parsed(key, "a number", |text| text.parse().ok().filter(|number: &f64| !number.is_nan()))
    }

    /// False where it was not sent.
    fn flag(&self, key: &str) -> WireResult<bool> {
        let flag = self.parsed(key, "true or false", |text| text.to_ascii_lowercase().parse().ok())?;
        Ok(flag.unwrap_or(false))
    }

    fn parsed<T>(&self, key: &str, wanted: &str, parse: impl Fn(&str) -> Option<T>) -> WireResult<Option<T>> {
        let Some(text) = self.text(key) else {
            return Ok(None);
        };
        match parse(text.trim()) {
            Some(value) => Ok(Some(value)),
            None => Err(invalid_parameter(format!("{key} [{text}] is invalid, it should be {wanted}"))),
        }
    }

    /// Refuses the first of `keys` that was sent.
    fn refuse(&self, keys: &[&str]) -> WireResult<()> {
        match keys.iter().find(|key| self.text(key).is_some_and(|text| !text.eq_ignore_ascii_case("false"))) {
            Some(key) => Err(crate::status::unsupported(format!("the parameter {key}"))),
            None => Ok(()),
        }
    }
}

fn nested(text: &str) -> WireResult<Vec<(String, String)>> {
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    if text.len() > NESTED_BYTES_MAX {
        let what = format!("params is {} bytes long, at most {NESTED_BYTES_MAX} are allowed", text.len());
        return Err(invalid_parameter(what));
    }
    let object: serde_json::Map<String, Value> = serde_json::from_str(text)
        .map_err(|error| invalid_parameter(format!("params is not a JSON object: {error}")))?;
    let pairs = object.into_iter().map(|(key, value)| {
        let value = match value {
            Value::String(text) => text,
            Value::Null => String::new(),
            other => other.to_string(),
        };
        (key, value)
    });
    Ok(pairs.collect())
}

/// Collections have one partition for now; a request may name it or none.
pub fn check_partitions<'a>(names: impl IntoIterator<Item = &'a str>) -> WireResult<()> {
    match names.into_iter().find(|name| !name.is_empty() && *name != DEFAULT_PARTITION) {
        Some(name) => Err(crate::status::WireError::PartitionNotFound { partition: name.to_owned() }),
        None => Ok(()),
    }
}

/// Namespaces do not exist; an empty one is none.
pub fn check_namespace(namespace: Option<&str>) -> WireResult<()> {
    match namespace {
        None | Some("") => Ok(()),
        Some(name) => Err(crate::status::unsupported(format!("the namespace {name}"))),
    }
}

#[cfg(test)]
mod tests;
