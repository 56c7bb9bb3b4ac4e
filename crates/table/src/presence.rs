//! What a node tells the others it still needs, under a lease, and the old revisions it pins.
//!
//! - The *read floor* of a node is the oldest catalog any of its requests holds. It only rises, and it is put before the
//!   node reads its first catalog, so a lower one never appears.
//! - Its *oldest id* is the least revision of ids it may still commit under.
//! - A *pin* is an older revision that a node reads on request. A new pin compares the horizon, and whoever raises the
//!   horizon compares that no pin is new: one of two that meet loses and looks again.
//!
//! All of this is a courtesy of collectors to readers. A node whose lease ended keeps serving right answers: files are
//! never changed or reused, and one that is missing is an error, never an empty file.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use redkite_meta::keys::UserKeys;
use redkite_meta::{KeyRange, KeyValue, LeaseId, MetaStore, Op, OpResult, RangeRequest, Txn};
use redkite_types::{ClusterId, Incarnation, NodeId, Revision};
use serde::{Deserialize, Serialize};

use crate::entry::{self, FORMAT};
use crate::horizon::{self, Horizon};
use crate::{Ambient, DatabaseOptions, Error, Result};

/// How long what a node said outlives it.
const TERM: Duration = Duration::from_secs(60);
/// Pause between renewals: two may fail.
pub const RENEWAL_PAUSE: Duration = Duration::from_secs(20);
/// How long a pin nobody uses is kept for the next read of the same revision.
const PIN_LINGERS_MS: u64 = 60_000;
/// Most old revisions one node pins.
const PINS_MAX: usize = 1_024;
/// Tries to put something under a lease that keeps ending.
const LEASE_TRIES: u32 = 3;

/// The value of `/<user>/.node/<cluster>/<node>/<incarnation>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeNeeds {
    /// See [`FORMAT`].
    pub format: u32,
    /// The node reads no revision before this one, pins aside.
    pub read_floor: Revision,
    /// The node commits under no id made before this revision.
    pub oldest_id: Revision,
}

/// What one node has told.
#[derive(Debug)]
pub(crate) struct Presence {
    meta: Arc<dyn MetaStore>,
    keys: UserKeys,
    cluster: ClusterId,
    node: NodeId,
    incarnation: Incarnation,
    ambient: Ambient,
    told: Mutex<Option<Told>>,
    /// Held while needs are worked out and told, so that older ones are never told after newer ones.
    telling: tokio::sync::Mutex<()>,
    pins: tokio::sync::Mutex<Pins>,
}

/// The pins of this node.
#[derive(Debug, Default)]
struct Pins {
    held: BTreeMap<Revision, Held>,
    /// Whose keys may be there although nobody holds them: the request that put one was cancelled before it knew.
    doubtful: BTreeSet<Revision>,
}

/// What the node said last.
#[derive(Debug, Clone, Copy)]
struct Told {
    lease: LeaseId,
    needs: NodeNeeds,
    /// The revision that saying it made.
    at: Revision,
}

impl Told {
    /// Whether `needs` are more than what was said plus the revision that saying it made: an idle node has not to say
    /// again that it has seen itself speak.
    fn is_outdated_by(&self, needs: NodeNeeds) -> bool {
        let moved = |last: Revision, now: Revision| now != last && !(now == self.at && last.next() == self.at);
        moved(self.needs.read_floor, needs.read_floor) || moved(self.needs.oldest_id, needs.oldest_id)
    }
}

#[derive(Debug)]
struct Held {
    lease: LeaseId,
    users: Arc<()>,
    last_used_ms: u64,
}

/// Keeps an old revision readable until dropped, and a little longer.
#[derive(Debug, Clone)]
pub struct Pin {
    _users: Arc<()>,
}

impl Presence {
    /// Tells the others of this node, before it reads its first catalog.
    pub(crate) async fn announce(
        meta: Arc<dyn MetaStore>,
        keys: UserKeys,
        who: &DatabaseOptions,
        ambient: Ambient,
    ) -> Result<Self> {
        let presence = Self {
            meta,
            keys,
            cluster: who.cluster.clone(),
            node: who.node,
            incarnation: who.incarnation,
            ambient,
            told: Mutex::default(),
            telling: Default::default(),
            pins: Default::default(),
        };
        // Any revision read now is one that no later catalog is older than.
        let key = presence.key();
        let now = presence.meta.range(RangeRequest::new(KeyRange::Exact(key))).await?.revision;
        presence.tell(|| NodeNeeds { format: FORMAT, read_floor: now, oldest_id: now }).await?;
        Ok(presence)
    }

    fn key(&self) -> String {
        self.keys.node(&self.cluster, self.node, self.incarnation)
    }

    fn pin_key(&self, revision: Revision) -> String {
        self.keys.pin(&self.cluster, self.node, self.incarnation, revision)
    }

    /// Puts what the node needs now, if that is not what it said last; renews or replaces the lease.
    pub(crate) async fn tell(&self, needs: impl FnOnce() -> NodeNeeds) -> Result<()> {
        let _telling = self.telling.lock().await;
        let needs = needs();
        for _ in 0..LEASE_TRIES {
            let told = *self.told.lock();
            if let Some(told) = told {
                match self.meta.lease_keep_alive(told.lease).await {
                    Ok(()) if !told.is_outdated_by(needs) => return Ok(()),
                    Ok(()) => {}
                    Err(redkite_meta::Error::LeaseNotFound(_)) => {
                        tracing::warn!("the lease of this node had ended; it tells the others again what it reads");
                        *self.told.lock() = None;
                        continue;
                    }
                    Err(error) => return Err(error.into()),
                }
            }
            let lease = match told {
                Some(told) => told.lease,
                None => self.meta.lease_grant(TERM).await?,
            };
            let put = Op::Put { key: self.key(), value: entry::encode(&needs)?, lease: Some(lease) };
            match self.meta.txn(Txn { then: vec![put], ..Txn::default() }).await {
                Ok(response) => {
                    *self.told.lock() = Some(Told { lease, needs, at: response.revision });
                    return Ok(());
                }
                Err(redkite_meta::Error::LeaseNotFound(_)) => *self.told.lock() = None,
                // Putting it again does no harm.
                Err(redkite_meta::Error::OutcomeUnknown(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(redkite_meta::Error::Unavailable("what this node reads cannot be told to the others".into()).into())
    }

    /// Takes back what the node told: it ends.
    pub(crate) async fn leave(&self) -> Result<()> {
        let told = self.told.lock().take();
        match told {
            Some(told) => Ok(self.meta.lease_revoke(told.lease).await?),
            None => Ok(()),
        }
    }

    /// Keeps `revision` readable. [`Error::TooOld`] if it is not any more. `needs`: what the node needs besides, to be told if
    /// its lease has ended.
    pub(crate) async fn pin(&self, revision: Revision, needs: impl Fn() -> NodeNeeds) -> Result<Pin> {
        let mut pins = self.pins.lock().await;
        let now_ms = self.ambient.now_ms();
        for _ in 0..LEASE_TRIES {
            let lease = self.lease(&needs).await?;
            if let Some(held) = pins.held.get_mut(&revision).filter(|held| held.lease == lease) {
                held.last_used_ms = now_ms;
                return Ok(Pin { _users: held.users.clone() });
            }
            let held = pins.held.get(&revision);
            if held.is_none() && pins.held.len() >= PINS_MAX {
                return Err(Error::LimitReached {
                    what: "past revisions read at the same time on one node",
                    limit: PINS_MAX,
                    advice: "try again in a minute",
                });
            }
            // Under another lease it has the same users.
            let users = held.map(|held| held.users.clone()).unwrap_or_default();
            let pin = self.pin_key(revision);
            let txn = Txn {
                compares: vec![horizon::allows(&self.keys, revision)],
                then: vec![
                    Op::Put {
                        key: pin,
                        value: entry::encode(&serde_json::json!({ "format": FORMAT }))?,
                        lease: Some(lease),
                    },
                    Op::put(self.keys.pins_head(), revision.to_string()),
                ],
                otherwise: vec![Op::Range(KeyRange::Exact(self.keys.horizon()))],
            };
            pins.doubtful.insert(revision);
            let response = match self.meta.txn(txn).await {
                Err(redkite_meta::Error::LeaseNotFound(_)) => {
                    *self.told.lock() = None;
                    continue;
                }
                Err(redkite_meta::Error::OutcomeUnknown(_)) => continue,
                other => other?,
            };
            pins.doubtful.remove(&revision);
            if !response.succeeded {
                let horizon = match response.results.first() {
                    Some(OpResult::Range(kvs)) => kvs.first().map_or(Ok(Horizon::default()), Horizon::read)?,
                    _ => Horizon::default(),
                };
                return Err(Error::TooOld { asked: revision.to_string(), oldest: horizon.revision });
            }
            pins.held.insert(revision, Held { lease, users: users.clone(), last_used_ms: now_ms });
            return Ok(Pin { _users: users });
        }
        Err(redkite_meta::Error::Unavailable("an old revision cannot be pinned".into()).into())
    }

    async fn lease(&self, needs: impl Fn() -> NodeNeeds) -> Result<LeaseId> {
        if let Some(told) = *self.told.lock() {
            return Ok(told.lease);
        }
        self.tell(needs).await?;
        let told = *self.told.lock();
        told.map(|told| told.lease).ok_or_else(|| Error::Internal { detail: "a lease was told and is gone".into() })
    }

    /// Releases the pins nobody has used for a while, and those of requests that were cancelled.
    pub(crate) async fn release_unused_pins(&self) -> Result<()> {
        // While this is held nobody puts a pin.
        let mut pins = self.pins.lock().await;
        let now_ms = self.ambient.now_ms();
        let unused = |held: &Held| {
            Arc::strong_count(&held.users) == 1 && now_ms.saturating_sub(held.last_used_ms) >= PIN_LINGERS_MS
        };
        let released: Vec<Revision> =
            pins.held.iter().filter(|(_, held)| unused(held)).map(|(revision, _)| *revision).collect();
        for revision in released {
            // First of all: whoever asks for it while this is under way, or was cut off, has to put it anew.
            pins.held.remove(&revision);
            pins.doubtful.insert(revision);
        }
        while let Some(revision) = pins.doubtful.first().copied() {
            if !pins.held.contains_key(&revision) {
                let key = self.pin_key(revision);
                self.meta.txn(Txn { then: vec![Op::Delete(KeyRange::Exact(key))], ..Txn::default() }).await?;
            }
            pins.doubtful.remove(&revision);
        }
        Ok(())
    }
}

/// What all nodes need, as one read of the metadata found it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Needs {
    /// Per run of a node (`<cluster>/<node>/<incarnation>`): what it told.
    pub nodes: Vec<(String, NodeNeeds)>,
    /// Per pin (`<cluster>/<node>/<incarnation>/<revision>`): the revision.
    pub pins: Vec<(String, Revision)>,
    /// The mod revision of the key that every new pin puts.
    pub pins_head: Revision,
}

impl Needs {
    /// Reads what all nodes told, at one revision.
    pub(crate) async fn read(meta: &dyn MetaStore, keys: &UserKeys) -> Result<Self> {
        let txn = Txn {
            then: vec![
                Op::Range(KeyRange::Prefix(keys.nodes())),
                Op::Range(KeyRange::Prefix(keys.pins())),
                Op::Range(KeyRange::Exact(keys.pins_head())),
            ],
            ..Txn::default()
        };
        let mut results = meta.txn(txn).await?.results.into_iter();
        let mut found = || -> Result<Vec<KeyValue>> {
            match results.next() {
                Some(OpResult::Range(kvs)) => Ok(kvs),
                _ => Err(Error::Internal { detail: "a range within a transaction has no result".into() }),
            }
        };
        let mut needs = Self::default();
        for kv in found()? {
            let node = kv.key.strip_prefix(&keys.nodes()).unwrap_or(&kv.key).to_owned();
            needs.nodes.push((node, entry::parse(&kv.key, &kv.value)?));
        }
        for kv in found()? {
            let pin = kv.key.strip_prefix(&keys.pins()).unwrap_or(&kv.key).to_owned();
            let revision = pin.rsplit('/').next().and_then(|text| text.parse().ok()).map(Revision);
            let revision = revision
                .ok_or_else(|| Error::Damaged { what: kv.key.clone(), detail: "want a revision at its end".into() })?;
            needs.pins.push((pin, revision));
        }
        needs.pins_head = found()?.first().map_or(Revision::ZERO, |kv| kv.mod_revision);
        Ok(needs)
    }

    /// The oldest revision anybody reads or may read, and who; none if nobody told anything.
    pub fn oldest_read(&self) -> Option<(Revision, &str)> {
        let nodes = self.nodes.iter().map(|(node, needs)| (needs.read_floor, node.as_str()));
        nodes.chain(self.pins.iter().map(|(pin, revision)| (*revision, pin.as_str()))).min()
    }

    /// The oldest revision anybody may still commit an id of; none if nobody told anything.
    pub fn oldest_id(&self) -> Option<Revision> {
        self.nodes.iter().map(|(_, needs)| needs.oldest_id).min()
    }
}
