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

use redkite_meta::keys::UserKeys;
use redkite_meta::{Compare, MetaStore, Op, Txn};
use redkite_storage::DataStore;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::entry::encode;
use crate::{Ambient, Error, Result};

/// The file's path, relative to the storage url. No user's name begins with a dot.
pub const FILE: &str = ".redkite-store";
/// The newest format of file and key.
const FORMAT: u32 = 1;
/// Far more than an identity has; what is longer is something else.
const BYTES_MAX: u64 = 4096;
/// Tries to record the identity; each failed one means that another start did, or that the answer was lost.
const TRIES: u32 = 8;

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
        let known = stored.map(|kv| decode::<Identity>(&key, &kv.value, FORMAT)).transpose()?;
        let found = read(data).await?;
        let Some(known) = known else {
            let identity = match found {
                Some(found) => found,
                None => create(data, ambient).await?,
            };
            record(meta, &key, &identity).await?;
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

async fn read(data: &DataStore) -> Result<Option<Identity>> {
    data.read(FILE, BYTES_MAX).await?.map(|bytes| decode(FILE, &bytes, FORMAT)).transpose()
}

/// Reads JSON that has a `format` of at most `supported`.
pub(crate) fn decode<T: DeserializeOwned>(what: &str, bytes: &[u8], supported: u32) -> Result<T> {
    /// All that may be relied on in a newer format.
    #[derive(Deserialize)]
    struct Format {
        format: u32,
    }
    let damaged = |error: serde_json::Error| Error::Damaged { what: what.to_owned(), detail: error.to_string() };
    let Format { format } = serde_json::from_slice(bytes).map_err(damaged)?;
    if format > supported {
        return Err(Error::NewerFormat { what: what.to_owned(), found: format, supported });
    }
    serde_json::from_slice(bytes).map_err(damaged)
}

/// Makes the file; the identity in it, whoever made it.
async fn create(data: &DataStore, ambient: &Ambient) -> Result<Identity> {
    let identity = Identity { format: FORMAT, id: format!("{:016x}{:016x}", ambient.random(), ambient.random()) };
    match data.put_all(vec![(FILE.to_owned(), encode(&identity)?)]).await {
        Ok(()) | Err(redkite_storage::Error::Exists { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    // Success may also mean that a file of the same size was there: a remote store compares no more than that.
    let missing = || redkite_storage::Error::Missing { path: FILE.to_owned() };
    Ok(read(data).await?.ok_or_else(missing)?)
}

/// Puts the key unless it is there.
async fn record(meta: &dyn MetaStore, key: &str, identity: &Identity) -> Result<()> {
    let txn = Txn {
        compares: vec![Compare::absent(key)],
        then: vec![Op::put(key, encode(identity)?)],
        otherwise: Vec::new(),
    };
    match meta.txn(txn).await {
        Ok(_) | Err(redkite_meta::Error::OutcomeUnknown(_)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
