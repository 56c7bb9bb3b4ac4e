//! Letting a commit pass that keeps losing.
//!
//! A delete compares the collection's head, and a merge the fragments it replaces, so with many writers they could lose
//! for ever. After some losses such a commit puts an intent key; every commit of the collection compares that key
//! absent, except its owner's. The key lives under a lease, so that an owner that died holds nobody up for long. It is a
//! courtesy, not a lock: safety is still in what the commit itself compares.

use std::time::Duration;

use redkite_meta::{Compare, CompareOp, CompareTarget, LeaseId, Op, Txn};

use crate::Database;

/// Losses after which the others are asked to let a commit pass.
pub const AFTER_LOSSES: u32 = 3;
/// How long an intent outlives its owner.
const TERM: Duration = Duration::from_secs(10);

/// The intents one commit holds.
#[derive(Debug)]
pub struct Intents<'d> {
    database: &'d Database,
    token: String,
    lease: Option<LeaseId>,
    held: Vec<String>,
}

impl<'d> Intents<'d> {
    /// None yet.
    pub fn new(database: &'d Database) -> Self {
        Self { database, token: String::new(), lease: None, held: Vec::new() }
    }

    /// Nobody else asked to be let pass on this collection.
    pub fn allows(&self, segment: &str) -> Compare {
        let key = self.database.keys.intent(segment);
        if self.held.iter().any(|held| held == segment) {
            let target = CompareTarget::Value(self.token.clone().into());
            return Compare { key, op: CompareOp::Equal, target };
        }
        Compare::absent(key)
    }

    /// After the `losses`-th loss of a commit that rests on what others change in the collections of `segments`. True if
    /// the next try should wait a little: somebody else asked to be let pass.
    pub async fn after_loss(&mut self, losses: u32, segments: Vec<String>) -> bool {
        if losses < AFTER_LOSSES {
            return false;
        }
        // What was held may have expired or been the reason for the loss: start over.
        self.release().await;
        if segments.is_empty() {
            // Inserts lose to an intent only, or to a change of the collection.
            return true;
        }
        match self.ask(segments).await {
            Ok(asked) => !asked,
            Err(error) => {
                tracing::debug!(%error, "could not ask others to let a commit pass; it tries without");
                self.release().await;
                true
            }
        }
    }

    /// Puts an intent on each of the collections; false, and none put, if somebody else has one of them.
    async fn ask(&mut self, mut segments: Vec<String>) -> redkite_meta::Result<bool> {
        let meta = &self.database.meta;
        let lease = meta.lease_grant(TERM).await?;
        self.lease = Some(lease);
        self.token = format!("{:016x}", self.database.ambient.random());
        segments.sort_unstable();
        for segment in segments {
            let key = self.database.keys.intent(&segment);
            let put = Op::Put { key: key.clone(), value: self.token.clone().into(), lease: Some(lease) };
            let txn = Txn { compares: vec![Compare::absent(key)], then: vec![put], otherwise: Vec::new() };
            if !meta.txn(txn).await?.succeeded {
                // Somebody else's turn; holding some of several while waiting could block both.
                self.release().await;
                return Ok(false);
            }
            self.held.push(segment);
        }
        Ok(true)
    }

    /// Gives everything back. What cannot be given back expires.
    pub async fn release(&mut self) {
        self.held.clear();
        if let Some(lease) = self.lease.take()
            && let Err(error) = self.database.meta.lease_revoke(lease).await
        {
            tracing::debug!(%error, "an intent could not be given back and will expire");
        }
    }
}
