//! Forwarding: a node that is short of memory has another one hold the rows of its clients' blocks until they are flushed (S27).
//!
//! The node the client is connected to keeps the session, the order of the block, and the one commit. Rows go to one other
//! node, over a [`Line`] of the block's own, whole operations at a time, each acknowledged; in the block a
//! [`Forwarded`](crate::block::OpKind::Forwarded) operation stands for each. At the flush, or where the block cannot go on so,
//! the other node replays what it holds of a collection (a *run*) as a flush does, and stores it as a fragment under an id
//! that it is told. From then on the run is to the block what rows are that were uploaded early: later operations reach them
//! with a delete log, the commit names them, and nobody needs the other node any more.
//!
//! Nothing here can tear a block. Its operations on one collection are fragments, in their order, and behind them either rows
//! of its own or one run. The ids are made, and kept above the floor under ids, by the node that commits; what was stored and
//! never committed is collected like any other upload. If the line breaks, both ends drop what they have of the block, and the
//! client is told (S10, S12).
//!
//! - [`message`]: what the two nodes say to each other. [`stored`]: checks what the other one has stored. Pure.
//! - [`guest`]: the end that holds rows for another node.

mod guest;
mod message;
mod stored;

use std::collections::HashMap;
use std::fmt::Debug;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use redkite_types::{CollectionId, NodeId, Schema};

use crate::block::{BlockOp, OpKind};
pub use guest::{Guest, Guests};
pub use message::QUESTION_BYTES_MAX;
pub(crate) use message::{Answer, Question, Removes, decode_answer, encode_question};
pub(crate) use stored::checked;

/// Longest wait for an answer: as long as storing the largest run on a slow store may take. Of a node that is gone the
/// network tells much sooner.
const ANSWERED_WITHIN: Duration = Duration::from_secs(600);

/// The other nodes, to whom rows can be passed on.
#[async_trait]
pub trait Outlets: Debug + Send + Sync {
    /// Whether this node is so short of memory that rows should go elsewhere. Cheap: it is asked with every write.
    fn are_needed(&self) -> bool;

    /// A fresh line to the node that should take rows now, and its number; none if they should stay here.
    async fn line(&self) -> Option<(NodeId, Box<dyn Line>)>;

    /// That node has not taken what it was to take, or is gone: others come first for a while.
    fn avoid(&self, node: NodeId);
}

/// A line to another node, which holds rows for this one until the line is dropped.
#[async_trait]
pub trait Line: Debug + Send + Sync {
    /// The answer to a question; what went wrong otherwise, and then nothing is held there any more.
    async fn ask(&mut self, question: Bytes) -> Result<Bytes, String>;
}

/// What another node holds of one block.
#[derive(Debug)]
pub(crate) struct Forwarding {
    pub(crate) node: NodeId,
    line: Box<dyn Line>,
    /// Operations that it has taken.
    taken: u64,
    pub(crate) runs: HashMap<CollectionId, Run>,
}

/// Operations in a row on one collection whose rows the other node holds.
#[derive(Debug, Default)]
pub(crate) struct Run {
    pub(crate) ops: u64,
    pub(crate) rows: u64,
    /// Whether some of the rows may be gone again.
    pub(crate) removes: bool,
    /// The other node wants to store it before it takes more.
    pub(crate) full: bool,
    schema: Schema,
}

impl Run {
    /// A run of rows of that schema, of which there are none yet.
    pub(crate) fn of(schema: &Schema) -> Self {
        Self { schema: schema.clone(), ..Self::default() }
    }

    /// What its rows are.
    pub(crate) fn schema(&self) -> &Schema {
        &self.schema
    }

    /// Whether `op` can be the next one. A delete by filter needs the rows where the filter is: here.
    pub(crate) fn goes_on_with(&self, op: &BlockOp) -> bool {
        let by_filter = match &op.kind {
            OpKind::Delete { predicate, .. } => predicate.exact_keys().is_none(),
            _ => false,
        };
        !self.full && !by_filter && self.schema == op.record.schema
    }
}

impl Forwarding {
    pub(crate) fn new(node: NodeId, line: Box<dyn Line>) -> Self {
        Self { node, line, taken: 0, runs: HashMap::new() }
    }

    /// The number of the next operation that goes there.
    pub(crate) fn next(&self) -> u64 {
        self.taken + 1
    }

    /// The number of operations that went there.
    pub(crate) fn taken(&self) -> u64 {
        self.taken
    }

    /// The next operation has been taken.
    pub(crate) fn took(&mut self) {
        self.taken += 1;
    }

    pub(crate) async fn ask(&mut self, question: Bytes) -> Result<Answer, String> {
        let answer = tokio::time::timeout(ANSWERED_WITHIN, self.line.ask(question)).await;
        let answer = answer.unwrap_or_else(|_| Err("it does not answer in time".to_owned()))?;
        decode_answer(&answer).map_err(|error| format!("its answer {error}"))
    }
}
