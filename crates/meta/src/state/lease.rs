//! Leases of the state machine: terms, deadlines, and which keys hang on them.
//!
//! Invariant: a key is in a lease's set exactly if its newest version is a put under that lease.

use std::sync::Arc;
use std::time::Duration;

use imbl::OrdSet;

use super::{Change, Record, State};
use crate::{Error, LeaseId, Result};

/// Most leases alive at once; a node needs a handful, so beyond this somebody leaks them.
const LEASES_MAX: usize = 10_000;

/// A lease that is alive.
#[derive(Debug, Clone)]
pub(crate) struct Lease {
    pub(crate) ttl: Duration,
    deadline: Duration,
    renewed: bool,
    keys: OrdSet<Arc<str>>,
}

impl Lease {
    pub(crate) fn new(ttl: Duration, now: Duration) -> Self {
        Self::until(ttl, now.saturating_add(ttl))
    }

    /// One whose term ends at `deadline` unless it is renewed.
    pub(crate) fn until(ttl: Duration, deadline: Duration) -> Self {
        Self { ttl, deadline, renewed: false, keys: OrdSet::new() }
    }
}

impl State {
    /// Grants a lease with an id never used before.
    pub fn grant_lease(&mut self, ttl: Duration, now: Duration) -> Result<LeaseId> {
        if self.leases.len() >= LEASES_MAX {
            return Err(Error::NoSpace(format!("{LEASES_MAX} leases are alive, the most there may be")));
        }
        self.lease_last += 1;
        let id = LeaseId(self.lease_last);
        self.leases.insert(id, Lease::new(ttl, now));
        Ok(id)
    }

    /// Starts another term; whether it is the lease's first renewal. Only that has to be durable: a lease that was renewed
    /// starts a term after a restart, so it does not matter how often it was.
    pub fn keep_lease_alive(&mut self, id: LeaseId, now: Duration) -> Result<bool> {
        match self.leases.get_mut(&id) {
            Some(lease) if lease.deadline > now => {
                lease.deadline = now.saturating_add(lease.ttl);
                Ok(!std::mem::replace(&mut lease.renewed, true))
            }
            _ => Err(Error::LeaseNotFound(id.0)),
        }
    }

    /// Ends a lease and deletes its keys, all at one revision; no change if it had none.
    pub fn revoke_lease(&mut self, id: LeaseId) -> Result<Option<Arc<Change>>> {
        let lease = self.leases.remove(&id).ok_or(Error::LeaseNotFound(id.0))?;
        let revision = self.revision.next();
        let records = lease.keys.iter().map(|key| self.delete_key(Arc::clone(key), revision)).collect();
        Ok(self.close_revision(records))
    }

    /// The leases whose term is over.
    pub fn expired_leases(&self, now: Duration) -> Vec<LeaseId> {
        self.leases.iter().filter(|(_, lease)| lease.deadline <= now).map(|(id, _)| *id).collect()
    }

    /// When the next lease expires unless it is renewed.
    pub fn next_expiry(&self) -> Option<Duration> {
        self.leases.values().map(|lease| lease.deadline).min()
    }

    /// When a lease expires unless it is renewed.
    pub fn lease_deadline(&self, id: LeaseId) -> Option<Duration> {
        self.leases.get(&id).map(|lease| lease.deadline)
    }

    /// Whether the lease is there to put keys under.
    pub(super) fn has_lease(&self, id: LeaseId) -> bool {
        self.leases.contains_key(&id)
    }

    /// Hangs the key on the lease of its new version and off that of the old one.
    pub(super) fn move_lease(&mut self, old: Option<LeaseId>, new: &Record) {
        if old == new.lease {
            return;
        }
        if let Some(lease) = old.and_then(|id| self.leases.get_mut(&id)) {
            lease.keys.remove(&new.key);
        }
        if let Some(lease) = new.lease.and_then(|id| self.leases.get_mut(&id)) {
            lease.keys.insert(Arc::clone(&new.key));
        }
    }

    /// Hangs every living key on its lease, after the leases themselves were restored.
    pub(super) fn attach_restored(&mut self) -> Result<()> {
        for chain in self.keys.values() {
            let record = chain.newest();
            let Some(id) = record.lease else { continue };
            let lease = self.leases.get_mut(&id).ok_or_else(|| {
                Error::Corrupt(format!("key {:?} hangs on lease {}, which is not there", record.key, id.0))
            })?;
            lease.keys.insert(Arc::clone(&record.key));
        }
        Ok(())
    }
}
