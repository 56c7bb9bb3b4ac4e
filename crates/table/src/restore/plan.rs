//! What becomes of each key of a dump. Pure.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use redkite_meta::KeyValue;
use redkite_meta::keys::{Term, UserKey, UserKeys};
use redkite_types::{Revision, UserName};

use super::RestoreError;
use crate::auto_id::FIRST_KEY;
use crate::entry::{self, FileEntry};
use crate::horizon::Horizon;

/// A base is a multiple of this and lies at least so far above the dump: no store gets further between a dump and its loss.
pub const STEP: i64 = 1_000_000_000;
/// Automatic keys that may have been handed out after the dump and are not handed out again.
pub const AUTO_IDS_SKIPPED: i64 = 1 << 32;
/// No base is above this: ids of collections have room for revisions up to 2^43, and a store for a few years of use.
const BASE_MAX: i64 = 1 << 42;

/// A user's metadata as a dump has it.
#[derive(Debug, Clone)]
pub struct DumpedUser {
    /// The user.
    pub user: UserName,
    /// The revision that the dump is of.
    pub revision: Revision,
    /// All keys with their values.
    pub entries: Vec<(String, Bytes)>,
}

/// What to put.
#[derive(Debug)]
pub struct Plan {
    /// For whom.
    pub users: Vec<UserPlan>,
}

/// What to put for one user.
#[derive(Debug)]
pub struct UserPlan {
    /// The user.
    pub user: UserName,
    /// Its keys.
    pub keys: UserKeys,
    /// What revisions are counted from.
    pub base: Revision,
    /// Keys that are put as they were.
    pub puts: Vec<Put>,
    /// The next automatic key.
    pub auto_id: i64,
    /// What the horizon was.
    pub horizon: Horizon,
    /// Which object store it was, key and value.
    pub store: Option<(String, Bytes)>,
    /// What claim it had on the files, key and value.
    pub claim: Option<(String, Bytes)>,
    /// Files of collections that are not dropped: by segment, path in its data folder and size.
    pub files: BTreeMap<String, Vec<(String, u64)>>,
}

/// A key that is put as it was.
#[derive(Debug)]
pub struct Put {
    /// The key.
    pub key: String,
    /// The value.
    pub value: Bytes,
    /// Under a new lease.
    pub is_leased: bool,
}

impl Plan {
    /// What is to be put for these users. Refused if there is a key that this version does not know, or a value that says
    /// what has to be known and cannot be read.
    pub fn of(users: Vec<DumpedUser>) -> Result<Self, RestoreError> {
        if users.is_empty() {
            return Err(RestoreError::Empty);
        }
        Ok(Self { users: users.into_iter().map(UserPlan::of).collect::<Result<_, _>>()? })
    }

    /// Keys that are put as they were.
    pub fn keys(&self) -> usize {
        self.users.iter().map(|user| user.puts.len()).sum()
    }
}

impl UserPlan {
    fn of(dumped: DumpedUser) -> Result<Self, RestoreError> {
        let DumpedUser { user, revision, entries } = dumped;
        let keys = UserKeys::new(&user);
        let base = base_above(&user, revision)?;
        let mut plan = Self {
            user,
            keys,
            base,
            puts: Vec::new(),
            auto_id: FIRST_KEY + AUTO_IDS_SKIPPED,
            horizon: Horizon::default(),
            store: None,
            claim: None,
            files: BTreeMap::new(),
        };
        let schemas = entries.iter().filter_map(|(key, _)| match plan.keys.parse(key)? {
            UserKey::Schema { segment } => Some(segment.to_owned()),
            _ => None,
        });
        let live: BTreeSet<String> = schemas.collect();
        entries.into_iter().try_for_each(|(key, value)| plan.take(key, value, &live))?;
        // They are put one transaction after another, and what a tombstone speaks of has to be older than it: of a dropped
        // collection only entries that are get collected.
        let keys = &plan.keys;
        plan.puts.sort_by_key(|put| {
            matches!(keys.parse(&put.key), Some(UserKey::CollectionTombstone | UserKey::Tombstone { .. }))
        });
        Ok(plan)
    }

    /// Goes on above what an earlier restore gave the user: that base, and automatic keys from that one on.
    pub(super) fn go_above(&mut self, base: Revision, auto_id: i64) -> Result<(), RestoreError> {
        self.base = self.base.max(base_above(&self.user, base)?);
        self.auto_id = self.auto_id.max(skip_auto_ids(self.keys.auto_id(), auto_id)?);
        Ok(())
    }

    fn take(&mut self, key: String, value: Bytes, live: &BTreeSet<String>) -> Result<(), RestoreError> {
        let is_leased = match self.keys.term(&key) {
            None => return Err(RestoreError::UnknownKey { key }),
            Some(Term::Process) => return Ok(()),
            Some(Term::Store) => return self.take_over(key, value),
            Some(Term::Day) => true,
            Some(Term::Lasting) => false,
        };
        if key == self.keys.store() {
            self.store = Some((key.clone(), value.clone()));
        }
        if let Some(UserKey::Data { segment, path }) = self.keys.parse(&key)
            && live.contains(segment)
        {
            let entry: FileEntry = entry::parse(&key, &value)?;
            self.files.entry(segment.to_owned()).or_default().push((path.to_owned(), entry.size));
        }
        self.puts.push(Put { key, value, is_leased });
        Ok(())
    }

    /// Takes over from what was of the lost store what the new one has to go on from.
    fn take_over(&mut self, key: String, value: Bytes) -> Result<(), RestoreError> {
        if key == self.keys.auto_id() {
            let next: i64 = serde_json::from_slice(&value)
                .map_err(|error| crate::Error::Damaged { what: key.clone(), detail: error.to_string() })?;
            self.auto_id = skip_auto_ids(key, next)?;
        } else if key == self.keys.horizon() {
            let (create_revision, mod_revision) = (Revision::ZERO, Revision::ZERO);
            self.horizon =
                Horizon::read(&KeyValue { key, value, create_revision, mod_revision, version: 1, lease: None })?;
        } else if key == self.keys.claim() {
            self.claim = Some((key, value));
        }
        Ok(())
    }
}

/// The base for a user that has come to `revision`.
fn base_above(user: &UserName, revision: Revision) -> Result<Revision, RestoreError> {
    match revision.0 {
        known @ 0..BASE_MAX => Ok(Revision((known / STEP + 2) * STEP)),
        _ => Err(RestoreError::Revision { user: user.clone(), revision }),
    }
}

/// The next automatic key where `next` was it at some time before the loss.
fn skip_auto_ids(key: String, next: i64) -> Result<i64, crate::Error> {
    let detail = || format!("{next} leaves no room for further keys");
    next.checked_add(AUTO_IDS_SKIPPED).ok_or_else(|| crate::Error::Damaged { what: key, detail: detail() })
}
