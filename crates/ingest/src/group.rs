//! Group commit: insert-only automatic blocks of one collection that are frozen at the same time share one fragment and
//! one transaction.
//!
//! A block joins those that wait for its collection. While one group is being published the next one gathers, so there is
//! no added wait, and the more clients write the larger the groups are. Each block stays whole: its rows are all in the
//! fragment, and the transaction is one atom. If a group fails, its blocks are published one by one, so that none fails
//! for another's sake, unless a store did not answer: then all have failed. If its outcome is unknown it is unknown to all,
//! and each settles it for itself.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use parking_lot::Mutex;
use redkite_table::Database;
use redkite_types::{CollectionId, ErrorKind, Revision};
use tokio::sync::oneshot;

use crate::Error;
use crate::block::{Block, BlockOp, OpKind};
use crate::fence::Fence;
use crate::flush::{Failure, flush};

/// Most bytes of a group; a block larger than that is a group of its own.
const GROUP_BYTES_MAX: u64 = 64 << 20;
/// Most blocks of a group: each has a compare of its own, and a transaction of a stock etcd takes 128.
const GROUP_BLOCKS_MAX: usize = 64;

type Outcome = std::result::Result<Revision, Failure>;

/// Blocks that wait to be published together, by collection. A collection has an entry while its groups are published.
#[derive(Debug, Default)]
pub(crate) struct Groups(Mutex<HashMap<CollectionId, Vec<Member>>>);

#[derive(Debug)]
struct Member {
    ops: Vec<BlockOp>,
    bytes: u64,
    fence: Option<Arc<Fence>>,
    outcome: oneshot::Sender<Outcome>,
}

/// The collection of a block that only inserts, and only into that one.
fn only_inserts_into(block: &Block) -> Option<CollectionId> {
    let first = block.ops().first()?;
    let schema = &first.record.schema;
    let alike = |op: &BlockOp| {
        matches!(op.kind, OpKind::Insert(_)) && op.collection == first.collection && op.record.schema == *schema
    };
    block.ops().iter().all(alike).then_some(first.collection)
}

impl Groups {
    /// Publishes an automatic block, together with others where it may be.
    pub(crate) async fn flush(
        self: &Arc<Self>,
        database: &Arc<Database>,
        block: &Block,
        fence: Option<Arc<Fence>>,
    ) -> Outcome {
        let Some(collection) = only_inserts_into(block) else {
            return flush(database, block, fence.as_slice(), None).await;
        };
        let (sender, outcome) = oneshot::channel();
        let member = Member { ops: block.ops().to_vec(), bytes: block.bytes(), fence, outcome: sender };
        let leads = match self.0.lock().entry(collection) {
            Entry::Occupied(mut waiting) => {
                waiting.get_mut().push(member);
                false
            }
            Entry::Vacant(none) => {
                none.insert(vec![member]);
                true
            }
        };
        if leads {
            let publisher = Publisher { groups: self.clone(), database: database.clone(), collection, ended: false };
            // A task of its own: no client's block waits for groups it is not in.
            tokio::spawn(publisher.run());
        }
        outcome.await.unwrap_or_else(|_| Err(cut_off()))
    }
}

fn cut_off() -> Failure {
    Failure::Keep(Error::Internal { detail: "the group a block was published with was cut off".into() })
}

/// Publishes the groups of one collection until none waits.
struct Publisher {
    groups: Arc<Groups>,
    database: Arc<Database>,
    collection: CollectionId,
    /// None waited: the entry is gone, and one that is there now is another publisher's.
    ended: bool,
}

impl Publisher {
    async fn run(mut self) {
        while let Some(group) = self.next_group() {
            publish(&self.database, group).await;
        }
        self.ended = true;
    }

    /// The blocks that waited longest, as many as may be together; none, and the entry is gone, if none waits.
    fn next_group(&self) -> Option<Vec<Member>> {
        let mut groups = self.groups.0.lock();
        let waiting = groups.get_mut(&self.collection)?;
        if waiting.is_empty() {
            groups.remove(&self.collection);
            return None;
        }
        let count = together(waiting);
        Some(waiting.drain(..count).collect())
    }
}

impl Drop for Publisher {
    /// If it was cut off, those that wait hear of it, and the next block starts anew.
    fn drop(&mut self) {
        if !self.ended {
            self.groups.0.lock().remove(&self.collection);
        }
    }
}

/// How many of the first blocks may be published together: within the limits, and of one schema.
fn together(waiting: &[Member]) -> usize {
    let schema = |member: &Member| member.ops.first().map(|op| op.record.schema.clone());
    let first = waiting.first().and_then(schema);
    let mut bytes = 0;
    let fits = |member: &&Member| {
        bytes += member.bytes;
        bytes <= GROUP_BYTES_MAX && schema(member) == first
    };
    waiting.iter().take(GROUP_BLOCKS_MAX).take_while(fits).count().max(1)
}

fn block_of<'m>(members: impl IntoIterator<Item = &'m Member>) -> Block {
    let mut block = Block::default();
    members.into_iter().flat_map(|member| member.ops.iter().cloned()).for_each(|op| block.push(op));
    block
}

async fn publish(database: &Arc<Database>, group: Vec<Member>) {
    metrics::histogram!("redkite_group_blocks").record(group.len() as f64);
    let fences: Vec<Arc<Fence>> = group.iter().filter_map(|member| member.fence.clone()).collect();
    let result = flush(database, &block_of(&group), &fences, None).await;
    // Whoever waited may be gone; what became of its block does not depend on it.
    match result {
        Ok(revision) => group.into_iter().for_each(|member| _ = member.outcome.send(Ok(revision))),
        Err(Failure::Unknown { id, detail }) => group.into_iter().for_each(|member| {
            _ = member.outcome.send(Err(Failure::Unknown { id, detail: detail.clone() }));
        }),
        Err(failure) => match <[Member; 1]>::try_from(group) {
            Ok([alone]) => _ = alone.outcome.send(Err(failure)),
            Err(group) => {
                let failure = match failure {
                    // It is nobody's fault in the group, and each of them alone would only ask a store in need once more.
                    Failure::Keep(error) if error.kind() == ErrorKind::Unavailable => {
                        let cause = Arc::new(error);
                        let shared = || Failure::Keep(Error::Shared { cause: cause.clone() });
                        group.into_iter().for_each(|member| _ = member.outcome.send(Err(shared())));
                        return;
                    }
                    failure => failure,
                };
                let blocks = group.len();
                tracing::debug!(?failure, blocks, "a group could not be published; its blocks go one by one");
                for member in group {
                    let alone = flush(database, &block_of([&member]), member.fence.as_slice(), None).await;
                    _ = member.outcome.send(alone);
                }
            }
        },
    }
}
