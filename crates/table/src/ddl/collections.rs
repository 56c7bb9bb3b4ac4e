//! Creating, renaming and dropping collections.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use bytes::Bytes;
use redkite_meta::{Compare, Op};
use redkite_types::{CollectionId, Revision, Schema, limits};

use super::{Changing, Plan, change};
use crate::change::Change;
use crate::entry::{self, CollectionRecord, FORMAT, NameRecord};
use crate::{Catalog, Database, Error, Result};

/// Bits of a collection id that are random; those above are the revision of its creation.
const ID_RANDOM_BITS: u32 = 20;
/// Largest list of names: beside it the transaction that puts it has room for a schema.
const NAMES_BYTES_MAX: usize = 1_200_000;
/// What S33 says of a collection without a vector index.
pub(super) const NO_INDEX: &str = "NONE";

/// What a new collection is to be.
#[derive(Debug, Clone, PartialEq)]
pub struct NewCollection {
    /// Its name, checked by the caller.
    pub name: String,
    /// Its fields, checked by the caller.
    pub schema: Schema,
    /// Its properties.
    pub properties: BTreeMap<String, String>,
    /// The client's number for the default consistency level.
    pub consistency_level: i32,
    /// Shards, told back.
    pub shards: i32,
}

impl Changing<'_> {
    /// Creates a collection. One that exists exactly so is success; another one of the name is an error.
    pub async fn create_collection(&self, new: NewCollection) -> Result<(CollectionId, Revision)> {
        change(*self, &new.name, |catalog, change| self.database.plan_create(catalog, &new, change)).await
    }

    /// Drops a collection, and says which; none if there was none. Its entries and files stay for readers of older revisions until
    /// they are collected; they are nobody's from now on, as the segment is not used again while any is left.
    pub async fn drop_collection(&self, name: &str) -> Result<(Option<CollectionId>, Revision)> {
        let meant = OnceLock::new();
        change(*self, name, |catalog, change| self.database.plan_drop(catalog, name, &meant, change)).await
    }

    /// Gives a collection another name. Whoever reads the past finds it under the name it had then.
    pub async fn rename_collection(&self, name: &str, new: &str) -> Result<Revision> {
        let renamed = change(*self, name, |catalog, change| self.database.plan_rename(catalog, name, new, change));
        Ok(renamed.await?.1)
    }
}

impl Database {
    fn plan_create(
        &self,
        catalog: &Catalog,
        new: &NewCollection,
        change: &mut Change<'_>,
    ) -> Result<Plan<CollectionId>> {
        if catalog.name_record(&new.name)?.is_some() {
            let record = catalog.collection(&new.name)?.record()?;
            let same = record.schema == new.schema && record.properties == new.properties;
            return if same {
                Ok(Plan::Done(record.id))
            } else {
                Err(Error::CollectionExists { name: new.name.clone() })
            };
        }
        if catalog.names.len() >= limits::COLLECTIONS_MAX {
            return Err(Error::TooManyCollections { limit: limits::COLLECTIONS_MAX });
        }
        let random = self.ambient.random() & ((1 << ID_RANDOM_BITS) - 1);
        let id = CollectionId((catalog.revision.next().0 << ID_RANDOM_BITS) | random as i64);
        let now_ms = self.ambient.now_ms();
        let record = CollectionRecord {
            format: FORMAT,
            id,
            name: new.name.clone(),
            schema: new.schema.clone(),
            indexes: Vec::new(),
            properties: new.properties.clone(),
            consistency_level: new.consistency_level,
            shards: new.shards,
            released: false,
            created_ms: now_ms,
            updated_ms: now_ms,
            committed_ms: 0,
        };
        let segment = if catalog.segment_in_use(&new.name) { unique_segment(&new.name, id) } else { new.name.clone() };
        let name = NameRecord {
            name: new.name.clone(),
            create_time: humantime::format_rfc3339_seconds(self.ambient.now()).to_string(),
            index_type: NO_INDEX.into(),
            id,
            segment: (segment != new.name).then(|| segment.clone()),
        };
        let mut names = vec![name];
        names.extend(catalog.names.iter().cloned());
        let names = encode_names(&names)?;
        let schema_key = self.keys.schema(&segment);
        change.compares.extend([self.names_unchanged(catalog), Compare::absent(&schema_key)]);
        change.ops.push(Op::put(self.keys.collection_list(), names));
        change.ops.push(Op::put(schema_key, entry::encode(&record)?));
        change.touched.push(segment);
        Ok(Plan::Change(id))
    }

    /// `meant` is the collection that had the name at first: another one that has it by now has been created since, and maybe
    /// filled, by who believes that the first one is gone.
    fn plan_drop(
        &self,
        catalog: &Catalog,
        name: &str,
        meant: &OnceLock<CollectionId>,
        change: &mut Change<'_>,
    ) -> Result<Plan<Option<CollectionId>>> {
        let found = catalog.name_record(name)?.filter(|record| *meant.get_or_init(|| record.id) == record.id);
        let Some(record) = found else {
            return Ok(Plan::Done(None));
        };
        let names: Vec<&NameRecord> = catalog.names.iter().filter(|known| known.id != record.id).collect();
        change.compares.push(self.names_unchanged(catalog));
        change.ops.push(Op::put(self.keys.collection_list(), entry::encode(&names)?));
        // A collection whose schema cannot be read can still be dropped.
        change.drop_collection(catalog.collection(name)?, record)?;
        Ok(Plan::Change(Some(record.id)))
    }

    fn plan_rename(&self, catalog: &Catalog, name: &str, new: &str, change: &mut Change<'_>) -> Result<Plan<()>> {
        let found = catalog.collection(name)?;
        let record = found.record()?;
        if catalog.name_record(new)?.is_some() {
            return Err(Error::NameTaken { name: new.to_owned() });
        }
        let mut names: Vec<NameRecord> = catalog.names.to_vec();
        for known in names.iter_mut().filter(|known| known.id == record.id) {
            known.segment = Some(known.segment().to_owned()).filter(|segment| segment != new);
            known.name = new.to_owned();
        }
        change.compares.push(self.names_unchanged(catalog));
        change.ops.push(Op::put(self.keys.collection_list(), encode_names(&names)?));
        change.replace_record(found, CollectionRecord { name: new.to_owned(), ..CollectionRecord::clone(record) })?;
        Ok(Plan::Change(()))
    }

    pub(super) fn names_unchanged(&self, catalog: &Catalog) -> Compare {
        Compare::unchanged_since(self.keys.collection_list(), catalog.names_revision)
    }
}

/// The value of S33's key, unless it is larger than etcd takes.
fn encode_names(names: &[NameRecord]) -> Result<Bytes> {
    let encoded = entry::encode(&names)?;
    if encoded.len() > NAMES_BYTES_MAX {
        return Err(Error::LimitReached {
            what: "the list of all collections' names, in bytes,",
            limit: NAMES_BYTES_MAX,
            advice: "use shorter names, or drop collections",
        });
    }
    Ok(encoded)
}

/// A segment nobody else has or had: the name, as far as it fits beside the id into one folder name, and the id.
fn unique_segment(name: &str, id: CollectionId) -> String {
    let id = id.to_string();
    let end = name.floor_char_boundary(limits::NAME_BYTES_MAX.saturating_sub(id.len() + 1));
    format!("{}.{id}", &name[..end])
}

#[cfg(test)]
mod tests;
