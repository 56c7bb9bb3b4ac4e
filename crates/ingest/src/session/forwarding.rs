//! How a block's rows go to another node, and come back as stored fragments.
//!
//! Of each collection the block holds either rows of its own or a run at the other node, behind whatever is uploaded. So where
//! a run begins, rows of the collection that are here are uploaded first; where it cannot go on, it is stored first.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use redkite_expr::Predicate;
use redkite_table::Visibility;
use redkite_table::fragment::Origin;
use redkite_types::{CollectionId, FragmentId, Keys, NodeId};

use super::{Turn, in_background};
use crate::block::{BlockOp, ForwardedOp, OpKind, UploadedFragment};
use crate::flush::{Failure, dropped_name};
use crate::forward::{Answer, Forwarding, QUESTION_BYTES_MAX, Question, Removes, Run, checked, encode_question};
use crate::stage::batch_keys;
use crate::{Error, Result, cpu};

impl Turn {
    /// Whether the next write may have to do with another node.
    pub(super) fn may_forward(&self) -> bool {
        let outlets = || self.ingest.outlets().is_some_and(|outlets| outlets.are_needed());
        self.state.block.is_forwarded() || self.state.forwarding.is_some() || outlets()
    }

    /// What is to stand in the block for `op`, for which there is room then: the operation itself, or that another node holds
    /// its rows. `policy`: how long it may wait for an automatic flush.
    pub(super) async fn place(&mut self, op: BlockOp, policy: Option<Duration>) -> Result<BlockOp> {
        if self.may_forward()
            && let Some(forwarded) = self.forward(&op, policy).await?
        {
            return Ok(forwarded);
        }
        self.make_room(&op).await?;
        Ok(op)
    }

    /// Has another node hold what `op` adds; none if that stays here.
    async fn forward(&mut self, op: &BlockOp, policy: Option<Duration>) -> Result<Option<BlockOp>> {
        // A fresh line would know nothing of what the last one held.
        self.check_line().map_err(|lost| self.failed(lost))?;
        if self.state.policy.is_immediate_with(policy) && !self.state.block.is_empty() {
            // Should it fail it is taken back, and what was there before stays: they must not share a fragment.
            let stored = self.store_all().await;
            return stored.map(|()| None).map_err(|failure| self.failed(failure));
        }
        let id = op.collection;
        match self.run_of(id) {
            // All of them: the others may be what fills the other node, and then this one would be full with each operation.
            Some(run) if run.full => self.store_all().await.map_err(|failure| self.failed(failure))?,
            Some(run) if !run.goes_on_with(op) => self.end_run(id).await?,
            _ => {}
        }
        if self.run_of(id).is_none() && !self.begin_run(op).await {
            return Ok(None);
        }
        let Some((node, number)) = self.state.forwarding.as_ref().map(|line| (line.node, line.next())) else {
            return Ok(None);
        };
        let asked = op.clone();
        let (question, forwarded) = cpu::run(op.rows(), move || question(&asked, node, number)).await??;
        if question.len() > QUESTION_BYTES_MAX {
            self.end_run(id).await?;
            return Ok(None);
        }
        self.make_room(&forwarded).await?;
        match self.ask(question).await {
            Ok(Answer::Taken { full }) => {
                self.taken(id, &forwarded, full);
                Ok(Some(forwarded))
            }
            Ok(Answer::Refused { reason }) => {
                self.turned_away(node, "refused", &reason);
                self.end_run(id).await?;
                Ok(None)
            }
            Ok(_) => self.line_broke(node, "it answers something else".to_owned()),
            Err(reason) => self.line_broke(node, reason),
        }
    }

    /// Begins a run with `op`; false if it should stay here.
    async fn begin_run(&mut self, op: &BlockOp) -> bool {
        let Some(outlets) = self.ingest.outlets().filter(|outlets| op.rows() > 0 && outlets.are_needed()).cloned()
        else {
            return false;
        };
        if self.state.forwarding.is_none() {
            let Some((node, line)) = outlets.line().await else { return false };
            self.state.forwarding = Some(Forwarding::new(node, line));
        }
        let has_rows = |known: &BlockOp| {
            let in_memory = matches!(known.kind, OpKind::Insert(_) | OpKind::Upsert(_) | OpKind::Replace { .. });
            known.collection == op.collection && in_memory
        };
        if self.state.block.ops().iter().any(has_rows) {
            let database = self.ingest.database().clone();
            let uploaded = self.upload_early_of(&database, op.collection).await;
            self.changed();
            if !uploaded {
                return false;
            }
        }
        if let Some(forwarding) = &mut self.state.forwarding {
            forwarding.runs.insert(op.collection, Run::of(&op.record.schema));
        }
        true
    }

    fn run_of(&self, id: CollectionId) -> Option<&Run> {
        self.state.forwarding.as_ref()?.runs.get(&id)
    }

    fn taken(&mut self, id: CollectionId, op: &BlockOp, full: bool) {
        let Some(forwarding) = &mut self.state.forwarding else { return };
        if forwarding.taken() == 0 {
            metrics::counter!("redkite_forwarded_out_blocks_total").increment(1);
        }
        metrics::counter!("redkite_forwarded_out_rows_total").increment(op.rows());
        forwarding.took();
        if let Some(run) = forwarding.runs.get_mut(&id) {
            run.ops += 1;
            run.rows += op.rows();
            run.removes |= op.removes();
            run.full = full;
        }
    }

    /// A node has not taken what it was to take.
    fn turned_away(&self, node: NodeId, why: &'static str, reason: &str) {
        metrics::counter!("redkite_forward_refusals_total", "why" => why).increment(1);
        tracing::warn!(%node, reason, "a node has not taken rows that were to be forwarded to it; they stay here");
        if let Some(outlets) = self.ingest.outlets() {
            outlets.avoid(node);
        }
    }

    /// The line is gone: nothing was lost if nothing was held.
    fn line_broke(&mut self, node: NodeId, reason: String) -> Result<Option<BlockOp>> {
        self.state.forwarding = None;
        if self.state.block.is_forwarded() {
            let lost = self.lost(reason);
            return Err(self.failed(lost));
        }
        self.turned_away(node, "gone", &reason);
        Ok(None)
    }

    /// The other node is gone with what it held of the block.
    fn lost(&self, reason: String) -> Failure {
        let block = &self.state.block;
        let held = |op: &BlockOp| match &op.kind {
            OpKind::Forwarded(ForwardedOp { node, .. }) => Some(*node),
            _ => None,
        };
        let Some(node) = block.ops().iter().find_map(held) else {
            return Failure::Keep(Error::Internal { detail: format!("a line without rows broke: {reason}") });
        };
        metrics::counter!("redkite_forward_losses_total").increment(1);
        if let Some(outlets) = self.ingest.outlets() {
            outlets.avoid(node);
        }
        let (ops, rows) = (block.acknowledged(), block.rows_by_collection().values().sum());
        Failure::Discard(Error::ForwardedLost { node, reason, ops, rows })
    }

    /// Fails if another node held rows of the block and it is not known any more whether it still does.
    fn check_line(&self) -> std::result::Result<(), Failure> {
        match self.state.forwarding.is_none() && self.state.block.is_forwarded() {
            true => Err(self.lost("the line to it was given up".to_owned())),
            false => Ok(()),
        }
    }

    /// Asks over the line, which is gone after an error, and if the caller gives up: then it is not known what is held there.
    async fn ask(&mut self, question: Bytes) -> std::result::Result<Answer, String> {
        let line = self.state.forwarding.take();
        let mut forwarding = line.ok_or_else(|| "the line to it was given up".to_owned())?;
        let answer = forwarding.ask(question).await?;
        self.state.forwarding = Some(forwarding);
        Ok(answer)
    }

    /// Ends a run: what the other node holds of it is stored.
    async fn end_run(&mut self, id: CollectionId) -> Result<()> {
        self.store(id).await.map_err(|failure| self.failed(failure))
    }

    /// The turn, once no rows of that collection are held elsewhere.
    pub(super) async fn with_rows_stored(mut self, id: CollectionId) -> Result<Self> {
        if !self.state.block.is_forwarded() {
            return Ok(self);
        }
        in_background(async move {
            self.end_run(id).await?;
            Ok(self)
        })
        .await
    }

    /// Has everything stored that another node holds of the block.
    pub(super) async fn store_all(&mut self) -> std::result::Result<(), Failure> {
        self.check_line()?;
        while let Some(id) = self.state.forwarding.as_ref().and_then(|line| line.runs.keys().next().copied()) {
            self.store(id).await?;
        }
        self.state.forwarding = None;
        Ok(())
    }

    /// Has the run of one collection stored, if there is one: from then on it is a fragment that was uploaded early.
    async fn store(&mut self, id: CollectionId) -> std::result::Result<(), Failure> {
        self.check_line()?;
        let Some(forwarding) = &mut self.state.forwarding else { return Ok(()) };
        if forwarding.runs.get(&id).is_none_or(|run| run.ops == 0) {
            forwarding.runs.remove(&id);
            return Ok(());
        }
        let (node, number) = (forwarding.node, forwarding.taken());
        let database = self.ingest.database().clone();
        let catalog = database.snapshot(Visibility::Strong).await?;
        let Some(collection) = catalog.collection_by_id(id)?.cloned() else {
            return Err(Failure::Dropped { collection: id, name: dropped_name(&database, id).await });
        };
        // Before the revision of the id is read, and until the block is published or gone.
        let ids = database.hold_ids();
        let fragment = database.fragment_id(database.newest().revision, self.newest_upload(id));
        let segment = collection.segment.to_string();
        let question = Question::Store { number, collection: id, segment, fragment };
        let question = encode_question(&question, None).map_err(unencodable)?;
        let files = match self.ask(question).await {
            Ok(Answer::Stored { files }) => files,
            Ok(Answer::NotStored { reason }) => return Err(Failure::Keep(Error::NotStored { node, reason })),
            Ok(_) => {
                self.state.forwarding = None;
                return Err(self.lost("it answers something else".to_owned()));
            }
            Err(reason) => return Err(self.lost(reason)),
        };
        let run = self.state.forwarding.as_mut().and_then(|line| line.runs.remove(&id)).unwrap_or_default();
        let by = Origin { node, cluster: database.options.cluster.clone() };
        match checked(run.schema(), fragment, &by, &run, files) {
            Ok(stored) => {
                let uploaded = stored.map(|encoded| UploadedFragment {
                    fragment: Arc::new(encoded.as_fragment()),
                    entries: encoded.files.into_iter().map(|file| (file.path, file.entry)).collect(),
                    ops: run.ops,
                    ids,
                });
                let replacement = stands_for(self.state.block.ops(), id, uploaded)?;
                self.state.block.replace(id, replacement);
                self.changed();
                Ok(())
            }
            Err(reason) => {
                self.state.forwarding = None;
                Err(self.lost(reason))
            }
        }
    }

    /// The newest fragment that was uploaded of a collection.
    fn newest_upload(&self, id: CollectionId) -> Option<FragmentId> {
        let fragment = |op: &BlockOp| match &op.kind {
            OpKind::Uploaded(uploaded) if op.collection == id => Some(uploaded.fragment.id),
            _ => None,
        };
        self.state.block.ops().iter().filter_map(fragment).max()
    }

    /// After operations were taken out of the block: runs of which nothing is left are none any more.
    pub(super) fn forget_runs(&mut self) {
        let state = &mut *self.state;
        if let Some(forwarding) = &mut state.forwarding {
            forwarding.runs.retain(|id, _| state.block.asks_of(*id));
            if state.block.is_empty() {
                state.forwarding = None;
            }
        }
    }
}

/// The question to hold what `op` adds, as operation `number` of the line to `node`, and what stands for it here then.
fn question(op: &BlockOp, node: NodeId, number: u64) -> Result<(Bytes, BlockOp)> {
    let (removes, keys, rows): (Removes, Option<Keys>, _) = match &op.kind {
        OpKind::Insert(batch) => (Removes::Nothing, None, Some(batch)),
        OpKind::Upsert(batch) => (Removes::OwnKeys, Some(batch_keys(&op.record, batch)?), Some(batch)),
        OpKind::Replace { keys, batch } => (Removes::Keys(keys.clone()), Some(keys.clone()), Some(batch)),
        OpKind::Delete { predicate, .. } => {
            let keys = predicate.exact_keys().cloned();
            let by_filter = || Error::Internal { detail: "a delete by filter cannot be forwarded".into() };
            (Removes::Keys(keys.clone().ok_or_else(by_filter)?), keys, None)
        }
        OpKind::Uploaded(_) | OpKind::Forwarded(_) => {
            return Err(Error::Internal { detail: "what is elsewhere already cannot be forwarded".into() });
        }
    };
    let question = Question::Take { number, record: op.record.clone(), removes };
    Ok((encode_question(&question, rows).map_err(unencodable)?, op.forwarded(node, keys)))
}

fn unencodable(error: impl std::fmt::Display) -> Error {
    Error::Internal { detail: format!("what another node is to be asked {error}") }
}

/// The operations of a collection once its run is stored: what was before, what the run removes of that, and the fragment.
fn stands_for(ops: &[BlockOp], id: CollectionId, uploaded: Option<UploadedFragment>) -> Result<Vec<BlockOp>> {
    let mut left = Vec::new();
    let mut last = None;
    for op in ops.iter().filter(|op| op.collection == id) {
        let OpKind::Forwarded(forwarded) = &op.kind else {
            left.push(op.clone());
            continue;
        };
        last = Some(op);
        if let Some(keys) = &forwarded.removes {
            let predicate =
                Predicate::from_keys(&op.record.schema, keys.clone()).map_err(redkite_table::Error::from)?;
            let kind = OpKind::Delete { predicate: Arc::new(predicate), text: String::new() };
            left.push(BlockOp { kind, ..op.clone() });
        }
    }
    if let (Some(last), Some(uploaded)) = (last, uploaded) {
        left.push(BlockOp { kind: OpKind::Uploaded(uploaded), ..last.clone() });
    }
    Ok(left)
}
