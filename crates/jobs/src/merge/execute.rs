//! Reads the live rows of a merge's inputs and writes the new fragment's files.

use std::sync::Arc;

use arrow_array::{ArrayRef, BooleanArray};
use arrow_buffer::{BooleanBuffer, Buffer};
use arrow_select::filter::filter;
use redkite_storage::BATCH_ROWS;
use redkite_table::entry::FileEntry;
use redkite_table::fragment::{FragmentLayout, FragmentReader, Origin};
use redkite_table::{Collection, Database, File, Fragment};
use redkite_types::{ErrorKind, FieldId, FragmentId, Revision};

use super::MergePlan;
use super::row_map::Taken;
use super::written::Written;
use crate::failpoint::step;
use crate::pool::Pool;
use crate::{Error, Result};

/// A merge whose files are written and that is not published.
#[derive(Debug)]
pub(super) struct Merged {
    /// What it replaces, as it was read.
    pub(super) inputs: Vec<Arc<Fragment>>,
    /// Where the rows of each input went.
    pub(super) taken: Vec<Taken>,
    /// The new fragment.
    pub(super) id: FragmentId,
    /// When its id was made.
    pub(super) made: Revision,
    /// Entries of the new fragment's files, by path; none if no row was left.
    pub(super) entries: Vec<(String, FileEntry)>,
    /// Rows of the new fragment.
    pub(super) rows: u64,
    /// Bytes written.
    pub(super) bytes: u64,
}

/// Batches of inputs that are worked off without handing the work back: those of small fragments cost less than that.
const BATCHES_AT_ONCE: usize = 32;

/// Which rows of an input are taken over: a bit a row; none if all are.
type Live = Option<Arc<[u64]>>;

/// Writes the files of the fragment that takes the place of the plan's inputs.
pub(super) async fn execute(
    database: &Arc<Database>,
    collection: &Arc<Collection>,
    mut plan: MergePlan,
    made: Revision,
    pool: &Pool,
    written: &mut Written,
) -> Result<Merged> {
    let id = new_id(database, &mut plan, made)?;
    let record = collection.record()?.clone();
    let fields: Vec<FieldId> = record.schema.fields.iter().map(|field| field.id).collect();
    let mut readers = Vec::with_capacity(plan.inputs.len());
    let mut taken = Vec::with_capacity(plan.inputs.len());
    let mut rows = 0;
    for input in &plan.inputs {
        let opened = database.readers.open(collection, input, fields.iter().copied()).await;
        let reader = Arc::new(opened.map_err(|error| unreadable(input.id, error))?);
        let left_out = reader.deleted_rows();
        let live = u64::from(reader.rows()) - left_out.len();
        let bits: Live =
            (!left_out.is_empty()).then(|| reader.live().into_words(reader.rows()).unwrap_or_default().into());
        readers.push((reader, bits));
        taken.push(Taken { left_out, base: rows });
        rows += live;
    }
    let mut merged = Merged { inputs: plan.inputs, taken, id, made, entries: Vec::new(), rows, bytes: 0 };
    if rows == 0 {
        return Ok(merged);
    }
    let readers = Arc::new(readers);
    let ids: Arc<[FragmentId]> = merged.inputs.iter().map(|input| input.id).collect();
    let origin = Origin { node: database.options.node, cluster: database.options.cluster.clone() };
    let layout = FragmentLayout::new(&record.schema, id)?;
    for field in &record.schema.fields {
        let path = layout.path(field);
        let object = database.object_path(&collection.segment, &path);
        written.add(object.clone());
        let mut file = database.data.create(&object).await?;
        step("merge-before-file")?;
        let mut encoder = layout.encoder(field)?;
        let mut next = Some((0, 0));
        while let Some(from) = next {
            let (readers, field, id_of) = (readers.clone(), field.id, ids.clone());
            let unwritten;
            (encoder, file, next, unwritten) = pool
                .run(move || {
                    let (mut next, mut unwritten) = (Some(from), None);
                    for _ in 0..BATCHES_AT_ONCE {
                        let Some((input, batch)) = next else { break };
                        let (reader, live) = &readers[input];
                        if batch < reader.batch_count() {
                            let column = live_column(reader, live, field, batch).map_err(|error| match error {
                                Error::Table(error) => unreadable(id_of[input], error),
                                error => error,
                            })?;
                            next = Some((input, batch + 1));
                            let Some(column) = column else { continue };
                            if file.writes_here() {
                                // And so at this thread's priority.
                                encoder.push_into(&column, &mut |bytes| file.write_here(bytes))?;
                            } else {
                                encoder.push(&column)?;
                                unwritten = Some(encoder.take_encoded()).filter(|bytes| !bytes.is_empty());
                            }
                            if unwritten.is_some() {
                                break;
                            }
                        } else {
                            next = Some((input + 1, 0)).filter(|(input, _)| *input < readers.len());
                        }
                    }
                    Ok::<_, Error>((encoder, file, next, unwritten))
                })
                .await??;
            if let Some(bytes) = unwritten {
                file.write(bytes).await?;
            }
        }
        let (layout, origin, definition) = (layout.clone(), origin.clone(), field.clone());
        let (entry, unwritten);
        (file, entry, unwritten) = pool
            .run(move || {
                let (entry, rest) = encoder.finish(&layout, &definition, &origin)?;
                if file.writes_here() {
                    file.write_here(&rest)?;
                    return Ok::<_, Error>((file, entry, None));
                }
                Ok((file, entry, Some(rest)))
            })
            .await??;
        if let Some(bytes) = unwritten {
            file.write(bytes).await?;
        }
        file.finish().await?;
        if entry.rows != rows {
            return Err(Error::Internal { detail: format!("a merge wrote {} of {rows} rows of {path}", entry.rows) });
        }
        merged.bytes += entry.size;
        merged.entries.push((path, entry));
    }
    Ok(merged)
}

/// Reads the vectors of the new fragment back, on a local store. So what was written is checked before it takes the place of
/// what there is, and the first search does not have to do it while somebody waits.
pub(super) async fn warm(
    database: &Database,
    collection: &Arc<Collection>,
    merged: &Merged,
    pool: &Pool,
) -> Result<()> {
    if merged.entries.is_empty() || !database.data.is_local() {
        return Ok(());
    }
    let file = |(path, entry): &(String, FileEntry)| File {
        path: path.as_str().into(),
        entry: entry.clone(),
        created: Revision::ZERO,
        modified: Revision::ZERO,
    };
    let fragment = Arc::new(Fragment::new(merged.id, merged.entries.iter().map(file).collect()));
    let fields: Vec<FieldId> = collection.record()?.schema.vector_fields().map(|field| field.id).collect();
    let reader = database.readers.open_uncommitted(collection, &fragment, fields.iter().copied()).await?;
    let reader = Arc::new(reader);
    for field in fields {
        for batch in 0..reader.batch_count() {
            let reader = reader.clone();
            pool.run(move || reader.column_once(field, batch).map(drop)).await??;
        }
    }
    Ok(())
}

/// What is wrong with reading an input: with the store, or with the input for good.
fn unreadable(fragment: FragmentId, error: redkite_table::Error) -> Error {
    let missing = matches!(error, redkite_table::Error::Storage(redkite_storage::Error::Missing { .. }));
    match missing || error.kind() == ErrorKind::Corrupt {
        true => Error::Input { fragment, source: Box::new(error) },
        false => error.into(),
    }
}

/// An id between the last input and the fragment behind it. Where there is no room the last input is left for later.
fn new_id(database: &Database, plan: &mut MergePlan, made: Revision) -> Result<FragmentId> {
    while let Some(last) = plan.inputs.last() {
        if let Some(id) = last.id.merged(plan.next.as_ref(), made, database.ambient.random()) {
            return Ok(id);
        }
        plan.next = Some(last.id);
        plan.inputs.pop();
    }
    Err(Error::NoRoom)
}

/// The live rows of one batch of a column; none if there are none.
fn live_column(reader: &FragmentReader, live: &Live, field: FieldId, batch: usize) -> Result<Option<ArrayRef>> {
    let Some(live) = live else {
        return Ok(Some(reader.column_once(field, batch)?));
    };
    let rows = reader.batch_rows(batch);
    let words = &live[rows.start as usize / 64..(rows.end as usize).div_ceil(64)];
    if words.iter().all(|word| *word == 0) {
        return Ok(None);
    }
    // Batches start at a multiple of 64 rows.
    debug_assert_eq!(BATCH_ROWS % 64, 0);
    let bits = BooleanBuffer::new(Buffer::from_vec(words.to_vec()), 0, rows.len());
    let column = reader.column_once(field, batch)?;
    let kept = filter(&column, &BooleanArray::new(bits, None))
        .map_err(|error| Error::Internal { detail: format!("filtering a batch failed: {error}") })?;
    Ok(Some(kept))
}
