//! What a node answers to what it was asked, written by the holder, read and checked by whoever asked.

use arrow_array::{Array, ArrayRef};
use arrow_schema::DataType;
use bytes::Bytes;
use redkite_index::{Hit, TopHits};
use redkite_types::FieldId;
use serde::{Deserialize, Serialize};

use crate::frame::{self, Body, columns_bytes};
use crate::keys::{KeyRun, joined};
use crate::source::Source;
use crate::{Error, Result, RowId, Rows};

/// Most bytes of an answer to a sub-request. It holds the largest answer that a client may get, and the keys and ties that
/// come with it; what would be more the asked node reads by itself.
pub const SUBANSWER_BYTES_MAX: usize = 256 << 20;

/// The head of an answer.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Head {
    /// Hits of each query; the body is their scores, their rows, their keys.
    Scored { counts: Vec<usize>, overflowed: Vec<bool> },
    /// Rows and their keys.
    Selected { rows: usize },
    /// A number of rows.
    Counted { rows: u64 },
    /// Columns.
    Gathered { rows: usize },
    /// The files are there.
    Held {},
}

fn unusable(detail: impl Into<String>) -> Error {
    Error::SubRequest { detail: detail.into() }
}

fn finish(to: u32, head: &Head, body: &[&[u8]]) -> Result<Bytes> {
    let bytes: usize = body.iter().map(|part| part.len()).sum();
    if bytes > SUBANSWER_BYTES_MAX {
        return Err(unusable(format!("its answer has {bytes} bytes, the limit is {SUBANSWER_BYTES_MAX}")));
    }
    frame::encode(to, head, body)
}

fn ids_bytes(ids: &[RowId]) -> Vec<u8> {
    ids.iter().flat_map(|id| id.0.to_le_bytes()).collect()
}

/// The rows as the holder numbers them, one after the other.
pub(crate) fn rows_bytes(ids: impl Iterator<Item = RowId>) -> Vec<u8> {
    ids.flat_map(|id| id.0.to_le_bytes()).collect()
}

/// The best rows of each query: its hits, and the runs of keys that hold those of the hits and no others.
pub(crate) fn scored(to: u32, tops: &[(TopHits, Vec<KeyRun>)], key: &DataType) -> Result<Bytes> {
    let (mut scores, mut ids, mut runs) = (Vec::new(), Vec::new(), Vec::new());
    for (top, of_top) in tops {
        let mut hits = top.hits.clone();
        hits.sort_unstable_by_key(|hit| hit.row);
        scores.extend(hits.iter().flat_map(|hit| hit.score.to_le_bytes()));
        ids.extend(hits.iter().map(|hit| RowId(hit.row)));
        runs.extend_from_slice(of_top);
    }
    let (keyed, keys) = joined(&runs, key)?;
    if keyed != ids {
        return Err(Error::Internal { detail: "hits and keys differ".into() });
    }
    let head = Head::Scored {
        counts: tops.iter().map(|(top, _)| top.hits.len()).collect(),
        overflowed: tops.iter().map(|(top, _)| top.ties_overflowed).collect(),
    };
    finish(to, &head, &[&scores, &ids_bytes(&ids), &columns_bytes(keys.len(), &[keys])?])
}

/// Rows with their keys.
pub(crate) fn selected(to: u32, runs: &[KeyRun], key: &DataType) -> Result<Bytes> {
    let (ids, keys) = joined(runs, key)?;
    finish(to, &Head::Selected { rows: ids.len() }, &[&ids_bytes(&ids), &columns_bytes(keys.len(), &[keys])?])
}

/// A number of rows.
pub(crate) fn counted(to: u32, rows: u64) -> Result<Bytes> {
    finish(to, &Head::Counted { rows }, &[])
}

/// That the files are there.
pub(crate) fn held(to: u32) -> Result<Bytes> {
    finish(to, &Head::Held {}, &[])
}

/// Whether an answer says that the files are there that `request` names.
pub(crate) fn says_held(request: &Bytes, answer: &Bytes) -> Result<()> {
    match frame::decode(frame::id(request), answer)? {
        (Head::Held {}, _) => Ok(()),
        _ => Err(unusable("it answers something else")),
    }
}

/// Columns of rows.
pub(crate) fn gathered(to: u32, rows: &Rows) -> Result<Bytes> {
    let columns: Vec<ArrayRef> = rows.columns.iter().map(|(_, column)| column.clone()).collect();
    finish(to, &Head::Gathered { rows: rows.rows }, &[&columns_bytes(rows.rows, &columns)?])
}

/// What was asked of a holder, as far as reading its answer takes.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// The request's id.
    id: u32,
    /// The place of each fragment in the list of whoever asked, and how many rows it has.
    fragments: Vec<(usize, u64)>,
    key: DataType,
}

impl Asked {
    pub(crate) fn new(request: &Bytes, source: &Source, places: &[usize]) -> Result<Self> {
        let fragments = places.iter().map(|place| Ok((*place, source.fragment(*place)?.rows())));
        let (id, key) = (frame::id(request), source.type_of(source.key)?);
        Ok(Self { id, fragments: fragments.collect::<Result<_>>()?, key })
    }

    /// The best rows of `queries` queries, each with its hits and the keys of these; of each at most `most`.
    pub(crate) fn scored(&self, answer: &Bytes, queries: usize, most: usize) -> Result<Vec<(TopHits, Vec<KeyRun>)>> {
        let (head, mut body) = frame::decode(self.id, answer)?;
        let Head::Scored { counts, overflowed } = head else { return Err(unusable("it answers something else")) };
        if counts.len() != queries || overflowed.len() != queries || counts.iter().any(|count| *count > most) {
            return Err(unusable("it does not answer each query"));
        }
        let total = counts.iter().try_fold(0usize, |total, count| total.checked_add(*count));
        let total = total.ok_or_else(|| unusable("it has too many hits"))?;
        let scores = body.numbers(total, f32::from_le_bytes)?;
        let ids = body.numbers(total, u64::from_le_bytes)?;
        let keys = self.keys(body, total)?;
        let mut at = 0;
        let mut tops = Vec::with_capacity(queries);
        for (count, ties_overflowed) in counts.into_iter().zip(overflowed) {
            let ids = self.ids(&ids[at..at + count])?;
            let scores = &scores[at..at + count];
            let hits = ids.iter().zip(scores).map(|(id, score)| Hit { score: *score, row: id.0 }).collect();
            let runs = KeyRun::of(&ids, &keys.slice(at, count));
            tops.push((TopHits { hits, ties_overflowed }, runs));
            at += count;
        }
        Ok(tops)
    }

    /// Rows with their keys, at most `most`.
    pub(crate) fn selected(&self, answer: &Bytes, most: usize) -> Result<Vec<KeyRun>> {
        let (head, mut body) = frame::decode(self.id, answer)?;
        let Head::Selected { rows } = head else { return Err(unusable("it answers something else")) };
        if rows > most {
            return Err(unusable("it has more rows than were asked for"));
        }
        let ids = body.numbers(rows, u64::from_le_bytes)?;
        let keys = self.keys(body, rows)?;
        Ok(KeyRun::of(&self.ids(&ids)?, &keys))
    }

    /// A number of rows.
    pub(crate) fn counted(&self, answer: &Bytes) -> Result<u64> {
        let (head, _) = frame::decode::<Head>(self.id, answer)?;
        let all: u64 = self.fragments.iter().map(|(_, rows)| rows).sum();
        match head {
            Head::Counted { rows } if rows <= all => Ok(rows),
            _ => Err(unusable("it answers something else")),
        }
    }

    /// The rows in the numbers of whoever asked; they must ascend.
    fn ids(&self, told: &[u64]) -> Result<Vec<RowId>> {
        let own = |id: &u64| {
            let id = RowId(*id);
            let (place, rows) = self.fragments.get(id.fragment())?;
            (u64::from(id.row()) < *rows).then(|| RowId::new(*place, id.row()))
        };
        let ids = told.iter().map(own).collect::<Option<Vec<RowId>>>();
        let ids = ids.ok_or_else(|| unusable("it has rows that it was not asked for"))?;
        match ids.is_sorted_by(|a, b| a < b) {
            true => Ok(ids),
            false => Err(unusable("its rows do not ascend")),
        }
    }

    fn keys(&self, body: Body, rows: usize) -> Result<ArrayRef> {
        match &body.columns()?[..] {
            [keys] if keys.len() == rows && *keys.data_type() == self.key && keys.null_count() == 0 => Ok(keys.clone()),
            _ => Err(unusable("its keys are not those of its rows")),
        }
    }
}

/// The columns `fields` of `rows` rows, in answer to the request of the id `to`.
pub(crate) fn read_gathered(to: u32, answer: &Bytes, source: &Source, fields: &[FieldId], rows: usize) -> Result<Rows> {
    let (head, body) = frame::decode(to, answer)?;
    let columns = match head {
        Head::Gathered { rows: told } if told == rows => body.columns()?,
        _ => return Err(unusable("it answers something else")),
    };
    let types = fields.iter().map(|field| source.type_of(*field)).collect::<Result<Vec<_>>>()?;
    let fits = |(column, wanted): (&ArrayRef, &DataType)| column.len() == rows && column.data_type() == wanted;
    if columns.len() != types.len() || !columns.iter().zip(&types).all(fits) {
        return Err(unusable("its columns are not those that were asked for"));
    }
    Ok(Rows { rows, columns: fields.iter().copied().zip(columns).collect() })
}

#[cfg(test)]
mod tests;
