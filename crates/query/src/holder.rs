//! Answers other nodes of the cluster: for exactly the files they name, or not at all.

use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use redkite_expr::Predicate;
use redkite_index::TopK;
use redkite_storage::FileInfo;
use redkite_table::{Database, File};
use redkite_types::limits;
use tokio::sync::Semaphore;

use crate::frame::{self, Body};
use crate::request::{self, Ask};
use crate::scoring::{Scorer, TIES_LIMIT, Wanted, key_runs};
use crate::source::{Source, forgetting_damage};
use crate::{Error, Result, RowId, answer, cpu, gather, lookup, metrics, search};

/// Most sub-requests that are worked on at once; further ones wait, until whoever asked has got its answer elsewhere.
const RUNNING_MAX: usize = 256;

/// Files of one sub-request that are fetched at the same time.
const CONCURRENT_FETCHES: usize = 8;

/// Answers sub-requests from one node's files and caches.
#[derive(Debug)]
pub struct Holder {
    database: Arc<Database>,
    running: Semaphore,
}

impl Holder {
    /// Answers from `database`.
    pub fn new(database: Arc<Database>) -> Self {
        Self { database, running: Semaphore::new(RUNNING_MAX) }
    }

    /// Answers one sub-request. Can be dropped at any time.
    pub async fn answer(&self, request: Bytes) -> Result<Bytes> {
        metrics::served();
        // Never closed.
        let _running = self.running.acquire().await.map_err(|error| Error::Internal { detail: error.to_string() })?;
        let to = frame::id(&request);
        let decoded = cpu::run(request.len() as u64, move || request::decode(&request)).await?;
        forgetting_damage(&self.database, self.answer_once(to, decoded)).await
    }

    async fn answer_once(&self, to: u32, (source, ask, mut body): (Source, Ask, Body)) -> Result<Bytes> {
        let (database, all) = (self.database.as_ref(), source.all());
        let key = source.type_of(source.key)?;
        match ask {
            Ask::Score { filter, vector, metric, window, best, ties } => {
                let filter = predicate(&filter, &source)?;
                let scorer = Scorer::new(&source.record, filter, vector, (metric, window.into()), &body.rest())?;
                search::check_size(scorer.queries.len(), best, source.rows())?;
                let (scorer, wanted) = (Arc::new(scorer), Wanted { best, ties: ties.min(TIES_LIMIT) });
                let readers = source.open(database, all, &scorer.fields(source.key)).await?;
                let readers = Arc::new(readers);
                let tops = scorer.score(&readers, wanted).await?;
                let found: usize = tops.iter().map(TopK::len).sum();
                cpu::run(found as u64 * 64, move || {
                    let keyed = |top: TopK| {
                        let top = top.into_sorted();
                        let runs = key_runs(&readers, source.key, &top)?;
                        Ok((top, runs))
                    };
                    let tops = tops.into_iter().map(keyed).collect::<Result<Vec<_>>>()?;
                    answer::scored(to, &tops, &key)
                })
                .await
            }
            Ask::Select { filter, wanted } => {
                let filter = predicate(&filter, &source)?;
                let runs = lookup::selected(database, &source, &all, &filter).await?;
                let bytes = lookup::candidate_bytes(&runs);
                cpu::run(bytes, move || {
                    answer::selected(to, &lookup::smallest(runs, wanted.unwrap_or(usize::MAX))?, &key)
                })
                .await
            }
            Ask::Count { filter } => {
                let filter = predicate(&filter, &source)?;
                answer::counted(to, lookup::number(database, &source, &all, &filter).await?)
            }
            Ask::Gather { fields, rows, bytes_max } => {
                let ids: Vec<RowId> = body.numbers(rows, u64::from_le_bytes)?.into_iter().map(RowId).collect();
                let known = |id: &RowId| source.fragment(id.fragment()).is_ok_and(|f| u64::from(id.row()) < f.rows());
                if !ids.iter().all(known) {
                    return Err(Error::SubRequest { detail: "it asks for rows that are not there".into() });
                }
                let bytes_max = bytes_max.min(limits::QUERY_OUTPUT_BYTES_MAX as u64);
                let gathered = gather::gather_here(database, &source, ids, &fields, bytes_max).await?;
                let bytes = gathered.columns.iter().map(|(_, column)| column.get_buffer_memory_size() as u64).sum();
                cpu::run(bytes, move || answer::gathered(to, &gathered)).await
            }
            Ask::Hold {} => {
                hold(database, &source).await?;
                answer::held(to)
            }
        }
    }
}

/// Fetches all files of a sub-request; fails if what is new does not fit into this node's cache, beside what stays there.
async fn hold(database: &Database, source: &Source) -> Result<()> {
    let segment = &source.collection.segment;
    let located = |file: &Arc<File>| {
        let info = FileInfo { size: file.entry.size, crc32: Some(file.entry.crc32) };
        (database.object_path(segment, &file.path), info)
    };
    // Of a fragment that is there already and only deleted from, the anchor alone came.
    let (new, old): (Vec<_>, Vec<_>) = source.fragments.iter().partition(|fragment| fragment.files.len() > 1);
    let logs = source.collection.delete_logs.values();
    let new: Vec<_> = new.iter().flat_map(|fragment| fragment.files.iter()).chain(logs).map(located).collect();
    let old = old.iter().flat_map(|fragment| fragment.files.iter()).map(located);
    let no_room = |path: &str| Error::SubRequest { detail: format!("{path} does not fit into this node's cache") };
    let fetch = |(path, info): (String, FileInfo)| async move {
        match database.data.fetch(&path, &info).await.map_err(redkite_table::Error::from)? {
            true => Ok(()),
            false => Err(no_room(&path)),
        }
    };
    let files: Vec<_> = old.chain(new.iter().cloned()).collect();
    stream::iter(files.into_iter().map(fetch)).buffer_unordered(CONCURRENT_FETCHES).try_collect::<()>().await?;
    // One may have had to make room for the next.
    match new.iter().find(|(path, info)| !database.data.is_fetched(path, info)) {
        Some((path, _)) => Err(no_room(path)),
        None => Ok(()),
    }
}

fn predicate(filter: &redkite_expr::Portable, source: &Source) -> Result<Arc<Predicate>> {
    let predicate = filter.predicate(&source.record.schema);
    predicate.map(Arc::new).map_err(|error| Error::SubRequest { detail: error.to_string() })
}
