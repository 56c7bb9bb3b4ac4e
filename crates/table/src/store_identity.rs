//! Which object store the metadata belongs to.
//!
//! Metadata names files relative to the storage url, so the same metadata over another store would find none of them and
//! would write the next ones beside them. Hence a store has an identity: a file at its root and the same under a key of the
//! metadata, both put once and compared at every start.
//!
//! | metadata | store | what happens |
//! |---|---|---|
//! | none | none | the file is made, then the key |
//! | none | an identity | the key is put: an earlier start died between the two, or the store has other users already |
//! | an identity | the same | all is well |
//! | an identity | another or none | refused |
//!
//! The file comes first: a key without its file would be refused for ever. Neither is ever replaced, and each start that
//! lost a race takes over what the winner put, so first starts at the same time end with one identity. (Of a store that
//! knows no conditional put that cannot be said: there the later file wins, and who recorded the earlier one is refused.)
//! Metadata from before there were identities has none, and takes the store it is started over.

use redkite_meta::MetaStore;
use redkite_meta::keys::UserKeys;
use redkite_storage::DataStore;
use redkite_types::Revision;
use serde::{Deserialize, Serialize};

use crate::mark::{self, FORMAT, TRIES};
use crate::{Ambient, Error, Result};

/// The file's path, relative to the storage url. No user's name begins with a dot.
pub const FILE: &str = ".redkite-store";

/// The content of the file and of the key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Identity {
    format: u32,
    id: String,
}

/// Checks that `data` is the store of this metadata, and makes it so on the first start.
///
/// Fails with [`Error::OtherStore`] if it is not. A store that does not answer is its own error: nothing can be said then.
/// Costs one metadata read and one request to the store.
pub async fn check(meta: &dyn MetaStore, keys: &UserKeys, data: &DataStore, ambient: &Ambient) -> Result<()> {
    let key = keys.store();
    for _ in 0..TRIES {
        let stored = meta.get(&key).await?;
        let known = stored.map(|kv| mark::decode::<Identity>(&key, &kv.value)).transpose()?;
        let found = mark::read_file::<Identity>(data, FILE).await?;
        let Some(known) = known else {
            let identity = match found {
                Some(found) => found,
                None => create(data, ambient).await?,
            };
            mark::put_key(meta, &key, &identity, Revision::ZERO).await?;
            // What counts is what the metadata has now, by whomever.
            continue;
        };
        return match found {
            Some(found) if found == known => Ok(()),
            found => Err(Error::OtherStore { found: found.map(|found| found.id), known: known.id }),
        };
    }
    Err(Error::Contended { what: key })
}

/// Checks that `data` is the store that `value`, which stood under `key`, speaks of.
pub(crate) async fn check_value(data: &DataStore, key: &str, value: &[u8]) -> Result<()> {
    let known = mark::decode::<Identity>(key, value)?;
    match mark::read_file::<Identity>(data, FILE).await? {
        Some(found) if found == known => Ok(()),
        found => Err(Error::OtherStore { found: found.map(|found| found.id), known: known.id }),
    }
}

/// Makes the file; the identity in it, whoever made it.
async fn create(data: &DataStore, ambient: &Ambient) -> Result<Identity> {
    mark::make_file(data, FILE, &Identity { format: FORMAT, id: mark::new_id(ambient) }).await?;
    let missing = || redkite_storage::Error::Missing { path: FILE.to_owned() };
    Ok(mark::read_file(data, FILE).await?.ok_or_else(missing)?)
}
