//! Checks what another node says it has stored: entries of exactly the files of one fragment. Pure.

use std::collections::HashMap;

use bytes::Bytes;
use redkite_table::entry::{FORMAT, FileEntry, FileType};
use redkite_table::fragment::{EncodedFragment, FragmentLayout, NewFile, Origin};
use redkite_types::{FragmentId, Schema};

use super::Run;

/// The fragment `id` of a collection with that schema, of rows of `run`, as `by` has stored it; its files without their bytes.
/// None if no row of the run was left. An error says what is wrong with it.
pub(crate) fn checked(
    schema: &Schema,
    id: FragmentId,
    by: &Origin,
    run: &Run,
    files: Vec<(String, FileEntry)>,
) -> Result<Option<EncodedFragment>, String> {
    if files.is_empty() {
        return if run.removes || run.rows == 0 { Ok(None) } else { Err("it has stored no row".to_owned()) };
    }
    let layout = FragmentLayout::new(schema, id).map_err(|error| error.to_string())?;
    let mut found: HashMap<String, FileEntry> = files.into_iter().collect();
    let rows = found.values().map(|entry| entry.rows).max().unwrap_or_default();
    let expected = match run.removes {
        true => 1..=run.rows,
        false => run.rows..=run.rows,
    };
    if !expected.contains(&rows) {
        return Err(format!("it has stored {rows} rows, of {}", run.rows));
    }
    let anchor = schema.vector_fields().min_by_key(|field| field.id).map(|field| layout.path(field));
    let mut new = Vec::with_capacity(schema.fields.len());
    for field in &schema.fields {
        let path = layout.path(field);
        let entry = found.remove(&path).ok_or_else(|| format!("it has not stored {path}"))?;
        let is_vector = field.data_type.is_vector();
        let wanted = FileEntry {
            format: FORMAT,
            file_type: if is_vector { FileType::RawVector } else { FileType::Scalar },
            node: by.node.0,
            cluster: by.cluster.to_string(),
            rows,
            field: Some(field.id),
            column: Some(field.name.clone()),
            vector_file: anchor.clone().filter(|_| !is_vector),
            vector_files: Vec::new(),
            delete_log: None,
            deleted: 0,
            committed_ms: 0,
            // What only the file tells.
            size: entry.size,
            crc32: entry.crc32,
            keys: entry.keys.clone(),
        };
        if entry != wanted {
            return Err(format!("its entry of {path} is not that of such a file"));
        }
        new.push(NewFile { path, entry, bytes: Bytes::new() });
    }
    match found.keys().next() {
        Some(path) => Err(format!("it has stored {path}, which it was not to")),
        None => Ok(Some(EncodedFragment { id, rows: rows as usize, files: new })),
    }
}
