//! Has other nodes fetch what a flush is about to publish (S21).
//!
//! Each fragment goes to those that shall hold it, but for the node that has it already; who fails, or takes too long, is
//! replaced by the next node. All that one node gets of a collection it is told with one sub-request. What too few nodes have in
//! the end fails the flush.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::join_all;
use redkite_table::Collection;
use redkite_table::replication::{Replicas, Short};
use redkite_types::{FieldId, NodeId};
use tokio::time::{Instant, timeout};

use crate::fanout::{AskError, Fanout};
use crate::layout::Peer;
use crate::request::{self, Ask};
use crate::source::Source;
use crate::{Coordinator, Result, answer};

/// How long a node is waited for, ...
const PATIENCE: Duration = Duration::from_secs(5);
/// ... and for every so many bytes a second longer: what a slow network still carries.
const BYTES_PER_SECOND: u64 = 16 << 20;
/// Most reasons that an error lists.
const REASONS_MAX: usize = 5;

/// A fragment, who may hold it, and who does.
struct Wanted {
    collection: usize,
    place: usize,
    candidates: std::vec::IntoIter<Peer>,
    held: usize,
}

#[async_trait]
impl Replicas for Coordinator {
    async fn hold(&self, level: usize, collections: Vec<Arc<Collection>>) -> std::result::Result<(), Short> {
        let Some(fanout) = self.fanout() else {
            return Err(Short { had: 0, reasons: "this process is not a node of a cluster".to_owned() });
        };
        let short = |had, reasons: &[String]| {
            let mut reasons = reasons.to_vec();
            reasons.sort();
            reasons.dedup();
            reasons.truncate(REASONS_MAX);
            let reasons = if reasons.is_empty() { "there are no other nodes".to_owned() } else { reasons.join("; ") };
            Short { had, reasons }
        };
        let sources: Result<Vec<Source>> = collections.iter().map(everything).collect();
        let sources = sources.map_err(|error| short(0, &[error.to_string()]))?;
        let mut wanted = Vec::new();
        for (collection, source) in sources.iter().enumerate() {
            for (place, fragment) in source.fragments.iter().enumerate() {
                let candidates = fanout.candidates(fragment).into_iter();
                wanted.push(Wanted { collection, place, candidates, held: 0 });
            }
        }
        let mut reasons = Vec::new();
        loop {
            // By node and collection: the fragments it is to fetch.
            let mut asked: BTreeMap<(NodeId, usize), (Peer, Vec<usize>)> = BTreeMap::new();
            for (at, wanted) in wanted.iter_mut().enumerate() {
                for peer in wanted.candidates.by_ref().take(level.saturating_sub(wanted.held)) {
                    asked.entry((peer.node, wanted.collection)).or_insert_with(|| (peer, Vec::new())).1.push(at);
                }
            }
            if asked.is_empty() {
                break;
            }
            let asking = asked.into_iter().map(|((_, collection), (peer, which))| {
                let source = &sources[collection];
                let places: Vec<usize> = which.iter().map(|at| wanted[*at].place).collect();
                async move { (peer, which, fanout.hold(peer, source, &places).await) }
            });
            let answers = join_all(asking).await;
            for (peer, which, answer) in answers {
                match answer {
                    Ok(()) => which.into_iter().for_each(|at| wanted[at].held += 1),
                    Err(AskError::Refused(reason) | AskError::Unable(reason) | AskError::Failed(reason)) => {
                        reasons.push(format!("node {}: {reason}", peer.node));
                    }
                }
            }
        }
        match wanted.iter().map(|wanted| wanted.held).min() {
            Some(had) if had < level => Err(short(had, &reasons)),
            _ => Ok(()),
        }
    }
}

/// All that there is of a collection, without rows or not.
fn everything(collection: &Arc<Collection>) -> Result<Source> {
    let source = Source::new(collection, &redkite_expr::Predicate::always_true())?;
    Ok(Source { fragments: collection.fragments.values().cloned().collect(), ..source })
}

impl Fanout {
    /// Has a node fetch the files of fragments.
    async fn hold(&self, peer: Peer, source: &Source, places: &[usize]) -> std::result::Result<(), AskError> {
        let fields: Vec<FieldId> = source.record.schema.fields.iter().map(|field| field.id).collect();
        let request = request::encode(source, places, &fields, Ask::Hold {}, &[]);
        let request = request.map_err(|error| AskError::Failed(error.to_string()))?;
        let bytes: u64 = places.iter().filter_map(|place| source.fragments.get(*place)).map(|one| one.bytes()).sum();
        let patience = PATIENCE + Duration::from_secs(bytes / BYTES_PER_SECOND);
        let answer = match timeout(patience, self.ask_bare(peer, request.clone())).await {
            Ok(answer) => answer,
            Err(_) => Err(AskError::Failed(format!("no answer within {} s", patience.as_secs()))),
        };
        if let Err(AskError::Failed(_)) = &answer {
            // The next flush asks others first.
            self.failed(peer, Instant::now());
        }
        let answer = answer?;
        answer::says_held(&request, &answer).map_err(|error| AskError::Failed(error.to_string()))
    }
}
