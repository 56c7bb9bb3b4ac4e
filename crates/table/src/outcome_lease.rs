//! The lease that outcomes of commits live under: one an hour and node, never renewed.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use redkite_meta::{LeaseId, MetaStore};
use tokio::sync::Mutex;

use crate::{Ambient, Result};

/// How long one lease takes new outcomes.
const USED_FOR: Duration = Duration::from_secs(3_600);
/// Its term: an outcome is remembered for at least a day (S37).
pub(crate) const TERM: Duration = Duration::from_secs(26 * 3_600);

/// Hands out the lease of this hour.
#[derive(Debug)]
pub struct OutcomeLease {
    meta: Arc<dyn MetaStore>,
    ambient: Ambient,
    /// Held while one is granted, so that all who need the next one take the same.
    current: Mutex<Option<(LeaseId, SystemTime)>>,
}

impl OutcomeLease {
    /// Leases of `meta`.
    pub fn new(meta: Arc<dyn MetaStore>, ambient: Ambient) -> Self {
        Self { meta, ambient, current: Mutex::new(None) }
    }

    /// The lease to attach outcomes to now.
    pub async fn current(&self) -> Result<LeaseId> {
        let mut current = self.current.lock().await;
        let now = self.ambient.now();
        if let Some((lease, since)) = *current {
            // A clock set back makes the difference an error: take a new lease then, too.
            if now.duration_since(since).is_ok_and(|age| age < USED_FOR) {
                return Ok(lease);
            }
        }
        let lease = self.meta.lease_grant(TERM).await?;
        *current = Some((lease, now));
        Ok(lease)
    }

    /// Drops a lease the store no longer knows.
    pub async fn forget(&self, lease: LeaseId) {
        let mut current = self.current.lock().await;
        if current.is_some_and(|(known, _)| known == lease) {
            *current = None;
        }
    }
}
