//! The properties a client may give a collection.

use std::collections::BTreeMap;

use redkite_ingest::{AUTO_FLUSH_PROPERTY, FLUSH_INTERVAL_PROPERTY};

use crate::proto::common::KeyValuePair;
use crate::status::{WireResult, invalid_parameter, unsupported};

/// Properties that mean something here, besides Milvus's.
const OWN_PROPERTIES: [&str; 2] = [AUTO_FLUSH_PROPERTY, FLUSH_INTERVAL_PROPERTY];
/// A key so many edits away from one of ours is that one misspelt. Milvus has no property so near.
const MISSPELT_EDITS_MAX: usize = 2;
/// Properties that would change what a collection holds and are not implemented: better refused than ignored.
const UNSUPPORTED_PROPERTIES: [&str; 3] = ["collection.ttl.seconds", "ttl_field", "partitionkey.isolation"];

/// Checks properties that mean something here or were probably meant to; others are kept and told back, as Milvus's own and
/// those of applications.
pub(super) fn properties(pairs: &[KeyValuePair]) -> WireResult<BTreeMap<String, String>> {
    let mut properties = BTreeMap::new();
    for KeyValuePair { key, value } in pairs {
        let wanted = match key.as_str() {
            AUTO_FLUSH_PROPERTY if !matches!(value.to_ascii_lowercase().as_str(), "true" | "false") => {
                Some("true or false")
            }
            FLUSH_INTERVAL_PROPERTY if !value.parse::<i32>().is_ok_and(|ms| ms >= 0) => {
                Some("a number of milliseconds from 0 to 2147483647")
            }
            _ => None,
        };
        if let Some(wanted) = wanted {
            return Err(invalid_parameter(format!("property {key} is {value:?}, it should be {wanted}")));
        }
        if let Some(meant) = misspelt(key) {
            let what = format!("property {key:?} (with value {value:?}) is not known; did you mean {meant}?");
            return Err(invalid_parameter(what));
        }
        if UNSUPPORTED_PROPERTIES.contains(&key.as_str()) {
            return Err(unsupported(format!("the collection property {key}")));
        }
        properties.insert(key.clone(), value.clone());
    }
    Ok(properties)
}

/// The property of ours that `key` was meant to be, unless it is that.
fn misspelt(key: &str) -> Option<&'static str> {
    let plain = key.trim().to_ascii_lowercase().replace(['-', '.'], "_");
    let is_near = |own: &&&str| key != **own && strsim::osa_distance(own, &plain) <= MISSPELT_EDITS_MAX;
    OWN_PROPERTIES.iter().find(is_near).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(key: &str, value: &str, refusal: Option<&str>) {
        let pair = KeyValuePair { key: key.to_owned(), value: value.to_owned() };
        match (properties(&[pair]), refusal) {
            (Ok(kept), None) => assert_eq!(kept.get(key).map(String::as_str), Some(value)),
            (Err(error), Some(words)) => assert!(error.to_string().contains(words), "{key}: {error}"),
            (got, _) => panic!("{key} = {value}: {got:?}"),
        }
    }

    #[test]
    fn own_properties_have_values_that_mean_something() {
        check("auto_flush", "true", None);
        check("auto_flush", "False", None);
        check("auto_flush", "maybe", Some("property auto_flush is \"maybe\", it should be true or false"));
        check("flush_interval", "0", None);
        check(
            "flush_interval",
            "soon",
            Some("property flush_interval is \"soon\", it should be a number of milliseconds"),
        );
        check("flush_interval", "-1", Some("from 0 to 2147483647"));
    }

    #[test]
    fn misspelt_ones_are_refused_with_what_was_meant() {
        for key in ["auto_flsh", "autoflush", "auto_flush ", "Auto-Flush", "auto_flushed"] {
            check(key, "true", Some("did you mean auto_flush?"));
        }
        for key in ["flush_intervall", "flush.interval", "FLUSH_INTERVAL", "flush_intervl"] {
            check(key, "0", Some("did you mean flush_interval?"));
        }
    }

    #[test]
    fn properties_of_milvus_and_of_applications_are_kept() {
        for key in ["mmap.enabled", "collection.autocompaction.enabled", "timezone", "owner", "flush", "auto_id", ""] {
            check(key, "x", None);
        }
        check("collection.ttl.seconds", "1", Some("collection.ttl.seconds"));
    }
}
