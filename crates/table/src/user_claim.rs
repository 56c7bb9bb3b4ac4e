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
//! wins, and who confirmed the earlier one is refused at the next start.) Neither is ever replaced by Redkite, but by a restore from a
//! dump ([`restore`](crate::restore)): the metadata that was lost must not come back beside it.

use bytes::Bytes;
use redkite_meta::MetaStore;
use redkite_meta::keys::UserKeys;
use redkite_storage::DataStore;
use redkite_types::{Revision, UserName};
use serde::{Deserialize, Serialize};

use crate::mark::{self, FORMAT, TRIES};
use crate::{Ambient, Error, Result};

/// How the names of all claims begin; the user's name follows. No user's name begins with a dot.
const FILE_PREFIX: &str = ".redkite-user-";

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
            let claim = Claim { format: FORMAT, id: mark::new_id(ambient), confirmed: false };
            mark::put_key(meta, &key, &claim, Revision::ZERO).await?;
            // What counts is what the metadata has now, by whomever.
            continue;
        };
        let claim: Claim = mark::decode(&key, &kv.value)?;
        match mark::read_file::<Claim>(data, &file).await? {
            Some(found) if found.id == claim.id && claim.confirmed => return Ok(()),
            Some(found) if found.id == claim.id => {
                mark::put_key(meta, &key, &Claim { confirmed: true, ..claim }, kv.mod_revision).await?;
            }
            None if !claim.confirmed => mark::make_file(data, &file, &claim).await?,
            found => {
                let found = found.map(|found| found.id);
                return Err(Error::OtherMetadata { user: user.to_string(), file, found, known: claim.id });
            }
        }
    }
    Err(Error::Contended { what: key })
}

/// Whether another metadata store than the one that had `value` under `key` has claimed the user's files.
pub(crate) async fn is_of_others(user: &UserName, data: &DataStore, key: &str, value: &[u8]) -> Result<bool> {
    let known: Claim = mark::decode(key, value)?;
    let found = mark::read_file::<Claim>(data, &file(user)).await?;
    Ok(found.is_some_and(|found| found.id != known.id))
}

/// The value of a claim that is to be made at the next start.
pub(crate) fn unconfirmed(ambient: &Ambient) -> Result<Bytes> {
    crate::entry::encode(&Claim { format: FORMAT, id: mark::new_id(ambient), confirmed: false })
}
