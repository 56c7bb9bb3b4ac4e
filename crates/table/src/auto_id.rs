//! Automatic primary keys: unique for ever, without a clock.
//!
//! A counter in the metadata store hands out ranges by compare-and-swap; a node uses a range up in memory and loses the
//! rest when it stops. Keys therefore grow, and have gaps.

use std::ops::Range;
use std::sync::Arc;

use redkite_meta::{Compare, MetaStore, Op, Txn};
use redkite_types::Revision;
use tokio::sync::Mutex;

use crate::{Error, Result};

/// Keys taken from the store at once, or as many as one insert needs.
const RANGE_KEYS: i64 = 1 << 16;
/// The first key; below lies room for keys the user chooses.
pub(crate) const FIRST_KEY: i64 = 1 << 40;
/// Tries to win a range against other nodes.
const TRIES: u32 = 64;

/// Hands out automatic keys.
#[derive(Debug)]
pub struct AutoIds {
    meta: Arc<dyn MetaStore>,
    key: String,
    left: Mutex<Range<i64>>,
}

impl AutoIds {
    /// Keys from the counter at `key`.
    pub fn new(meta: Arc<dyn MetaStore>, key: String) -> Self {
        Self { meta, key, left: Mutex::new(0..0) }
    }

    /// `count` consecutive keys nobody else ever gets.
    pub async fn take(&self, count: usize) -> Result<Range<i64>> {
        let count = i64::try_from(count).map_err(|_| overflow())?;
        let mut left = self.left.lock().await;
        if left.end - left.start < count {
            *left = self.reserve(count.max(RANGE_KEYS)).await?;
        }
        let taken = left.start..left.start + count;
        left.start = taken.end;
        Ok(taken)
    }

    async fn reserve(&self, count: i64) -> Result<Range<i64>> {
        for _ in 0..TRIES {
            let stored = self.meta.get(&self.key).await?;
            let (start, revision) = match &stored {
                None => (FIRST_KEY, Revision::ZERO),
                Some(kv) => {
                    let start = serde_json::from_slice(&kv.value)
                        .map_err(|error| Error::Damaged { what: self.key.clone(), detail: error.to_string() })?;
                    (start, kv.mod_revision)
                }
            };
            let end = i64::checked_add(start, count).ok_or_else(overflow)?;
            let txn = Txn {
                compares: vec![Compare::unchanged_since(&self.key, revision)],
                then: vec![Op::put(&self.key, end.to_string())],
                otherwise: Vec::new(),
            };
            match self.meta.txn(txn).await {
                Ok(response) if response.succeeded => return Ok(start..end),
                // Lost, or perhaps won without being told: a range that nobody uses does no harm.
                Ok(_) | Err(redkite_meta::Error::OutcomeUnknown(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(Error::Contended { what: "the counter of automatic keys".into() })
    }
}

fn overflow() -> Error {
    Error::LimitReached { what: "automatic keys", limit: i64::MAX as usize, advice: "use keys of your own" }
}
