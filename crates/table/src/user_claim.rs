//! Which metadata a user's files in an object store belong to.
//!
//! Other metadata that took the same folder of the same store for its own would find files there that it names none of, and
//! would one day remove them as never committed. Hence each user has a claim: a file at the store's root and the same id
//! under a key of the metadata, compared at every start.
//!
//! | key | file | what happens |
//! |---|---|---|
//! | none | any | an id is made and put under the key, unconfirmed |
//! | unconfirmed | none | the file is made |
//! | unconfirmed | the same id | the key is confirmed |
//! | confirmed | the same id | all is well |
//! | any | another id | refused |
//! | confirmed | none | refused: it is not the store the files were put to, or not all of it |
//!
//! The key comes first, so that a start which dies at any step is taken up by the next one. Of two metadata stores that come
//! at the same time one makes the file. (Of a store that knows no conditional put that cannot be said: there the later file
//! wins, and who confirmed the earlier one is refused at the next start.) Neither is ever replaced by Redkite.

use redkite_meta::keys::UserKeys;
use redkite_meta::{Compare, MetaStore, Op, Txn};
use redkite_storage::DataStore;
use redkite_types::{Revision, UserName};
use serde::{Deserialize, Serialize};

use crate::entry::encode;
use crate::store_identity::decode;
use crate::{Ambient, Error, Result};

/// How the names of all claims begin; the user's name follows. No user's name begins with a dot.
pub const FILE_PREFIX: &str = ".redkite-user-";
/// The newest format of file and key.
const FORMAT: u32 = 1;
/// Far more than a claim has; what is longer is something else.
const BYTES_MAX: u64 = 4096;
/// Steps a claim takes, and some for starts at the same time and lost answers.
const TRIES: u32 = 8;

/// The content of the file and of the key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Claim {
    format: u32,
    id: String,
    /// In the key: that the file has been seen.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    confirmed: bool,
}

/// The path of a user's claim, relative to the storage url.
pub fn file(user: &UserName) -> String {
    format!("{FILE_PREFIX}{user}")
}

/// Checks that the files of `user` in `data` are those of this metadata, and makes it so on the first start.
///
/// Fails with [`Error::OtherMetadata`] if they are not. A store that does not answer is its own error: nothing can be said
/// then. Costs one metadata read and one request to the store; three more of either on the first start.
pub async fn check(
    meta: &dyn MetaStore,
    keys: &UserKeys,
    user: &UserName,
    data: &DataStore,
    ambient: &Ambient,
) -> Result<()> {
    let (key, file) = (keys.claim(), file(user));
    for _ in 0..TRIES {
        let Some(kv) = meta.get(&key).await? else {
            let id = format!("{:016x}{:016x}", ambient.random(), ambient.random());
            put(meta, &key, &Claim { format: FORMAT, id, confirmed: false }, Revision::ZERO).await?;
            // What counts is what the metadata has now, by whomever.
            continue;
        };
        let claim: Claim = decode(&key, &kv.value, FORMAT)?;
        let found = data.read(&file, BYTES_MAX).await?;
        let found = found.map(|bytes| decode::<Claim>(&file, &bytes, FORMAT)).transpose()?;
        match found {
            Some(found) if found.id == claim.id && claim.confirmed => return Ok(()),
            Some(found) if found.id == claim.id => {
                put(meta, &key, &Claim { confirmed: true, ..claim }, kv.mod_revision).await?;
            }
            None if !claim.confirmed => {
                match data.put_all(vec![(file.clone(), encode(&claim)?)]).await {
                    // Success may also mean that a file of the same size was there: it is read next.
                    Ok(()) | Err(redkite_storage::Error::Exists { .. }) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            found => {
                let found = found.map(|found| found.id);
                return Err(Error::OtherMetadata { user: user.to_string(), file, found, known: claim.id });
            }
        }
    }
    Err(Error::Contended { what: key })
}

/// Puts the key if it is as it was at `since`.
async fn put(meta: &dyn MetaStore, key: &str, claim: &Claim, since: Revision) -> Result<()> {
    let txn = Txn {
        compares: vec![Compare::unchanged_since(key, since)],
        then: vec![Op::put(key, encode(claim)?)],
        otherwise: Vec::new(),
    };
    match meta.txn(txn).await {
        Ok(_) | Err(redkite_meta::Error::OutcomeUnknown(_)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
