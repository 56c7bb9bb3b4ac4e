//! Fetches columns of found rows, in the order of the rows, opening only the fragments they lie in.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, new_empty_array};
use arrow_select::interleave::interleave;
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use redkite_table::Database;
use redkite_table::entry::CollectionRecord;
use redkite_table::fragment::FragmentReader;
use redkite_types::{FieldId, limits};

use crate::answer::{read_gathered, rows_bytes};
use crate::fanout::{Asking, Holders, Reader, Share, Work};
use crate::frame;
use crate::request::{self, Ask};
use crate::source::Source;
use crate::{Error, Result, RowId, Rows, cpu};

/// Rows gathered before the size of the answer is looked at.
const PART_ROWS: usize = 4_096;
/// Most bytes of an answer.
const BYTES_MAX: u64 = limits::QUERY_OUTPUT_BYTES_MAX as u64;

/// The columns `fields` of `ids`, from who has read their fragments already, if others than this node have.
pub(crate) async fn gather(
    asking: Asking<'_>,
    shared: Option<(&Holders, Vec<Share>)>,
    source: &Source,
    ids: Vec<RowId>,
    fields: &[FieldId],
) -> Result<Rows> {
    let Some((plan, mut shares)) = shared else {
        return gather_here(asking.database, source, ids, fields, BYTES_MAX).await;
    };
    let certain = certain_bytes(source, fields, ids.len())?;
    if certain > BYTES_MAX {
        return Err(Error::TooLarge { bytes: certain, limit: BYTES_MAX });
    }
    let mut used = vec![false; source.fragments.len()];
    for id in &ids {
        if let Some(used) = used.get_mut(id.fragment()) {
            *used = true;
        }
    }
    shares.iter_mut().for_each(|share| share.places.retain(|place| used[*place]));
    shares.retain(|share| !share.places.is_empty());
    if fields.is_empty() || shares.is_empty() {
        return gather_here(asking.database, source, ids, fields, BYTES_MAX).await;
    }
    if shares.iter().all(|share| share.by.is_none()) {
        let mut places: Vec<usize> = shares.into_iter().flat_map(|share| share.places).collect();
        places.sort_unstable();
        shares = vec![Share { by: None, places }];
    }
    let source = Arc::new(source.clone());
    let gathering = Gathering { asking, source, ids: &ids, fields };
    let done = asking.spread_over(plan, shares, &gathering).await?;
    let bytes: u64 = done.iter().map(|done| done.part.1).sum();
    if bytes > BYTES_MAX {
        return Err(Error::TooLarge { bytes, limit: BYTES_MAX });
    }
    let mut owners = vec![usize::MAX; used.len()];
    for (part, done) in done.iter().enumerate() {
        done.share.places.iter().for_each(|place| owners[*place] = part);
    }
    let mut parts: Vec<Rows> = done.into_iter().map(|done| done.part.0).collect();
    if parts.len() == 1 && parts[0].rows == ids.len() {
        // In the order of the rows, as each part is.
        return Ok(parts.swap_remove(0));
    }
    let fields = fields.to_vec();
    cpu::run(bytes, move || put_together(&parts, &owners, &ids, &fields)).await
}

/// The rows of all parts, in the order of `ids`; `owners` tells the part of each fragment.
fn put_together(parts: &[Rows], owners: &[usize], ids: &[RowId], fields: &[FieldId]) -> Result<Rows> {
    let missing = || Error::Internal { detail: "a row that nobody has gathered".into() };
    let mut next = vec![0usize; parts.len()];
    let mut order = Vec::with_capacity(ids.len());
    for id in ids {
        let part = *owners.get(id.fragment()).ok_or_else(missing)?;
        let at = next.get_mut(part).ok_or_else(missing)?;
        order.push((part, *at));
        *at += 1;
    }
    if parts.iter().zip(&next).any(|(part, taken)| part.rows != *taken) {
        return Err(missing());
    }
    let mut columns = Vec::with_capacity(fields.len());
    for (at, field) in fields.iter().enumerate() {
        let of_parts = parts.iter().map(|part| part.columns.get(at).map(|(_, column)| column.as_ref()));
        let arrays: Vec<&dyn Array> = of_parts.collect::<Option<_>>().ok_or_else(missing)?;
        let column = interleave(&arrays, &order)
            .map_err(|error| Error::Internal { detail: format!("columns of nodes do not fit together: {error}") })?;
        columns.push((*field, column));
    }
    Ok(Rows { rows: ids.len(), columns })
}

/// Gathering as work that is shared.
struct Gathering<'a> {
    asking: Asking<'a>,
    source: Arc<Source>,
    ids: &'a [RowId],
    fields: &'a [FieldId],
}

impl Gathering<'_> {
    /// The rows that lie in these fragments, in order.
    fn ids_in<'p>(&self, places: &'p [usize]) -> impl Iterator<Item = (usize, RowId)> + use<'_, 'p> {
        self.ids.iter().filter_map(|id| Some((places.binary_search(&id.fragment()).ok()?, *id)))
    }
}

impl Work for Gathering<'_> {
    /// The rows, and how many bytes they take.
    type Part = (Rows, u64);

    fn cost(&self, places: &[usize]) -> u64 {
        let rows = self.ids_in(places).count();
        certain_bytes(&self.source, self.fields, rows).unwrap_or(0)
    }

    fn request(&self, places: &[usize]) -> Result<(Bytes, Reader<(Rows, u64)>)> {
        let own = self.ids_in(places).map(|(slot, id)| RowId::new(slot, id.row()));
        let body = rows_bytes(own);
        let rows = self.ids_in(places).count();
        let ask = Ask::Gather { fields: self.fields.to_vec(), rows, bytes_max: BYTES_MAX };
        let bytes = request::encode(&self.source, places, self.fields, ask, &body)?;
        let (to, source, fields) = (frame::id(&bytes), self.source.clone(), self.fields.to_vec());
        let read = move |answer: &Bytes| Ok((read_gathered(to, answer, &source, &fields, rows)?, answer.len() as u64));
        Ok((bytes, Box::new(read)))
    }

    fn here<'w>(&'w self, places: &'w [usize]) -> BoxFuture<'w, Result<(Rows, u64)>> {
        let gathering = async {
            let ids = self.ids_in(places).map(|(_, id)| id).collect();
            let rows = gather_here(self.asking.database, &self.source, ids, self.fields, BYTES_MAX).await?;
            let bytes = rows.columns.iter().map(|(_, column)| column.get_buffer_memory_size() as u64).sum();
            Ok((rows, bytes))
        };
        gathering.boxed()
    }
}

/// The columns `fields` of `ids`.
pub(crate) async fn gather_here(
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
