//! All clients of a node: which connection they are on, and what those that are gone have lost.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use redkite_table::Database;
use redkite_types::CollectionId;

use crate::fence::{Fence, Fences, Footing};
use crate::forward::Outlets;
use crate::group::Groups;
use crate::identity::{Identities, Identity};
use crate::names::{NamesInFlight, check_length};
use crate::session::{Arrival, Buffered, Session, Turn};
use crate::{ClientId, ConnectionId, Error, IngestOptions, Result};

/// Most identifiers of which it is remembered that they were handed out on a connection; further ones are looked up.
const HANDED_OUT_MAX: usize = 1_024;
/// Closed sessions remembered before those that have come to their end are swept out.
const ENDING_SWEEP: usize = 1_024;
/// How often idle sessions are looked for, at most.
const SWEEP_PAUSE_MAX: Duration = Duration::from_secs(60);
/// How long a question for an outcome waits for the flush it is about, if that runs here.
const OUTCOME_PATIENCE: Duration = Duration::from_secs(5);

/// The sessions of a node.
#[derive(Debug)]
pub struct Ingest {
    database: Arc<Database>,
    options: RwLock<Arc<IngestOptions>>,
    registry: Mutex<Registry>,
    names: Arc<NamesInFlight>,
    groups: Arc<Groups>,
    fences: Fences,
    buffered: Arc<AtomicU64>,
    outlets: OnceLock<Arc<dyn Outlets>>,
}

#[derive(Debug)]
struct Registry {
    identities: Identities,
    /// Live ones.
    connections: HashMap<ConnectionId, Connected>,
    sessions: HashMap<ClientId, Arc<Session>>,
    /// Where an identifier's session is.
    homes: HashMap<i64, ConnectionId>,
    /// Closed sessions by whose they were, while a flush of theirs still runs or its outcome is open.
    ending: HashMap<Identity, Weak<Session>>,
}

/// A connection.
#[derive(Debug)]
struct Connected {
    peer: SocketAddr,
    /// The identifiers that have a session there.
    identifiers: Vec<i64>,
    /// Those that were handed out there.
    handed_out: HashSet<i64>,
}

impl Ingest {
    /// Sessions over `database`. Must be called within a runtime: it watches for idle ones.
    pub fn new(database: Arc<Database>, options: IngestOptions) -> Arc<Self> {
        let identities = Identities::new(database.ambient.random());
        let fences = Fences::new(database.ambient.random());
        let registry = Registry {
            identities,
            connections: HashMap::new(),
            sessions: HashMap::new(),
            homes: HashMap::new(),
            ending: HashMap::new(),
        };
        let ingest = Arc::new(Self {
            database,
            options: RwLock::new(Arc::new(options)),
            registry: Mutex::new(registry),
            names: Arc::default(),
            groups: Arc::default(),
            fences,
            buffered: Arc::default(),
            outlets: OnceLock::new(),
        });
        ingest.clone().sweep_idle();
        ingest
    }

    /// The database writes go to.
    pub fn database(&self) -> &Arc<Database> {
        &self.database
    }

    /// What the operator set.
    pub fn options(&self) -> Arc<IngestOptions> {
        self.options.read().clone()
    }

    /// Sets when data becomes visible by itself where its collection does not say, for writes from now on.
    pub fn flush_automatically(&self, auto_flush: bool, flush_interval: Duration, flush_limit_bytes: u64) {
        let mut options = self.options.write();
        *options =
            Arc::new(IngestOptions { auto_flush, flush_interval, flush_limit_bytes, ..IngestOptions::clone(&options) });
    }

    /// From now on rows go elsewhere where this node is short of memory. To be called once.
    pub fn forward_by(&self, outlets: Arc<dyn Outlets>) {
        // A second one would be a defect; the first one stays.
        _ = self.outlets.set(outlets);
    }

    pub(crate) fn outlets(&self) -> Option<&Arc<dyn Outlets>> {
        self.outlets.get()
    }

    /// A share of the node's buffered bytes, of nothing yet.
    pub(crate) fn share_of_memory(&self) -> Buffered {
        Buffered::of_nothing(self.buffered.clone())
    }

    pub(crate) fn names(&self) -> &Arc<NamesInFlight> {
        &self.names
    }

    pub(crate) fn groups(&self) -> &Arc<Groups> {
        &self.groups
    }

    pub(crate) fn fences(&self) -> &Fences {
        &self.fences
    }

    /// Remembers that a client may have lost something, until it is told.
    pub(crate) fn lose(&self, client: ClientId, reason: String) {
        self.registry.lock().identities.lose(client.identity(), reason);
    }

    /// What a client has to be told now.
    pub(crate) fn told(&self, client: ClientId) -> Option<String> {
        self.registry.lock().identities.tell(client.identity())
    }

    /// An identifier for `Connect` to hand out on a connection.
    pub fn new_identifier(&self, connection: ConnectionId) -> i64 {
        let mut registry = self.registry.lock();
        let identifier = registry.identities.hand_out();
        if let Some(connected) = registry.connections.get_mut(&connection)
            && connected.handed_out.len() < HANDED_OUT_MAX
        {
            connected.handed_out.insert(identifier);
        }
        identifier
    }

    /// A connection was accepted. To be called before its first request is served.
    pub fn connected(&self, connection: ConnectionId, peer: SocketAddr) {
        self.registry
            .lock()
            .connections
            .insert(connection, Connected { peer, identifiers: Vec::new(), handed_out: HashSet::new() });
    }

    /// A connection is gone, and with it the sessions on it (S10).
    pub fn disconnected(&self, connection: ConnectionId) {
        let mut registry = self.registry.lock();
        let ended = registry.connections.remove(&connection);
        for identifier in ended.into_iter().flat_map(|connected| connected.identifiers) {
            registry.end(ClientId { connection, identifier }, "the connection ended", &self.database);
        }
        // Nobody is left to be told.
        _ = registry.identities.tell(Identity::Connection(connection));
    }

    /// The client's turn to write or flush. Fails once for a client whose earlier session died with unflushed
    /// operations; from then on it has a new, empty one.
    pub async fn turn(self: &Arc<Self>, client: ClientId) -> Result<Turn> {
        let session = self.registry.lock().bind(client, self)?;
        let mut turn = session.turn_of_client(self.clone()).await?;
        turn.tell()?;
        Ok(turn)
    }

    /// The turn of a client that has a session, for a call that takes effect at once: it must neither overtake what the
    /// client wrote before nor be overtaken by what it writes next (S06). A client without a session has nothing to overtake,
    /// and gets none for it.
    pub async fn turn_if_any(self: &Arc<Self>, client: ClientId) -> Result<Option<Turn>> {
        let session = {
            let registry = self.registry.lock();
            registry.sessions.get(&client).inspect(|session| session.touch()).cloned()
        };
        let Some(session) = session else { return Ok(None) };
        match session.turn_of_client(self.clone()).await {
            // It ended meanwhile. What was lost with it is told to the client's next write or flush.
            Err(Error::SessionLost { .. }) => Ok(None),
            turn => turn.map(Some),
        }
    }

    /// What tells whether a client that has no session is still this process's, for a change that takes effect at once; none for
    /// one without identifier. What it may have lost elsewhere is told to its next write or flush.
    pub async fn fence(&self, client: ClientId) -> Result<Option<Arc<Fence>>> {
        if client.identifier == 0 {
            return Ok(None);
        }
        let footing = {
            let registry = self.registry.lock();
            let connected = registry.connections.get(&client.connection);
            registry.footing(client, connected)
        };
        let losing = |reason| self.lose(client, reason);
        Ok(Some(self.fences.take_up(&self.database, client.identifier, footing, losing).await?))
    }

    /// The client's turn for a write whose request takes `bytes`. Requests that wait, from this call on, count in
    /// `session.memory_hard`, too.
    pub fn turn_to_write(
        self: &Arc<Self>,
        client: ClientId,
        bytes: usize,
    ) -> impl Future<Output = Result<Turn>> + use<> {
        let request = Buffered::within(self.options().memory_hard_bytes, self.buffered.clone(), bytes as u64);
        let ingest = self.clone();
        async move {
            let request = request?;
            Ok(ingest.turn(client).await?.holding(request))
        }
    }

    /// What a reader has to be told, once a collection, if it may be looking for rows it has not flushed.
    pub fn unflushed_warning(&self, client: ClientId, collection: CollectionId, name: &str) -> Option<String> {
        let session = self.registry.lock().sessions.get(&client).cloned()?;
        session.touch();
        let rows = session.unflushed_once(collection)?;
        tracing::warn!(
            identifier = client.identifier,
            collection = name,
            rows,
            "a client reads a collection it has unflushed rows in; they are invisible until it flushes"
        );
        let (what, are, them) = if rows == 1 { ("row", "is", "it") } else { ("rows", "are", "them") };
        Some(format!(
            "{rows} {what} this client inserted into {name} {are} not visible yet: call flush() to publish {them}, \
             or set auto_flush = true"
        ))
    }

    /// Whether the flush of that name was committed. Final: one that was not can no longer be.
    pub async fn flush_outcome(&self, name: &[u8]) -> Result<bool> {
        check_length(name)?;
        // One that runs here is likely the one asked about: let it finish rather than fail it.
        let waited = tokio::time::timeout(OUTCOME_PATIENCE, self.names.wait(name)).await;
        if waited.is_err() {
            tracing::debug!("a named flush still runs while its outcome is asked for; asking settles it");
        }
        let settled = self.database.committer.settle_flush(name).await?;
        Ok(settled.outcome.committed)
    }

    /// Publishes what automatic flushing still owes, before the node stops, and waits for flushes of closed sessions that
    /// still run. Blocks whose flush is their client's own matter stay as they are, and go with their connections.
    pub async fn flush_owed(self: &Arc<Self>) {
        let (sessions, ending) = {
            let registry = self.registry.lock();
            let sessions: Vec<Arc<Session>> = registry.sessions.values().cloned().collect();
            let ending: Vec<Arc<Session>> = registry.ending.values().filter_map(Weak::upgrade).collect();
            (sessions, ending)
        };
        for session in sessions {
            match session.turn(self.clone()).await {
                Ok(turn) => turn.flush_owed().await,
                // A session that is gone owes nothing any more.
                Err(Error::SessionLost { .. }) => {}
                Err(error) => tracing::error!(%error, "a client's unflushed operations could not be looked at"),
            }
        }
        for session in ending {
            session.come_to_an_end(self.database.clone()).await;
        }
    }

    /// Number of sessions.
    pub fn session_count(&self) -> usize {
        self.registry.lock().sessions.len()
    }

    /// Bytes that all blocks and the writes that wait for their turn hold.
    pub fn buffered_bytes(&self) -> u64 {
        self.buffered.load(std::sync::atomic::Ordering::Relaxed)
    }

    fn sweep_idle(self: Arc<Self>) {
        let timeout = self.options().idle_timeout;
        let pause = (timeout / 4).clamp(Duration::from_millis(10), SWEEP_PAUSE_MAX);
        let ingest = Arc::downgrade(&self);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(pause).await;
                let Some(ingest) = ingest.upgrade() else { return };
                let mut registry = ingest.registry.lock();
                let idle: Vec<ClientId> = registry
                    .sessions
                    .values()
                    .filter(|session| session.idle_for() > timeout)
                    .map(|session| session.client)
                    .collect();
                for client in idle {
                    registry.end(client, "it was idle for too long", &ingest.database);
                }
            }
        });
    }
}

impl Registry {
    fn bind(&mut self, client: ClientId, ingest: &Ingest) -> Result<Arc<Session>> {
        if let Some(session) = self.sessions.get(&client) {
            // While the registry is held, so that it cannot be taken for idle in between.
            session.touch();
            return Ok(session.clone());
        }
        let ended = || Error::SessionLost { reason: "the connection has ended".into() };
        if !self.connections.contains_key(&client.connection) {
            return Err(ended());
        }
        // The same identifier elsewhere is the same client before it reconnected, whether or not the old connection is
        // known to be dead yet. A straggler from the old one must not end the session on the new one.
        if let Some(home) = self.homes.get(&client.identifier).copied() {
            if home > client.connection {
                return Err(Error::SessionLost { reason: "the client has reconnected since".into() });
            }
            self.end(ClientId { connection: home, ..client }, "the client reconnected", &ingest.database);
        }
        let identity = client.identity();
        let lost = self.identities.tell(identity);
        let connected = self.connections.get_mut(&client.connection).ok_or_else(ended)?;
        connected.identifiers.push(client.identifier);
        let peer = connected.peer;
        let footing = self.footing(client, self.connections.get(&client.connection));
        let predecessor = self.ending.remove(&identity).and_then(|session| session.upgrade());
        let arrival = Arrival { footing, told: lost.is_some() };
        let session = Arc::new(Session::new(client, peer, arrival, ingest.buffered.clone(), predecessor));
        self.sessions.insert(client, session.clone());
        if client.identifier != 0 {
            self.homes.insert(client.identifier, client.connection);
        }
        match lost {
            Some(reason) => Err(Error::SessionLost { reason }),
            None => Ok(session),
        }
    }

    /// How a client came to the connection it is on.
    fn footing(&self, client: ClientId, connected: Option<&Connected>) -> Footing {
        let handed_out = connected.is_some_and(|connected| connected.handed_out.contains(&client.identifier));
        match client.identifier == 0 || handed_out {
            true => Footing::New,
            false => Footing::Returned { is_ours: self.identities.is_ours(client.identifier) },
        }
    }

    /// Whether there can be another session of `identity`.
    fn may_come_back(&self, identity: Identity) -> bool {
        match identity {
            Identity::Identifier(_) => true,
            Identity::Connection(connection) => self.connections.contains_key(&connection),
        }
    }

    fn end(&mut self, client: ClientId, why: &str, database: &Arc<Database>) {
        let Some(session) = self.sessions.remove(&client) else { return };
        if self.homes.get(&client.identifier) == Some(&client.connection) {
            self.homes.remove(&client.identifier);
        }
        if let Some(connected) = self.connections.get_mut(&client.connection) {
            connected.identifiers.retain(|known| *known != client.identifier);
        }
        let reason = session.close(why, database);
        if self.ending.len() >= ENDING_SWEEP {
            self.ending.retain(|_, session| session.strong_count() > 0);
        }
        let identity = client.identity();
        self.ending.insert(identity, Arc::downgrade(&session));
        if let Some(reason) = reason
            && self.may_come_back(identity)
        {
            self.identities.lose(identity, reason);
        }
    }
}

#[cfg(test)]
mod tests;
