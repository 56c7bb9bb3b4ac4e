//! Where a user's revisions begin, if the metadata was restored from a dump.
//!
//! A restore first marks the user as being restored, then puts all keys, and at last, in the transaction that makes the user
//! whole, says the base. So a process finds a user that was never restored, one that is whole, or one it must not serve.

use std::sync::Arc;

use redkite_types::Revision;
use serde::{Deserialize, Serialize};

use crate::keys::UserKeys;
use crate::rebased::Rebased;
use crate::versioned::{self, Unusable};
use crate::{Error, KeyValue, MetaStore, Result};

/// The newest format of the value.
const FORMAT: u32 = 1;
/// No base is above this: what is added to it stays far from what a number holds.
const BASE_MAX: i64 = 1 << 43;

/// The value of `/<user>/.head/base`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Base {
    /// Of this value.
    pub format: u32,
    /// How far the restore is.
    pub state: State,
    /// What is added to the store's own revisions.
    pub base: Revision,
    /// The checksum of the dump, for people.
    pub dump: String,
    /// When the restore began, milliseconds since 1970.
    pub restored_ms: u64,
}

/// How far a restore is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Keys may be missing.
    Restoring,
    /// All keys are there.
    Restored,
}

impl Base {
    /// A base, as of this version.
    pub fn new(state: State, base: Revision, dump: String, restored_ms: u64) -> Self {
        Self { format: FORMAT, state, base, dump, restored_ms }
    }

    /// From what is stored.
    pub fn read(kv: &KeyValue) -> Result<Self> {
        let read: Self = versioned::decode(&kv.value, FORMAT).map_err(|unusable| match unusable {
            Unusable::Damaged(detail) => Error::Corrupt(format!("{}: {detail}", kv.key)),
            Unusable::Newer { found, supported } => Error::NewerFormat { what: kv.key.clone(), found, supported },
        })?;
        match read.base.0 {
            0..=BASE_MAX => Ok(read),
            base => Err(Error::Corrupt(format!("{}: {base} is no base that a restore puts", kv.key))),
        }
    }

    /// What is added to revisions; [`Error::HalfRestored`] if that is not settled.
    pub fn of_whole(&self, key: &str) -> Result<Revision> {
        match self.state {
            State::Restored => Ok(self.base),
            State::Restoring => Err(Error::HalfRestored { key: key.to_owned() }),
        }
    }
}

/// What is added to the revisions of the user of `keys` in a store that is seen without.
pub async fn of(meta: &dyn MetaStore, keys: &UserKeys) -> Result<Revision> {
    match meta.get(&keys.base()).await? {
        Some(kv) => Base::read(&kv)?.of_whole(&kv.key),
        None => Ok(Revision::ZERO),
    }
}

/// The store as the user of `keys` sees it. Fails if the user is not whole.
pub async fn open(meta: Arc<dyn MetaStore>, keys: &UserKeys) -> Result<Arc<dyn MetaStore>> {
    match of(meta.as_ref(), keys).await? {
        Revision::ZERO => Ok(meta),
        base => Ok(Arc::new(Rebased::new(meta, base))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_that_no_restore_puts_is_refused() {
        for (base, is_one) in [(0, true), (2_000_000_000, true), (-1, false), (i64::MAX, false)] {
            let value = serde_json::to_vec(&Base::new(State::Restored, Revision(base), String::new(), 0)).unwrap();
            let (create_revision, mod_revision) = (Revision(1), Revision(1));
            let kv = KeyValue {
                key: "k".into(),
                value: value.into(),
                create_revision,
                mod_revision,
                version: 1,
                lease: None,
            };
            match Base::read(&kv) {
                Ok(read) => assert!(is_one && read.base == Revision(base), "{base}"),
                Err(error) => assert!(!is_one && error.to_string().contains("no base"), "{error}"),
            }
        }
    }
}
