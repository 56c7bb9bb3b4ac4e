//! Metadata from a dump, in a store that has lost it or in a new one.
//!
//! A dump says what the metadata was at one revision. What was committed after it is lost: rows that were flushed then are not
//! there, rows that were deleted then are there again. All else has to go on as if nothing had happened, although a new etcd
//! counts its revisions from 1. Why this is so:
//!
//! - *Revisions go on.* The new store's get a base added ([`redkite_meta::base`]) that is at least [`STEP`] above the dump's, and
//!   so above any the lost store had. New ids sort behind all older ones and repeat none, of whatever was lost either. The same
//!   holds for bases of earlier restores, which the object store remembers (`bases`).
//! - *What was begun before is over.* The floor under ids is the base: no commit that was planned before can land.
//!   Files that belong to what was lost, or to no commit at all, are below it and named by nothing: the sweep removes them.
//! - *The past ends here.* The horizon is the revision at which the last key was put: there and later, what follows from entries and
//!   tombstones is the restored state. What had been dropped by then is garbage, as its readers are gone with the lost store;
//!   the tombstones are restored so that it is collected.
//! - *Automatic keys that may have been handed out are not handed out again*: their counter skips [`AUTO_IDS_SKIPPED`].
//! - *All or nothing.* First of all the user is marked as being restored, and nobody serves a user that is. Every transaction compares
//!   that mark, so that of two restores the later one wins. The last transaction removes it for all users at once. Until
//!   then another restore clears what is there and begins anew.
//! - *Who ran before is out.* A process that read another base, or none, finds that out with its next read of the head
//!   (`crate::heads`), before it serves or removes anything. The lost store itself, should it come back, is refused at the next
//!   start over it: the claim on the user's files is another one from now on ([`crate::user_claim`]).
//!
//! A dump names the files that were there when it was written. What was merged or dropped after that may have been
//! collected since: files that are missing are looked for before anything is put, and are an error.

mod bases;
mod plan;

use std::collections::HashMap;

use redkite_meta::base::{Base, State};
use redkite_meta::keys::USER_LIST;
use redkite_meta::{Compare, KeyRange, KeyValue, LeaseId, MetaStore, Op, RangeRequest, TXN_BYTES_MAX, Txn};
use redkite_storage::DataStore;
use redkite_types::{Revision, UserName};

use crate::commit::floor_value;
use crate::database::object_path;
use crate::entry::encode;
use crate::horizon::Horizon;
use crate::{Ambient, outcome_lease, store_identity, user_claim};
pub use plan::{AUTO_IDS_SKIPPED, DumpedUser, Plan, STEP, UserPlan};

/// Keys put by one transaction.
const PUTS_MAX: usize = 100;
/// Their bytes: room is left for the compare.
const PUT_BYTES_MAX: usize = TXN_BYTES_MAX - (64 << 10);
/// What a put costs besides its key and value, from above.
const PUT_OVERHEAD_BYTES: usize = 64;

/// Why metadata is not restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// There is nobody in the dump.
    #[error("there is no user in the dump, so there is nothing to restore")]
    Empty,
    /// The user is there.
    #[error(
        "the metadata store has user {user} already; a dump is restored into a store that does not have its users, such as a \
         new etcd. If it is new, a process that was not stopped has put keys of {user} into it: stop all, and take another one"
    )]
    UserExists {
        /// The user.
        user: UserName,
    },
    /// A newer version wrote the dump.
    #[error("{key} in the dump is no key that this version knows; use the redkite that wrote the dump, or a newer one")]
    UnknownKey {
        /// The key.
        key: String,
    },
    /// What no store has come to.
    #[error(
        "user {user} was at revision {revision} in the dump, or a restore before began there, which is beyond what \
         revisions come to"
    )]
    Revision {
        /// The user.
        user: UserName,
        /// The revision.
        revision: Revision,
    },
    /// Other metadata has the files.
    #[error(
        "the files of user {user} belong to other metadata now, as {file} in the object store says: to a store that the \
         dump, or another one, was restored into. If that store is lost for good, too, remove {file} and restore again"
    )]
    Claimed {
        /// The user.
        user: UserName,
        /// The file that says so, relative to the storage url.
        file: String,
    },
    /// The dump is older than what has been removed.
    #[error(
        "of the files that the dump names {missing} are missing in the object store or have another size, {first} for \
         one: they were merged or dropped after the dump was written, and collected. Restore a newer dump; or \
         --accept-missing-files, and reads of those collections that need them will fail"
    )]
    MissingFiles {
        /// How many.
        missing: usize,
        /// One of them, relative to the storage url.
        first: String,
    },
    /// Somebody else changed what this restore rests on.
    #[error("another restore has begun, or a process started, in the meantime; end it and run this one again")]
    Overtaken,
    /// The rest.
    #[error(transparent)]
    Table(#[from] crate::Error),
}

impl From<redkite_meta::Error> for RestoreError {
    fn from(error: redkite_meta::Error) -> Self {
        Self::Table(error.into())
    }
}

impl From<redkite_storage::Error> for RestoreError {
    fn from(error: redkite_storage::Error) -> Self {
        Self::Table(error.into())
    }
}

type Result<T> = std::result::Result<T, RestoreError>;

/// Where to restore to.
#[derive(Debug)]
pub struct Restore<'a> {
    /// The metadata store as it is, without a base.
    pub meta: &'a dyn MetaStore,
    /// The store of the files.
    pub data: &'a DataStore,
    /// Time and randomness.
    pub ambient: &'a Ambient,
    /// The checksum of the dump.
    pub dump: String,
}

impl Restore<'_> {
    /// Checks that the files are there that the dump names, and nobody else's. Returns how many of them are missing: of
    /// those only if `accept_missing`. Costs a listing of each collection.
    pub async fn check(&self, plan: &Plan, accept_missing: bool) -> Result<usize> {
        let mut missing = Vec::new();
        for user in &plan.users {
            if let Some((key, value)) = &user.store {
                store_identity::check_value(self.data, key, value).await?;
            }
            if let Some((key, value)) = &user.claim
                && user_claim::is_of_others(&user.user, self.data, key, value).await?
            {
                return Err(RestoreError::Claimed { user: user.user.clone(), file: user_claim::file(&user.user) });
            }
            for (segment, files) in &user.files {
                let folder = object_path(&user.user, segment, "");
                let listed = self.data.list(folder.trim_end_matches('/')).await?;
                let sizes: HashMap<&str, u64> = listed.iter().map(|file| (file.path.as_str(), file.size)).collect();
                let paths = files.iter().map(|(path, size)| (format!("{folder}{path}"), *size));
                missing
                    .extend(paths.filter(|(path, size)| sizes.get(path.as_str()) != Some(size)).map(|(path, _)| path));
            }
        }
        match missing.first() {
            Some(first) if !accept_missing => {
                Err(RestoreError::MissingFiles { missing: missing.len(), first: first.clone() })
            }
            _ => Ok(missing.len()),
        }
    }

    /// Puts everything. If it fails or is interrupted nobody serves these users, and it can be run again. The plan goes on above
    /// what earlier restores gave its users.
    pub async fn run(&self, plan: &mut Plan) -> Result<()> {
        let marked = self.begin(plan).await?;
        for user in &mut plan.users {
            bases::take(self.data, user, self.ambient).await?;
        }
        let lease = self.meta.lease_grant(outcome_lease::TERM).await?;
        let mut last = marked;
        for user in &plan.users {
            for puts in chunks(user, lease) {
                last = self.send(vec![unchanged(user, marked)], puts).await?;
            }
        }
        for user in &plan.users {
            // The lost store is not to find its claim again. Last of all, so that as long as possible it could.
            self.data.delete(&user_claim::file(&user.user)).await?;
            self.settle(user, marked, last).await?;
        }
        self.end(plan, marked).await
    }

    /// Marks the users and sees to it that they have nothing else. Returns the revision of the marks.
    async fn begin(&self, plan: &Plan) -> Result<Revision> {
        let (listed, _) = self.listed().await?;
        let (mut compares, mut puts, mut fresh) = (Vec::new(), Vec::new(), Vec::new());
        for user in &plan.users {
            let found = self.meta.get(&user.keys.base()).await?;
            let state = found.as_ref().map(Base::read).transpose()?.map(|base| base.state);
            let is_there = match state {
                Some(State::Restored) => true,
                Some(State::Restoring) => false,
                None => listed.contains(&user.user) || self.is_in_use(user).await?,
            };
            if is_there {
                return Err(RestoreError::UserExists { user: user.user.clone() });
            }
            fresh.extend(state.is_none().then_some(user));
            compares.push(unchanged(user, found.map_or(Revision::ZERO, |kv| kv.mod_revision)));
            puts.push(Op::put(user.keys.base(), self.base(user, State::Restoring)?));
        }
        let marked = self.send(compares, puts).await?;
        let compares = || plan.users.iter().map(|user| unchanged(user, marked)).collect::<Vec<_>>();
        for user in &fresh {
            // Who came before the mark has put something; who comes later finds it.
            if self.is_in_use(user).await? {
                let unmark = fresh.iter().map(|user| Op::Delete(KeyRange::Exact(user.keys.base()))).collect();
                self.send(compares(), unmark).await?;
                return Err(RestoreError::UserExists { user: user.user.clone() });
            }
        }
        for user in &plan.users {
            // Of a restore that was interrupted, or a start that was refused.
            let clear = user.keys.all_but_base().map(Op::Delete).to_vec();
            self.send(vec![unchanged(user, marked)], clear).await?;
        }
        Ok(marked)
    }

    /// Whether the user has keys, besides the mark and what a process put that was started over a store which has lost its
    /// metadata: it is refused, but not before it has made marks of its own.
    async fn is_in_use(&self, user: &UserPlan) -> Result<bool> {
        let marks = [user.keys.base(), user.keys.store(), user.keys.claim()];
        let range = KeyRange::Prefix(user.keys.all().to_owned());
        let limit = Some(marks.len() + 1);
        let found = self.meta.range(RangeRequest { limit, keys_only: true, ..RangeRequest::new(range) }).await?;
        Ok(found.kvs.iter().any(|kv| !marks.contains(&kv.key)))
    }

    /// Puts what the user goes on from, unless a process has. Its first keys are the claim and the floor: one that came before the
    /// mark, and did not see it, has taken the files for its own, and may have committed. From here on none of it can.
    async fn settle(&self, user: &UserPlan, marked: Revision, last: Revision) -> Result<()> {
        let (keys, base) = (&user.keys, user.base);
        // Of clocks that were ahead of this one.
        let time_ms = self.ambient.now_ms().max(user.horizon.time_ms);
        let horizon = Horizon { revision: Revision(base.0 + last.0), time_ms };
        let compares = vec![unchanged(user, marked), Compare::absent(keys.claim()), Compare::absent(keys.id_floor())];
        let puts = vec![
            Op::put(keys.id_floor(), floor_value(base)),
            Op::put(keys.horizon(), horizon.value()),
            Op::put(keys.auto_id(), user.auto_id.to_string()),
            Op::put(keys.claim(), user_claim::unconfirmed(self.ambient)?),
        ];
        self.send(compares, puts).await?;
        Ok(())
    }

    /// Makes all users whole at once.
    async fn end(&self, plan: &Plan, marked: Revision) -> Result<()> {
        let (mut listed, list) = self.listed().await?;
        let mut compares = vec![Compare::unchanged_since(USER_LIST, list)];
        let mut puts = Vec::new();
        for user in &plan.users {
            compares.push(unchanged(user, marked));
            puts.push(Op::put(user.keys.base(), self.base(user, State::Restored)?));
            if !listed.contains(&user.user) {
                listed.push(user.user.clone());
            }
        }
        puts.push(Op::put(USER_LIST, encode(&listed)?));
        self.send(compares, puts).await?;
        Ok(())
    }

    fn base(&self, user: &UserPlan, state: State) -> Result<bytes::Bytes> {
        Ok(encode(&Base::new(state, user.base, self.dump.clone(), self.ambient.now_ms()))?)
    }

    /// All users there are, and the revision of the list.
    async fn listed(&self) -> Result<(Vec<UserName>, Revision)> {
        let Some(KeyValue { value, mod_revision, .. }) = self.meta.get(USER_LIST).await? else {
            return Ok((Vec::new(), Revision::ZERO));
        };
        let damaged =
            |error: serde_json::Error| crate::Error::Damaged { what: USER_LIST.into(), detail: error.to_string() };
        Ok((serde_json::from_slice(&value).map_err(damaged)?, mod_revision))
    }

    async fn send(&self, compares: Vec<Compare>, then: Vec<Op>) -> Result<Revision> {
        let answer = self.meta.txn(Txn::packed(compares, then, Vec::new())?).await?;
        match answer.succeeded {
            true => Ok(answer.revision),
            false => Err(RestoreError::Overtaken),
        }
    }
}

/// The user's mark is still the one of that revision.
fn unchanged(user: &UserPlan, marked: Revision) -> Compare {
    Compare::unchanged_since(user.keys.base(), marked)
}

/// The puts of a user's keys, as much at once as one transaction takes.
fn chunks(user: &UserPlan, lease: LeaseId) -> Vec<Vec<Op>> {
    let mut chunks: Vec<Vec<Op>> = Vec::new();
    let mut bytes = 0;
    for put in &user.puts {
        let size = put.key.len() + put.value.len() + PUT_OVERHEAD_BYTES;
        let lease = put.is_leased.then_some(lease);
        let op = Op::Put { key: put.key.clone(), value: put.value.clone(), lease };
        match chunks.last_mut().filter(|chunk| chunk.len() < PUTS_MAX && bytes + size <= PUT_BYTES_MAX) {
            Some(chunk) => {
                chunk.push(op);
                bytes += size;
            }
            None => {
                chunks.push(vec![op]);
                bytes = size;
            }
        }
    }
    chunks
}
