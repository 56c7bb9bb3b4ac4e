//! The JSON values of the metadata keys this crate reads and writes (S30..S33): plain data and (de)serialisation.
//!
//! Every value carries a format number. A value of a newer format is refused by name, never guessed at; unknown fields
//! of the same format are ignored on reading, so a field may be added without a new format.

use std::collections::BTreeMap;

use redkite_meta::versioned::{self, Unusable};
use redkite_types::{CollectionId, FieldId, FragmentId, Metric, Revision, Schema};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// The newest format of every value below.
pub const FORMAT: u32 = 1;

/// Longest key bound kept in an entry, in bytes; etcd pays for every byte of it.
const KEY_BOUND_BYTES_MAX: usize = 64;

/// What a data file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileType {
    /// The vectors of one vector field of one fragment.
    RawVector,
    /// The values of one scalar field of one fragment.
    Scalar,
    /// An index over raw vector files.
    Index,
    /// Deleted row offsets of one or several raw vector files.
    DeleteLog,
}

/// The value of `/<user>/<segment>/data/<path>` (S30..S32).
///
/// The raw vector file of a fragment's first vector field is its *anchor*: its entry speaks for the whole fragment
/// (`rows`, `delete_log`, `deleted`), and it is what a delete compares and swaps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FileEntry {
    /// See [`FORMAT`].
    pub format: u32,
    /// What the file holds.
    #[serde(rename = "type")]
    pub file_type: FileType,
    /// Of the object, in bytes.
    pub size: u64,
    /// CRC-32 of the whole object.
    pub crc32: u32,
    /// The node that inserted it.
    pub node: u32,
    /// The cluster of that node.
    pub cluster: String,
    /// Rows in the file; of a delete log, deleted rows in all its sections.
    pub rows: u64,
    /// The field, of raw vector and scalar files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<FieldId>,
    /// The field's name when the file was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<String>,
    /// Of a scalar file: the anchor it is row-aligned with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vector_file: Option<String>,
    /// Of an index: the raw vector files it covers. (Those that a delete log is about name it.)
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub vector_files: Vec<String>,
    /// Of an anchor: the delete log in force, a path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delete_log: Option<String>,
    /// Of an anchor: how many rows that log deletes.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub deleted: u64,
    /// Of the key column: bounds of its keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys: Option<KeyBounds>,
    /// Of an anchor or delete log: when the commit that put this entry was planned, milliseconds since 1970.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub committed_ms: u64,
}

fn is_zero(value: &u64) -> bool {
    *value == 0
}

/// A range that all keys of a fragment lie in, ends included.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyBounds {
    /// Int64 keys: least and greatest.
    Int(i64, i64),
    /// VarChar keys: a lower bound, and an upper bound unless the greatest key is too long to keep.
    Text(String, Option<String>),
}

impl KeyBounds {
    /// Bounds of text keys between `min` and `max`, shortened to what an entry may hold.
    pub fn text(min: &str, max: &str) -> Self {
        let mut end = min.len().min(KEY_BOUND_BYTES_MAX);
        while !min.is_char_boundary(end) {
            end -= 1;
        }
        let max = (max.len() <= KEY_BOUND_BYTES_MAX).then(|| max.to_owned());
        KeyBounds::Text(min[..end].to_owned(), max)
    }

    /// Whether an integer key may be among them.
    pub fn may_contain_int(&self, key: i64) -> bool {
        matches!(self, KeyBounds::Int(min, max) if (*min..=*max).contains(&key))
    }

    /// Whether a text key may be among them.
    pub fn may_contain_text(&self, key: &str) -> bool {
        match self {
            KeyBounds::Int(..) => false,
            KeyBounds::Text(min, max) => key >= min.as_str() && max.as_deref().is_none_or(|max| key <= max),
        }
    }
}

/// An index the user asked for on a field.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct IndexRecord {
    /// Unique within the collection.
    pub name: String,
    /// The field it is on.
    pub field: FieldId,
    /// As the user named it, such as `HNSW` or `AUTOINDEX`.
    pub index_type: String,
    /// Of a vector index: how vectors are compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<Metric>,
    /// All parameters as given, told back by a describe.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub params: BTreeMap<String, String>,
}

/// The value of `/<user>/<segment>/schema`: all that is known of a collection but its data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CollectionRecord {
    /// See [`FORMAT`].
    pub format: u32,
    /// Fixed at creation.
    pub id: CollectionId,
    /// What the collection is called while this record is in force; empty of one that was put before names were kept here:
    /// then it was called as its segment is.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The fields.
    pub schema: Schema,
    /// Indexes asked for.
    #[serde(default)]
    pub indexes: Vec<IndexRecord>,
    /// Properties the user set.
    #[serde(default)]
    pub properties: BTreeMap<String, String>,
    /// The client's number for the collection's default consistency level.
    #[serde(default)]
    pub consistency_level: i32,
    /// Shards the client asked for; told back, without further meaning.
    #[serde(default)]
    pub shards: i32,
    /// Whether the user released it: searches are refused until it is loaded again.
    #[serde(default)]
    pub released: bool,
    /// Creation, milliseconds since 1970.
    pub created_ms: u64,
    /// Last change of fields, milliseconds since 1970.
    pub updated_ms: u64,
    /// When this record was put, milliseconds since 1970; absent of one that never changed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub committed_ms: u64,
}

impl CollectionRecord {
    /// What the collection under `segment` is called while this record is in force.
    pub fn name_in<'r>(&'r self, segment: &'r str) -> &'r str {
        match self.name.as_str() {
            // A segment is the name, or the name, a dot and the id; names have no dots.
            "" => segment.split_once('.').map_or(segment, |(name, _)| name),
            name => name,
        }
    }

    /// The index on a field.
    pub fn index_on(&self, field: FieldId) -> Option<&IndexRecord> {
        self.indexes.iter().find(|index| index.field == field)
    }
}

/// One element of S33's array: the name of a collection.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NameRecord {
    /// What users call the collection.
    pub name: String,
    /// RFC 3339, UTC.
    pub create_time: String,
    /// Of the first vector field's index, else `NONE`.
    pub index_type: String,
    /// The collection's id.
    pub id: CollectionId,
    /// The segment its keys and files lie under; absent where it equals the name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub segment: Option<String>,
}

impl NameRecord {
    /// The segment its keys and files lie under.
    pub fn segment(&self) -> &str {
        self.segment.as_deref().unwrap_or(&self.name)
    }
}

/// The value of `/<user>/.tomb/collection/<id>`: a dropped collection, for whoever reads older revisions or collects.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CollectionTombstone {
    /// See [`FORMAT`].
    pub format: u32,
    /// What it was called.
    pub name: String,
    /// Where its entries and files lie.
    pub segment: String,
    /// What it was; absent if that could not be read any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<CollectionRecord>,
    /// The revision it was created at.
    #[serde(default)]
    pub created: Revision,
    /// The revision of the last change of its record.
    #[serde(default)]
    pub since: Revision,
    /// When it was dropped, milliseconds since 1970.
    pub dropped_ms: u64,
}

/// The value of `/<user>/.tomb/segment/<segment>/<commit>/<what>`: what a commit dropped or replaced. The key's create
/// revision is the revision of that commit, up to which the old state was in force.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tombstone {
    /// See [`FORMAT`].
    pub format: u32,
    /// When the commit was planned, milliseconds since 1970.
    pub dropped_ms: u64,
    /// What was there before.
    #[serde(flatten)]
    pub dropped: Dropped,
}

/// What was there before a commit dropped or replaced it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dropped {
    /// A fragment that a merge replaced.
    Fragment(DroppedFragment),
    /// States of anchors that a delete replaced; the fragments stayed.
    Anchors(Vec<AnchorState>),
    /// The record that a change of the collection replaced.
    Record {
        /// The revision it was put at.
        since: Revision,
        /// The record.
        record: Box<CollectionRecord>,
    },
}

/// A fragment with all its entries, as it last was.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DroppedFragment {
    /// Its id.
    pub id: FragmentId,
    /// The revision its entries were created at.
    pub created: Revision,
    /// The revision its anchor was last put at.
    pub since: Revision,
    /// Its entries, by path.
    pub files: BTreeMap<String, FileEntry>,
}

/// Which delete log was in force for a fragment, and since when.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AnchorState {
    /// The anchor's path.
    pub path: String,
    /// The revision that state was put at.
    pub since: Revision,
    /// See [`FileEntry::committed_ms`].
    #[serde(default, skip_serializing_if = "is_zero")]
    pub committed_ms: u64,
    /// The delete log then in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delete_log: Option<String>,
    /// How many rows it deletes.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub deleted: u64,
}

/// The value of an outcome key (S37).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// See [`FORMAT`].
    pub format: u32,
    /// Whether the commit happened; it never will if not.
    pub committed: bool,
    /// The commit (of a named flush that was settled as not committed: none).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<redkite_types::CommitId>,
    /// Digest of the flush block, 32 hex digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}

/// Parses a stored value, refusing newer formats before looking at anything else.
pub fn parse<T: DeserializeOwned>(key: &str, value: &[u8]) -> Result<T> {
    versioned::decode(value, FORMAT).map_err(|unusable| unusable_value(key, unusable))
}

/// What the error says of a stored value.
pub(crate) fn unusable_value(what: &str, unusable: Unusable) -> Error {
    let what = what.to_owned();
    match unusable {
        Unusable::Damaged(detail) => Error::Damaged { what, detail },
        Unusable::Newer { found, supported } => Error::NewerFormat { what, found, supported },
    }
}

/// Serialises a value for storage.
pub fn encode<T: Serialize>(value: &T) -> Result<bytes::Bytes> {
    serde_json::to_vec(value)
        .map(bytes::Bytes::from)
        .map_err(|error| Error::Internal { detail: format!("a metadata value cannot be written as JSON: {error}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> FileEntry {
        FileEntry {
            format: FORMAT,
            file_type: FileType::RawVector,
            size: 7,
            crc32: 1,
            node: 2,
            cluster: "c1".into(),
            rows: 1,
            field: Some(FieldId(101)),
            column: Some("v".into()),
            vector_file: None,
            vector_files: Vec::new(),
            delete_log: None,
            deleted: 0,
            keys: None,
            committed_ms: 0,
        }
    }

    #[test]
    fn a_tombstone_reads_back() {
        let anchor =
            AnchorState { path: "f/v1".into(), since: Revision(3), committed_ms: 5, delete_log: None, deleted: 0 };
        let tombstone = Tombstone { format: FORMAT, dropped_ms: 9, dropped: Dropped::Anchors(vec![anchor]) };
        let text = encode(&tombstone).unwrap();
        assert_eq!(
            std::str::from_utf8(&text).unwrap(),
            r#"{"format":1,"dropped_ms":9,"anchors":[{"path":"f/v1","since":3,"committed_ms":5}]}"#
        );
        assert_eq!(parse::<Tombstone>("k", &text).unwrap(), tombstone);
        let id = FragmentId::new(Revision(2), 7);
        let files = BTreeMap::from([("f/v1".to_owned(), entry())]);
        let fragment = DroppedFragment { id, created: Revision(2), since: Revision(2), files };
        let tombstone = Tombstone { format: FORMAT, dropped_ms: 9, dropped: Dropped::Fragment(fragment) };
        assert_eq!(parse::<Tombstone>("k", &encode(&tombstone).unwrap()).unwrap(), tombstone);
    }

    #[test]
    fn an_entry_reads_as_the_statement_says() {
        let text = String::from_utf8(encode(&entry()).unwrap().to_vec()).unwrap();
        assert_eq!(
            text,
            r#"{"format":1,"type":"raw_vector","size":7,"crc32":1,"node":2,"cluster":"c1","rows":1,"field":101,"column":"v"}"#
        );
        assert_eq!(parse::<FileEntry>("k", text.as_bytes()).unwrap(), entry());
    }

    #[test]
    fn newer_and_damaged_values_are_named() {
        let newer = parse::<FileEntry>("/u/c/data/x", br#"{"format":2,"type":"hologram"}"#).unwrap_err();
        assert!(newer.to_string().contains("/u/c/data/x") && newer.to_string().contains("format 2"), "{newer}");
        let damaged = parse::<FileEntry>("/u/c/data/x", b"{").unwrap_err();
        assert!(damaged.to_string().contains("/u/c/data/x"), "{damaged}");
    }

    #[test]
    fn text_bounds_hold_for_long_keys() {
        let long = "ä".repeat(100);
        let bounds = KeyBounds::text(&long, &long);
        assert!(bounds.may_contain_text(&long));
        assert!(bounds.may_contain_text("ö"));
        assert!(!bounds.may_contain_text("a"));
        let short = KeyBounds::text("b", "d");
        assert!(short.may_contain_text("c") && !short.may_contain_text("e") && !short.may_contain_text("a"));
    }
}
