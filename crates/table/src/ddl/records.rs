//! Changing what a collection's record says beside fields and indexes: properties, and whether it is released.

use std::collections::BTreeMap;

use redkite_types::Revision;

use super::{Changing, Plan, change};
use crate::change::Change;
use crate::entry::CollectionRecord;
use crate::{Catalog, Result};

impl Changing<'_> {
    /// Sets some properties of a collection and removes others.
    pub async fn alter_properties(
        &self,
        collection: &str,
        set: &BTreeMap<String, String>,
        remove: &[String],
    ) -> Result<Revision> {
        self.alter(collection, |record| {
            record.properties.extend(set.iter().map(|(key, value)| (key.clone(), value.clone())));
            record.properties.retain(|key, _| !remove.contains(key));
        })
        .await
    }

    /// Releases a collection, or makes it searchable again.
    pub async fn set_released(&self, collection: &str, released: bool) -> Result<Revision> {
        self.alter(collection, |record| record.released = released).await
    }

    async fn alter(&self, collection: &str, alter: impl Fn(&mut CollectionRecord)) -> Result<Revision> {
        let plan = |catalog: &Catalog, change: &mut Change<'_>| {
            let found = catalog.collection(collection)?;
            let record = found.record()?;
            let mut changed = CollectionRecord::clone(record);
            alter(&mut changed);
            if changed == **record {
                return Ok(Plan::Done(()));
            }
            change.replace_record(found, changed)?;
            Ok(Plan::Change(()))
        };
        Ok(change(*self, collection, plan).await?.1)
    }
}
