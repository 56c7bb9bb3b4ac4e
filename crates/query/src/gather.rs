//! Fetches columns of found rows, in the order of the rows, opening only the fragments they lie in.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, new_empty_array};
use arrow_select::interleave::interleave;
use redkite_table::Database;
use redkite_table::entry::CollectionRecord;
use redkite_table::fragment::FragmentReader;
use redkite_types::FieldId;

use crate::source::Source;
use crate::{Error, Result, RowId, Rows, cpu};

/// Rows gathered before the size of the answer is looked at.
const PART_ROWS: usize = 4_096;

/// The columns `fields` of `ids`.
pub(crate) async fn gather(
    database: &Database,
    source: &Source,
    ids: Vec<RowId>,
    fields: &[FieldId],
    bytes_max: u64,
) -> Result<Rows> {
    let rows = ids.len();
    if fields.is_empty() {
        return Ok(Rows { rows, columns: Vec::new() });
    }
    let certain = certain_bytes(source, fields, rows)?;
    if certain > bytes_max {
        return Err(Error::TooLarge { bytes: certain, limit: bytes_max });
    }
    let mut places: Vec<usize> = ids.iter().map(|id| id.fragment()).collect();
    places.sort_unstable();
    places.dedup();
    let readers = source.open(database, places, fields).await?;
    let (record, wanted) = (source.record.clone(), fields.to_vec());
    let columns = cpu::run(certain, move || {
        let mut parts: Vec<Vec<ArrayRef>> = Vec::new();
        let mut bytes = 0;
        // A part at a time: how long texts are is known only when they are read, and too much of them must not be.
        for part in ids.chunks(PART_ROWS) {
            let plan = Plan::new(&readers, part);
            let columns =
                wanted.iter().map(|field| plan.column(&readers, *field)).collect::<Result<Vec<ArrayRef>>>()?;
            bytes += columns.iter().map(|column| column.get_buffer_memory_size() as u64).sum::<u64>();
            if bytes > bytes_max {
                return Err(Error::TooLarge { bytes, limit: bytes_max });
            }
            parts.push(columns);
        }
        let whole = |(at, field): (usize, FieldId)| Ok((field, joined(&record, field, at, &parts)?));
        wanted.iter().copied().enumerate().map(whole).collect::<Result<Vec<_>>>()
    })
    .await?;
    Ok(Rows { rows, columns })
}

/// Column `at` of all parts as one.
fn joined(record: &CollectionRecord, field: FieldId, at: usize, parts: &[Vec<ArrayRef>]) -> Result<ArrayRef> {
    match parts {
        [] => {
            let definition = record.schema.field_by_id(field);
            let definition =
                definition.ok_or_else(|| Error::Internal { detail: format!("field {field} is not in the schema") })?;
            Ok(new_empty_array(&definition.data_type.arrow()))
        }
        [only] => Ok(Arc::clone(&only[at])),
        _ => {
            let arrays: Vec<&dyn Array> = parts.iter().map(|part| part[at].as_ref()).collect();
            arrow_select::concat::concat(&arrays)
                .map_err(|error| Error::Internal { detail: format!("parts of a column do not fit together: {error}") })
        }
    }
}

/// Bytes the answer has at least: its columns of fixed width.
fn certain_bytes(source: &Source, fields: &[FieldId], rows: usize) -> Result<u64> {
    let width = |field: &FieldId| {
        let data_type = source.record.schema.field_by_id(*field).map(|field| field.data_type);
        data_type.and_then(|data_type| data_type.vector_bytes()).unwrap_or(8)
    };
    Ok(fields.iter().map(width).sum::<usize>() as u64 * rows as u64)
}

/// Which rows to take of which reader, and how to bring them back into order.
struct Plan {
    /// Per reader: the rows to take.
    rows: Vec<Vec<u32>>,
    /// Per result row: the reader, and the place among what was taken there.
    order: Vec<(usize, usize)>,
}

impl Plan {
    fn new(readers: &[(usize, FragmentReader)], ids: &[RowId]) -> Self {
        let slots: BTreeMap<usize, usize> =
            readers.iter().enumerate().map(|(slot, (place, _))| (*place, slot)).collect();
        let mut rows = vec![Vec::new(); readers.len()];
        let order = ids
            .iter()
            .filter_map(|id| {
                let slot = *slots.get(&id.fragment())?;
                rows[slot].push(id.row());
                Some((slot, rows[slot].len() - 1))
            })
            .collect();
        Self { rows, order }
    }

    fn column(&self, readers: &[(usize, FragmentReader)], field: FieldId) -> Result<ArrayRef> {
        let mut taken = Vec::with_capacity(readers.len());
        for ((_, reader), rows) in readers.iter().zip(&self.rows) {
            taken.push(reader.take(field, rows)?);
        }
        if let [only] = &taken[..] {
            return Ok(Arc::clone(only));
        }
        let arrays: Vec<&dyn Array> = taken.iter().map(|array| array.as_ref()).collect();
        interleave(&arrays, &self.order)
            .map_err(|error| Error::Internal { detail: format!("columns of fragments do not fit together: {error}") })
    }
}
