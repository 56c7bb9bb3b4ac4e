//! Marks: an id in a small file at the root of an object store, and the same under a key of the metadata. What they say is up
//! to [`store_identity`](crate::store_identity) and [`user_claim`](crate::user_claim).

use redkite_meta::{Compare, MetaStore, Op, Txn, versioned};
use redkite_storage::DataStore;
use redkite_types::Revision;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::entry::{encode, unusable_value};
use crate::{Ambient, Result};

/// The newest format of file and key.
pub(crate) const FORMAT: u32 = 1;
/// Steps that a mark takes, and some for starts at the same time and lost answers.
pub(crate) const TRIES: u32 = 8;
/// Far more than a mark has; what is longer is something else.
const BYTES_MAX: u64 = 4096;

/// An id that nobody else has.
pub(crate) fn new_id(ambient: &Ambient) -> String {
    format!("{:016x}{:016x}", ambient.random(), ambient.random())
}

/// Reads the JSON of file or key `what`.
pub(crate) fn decode<T: DeserializeOwned>(what: &str, bytes: &[u8]) -> Result<T> {
    versioned::decode(bytes, FORMAT).map_err(|unusable| unusable_value(what, unusable))
}

/// Reads the file, if it is there: one request.
pub(crate) async fn read_file<T: DeserializeOwned>(data: &DataStore, file: &str) -> Result<Option<T>> {
    data.read(file, BYTES_MAX).await?.map(|bytes| decode(file, &bytes)).transpose()
}

/// Makes the file. It may have been there, with another id: only reading it tells which one counts.
pub(crate) async fn make_file<T: Serialize>(data: &DataStore, file: &str, mark: &T) -> Result<()> {
    match data.put_all(vec![(file.to_owned(), encode(mark)?)]).await {
        Ok(()) | Err(redkite_storage::Error::Exists { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Puts the key if it is as it was at `since`, zero if it was not there. Only reading it tells whether it was.
pub(crate) async fn put_key<T: Serialize>(meta: &dyn MetaStore, key: &str, mark: &T, since: Revision) -> Result<()> {
    let txn = Txn {
        compares: vec![Compare::unchanged_since(key, since)],
        then: vec![Op::put(key, encode(mark)?)],
        otherwise: Vec::new(),
    };
    match meta.txn(txn).await {
        Ok(_) | Err(redkite_meta::Error::OutcomeUnknown(_)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
