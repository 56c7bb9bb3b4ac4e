//! One client: its block, the turn to change it, and what automatic flushing asks for.
//!
//! Whoever changes a session holds its [`Turn`]. Turns are given in the order they were asked for, which is what makes
//! a client's operations take effect in the order they arrived (S06). A flush keeps the turn to its end, so that two
//! blocks of one client never overtake each other; it runs on a task of its own, so that it ends even if the client is
//! gone.

mod auto_flush;
mod forwarding;

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use redkite_expr::Predicate;
use redkite_table::commit::NamedFlush;
use redkite_table::{Collection, Database};
use redkite_types::{CollectionId, CommitId, Revision};
use tokio::sync::OwnedMutexGuard;
use tokio::time::Instant;

use crate::block::{Block, BlockOp};
use crate::fence::{Fence, Footing};
use crate::flush::{Failure, flush, named_before, upload_early};
use crate::forward::Forwarding;
use crate::matching::count_matching;
use crate::names::check_length;
use crate::{ClientId, Error, Ingest, Result};
use auto_flush::Policy;

/// Pause before an open outcome is asked for again where no client asks; doubles up to the second.
const SETTLE_PAUSE: Duration = Duration::from_millis(100);
const SETTLE_PAUSE_MAX: Duration = Duration::from_secs(5);

/// One client of this node.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) client: ClientId,
    peer: SocketAddr,
    state: Arc<tokio::sync::Mutex<State>>,
    /// What can be known without waiting for a turn.
    glance: Mutex<Glance>,
    closed: AtomicBool,
    /// The same client's session before it reconnected, until that has come to its end.
    predecessor: Mutex<Option<Arc<Session>>>,
}

/// How a client came to its session.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrival {
    pub(crate) footing: Footing,
    /// It has just been told that it lost something: once is enough.
    pub(crate) told: bool,
}

/// What changes only with the turn.
#[derive(Debug)]
struct State {
    block: Block,
    buffered: Buffered,
    /// What another node holds of the block.
    forwarding: Option<Forwarding>,
    /// A commit whose outcome is to be settled before anything else: its block is still in `block`, unless the flush was
    /// an automatic one.
    unsettled: Option<Unsettled>,
    /// Operations acknowledged since the last flush the client asked for and heard a success of, those published
    /// automatically included, those lost automatically not: what the client's own count has to equal.
    counted: u64,
    policy: Policy,
    arrival: Arrival,
    /// What its flushes compare, once it is taken up.
    fence: Option<Arc<Fence>>,
    /// Its next write or flush may have to be told of a loss.
    to_tell: bool,
}

/// A commit whose outcome is not known yet.
#[derive(Debug, Clone, Copy)]
struct Unsettled {
    id: CommitId,
    /// The last operation of the block is a write that was to be committed before it is answered; its client was told
    /// that it failed.
    written: bool,
    /// Acknowledged operations that an automatic flush took off the count as lost.
    uncounted: u64,
}

/// A session's state as others may see it at any time.
#[derive(Debug)]
struct Glance {
    ops: u64,
    deletes: u64,
    rows: HashMap<CollectionId, u64>,
    warned: HashSet<CollectionId>,
    flushing: bool,
    last_used: Instant,
}

/// A share of the node's buffered bytes: a session's block, or a write that waits for its turn. Given back when dropped.
#[derive(Debug)]
pub(crate) struct Buffered {
    total: Arc<AtomicU64>,
    bytes: u64,
}

impl Buffered {
    /// A share of `bytes`, unless all shares together would exceed the limit.
    pub(crate) fn within(limit: u64, total: Arc<AtomicU64>, bytes: u64) -> Result<Self> {
        let fits = |held: u64| held.checked_add(bytes).filter(|held| *held <= limit);
        match total.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits) {
            Ok(_) => Ok(Self { total, bytes }),
            Err(_) => Err(Error::MemoryExhausted { limit }),
        }
    }

    pub(crate) fn of_nothing(total: Arc<AtomicU64>) -> Self {
        Self { total, bytes: 0 }
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Takes `bytes` more, unless all shares together would exceed the limit.
    pub(crate) fn grow(&mut self, limit: u64, bytes: u64) -> Result<()> {
        let mut more = Self::within(limit, self.total.clone(), bytes)?;
        self.bytes += std::mem::take(&mut more.bytes);
        Ok(())
    }

    pub(crate) fn set(&mut self, bytes: u64) {
        self.total.fetch_add(bytes, Ordering::Relaxed);
        self.total.fetch_sub(self.bytes, Ordering::Relaxed);
        self.bytes = bytes;
    }
}

impl Drop for Buffered {
    fn drop(&mut self) {
        self.set(0);
    }
}

/// What a client asks with a flush.
#[derive(Debug, Clone, Default)]
pub struct FlushRequest {
    /// The client's name for it (`redkite-flush-id`).
    pub name: Option<Vec<u8>>,
    /// How many operations the client had acknowledged since its last flush (`redkite-block-ops`).
    pub block_ops: Option<u64>,
}

/// A successful flush.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flushed {
    /// The revision the block is visible from; of an empty block the newest one.
    pub revision: Revision,
    /// Operations that became visible.
    pub ops: u64,
}

/// A buffered, or with `flush_interval = 0` committed, write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WriteReport {
    /// The revision the write is visible from, if it is already.
    pub revision: Option<Revision>,
}

impl Session {
    /// A session of `client` on a connection from `peer`. Its first turn waits until `predecessor` has come to its end: a flush
    /// that still runs there is older than everything that is written here.
    pub(crate) fn new(
        client: ClientId,
        peer: SocketAddr,
        arrival: Arrival,
        total: Arc<AtomicU64>,
        predecessor: Option<Arc<Session>>,
    ) -> Self {
        let state = State {
            block: Block::default(),
            buffered: Buffered::of_nothing(total),
            forwarding: None,
            unsettled: None,
            counted: 0,
            policy: Policy::default(),
            arrival,
            fence: None,
            to_tell: false,
        };
        let glance = Glance {
            ops: 0,
            deletes: 0,
            rows: HashMap::new(),
            warned: HashSet::new(),
            flushing: false,
            last_used: Instant::now(),
        };
        Self {
            client,
            peer,
            state: Arc::new(tokio::sync::Mutex::new(state)),
            glance: Mutex::new(glance),
            closed: AtomicBool::new(false),
            predecessor: Mutex::new(predecessor),
        }
    }

    pub(crate) fn touch(&self) {
        self.glance.lock().last_used = Instant::now();
    }

    pub(crate) fn idle_for(&self) -> Duration {
        let glance = self.glance.lock();
        if glance.flushing { Duration::ZERO } else { glance.last_used.elapsed() }
    }

    /// Rows of a collection this session holds unflushed; told once a collection.
    pub(crate) fn unflushed_once(&self, collection: CollectionId) -> Option<u64> {
        let mut glance = self.glance.lock();
        let rows = glance.rows.get(&collection).copied().filter(|rows| *rows > 0)?;
        glance.warned.insert(collection).then_some(rows)
    }

    /// Ends the session. Returns what the client has to be told, if anything was lost.
    pub(crate) fn close(self: &Arc<Self>, why: &str, database: &Arc<Database>) -> Option<String> {
        if self.closed.swap(true, Ordering::AcqRel) {
            return None;
        }
        let (ops, deletes, flushing, by_collection) = {
            let glance = self.glance.lock();
            (glance.ops, glance.deletes, glance.flushing, glance.rows.clone())
        };
        let rows: u64 = by_collection.values().sum();
        tokio::spawn(self.clone().come_to_an_end(database.clone()));
        if ops == 0 {
            return None;
        }
        let catalog = database.newest();
        metrics::counter!("redkite_sessions_lost_total").increment(1);
        let name = |id: &CollectionId| catalog.name_of(*id).map_or_else(|| id.to_string(), str::to_owned);
        let mut collections: Vec<String> = by_collection.keys().map(name).collect();
        collections.sort_unstable();
        tracing::warn!(
            peer = %self.peer,
            connection = self.client.connection.0,
            identifier = self.client.identifier,
            collections = collections.join(", "),
            rows,
            deletes,
            flushing,
            "a session ended ({why}) with unflushed operations; they are dropped"
        );
        let running = if flushing { "; a flush was running and may have been committed" } else { "" };
        Some(format!("{why} with {ops} operations ({rows} rows) unflushed{running}"))
    }

    fn check_open(&self) -> Result<()> {
        match self.closed.load(Ordering::Acquire) {
            true => Err(Error::SessionLost { reason: "the session ended while the request waited".into() }),
            false => Ok(()),
        }
    }

    /// After the session was closed: a flush under way keeps its block to the end, what is left is dropped, and an
    /// outcome that is open is settled, so that nothing of this session can still land behind its client's back.
    pub(crate) async fn come_to_an_end(self: Arc<Self>, database: Arc<Database>) {
        let mut pause = SETTLE_PAUSE;
        while let Err(error) = self.ended(&database).await {
            tracing::warn!(%error, "the last flush of a closed session is still open, asking again");
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(SETTLE_PAUSE_MAX);
        }
    }

    /// Waits until this closed session can change nothing any more; fails if that cannot be known yet.
    async fn ended(&self, database: &Database) -> Result<()> {
        self.predecessors_ended(database).await?;
        let mut state = self.state.lock().await;
        state.block = Block::default();
        state.policy = Policy::default();
        state.forwarding = None;
        state.buffered.set(0);
        if let Some(Unsettled { id, .. }) = state.unsettled {
            let settled = database.committer.settle(&id).await;
            settled.map_err(|error| Error::OutcomeUnknown { id, detail: error.to_string() })?;
            state.unsettled = None;
        }
        Ok(())
    }

    async fn predecessors_ended(&self, database: &Database) -> Result<()> {
        let Some(predecessor) = self.predecessor.lock().clone() else {
            return Ok(());
        };
        // Boxed, as one predecessor may have another.
        Box::pin(predecessor.ended(database)).await?;
        *self.predecessor.lock() = None;
        Ok(())
    }

    /// Waits for the turn.
    pub(crate) async fn turn(self: Arc<Self>, ingest: Arc<Ingest>) -> Result<Turn> {
        // In line before anything else is waited for: whoever waited elsewhere could be overtaken there.
        let state = self.state.clone().lock_owned().await;
        self.predecessors_ended(ingest.database()).await?;
        self.check_open()?;
        let mut turn = Turn { ingest, session: self, state, request: None };
        turn.settle().await?;
        Ok(turn)
    }

    /// Waits for the turn of a call of the client, which so is here, wherever else it has been.
    pub(crate) async fn turn_of_client(self: Arc<Self>, ingest: Arc<Ingest>) -> Result<Turn> {
        let mut turn = self.turn(ingest).await?;
        turn.take_up().await?;
        Ok(turn)
    }
}

/// Why a flush runs, and so what happens if it fails.
#[derive(Debug)]
enum Work {
    /// The client asked: the block stays.
    Requested(FlushRequest),
    /// A write that is committed before it is answered: the write goes, the rest of the block stays.
    Written,
    /// Automatic: the block goes.
    Automatic,
}

/// In which transaction a block is published.
#[derive(Debug)]
enum How {
    /// In one of its own, under the client's name for it.
    Alone(Option<NamedFlush>),
    /// Together with automatic blocks of other clients, where it may be.
    Together,
}

/// The right to change a session, until dropped.
#[derive(Debug)]
pub struct Turn {
    ingest: Arc<Ingest>,
    session: Arc<Session>,
    state: OwnedMutexGuard<State>,
    /// The share of the write that the turn was asked for.
    request: Option<Buffered>,
}

impl Turn {
    /// Keeps the share of a write until that is submitted or given up.
    pub(crate) fn holding(self, request: Buffered) -> Self {
        Self { request: Some(request), ..self }
    }

    /// What tells whether the client is still this process's; none for one without identifier.
    pub fn fence(&self) -> Option<Arc<Fence>> {
        self.state.fence.clone()
    }

    /// The unflushed operations, in order.
    pub fn block(&self) -> &Block {
        &self.state.block
    }

    /// Rows that a delete by `predicate` takes with it, by what is in `collection` and in the block now; and the turn again.
    pub async fn count_matching(self, collection: &Arc<Collection>, predicate: &Arc<Predicate>) -> Result<(Self, u64)> {
        let id = collection.record()?.id;
        let turn = self.with_rows_stored(id).await?;
        let ops = turn.state.block.ops().iter().filter(|op| op.collection == id).cloned().collect();
        let count = count_matching(turn.ingest.database(), collection, ops, predicate).await?;
        Ok((turn, count))
    }

    /// Takes up the client, before anything of it is accepted.
    async fn take_up(&mut self) -> Result<()> {
        let client = self.session.client;
        let (fences, database) = (self.ingest.fences(), self.ingest.database());
        if let Some(fence) = &self.state.fence {
            return fences.renew(database, fence).await;
        }
        if client.identifier == 0 {
            return Ok(());
        }
        let Arrival { footing, told } = self.state.arrival;
        let losing = |reason| {
            if !told {
                self.ingest.lose(client, reason);
            }
        };
        let fence = fences.take_up(database, client.identifier, footing, losing).await?;
        self.state.fence = Some(fence);
        self.state.to_tell = !told;
        Ok(())
    }

    /// Fails once if the client has to be told that it may have lost something elsewhere.
    pub(crate) fn tell(&mut self) -> Result<()> {
        if !std::mem::take(&mut self.state.to_tell) {
            return Ok(());
        }
        self.ingest.told(self.session.client).map_or(Ok(()), |reason| Err(Error::SessionLost { reason }))
    }

    /// Learns the outcome of the last flush if that is still open.
    async fn settle(&mut self) -> Result<()> {
        let Some(Unsettled { id, written, uncounted }) = self.state.unsettled else {
            return Ok(());
        };
        // Not even an operation may be added before: were the open commit to land later, it would take effect after it.
        let settled = self.ingest.database().committer.settle(&id).await;
        let settled = settled.map_err(|error| Error::OutcomeUnknown { id, detail: error.to_string() })?;
        self.state.unsettled = None;
        if settled.outcome.committed {
            self.emptied();
            self.state.counted += uncounted;
        } else if written {
            self.take_back();
        }
        Ok(())
    }

    /// Takes back the write added last, whose client is told that it failed.
    fn take_back(&mut self) {
        self.state.block.pop();
        self.shrunk();
    }

    fn shrunk(&mut self) {
        self.forget_runs();
        self.relax_policy();
        self.changed();
    }

    /// Adds an operation, and flushes where automatic flushing asks for it. The operation is in the session when this
    /// succeeds and is not when it fails.
    pub async fn submit(self, op: BlockOp) -> Result<WriteReport> {
        match self.may_forward() {
            // To its end even if the client gives up: another node may have taken the rows by then.
            true => in_background(self.submit_here(op)).await,
            false => self.submit_here(op).await,
        }
    }

    async fn submit_here(mut self, op: BlockOp) -> Result<WriteReport> {
        let policy = Policy::of(&op.record, &self.ingest.options());
        let op = self.place(op, policy).await?;
        self.state.block.push(op);
        self.state.policy.join(policy);
        self.changed();
        // The operation has taken its place.
        self.request = None;
        // Only now: whoever closes the session says so first and then looks at what is in it.
        if let Err(error) = self.session.check_open() {
            self.take_back();
            return Err(error);
        }
        self.state.counted += 1;
        if self.state.policy.is_immediate() {
            let flushed = in_background(self.run(Work::Written)).await?;
            return Ok(WriteReport { revision: Some(flushed.revision) });
        }
        if self.state.policy.is_on() {
            if self.state.block.asked_bytes() > self.ingest.options().flush_limit_bytes {
                tokio::spawn(async move { self.flush_automatically("flush_limitition").await });
            } else {
                self.arm_timer(Instant::now());
            }
        }
        Ok(WriteReport { revision: None })
    }

    /// Refuses what would exceed the hard limit; uploads early what exceeds the soft one.
    async fn make_room(&mut self, op: &BlockOp) -> Result<()> {
        let options = self.ingest.options();
        let (soft, hard) = (options.memory_soft_bytes, options.memory_hard_bytes);
        let bytes = op.bytes();
        if self.state.block.bytes() + bytes > soft && !self.state.block.is_empty() {
            self.upload_early().await;
        }
        let request = self.request.as_ref().map_or(0, |request| request.bytes);
        let others = self.state.buffered.total.load(Ordering::Relaxed).saturating_sub(request);
        if others + bytes > hard {
            return Err(Error::MemoryExhausted { limit: hard });
        }
        Ok(())
    }

    async fn upload_early(&mut self) {
        let database = self.ingest.database().clone();
        let collections: HashSet<CollectionId> = self.state.block.ops().iter().map(|op| op.collection).collect();
        for id in collections {
            // Rows that another node holds take no memory here.
            if !self.state.forwarding.as_ref().is_some_and(|forwarding| forwarding.runs.contains_key(&id)) {
                self.upload_early_of(&database, id).await;
            }
        }
        self.changed();
    }

    /// Uploads what the block holds of one collection; false if that stays in memory.
    async fn upload_early_of(&mut self, database: &Arc<Database>, id: CollectionId) -> bool {
        let catalog = database.newest();
        // Dropped meanwhile, or not known here yet: the flush will tell.
        let Ok(Some(collection)) = catalog.collection_by_id(id).map(|found| found.cloned()) else { return false };
        let ops: Vec<BlockOp> = self.state.block.ops().iter().filter(|op| op.collection == id).cloned().collect();
        match upload_early(database, &collection, &ops).await {
            Ok(replacement) => self.state.block.replace(id, replacement),
            Err(error) => {
                tracing::warn!(%error, "rows could not be uploaded early and stay in memory");
                return false;
            }
        }
        true
    }

    /// Drops the operations of a collection that the client itself has dropped.
    pub fn discard(&mut self, collection: CollectionId) {
        if self.state.block.ops().iter().any(|op| op.collection == collection) {
            self.state.block.discard(collection);
            self.shrunk();
        }
    }

    /// Publishes the block. It stays in the session if this fails, unless the error says otherwise.
    pub async fn flush(self, request: FlushRequest) -> Result<Flushed> {
        in_background(self.run(Work::Requested(request))).await
    }

    /// Runs a flush, with the glance saying so. A session that was closed before that has nothing to flush: its client is
    /// told that the block is lost.
    async fn run(mut self, work: Work) -> Result<Flushed> {
        self.session.glance.lock().flushing = true;
        let result = match (self.session.check_open(), work) {
            (Err(closed), _) => Err(closed),
            (Ok(()), Work::Requested(request)) => self.flush_requested(request).await,
            (Ok(()), Work::Written) => self.flush_written().await,
            (Ok(()), Work::Automatic) => self.flush_or_drop().await,
        };
        self.session.glance.lock().flushing = false;
        if let Err(error) = &result {
            tracing::warn!(%error, "a flush failed");
        }
        result
    }

    async fn flush_requested(&mut self, request: FlushRequest) -> Result<Flushed> {
        // A name sent again to an empty session asks for the outcome of the first flush, which took the operations.
        let resent = request.name.is_some() && self.state.block.is_empty();
        if let Some(client) = request.block_ops.filter(|client| *client != self.state.counted && !resent) {
            let session = self.state.counted;
            self.emptied();
            self.state.counted = 0;
            return Err(Error::BlockOpsMismatch { client, session });
        }
        let flushed = match request.name {
            None => self.publish(How::Alone(None)).await,
            Some(name) => self.flush_named(name).await,
        }?;
        self.state.counted = 0;
        Ok(flushed)
    }

    async fn flush_named(&mut self, name: Vec<u8>) -> Result<Flushed> {
        check_length(&name)?;
        let ingest = self.ingest.clone();
        let _running = ingest.names().enter(&name).await;
        let committer = &ingest.database().committer;
        if self.state.block.is_empty() {
            // Asking settles: a name without outcome can no longer commit from here on.
            let settled = committer.settle_flush(&name).await?;
            return match settled.outcome.committed {
                true => Ok(Flushed { revision: settled.revision, ops: 0 }),
                false => Err(Error::FlushNotCommitted),
            };
        }
        let named = NamedFlush { digest: self.state.block.digest(), name };
        if let Some(settled) = committer.flush_outcome(&named.name).await? {
            let revision = named_before(Some(&named), &settled.outcome, settled.revision)?;
            let ops = self.state.block.acknowledged();
            self.emptied();
            return Ok(Flushed { revision, ops });
        }
        self.publish(How::Alone(Some(named))).await
    }

    /// Publishes the whole block as one atom.
    async fn publish(&mut self, how: How) -> Result<Flushed> {
        self.try_publish(how).await.map_err(|failure| self.failed(failure))
    }

    async fn try_publish(&mut self, how: How) -> std::result::Result<Flushed, Failure> {
        let database = self.ingest.database().clone();
        if self.state.block.is_empty() {
            let revision = database.snapshot(redkite_table::Visibility::Strong).await?.revision;
            return Ok(Flushed { revision, ops: 0 });
        }
        let ops = self.state.block.acknowledged();
        let started = Instant::now();
        let result = match (self.store_all().await, how) {
            (Err(failure), _) => Err(failure),
            (Ok(()), How::Alone(named)) => {
                flush(&database, &self.state.block, self.state.fence.as_slice(), named).await
            }
            (Ok(()), How::Together) => {
                self.ingest.groups().flush(&database, &self.state.block, self.state.fence.clone()).await
            }
        };
        if result.is_err() {
            metrics::counter!("redkite_flush_failures_total").increment(1);
        }
        let revision = result?;
        metrics::counter!("redkite_flushes_total").increment(1);
        metrics::histogram!("redkite_flush_seconds").record(started.elapsed().as_secs_f64());
        self.emptied();
        Ok(Flushed { revision, ops })
    }

    /// What a failure means for the block, and what the client hears.
    fn failed(&mut self, failure: Failure) -> Error {
        match failure {
            Failure::Keep(error) => error,
            Failure::Dropped { collection, name } => {
                let ops = self.state.block.discard(collection);
                self.shrunk();
                Error::CollectionDropped { collection: name, ops }
            }
            Failure::Discard(error) => {
                self.emptied();
                self.state.counted = 0;
                if matches!(error, Error::SessionLost { .. }) {
                    // Should it come back on this connection, it has been elsewhere.
                    self.state.fence = None;
                    self.state.arrival = Arrival { footing: Footing::Returned { is_ours: false }, told: true };
                }
                Error::Discarded { cause: Box::new(error) }
            }
            Failure::Unknown { id, detail } => {
                self.state.unsettled = Some(Unsettled { id, written: false, uncounted: 0 });
                Error::OutcomeUnknown { id, detail }
            }
        }
    }

    fn emptied(&mut self) {
        self.state.block = Block::default();
        self.state.policy = Policy::default();
        self.state.forwarding = None;
        self.changed();
    }

    /// Brings what others see in step with the block.
    fn changed(&mut self) {
        let bytes = self.state.block.bytes();
        self.state.buffered.set(bytes);
        let mut glance = self.session.glance.lock();
        glance.ops = self.state.block.acknowledged();
        glance.deletes = self.state.block.deletes();
        glance.rows.clone_from(self.state.block.rows_by_collection());
        glance.last_used = Instant::now();
    }
}

/// Runs to the end even if the caller goes away.
async fn in_background<T: Send + 'static>(work: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
    tokio::spawn(work)
        .await
        .unwrap_or_else(|error| Err(Error::Internal { detail: format!("a write or flush was cut off: {error}") }))
}
