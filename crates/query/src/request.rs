//! What one node asks another: to answer for exactly these files. Whoever is asked looks nothing up; what it is told it
//! checks, and reads only what lies among the user's data.

use std::sync::Arc;

use bytes::Bytes;
use redkite_expr::{Portable, Predicate};
use redkite_table::Collection;
use redkite_table::catalog::{File, Fragment};
use redkite_table::entry::{self, CollectionRecord, FileEntry, FileType};
use redkite_types::{CommitId, FieldId, FragmentId, Metric, Revision};
use serde::{Deserialize, Serialize};

use crate::frame::{self, Body};
use crate::source::Source;
use crate::{Error, Result, Window};

/// Most bytes of a sub-request. What would be more (a filter of millions of keys, thousands of long query vectors) the asked
/// node reads by itself.
pub const SUBREQUEST_BYTES_MAX: usize = 128 << 20;
/// Longest segment of a collection: a name, a dot, a number.
const SEGMENT_BYTES_MAX: usize = redkite_types::limits::NAME_BYTES_MAX + 32;

/// What is asked. What a newer version adds must not be passed over: it would be answered as if it were not asked.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Ask {
    /// The best rows for each query vector; the vectors are the body.
    Score { filter: Portable, vector: FieldId, metric: Metric, window: Bits, best: usize, ties: usize },
    /// The rows of the smallest keys.
    Select { filter: Portable, wanted: Option<usize> },
    /// How many rows.
    Count { filter: Portable },
    /// Columns of rows; their numbers are the body.
    Gather { fields: Vec<FieldId>, rows: usize, bytes_max: u64 },
    /// To have all files that are named, so that they can be read without asking the store.
    Hold {},
}

/// A window by the bits of its bounds, as JSON has no infinities.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Bits {
    best: std::ops::Bound<u32>,
    worst: std::ops::Bound<u32>,
}

impl From<Window> for Bits {
    fn from(window: Window) -> Self {
        Self { best: window.best.map(f32::to_bits), worst: window.worst.map(f32::to_bits) }
    }
}

impl From<Bits> for Window {
    fn from(bits: Bits) -> Self {
        Self { best: bits.best.map(f32::from_bits), worst: bits.worst.map(f32::from_bits) }
    }
}

/// The head of a sub-request.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    segment: String,
    record: Arc<CollectionRecord>,
    /// Those whose files are told, where fragments have any.
    fields: Vec<FieldId>,
    fragments: Vec<Files>,
    delete_logs: Vec<(String, FileEntry)>,
    ask: Ask,
}

/// The files of a fragment that are read, its anchor among them.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Files {
    id: FragmentId,
    files: Vec<(String, FileEntry)>,
}

/// What reading a file takes of its entry.
fn needed(entry: &FileEntry) -> FileEntry {
    FileEntry { column: None, vector_file: None, vector_files: Vec::new(), committed_ms: 0, ..entry.clone() }
}

/// A filter as another node can make it.
pub(crate) fn portable(filter: &Predicate) -> Result<Portable> {
    filter.portable().ok_or_else(|| unusable("it is not known what the filter was parsed from"))
}

/// Asks for what `fields` of the fragments at `places` tell. Which rows are meant is numbered by the order of `places`.
pub(crate) fn encode(source: &Source, places: &[usize], fields: &[FieldId], ask: Ask, body: &[u8]) -> Result<Bytes> {
    let mut delete_logs: Vec<(String, FileEntry)> = Vec::new();
    let mut fragments = Vec::with_capacity(places.len());
    for place in places {
        let fragment = source.fragment(*place)?;
        let anchor = fragment.anchor()?;
        let mut files: Vec<&Arc<File>> = vec![anchor];
        files.extend(fields.iter().filter_map(|field| fragment.file(*field)));
        files.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        files.dedup_by(|a, b| a.path == b.path);
        if let Some(log) = anchor.entry.delete_log.as_deref()
            && let Some(file) = source.collection.delete_logs.get(log)
        {
            delete_logs.push((log.to_owned(), needed(&file.entry)));
        }
        let files = files.into_iter().map(|file| (file.path.to_string(), needed(&file.entry))).collect();
        fragments.push(Files { id: fragment.id, files });
    }
    delete_logs.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    delete_logs.dedup_by(|a, b| a.0 == b.0);
    let segment = source.collection.segment.to_string();
    let (record, fields) = (source.record.clone(), fields.to_vec());
    let head = Head { segment, record, fields, fragments, delete_logs, ask };
    let frame = frame::encode(frame::NOTHING, &head, &[body])?;
    match frame.len() > SUBREQUEST_BYTES_MAX {
        true => Err(unusable(format!("it has {} bytes, the limit is {SUBREQUEST_BYTES_MAX}", frame.len()))),
        false => Ok(frame),
    }
}

/// What to read, and what for.
pub(crate) fn decode(frame: &Bytes) -> Result<(Source, Ask, Body)> {
    let (head, body) = frame::decode::<Head>(frame::NOTHING, frame)?;
    let Head { segment, record, fields, fragments, delete_logs, ask } = head;
    check_segment(&segment)?;
    check_format(record.format)?;
    let fragments = fragments.into_iter().map(fragment).collect::<Result<Vec<_>>>()?;
    let mut collection = Collection::of_fragments(&segment, Vec::new());
    for (path, entry) in delete_logs {
        check_path::<CommitId>(&path, None)?;
        if entry.file_type != FileType::DeleteLog {
            return Err(unusable(format!("{path} is no delete log")));
        }
        let file = file(path, entry)?;
        collection.delete_logs.insert(file.path.clone(), Arc::new(file));
    }
    let key = record.schema.primary_key().ok_or_else(|| unusable("a schema without primary key"))?.id;
    collection.record = Some(record.clone());
    Ok((Source { collection: Arc::new(collection), record, fragments, key, told: Some(fields) }, ask, body))
}

fn fragment(Files { id, files }: Files) -> Result<Arc<Fragment>> {
    let mut checked = Vec::with_capacity(files.len());
    for (path, entry) in files {
        check_path::<FragmentId>(&path, Some(id))?;
        if !matches!(entry.file_type, FileType::RawVector | FileType::Scalar) {
            return Err(unusable(format!("{path} is no column")));
        }
        checked.push(file(path, entry)?);
    }
    let fragment = Fragment::new(id, checked);
    fragment.anchor()?;
    Ok(Arc::new(fragment))
}

fn file(path: String, entry: FileEntry) -> Result<File> {
    check_format(entry.format)?;
    if entry.rows > u32::MAX.into() {
        return Err(unusable(format!("{path} cannot have {} rows", entry.rows)));
    }
    Ok(File { path: path.into(), entry, created: Revision::ZERO, modified: Revision::ZERO })
}

fn check_format(format: u32) -> Result<()> {
    match format <= entry::FORMAT {
        true => Ok(()),
        false => Err(unusable(format!("it speaks of format {format}, this version knows {}", entry::FORMAT))),
    }
}

/// A name of one level that is not one of the user's own bookkeeping.
fn check_segment(segment: &str) -> Result<()> {
    let plain = |c: char| !c.is_control() && !matches!(c, '/' | '\\');
    let usable = !segment.is_empty() && segment.len() <= SEGMENT_BYTES_MAX && !segment.starts_with('.');
    match usable && segment.chars().all(plain) {
        true => Ok(()),
        false => Err(unusable(format!("{segment:?} is no collection's segment"))),
    }
}

/// A file in the folder that is called as an id, the one given if one is.
fn check_path<Id: std::str::FromStr + PartialEq>(path: &str, id: Option<Id>) -> Result<()> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    let usable = path.split_once('/').is_some_and(|(folder, name)| {
        let folder = folder.parse::<Id>().ok();
        let named = folder.is_some_and(|folder| id.is_none_or(|id| folder == id));
        named && !name.is_empty() && !name.starts_with('.') && name.bytes().all(plain)
    });
    if usable { Ok(()) } else { Err(unusable(format!("{path:?} is no file of it"))) }
}

fn unusable(detail: impl Into<String>) -> Error {
    Error::SubRequest { detail: detail.into() }
}

#[cfg(test)]
mod tests;
