//! Ids and revisions. Newtypes, so that no two kinds of number are ever mixed up.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize};

/// A revision of the metadata store: the version of the data. Grows by one with every transaction that writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Revision(pub i64);

impl Revision {
    /// Before anything was ever written.
    pub const ZERO: Revision = Revision(0);

    /// The revision after this one.
    pub fn next(self) -> Revision {
        Revision(self.0 + 1)
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A collection, for as long as it exists; a re-created collection of the same name has another id. Positive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CollectionId(pub i64);

/// A field within one collection; never reused within it. User fields start at 100.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FieldId(pub i64);

/// The number of a node within its cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NodeId(pub u32);

/// One run of a node: of two under the same number the one that started later has the greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Incarnation(pub u64);

macro_rules! display_inner {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )*};
}
display_inner!(CollectionId, FieldId, NodeId, Incarnation);

/// Why a text is not an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {text:?} is not valid: {reason}")]
pub struct IdError {
    /// Which kind of id was wanted.
    pub what: &'static str,
    /// What was given.
    pub text: String,
    /// What would be valid.
    pub reason: &'static str,
}

/// Longest user name and cluster id, in bytes.
const NAME_BYTES_MAX: usize = 64;

fn checked_name(what: &'static str, text: &str) -> Result<String, IdError> {
    let ok = !text.is_empty()
        && text.len() <= NAME_BYTES_MAX
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
        && !text.starts_with('-');
    if !ok {
        let reason = "want 1 to 64 letters, digits, '_' or '-', not starting with '-'";
        return Err(IdError { what, text: text.to_owned(), reason });
    }
    Ok(text.to_owned())
}

/// The owner of collections: the first segment of every key (S03). Letters, digits, `_`, `-`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct UserName(String);

impl UserName {
    /// Checks `text`; `user_list` is taken by the key of S29.
    pub fn new(text: &str) -> Result<Self, IdError> {
        if text == "user_list" {
            return Err(IdError { what: "user", text: text.to_owned(), reason: "the name is reserved" });
        }
        checked_name("user", text).map(Self)
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The globally unique id of a cluster (S04). Letters, digits, `_`, `-`; not a segment used below a collection.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct ClusterId(String);

impl ClusterId {
    /// Checks `text`.
    pub fn new(text: &str) -> Result<Self, IdError> {
        if matches!(text, "data" | "schema" | "head") {
            return Err(IdError { what: "cluster_id", text: text.to_owned(), reason: "the name is reserved" });
        }
        checked_name("cluster_id", text).map(Self)
    }

    /// The id.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

macro_rules! name_traits {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::new(text)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Self::new(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
            }
        }
    )*};
}
name_traits!(UserName, ClusterId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_escape_their_segment() {
        for text in ["", "a/b", "..", ".commit", "a b", "-x", &"x".repeat(65)] {
            assert!(UserName::new(text).is_err(), "{text:?}");
            assert!(ClusterId::new(text).is_err(), "{text:?}");
        }
        assert!(UserName::new("user_list").is_err());
        assert!(ClusterId::new("data").is_err());
        assert!(UserName::new("alice-1").is_ok());
    }
}
