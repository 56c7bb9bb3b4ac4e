//! The nearest rows of query vectors: exact, whole, ordered by (score, key).
//!
//! Scoring keeps for each query the best rows and all that tie with the last of them; then keys decide among equal
//! scores, and of several rows with one key the best stays. So the answer depends on the rows alone, not on how they
//! are spread over fragments or which worker met them first.

use std::collections::HashSet;
use std::sync::Arc;

use arrow_array::ArrayRef;
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use redkite_expr::Predicate;
use redkite_index::{TIES_MAX, TopHits, TopK, Window};
use redkite_table::{Collection, Database};
use redkite_types::{FieldId, Metric, limits};

use crate::answer::Asked;
use crate::fanout::{Asking, Done, Holders, Reader, Share, Work};
use crate::keys::{KeyColumn, KeyRef, KeyRun};
use crate::request::{self, Ask};
use crate::scoring::{Readers, Scorer, TIES_LIMIT, Wanted, key_runs};
use crate::source::{Source, forgetting_damage};
use crate::{Error, Result, RowId, Rows, cpu, gather};

/// Least bytes of a hit in an answer: its score and its key.
const HIT_BYTES: u64 = 12;
/// Most candidates all queries of one search together keep for their ties: 64 MB.
const TIES_BUDGET: usize = 1 << 22;

/// What to find.
#[derive(Debug, Clone)]
pub struct SearchRequest {
    /// The collection, as of the request's snapshot.
    pub collection: Arc<Collection>,
    /// The vector field.
    pub vector: FieldId,
    /// How vectors are compared.
    pub metric: Metric,
    /// The query vectors, one after the other, as a column of the field holds them, little-endian.
    pub queries: bytes::Bytes,
    /// Which rows may be found.
    pub filter: Arc<Predicate>,
    /// Most hits of a query, those left out at the beginning not counted.
    pub limit: usize,
    /// Hits of each query to leave out at the beginning.
    pub offset: usize,
    /// Whether rows that tie with the last hit are returned, too, for a page that goes on strictly behind it.
    pub whole_ties: bool,
    /// Scores that count as a hit.
    pub window: Window,
    /// Columns to return.
    pub fields: Vec<FieldId>,
}

/// What was found.
#[derive(Debug, Clone)]
pub struct SearchHits {
    /// Hits of each query, in the order of the queries.
    pub counts: Vec<usize>,
    /// Scores of all hits, best first within a query.
    pub scores: Vec<f32>,
    /// Their primary keys.
    pub keys: ArrayRef,
    /// The columns asked for.
    pub rows: Rows,
}

/// One hit with its key in place.
type KeyedHit<'a> = (f32, KeyRef<'a>, RowId);

/// Finds the nearest rows, without the help of other nodes.
pub async fn search(database: &Database, request: SearchRequest) -> Result<SearchHits> {
    asked(Asking::alone(database), request).await
}

/// Finds the nearest rows.
pub(crate) async fn asked(asking: Asking<'_>, request: SearchRequest) -> Result<SearchHits> {
    forgetting_damage(asking.database, search_once(asking, request)).await
}

async fn search_once(asking: Asking<'_>, request: SearchRequest) -> Result<SearchHits> {
    let source = Source::new(&request.collection, &request.filter)?;
    let how = (request.metric, request.window);
    let scorer = Scorer::new(&source.record, request.filter.clone(), request.vector, how, &request.queries)?;
    let (scorer, queries) = (Arc::new(scorer), request.queries.clone());
    let rows = source.rows();
    let best = request.limit.saturating_add(request.offset);
    check_size(scorer.queries.len(), best, rows)?;
    let ties_limit = (TIES_BUDGET / scorer.queries.len().max(1)).min(TIES_LIMIT);
    let page = Page { offset: request.offset, limit: request.limit, whole_ties: request.whole_ties };
    let plan = asking.plan(&source);
    let mut wanted = Wanted { best, ties: TIES_MAX.min(ties_limit) };
    let (answer, shares) = loop {
        let scoring = Scoring { asking, source: &source, scorer: &scorer, queries: &queries, wanted };
        let done = asking.spread(plan.as_ref(), &source, &scoring).await?;
        let (parts, shares): (Vec<Scored>, Vec<Share>) =
            done.into_iter().map(|Done { part, share }| (part, share)).unzip();
        let ordering = Ordering { scorer: scorer.clone(), key: source.key, wanted, rows, ties_limit, page };
        let found: usize = parts.iter().map(Scored::len).sum();
        match cpu::run(found as u64 * 64, move || ordering.order(parts)).await? {
            (answer, None) => break (answer, shares),
            (_, Some(next)) => wanted = next,
        }
    };
    let (scores, ids, counts) = answer;
    let columns = Columns { asking, source: &source, request: &request };
    columns.answer(scores, ids, counts, plan.as_ref().map(|plan| (plan, shares))).await
}

/// Scoring as work that is shared.
struct Scoring<'a> {
    asking: Asking<'a>,
    source: &'a Source,
    scorer: &'a Arc<Scorer>,
    queries: &'a Bytes,
    wanted: Wanted,
}

/// What was found in some fragments.
#[derive(Debug)]
enum Scored {
    /// Here: the fragments are open, and tell the keys of what stays.
    Here { readers: Readers, tops: Vec<TopK> },
    /// On another node: for each query its hits and their keys.
    There(Vec<(TopHits, Vec<KeyRun>)>),
}

impl Scored {
    /// About how many hits it has.
    fn len(&self) -> usize {
        match self {
            Scored::Here { tops, .. } => tops.iter().map(TopK::len).sum(),
            Scored::There(tops) => tops.iter().map(|(top, _)| top.hits.len()).sum(),
        }
    }
}

impl Work for Scoring<'_> {
    type Part = Scored;

    fn cost(&self, places: &[usize]) -> u64 {
        self.scorer.cost(self.source.rows_of(places))
    }

    fn request(&self, places: &[usize]) -> Result<(Bytes, Reader<Scored>)> {
        let ask = Ask::Score {
            filter: request::portable(&self.scorer.filter)?,
            vector: self.scorer.vector,
            metric: self.scorer.metric,
            window: self.scorer.window.into(),
            best: self.wanted.best,
            ties: self.wanted.ties,
        };
        let fields = self.scorer.fields(self.source.key);
        let bytes = request::encode(self.source, places, &fields, ask, self.queries)?;
        let (asked, queries) = (Asked::new(&bytes, self.source, places)?, self.scorer.queries.len());
        let most = self.wanted.best.saturating_add(self.wanted.ties);
        Ok((bytes, Box::new(move |answer| Ok(Scored::There(asked.scored(answer, queries, most)?)))))
    }

    fn here<'w>(&'w self, places: &'w [usize]) -> BoxFuture<'w, Result<Scored>> {
        let scoring = async {
            let fields = self.scorer.fields(self.source.key);
            let readers = self.source.open(self.asking.database, places.iter().copied(), &fields).await?;
            let readers = Arc::new(readers);
            let tops = self.scorer.score(&readers, self.wanted).await?;
            Ok(Scored::Here { readers, tops })
        };
        scoring.boxed()
    }
}

/// Which of the ordered hits are asked for.
#[derive(Debug, Clone, Copy)]
struct Page {
    offset: usize,
    limit: usize,
    whole_ties: bool,
}

/// Scores, rows, and hits of each query.
type Found = (Vec<f32>, Vec<RowId>, Vec<usize>);

/// How parts are put together and ordered.
struct Ordering {
    scorer: Arc<Scorer>,
    key: FieldId,
    wanted: Wanted,
    rows: u64,
    ties_limit: usize,
    page: Page,
}

impl Ordering {
    /// What is asked for, unless more has to be kept to tell: then how much.
    fn order(&self, parts: Vec<Scored>) -> Result<(Found, Option<Wanted>)> {
        let (wanted, metric, Page { offset, limit, whole_ties }) = (self.wanted, self.scorer.metric, self.page);
        let (tops, mut keys) = self.merged(parts);
        let mut next = None;
        let mut answer = Found::default();
        for (query, top) in tops.into_iter().enumerate() {
            let complete = top.hits.len() < wanted.best || wanted.best as u64 >= self.rows;
            let more_ties = top.ties_overflowed && wanted.ties < self.ties_limit;
            let mut runs = Vec::new();
            for keys in &mut keys {
                runs.append(&mut keys.of(query, self.key, &top)?);
            }
            runs.sort_unstable_by_key(|run| run.place);
            let hits = order(&runs, &top, metric)?;
            if more_ties || (hits.len() < wanted.best && !complete) {
                next = Some(wanted.more(more_ties, self.ties_limit));
            }
            let end = match hits.get(offset.saturating_add(limit).saturating_sub(1)) {
                Some((last, ..)) if whole_ties => hits.partition_point(|(score, ..)| !worse(metric, *score, *last)),
                _ => hits.len().min(offset.saturating_add(limit)),
            };
            let kept = &hits[offset.min(end)..end];
            answer.0.extend(kept.iter().map(|(score, ..)| *score));
            answer.1.extend(kept.iter().map(|(_, _, id)| *id));
            answer.2.push(kept.len());
        }
        Ok((answer, next))
    }

    /// The best of all parts for each query, and who knows their keys.
    fn merged(&self, parts: Vec<Scored>) -> (Vec<TopHits>, Vec<Keys>) {
        let mut merged: Option<Vec<TopK>> = None;
        let mut keys = Vec::with_capacity(parts.len());
        for part in parts {
            match part {
                Scored::Here { readers, tops } => {
                    keys.push(Keys::Here(readers));
                    match &mut merged {
                        None => merged = Some(tops),
                        Some(merged) => merged.iter_mut().zip(tops).for_each(|(into, from)| into.merge(from)),
                    }
                }
                Scored::There(tops) => {
                    let merged = merged.get_or_insert_with(|| self.scorer.collectors(self.wanted));
                    let (tops, runs): (Vec<_>, Vec<_>) = tops.into_iter().unzip();
                    for (into, from) in merged.iter_mut().zip(tops) {
                        into.absorb(&from.hits, from.ties_overflowed);
                    }
                    keys.push(Keys::There(runs));
                }
            }
        }
        let merged = merged.unwrap_or_else(|| self.scorer.collectors(self.wanted));
        (merged.into_iter().map(TopK::into_sorted).collect(), keys)
    }
}

/// Where the keys of hits are.
enum Keys {
    Here(Readers),
    /// By query.
    There(Vec<Vec<KeyRun>>),
}

impl Keys {
    /// Those of a query's hits; asked for once.
    fn of(&mut self, query: usize, key: FieldId, top: &TopHits) -> Result<Vec<KeyRun>> {
        match self {
            Keys::Here(readers) => key_runs(readers, key, top),
            Keys::There(runs) => Ok(runs.get_mut(query).map(std::mem::take).unwrap_or_default()),
        }
    }
}

/// Refuses a search whose hits alone could be a larger answer than allowed, before they are collected.
pub(crate) fn check_size(queries: usize, best: usize, rows: u64) -> Result<()> {
    let hits = (queries as u64).saturating_mul((best as u64).min(rows));
    let bytes = hits.saturating_mul(HIT_BYTES);
    let limit = limits::QUERY_OUTPUT_BYTES_MAX as u64;
    if bytes > limit { Err(Error::TooLarge { bytes, limit }) } else { Ok(()) }
}

/// Whether a score is a worse one than another.
fn worse(metric: Metric, score: f32, than: f32) -> bool {
    if metric.larger_is_better() { score < than } else { score > than }
}

/// The hits by (score, key), one a key; the runs ascend.
fn order<'r>(runs: &'r [KeyRun], top: &TopHits, metric: Metric) -> Result<Vec<KeyedHit<'r>>> {
    let keys = runs.iter().map(|run| KeyColumn::new(&run.keys)).collect::<Result<Vec<_>>>()?;
    let mut hits: Vec<KeyedHit<'r>> = Vec::with_capacity(top.hits.len());
    for hit in &top.hits {
        let id = RowId(hit.row);
        let place = runs.binary_search_by_key(&id.fragment(), |run| run.place);
        let at = place.ok().and_then(|slot| Some((slot, runs[slot].rows.binary_search(&id.row()).ok()?)));
        let (slot, at) = at.ok_or_else(|| Error::Internal { detail: "a hit without a key".into() })?;
        hits.push((hit.score, keys[slot].key(at), id));
    }
    let better = |a: f32, b: f32| if metric.larger_is_better() { b.total_cmp(&a) } else { a.total_cmp(&b) };
    // Among rows with one key and one score the newest stands for them.
    hits.sort_unstable_by(|a, b| better(a.0, b.0).then(a.1.cmp(&b.1)).then(b.2.cmp(&a.2)));
    let mut seen = HashSet::with_capacity(hits.len());
    hits.retain(|(_, key, _)| seen.insert(*key));
    Ok(hits)
}

/// The columns of the answer.
struct Columns<'a> {
    asking: Asking<'a>,
    source: &'a Source,
    request: &'a SearchRequest,
}

impl Columns<'_> {
    /// Fetches the keys and columns of the hits, each from who found it.
    async fn answer(
        &self,
        scores: Vec<f32>,
        ids: Vec<RowId>,
        counts: Vec<usize>,
        shared: Option<(&Holders, Vec<Share>)>,
    ) -> Result<SearchHits> {
        let mut fields = self.request.fields.clone();
        let own_key = fields.iter().position(|field| *field == self.source.key);
        if own_key.is_none() {
            fields.push(self.source.key);
        }
        let mut rows = gather::gather(self.asking, shared, self.source, ids, &fields).await?;
        let at = own_key.unwrap_or(fields.len() - 1);
        let keys = rows.columns[at].1.clone();
        if own_key.is_none() {
            rows.columns.pop();
        }
        Ok(SearchHits { counts, scores, keys, rows })
    }
}
