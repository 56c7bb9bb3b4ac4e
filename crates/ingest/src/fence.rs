//! Keeps a client that goes from node to node from being overtaken by its own past (S06), and from taking what it lost elsewhere
//! for kept (S10).
//!
//! A client that connects asks for an identifier, and keeps it when its connection is lost, wherever it goes then. A process that
//! takes up an identifier which it did not hand out on that connection looks for its *mark* in the metadata: which process took
//! it up last. If that was another one, it puts its own mark and tells the client, once, that it starts anew. Every flush compares
//! that the mark is what it was when its session began. So a flush that still runs elsewhere has landed before the mark was
//! put, or never does. A change of a collection compares the same, whether or not its client has a session.
//!
//! It costs a read where a client reconnects, and a write where it has been elsewhere; who stays on its first connection has
//! no mark, and its flushes one compare more. A mark lives for at least a day, and one whose client still calls is put anew before
//! that. A flush that has not landed by then has long been given up.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use redkite_meta::{Compare, MetaStore};
use redkite_table::Database;
use redkite_table::ddl::Guard;
use redkite_table::entry::{self, FORMAT};
use redkite_types::{NodeId, Revision};
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Tries to put a mark; each failed one means that another process did, or that an answer was lost.
const TRIES: u32 = 16;
/// A mark is put anew with the first call of its client after this time: were it to end while the client is here, the process
/// that handed out the identifier would believe that it has never been away.
const RENEWED_AFTER: Duration = Duration::from_secs(12 * 3_600);

/// How a client came to the connection it is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Footing {
    /// It got its identifier there, or has none: it can have been nowhere else.
    New,
    /// It brought its identifier along, one of this process's or not.
    Returned {
        /// Whether this process handed it out.
        is_ours: bool,
    },
}

/// The value of `/<user>/.client/<identifier>`.
#[derive(Debug, Serialize, Deserialize)]
struct Mark {
    format: u32,
    cluster: String,
    node: NodeId,
    /// Which process.
    boot: String,
    /// When it was put, milliseconds since 1970.
    #[serde(default)]
    put_ms: u64,
}

/// What a session's flushes compare.
#[derive(Debug)]
pub struct Fence {
    key: String,
    boot: Arc<str>,
    held: Mutex<Held>,
}

/// The mark as a fence knows it.
#[derive(Debug, Clone, Copy, Default)]
struct Held {
    /// Its mod revision; zero if there is none.
    since: Revision,
    /// When it was put.
    put_ms: u64,
}

#[async_trait]
impl Guard for Fence {
    /// Fails a commit once another process has taken up the client.
    fn compare(&self) -> Compare {
        Compare::unchanged_since(&self.key, self.held.lock().since)
    }

    /// After a commit has lost: whether the client still is this process's.
    async fn stands(&self, meta: &dyn MetaStore) -> redkite_table::Result<bool> {
        let held = match meta.get(&self.key).await? {
            // Its lease is over.
            None => Held::default(),
            Some(kv) => match entry::parse::<Mark>(&kv.key, &kv.value)? {
                mark if *mark.boot == *self.boot => Held { since: kv.mod_revision, put_ms: mark.put_ms },
                _ => return Ok(false),
            },
        };
        *self.held.lock() = held;
        Ok(true)
    }
}

impl Fence {
    /// Whether there is a mark, and it has been there for long.
    fn is_old(&self, now_ms: u64) -> bool {
        let Held { since, put_ms } = *self.held.lock();
        since > Revision::ZERO && Duration::from_millis(now_ms.saturating_sub(put_ms)) >= RENEWED_AFTER
    }
}

/// The fences of one process's sessions.
#[derive(Debug)]
pub(crate) struct Fences {
    boot: Arc<str>,
}

impl Fences {
    /// `random` tells this process from others.
    pub(crate) fn new(random: u64) -> Self {
        Self { boot: format!("{random:016x}").into() }
    }

    fn fence(&self, key: String, held: Held) -> Arc<Fence> {
        Arc::new(Fence { key, boot: self.boot.clone(), held: Mutex::new(held) })
    }

    fn mark(&self, database: &Database) -> Mark {
        let options = &database.options;
        Mark {
            format: FORMAT,
            cluster: options.cluster.to_string(),
            node: options.node,
            boot: self.boot.to_string(),
            put_ms: database.ambient.now_ms(),
        }
    }

    /// Takes up a client. If it may have lost something elsewhere, `losing` hears of it before the mark is put: whoever finds the
    /// mark of this process there does not ask again.
    pub(crate) async fn take_up(
        &self,
        database: &Database,
        identifier: i64,
        footing: Footing,
        losing: impl Fn(String),
    ) -> Result<Arc<Fence>> {
        let key = database.keys.client(identifier);
        let Footing::Returned { is_ours } = footing else { return Ok(self.fence(key, Held::default())) };
        for _ in 0..TRIES {
            let stored = database.meta.get(&key).await.map_err(redkite_table::Error::from)?;
            let since = stored.as_ref().map_or(Revision::ZERO, |kv| kv.mod_revision);
            let mark = stored.map(|kv| entry::parse::<Mark>(&kv.key, &kv.value)).transpose()?;
            match &mark {
                Some(mark) if *mark.boot == *self.boot => {
                    return Ok(self.fence(key, Held { since, put_ms: mark.put_ms }));
                }
                // It has been nowhere else, and what it lost here is known here.
                None if is_ours => return Ok(self.fence(key, Held::default())),
                _ => {}
            }
            losing(reason(mark.as_ref()));
            let own = self.mark(database);
            match database.committer.put_for_a_day(&key, since, entry::encode(&own)?).await {
                Ok(Some(since)) => return Ok(self.fence(key, Held { since, put_ms: own.put_ms })),
                // Another one was faster, or it is there although no answer came.
                Ok(None) | Err(redkite_table::Error::Meta(redkite_meta::Error::OutcomeUnknown(_))) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(redkite_table::Error::Contended { what: key }.into())
    }

    /// Puts the mark of a client anew that has been here for long.
    pub(crate) async fn renew(&self, database: &Database, fence: &Fence) -> Result<()> {
        for _ in 0..TRIES {
            if !fence.is_old(database.ambient.now_ms()) {
                return Ok(());
            }
            // What stands there is known again, gone with its lease or not.
            if !fence.stands(database.meta.as_ref()).await? {
                // The next flush says so.
                return Ok(());
            }
            let (own, since) = (self.mark(database), fence.held.lock().since);
            if let Some(since) = database.committer.put_for_a_day(&fence.key, since, entry::encode(&own)?).await? {
                *fence.held.lock() = Held { since, put_ms: own.put_ms };
            }
        }
        Err(redkite_table::Error::Contended { what: fence.key.clone() }.into())
    }
}

fn reason(mark: Option<&Mark>) -> String {
    match mark {
        Some(Mark { cluster, node, .. }) => {
            format!("it has been connected to node {node} of cluster {cluster} since, or the server was restarted")
        }
        None => "the server was restarted since this client connected, or it was connected to another one".to_owned(),
    }
}

/// What a flush hears whose client has gone.
pub(crate) fn gone() -> Error {
    metrics::counter!("redkite_sessions_lost_total").increment(1);
    Error::SessionLost { reason: "another node has taken up this client".to_owned() }
}
