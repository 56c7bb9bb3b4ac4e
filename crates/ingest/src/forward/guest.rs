//! The end that holds rows for another node: it keeps operations in their order, replays and stores them when told to, and
//! drops them when the line goes.
//!
//! What comes over a line is checked before it is used. Anything that does not fit what was said before ends the line: then the
//! other node knows that nothing is held, and its client hears of it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arrow_array::RecordBatch;
use bytes::Bytes;
use redkite_expr::Predicate;
use redkite_table::entry::CollectionRecord;
use redkite_table::fragment::encode;
use redkite_types::{CollectionId, FragmentId};

use super::message::{Answer, Question, Removes, decode_question, encode_answer};
use crate::block::{BlockOp, OpKind, keys_bytes};
use crate::flush::origin;
use crate::session::Buffered;
use crate::stage::stage;
use crate::{Error, Ingest, cpu};

/// Most lines of other nodes at once.
const GUESTS_MAX: usize = 65_536;
/// A line that is silent for so long is ended. Long before, the node whose session it is would have ended it with the session,
/// and of a node that is gone the connection tells; how long a session may be silent, or be kept by reads alone, is its
/// matter. So this ends only what a defect has left.
const SILENCE_MAX: Duration = Duration::from_hours(7 * 24);
/// Rows that a megabyte of a question is counted as, where their number is not known yet.
const ROWS_A_MEGABYTE: u64 = 1_000;

/// What this node holds for others, as a whole.
#[derive(Debug, Clone)]
pub struct Guests {
    ingest: Arc<Ingest>,
    count: Arc<AtomicUsize>,
}

impl Guests {
    /// Holds rows within the limits of `ingest`, and stores them in its database.
    pub fn new(ingest: Arc<Ingest>) -> Self {
        Self { ingest, count: Arc::default() }
    }

    /// The end of one more line.
    pub fn begin(&self) -> Guest {
        self.count.fetch_add(1, Ordering::Relaxed);
        let share = self.ingest.share_of_memory();
        Guest { guests: self.clone(), taken: 0, held: HashMap::new(), share }
    }

    /// Lines there are.
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }
}

/// The end of one line. What it holds is gone once this is dropped.
#[derive(Debug)]
pub struct Guest {
    guests: Guests,
    /// Operations that came so far.
    taken: u64,
    held: HashMap<CollectionId, Held>,
    share: Buffered,
}

/// Operations on one collection.
#[derive(Debug, Default)]
struct Held {
    ops: Vec<BlockOp>,
    /// Bytes they hold in memory.
    bytes: u64,
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.guests.count.fetch_sub(1, Ordering::Relaxed);
        let ops: usize = self.held.values().map(|held| held.ops.len()).sum();
        if ops > 0 {
            tracing::info!(ops, "a node whose rows were held here is gone, or has given them up; they are dropped");
        }
    }
}

impl Guest {
    /// How long the other node may be silent.
    pub fn patience(&self) -> Duration {
        SILENCE_MAX
    }

    /// Answers a question. After an error this has to be dropped.
    pub async fn answer(&mut self, question: Bytes) -> Result<Bytes, String> {
        let bytes = question.len() as u64;
        let answer = match self.decoded(question).await? {
            (Question::Take { number, record, removes }, rows) => {
                self.check_number(number, self.taken + 1)?;
                self.take(operation(record, removes, rows)?, bytes)?
            }
            (Question::Store { number, collection, segment, fragment }, None) => {
                self.check_number(number, self.taken)?;
                check_segment(&segment)?;
                self.store(collection, &segment, fragment).await
            }
            (Question::Store { .. }, Some(_)) => return Err("a question to store has rows".to_owned()),
        };
        encode_answer(&answer).map_err(|error| format!("an answer {error}"))
    }

    async fn decoded(&self, question: Bytes) -> Result<(Question, Option<RecordBatch>), String> {
        let cost = (question.len() as u64 >> 20) * ROWS_A_MEGABYTE;
        let decoded = cpu::run(cost, move || decode_question(&question)).await.map_err(|error| error.to_string())?;
        decoded.map_err(|error| format!("a question {error}"))
    }

    fn check_number(&self, told: u64, known: u64) -> Result<(), String> {
        match told == known {
            true => Ok(()),
            false => Err(format!("operation {told} of the line was asked for, where {known} is next")),
        }
    }

    /// Holds an operation, which came with a question of so many bytes.
    fn take(&mut self, mut op: BlockOp, question_bytes: u64) -> Result<Answer, String> {
        let held = self.held.entry(op.collection).or_default();
        if held.ops.first().is_some_and(|first| first.record.schema != op.record.schema) {
            return Err("rows of one run have two schemas".to_owned());
        }
        if let Some(last) = held.ops.last().filter(|last| last.record == op.record) {
            // Each came with one of its own, which small operations would be outweighed by.
            op.record = last.record.clone();
        }
        let options = self.guests.ingest.options();
        let count = self.guests.count();
        if count > GUESTS_MAX {
            return Ok(Answer::Refused { reason: format!("it holds rows for {count} blocks of other nodes already") });
        }
        let bytes = held_bytes(&op, question_bytes);
        if let Err(error) = self.share.grow(options.memory_hard_bytes, bytes) {
            metrics::counter!("redkite_forwarded_in_refused_total").increment(1);
            return Ok(Answer::Refused { reason: error.to_string() });
        }
        if self.taken == 0 {
            metrics::counter!("redkite_forwarded_in_blocks_total").increment(1);
        }
        metrics::counter!("redkite_forwarded_in_rows_total").increment(op.rows());
        held.ops.push(op);
        held.bytes += bytes;
        self.taken += 1;
        Ok(Answer::Taken { full: self.share.bytes() > options.memory_soft_bytes })
    }

    async fn store(&mut self, collection: CollectionId, segment: &str, fragment: FragmentId) -> Answer {
        let ops = self.held.get(&collection).map(|held| held.ops.clone()).unwrap_or_default();
        match self.stored(ops, segment, fragment).await {
            Ok(files) => {
                self.held.remove(&collection);
                let left: u64 = self.held.values().map(|held| held.bytes).sum();
                self.share.set(left);
                Answer::Stored { files }
            }
            Err(error) => {
                tracing::warn!(segment, %fragment, %error, "rows held for another node could not be stored");
                Answer::NotStored { reason: error.to_string() }
            }
        }
    }

    /// Replays the operations and stores what is left of them. Under an id of the other node's, which sees to it that the files
    /// are not taken for abandoned.
    async fn stored(
        &self,
        ops: Vec<BlockOp>,
        segment: &str,
        fragment: FragmentId,
    ) -> crate::Result<Vec<(String, redkite_table::entry::FileEntry)>> {
        let database = self.guests.ingest.database();
        let origin = origin(database);
        let rows = ops.iter().map(BlockOp::rows).sum();
        let encoded = cpu::run(rows, move || {
            let Some(staged) = stage(&ops)?.pop().filter(|staged| staged.rows() > 0) else { return Ok(None) };
            Ok::<_, Error>(Some(encode(&staged.record.schema, &staged.batches, fragment, &origin)?))
        });
        let Some(encoded) = encoded.await?? else { return Ok(Vec::new()) };
        let mut files = Vec::new();
        let mut entries = Vec::new();
        for file in encoded.files {
            files.push((database.object_path(segment, &file.path), file.bytes));
            entries.push((file.path, file.entry));
        }
        database.put_files(files).await?;
        Ok(entries)
    }
}

/// The operation that a question is about.
fn operation(record: Arc<CollectionRecord>, removes: Removes, rows: Option<RecordBatch>) -> Result<BlockOp, String> {
    if let Some(batch) = &rows
        && *batch.schema() != *record.schema.arrow()
    {
        return Err("rows have other columns than their collection".to_owned());
    }
    let kind = match (removes, rows) {
        (Removes::Nothing, Some(batch)) => OpKind::Insert(batch),
        (Removes::OwnKeys, Some(batch)) => OpKind::Upsert(batch),
        (Removes::Keys(keys), Some(batch)) => OpKind::Replace { keys, batch },
        (Removes::Keys(keys), None) => {
            let predicate = Predicate::from_keys(&record.schema, keys).map_err(|error| error.to_string())?;
            OpKind::Delete { predicate: Arc::new(predicate), text: String::new() }
        }
        (Removes::Nothing | Removes::OwnKeys, None) => return Err("rows are missing".to_owned()),
    };
    Ok(BlockOp { collection: record.id, record, kind })
}

/// Bytes that an operation holds in memory here. Its columns are parts of one buffer, all of which each of them counts as its
/// own; together they hold no more than came.
fn held_bytes(op: &BlockOp, question_bytes: u64) -> u64 {
    let keys = match &op.kind {
        OpKind::Replace { keys, .. } => keys_bytes(keys),
        OpKind::Delete { .. } => return op.bytes(),
        _ => 0,
    };
    op.bytes().min(question_bytes + keys)
}

/// A segment becomes part of a path.
fn check_segment(segment: &str) -> Result<(), String> {
    match segment.is_empty() || segment.starts_with('.') || segment.contains(['/', '\\', '\0']) {
        true => Err(format!("{segment:?} is no segment of a collection")),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_cannot_lead_elsewhere() {
        for segment in ["", ".", "..", ".tomb", "a/b", "/a", "a\\b", "a\0"] {
            assert!(check_segment(segment).is_err(), "{segment:?}");
        }
        for segment in ["films", "films.7", "Größe"] {
            assert!(check_segment(segment).is_ok(), "{segment:?}");
        }
    }
}
