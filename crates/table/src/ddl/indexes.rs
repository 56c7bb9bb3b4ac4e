//! Defining and dropping indexes. What is built from a definition is a background matter; here it is only recorded.

use redkite_meta::Op;
use redkite_types::Revision;

use super::collections::NO_INDEX;
use super::{Changing, Plan, change};
use crate::change::Change;
use crate::entry::{self, CollectionRecord, IndexRecord, NameRecord};
use crate::{Catalog, Collection, Database, Error, Result};

impl Changing<'_> {
    /// Records an index on a field. The same index again is success; another one on that field, or of that name, is an
    /// error.
    pub async fn create_index(&self, collection: &str, index: IndexRecord) -> Result<Revision> {
        let plan = |catalog: &Catalog, change: &mut Change<'_>| {
            let found = catalog.collection(collection)?;
            let record = found.record()?;
            if let Some(known) = record.index_on(index.field) {
                let same = known.name == index.name
                    && known.index_type == index.index_type
                    && known.metric == index.metric
                    && known.params == index.params;
                return if same { Ok(Plan::Done(())) } else { Err(distinct(&index.name)) };
            }
            if record.indexes.iter().any(|known| known.name == index.name) {
                return Err(distinct(&index.name));
            }
            let mut changed = CollectionRecord::clone(record);
            changed.indexes.push(index.clone());
            self.database.replace_record(catalog, found, changed, change)
        };
        Ok(change(*self, collection, plan).await?.1)
    }

    /// Drops the index called `index`; by an empty name the one on `field`, or with neither the only one.
    pub async fn drop_index(&self, collection: &str, index: &str, field: &str) -> Result<Revision> {
        let plan = |catalog: &Catalog, change: &mut Change<'_>| {
            let found = catalog.collection(collection)?;
            let record = found.record()?;
            let on_field = match record.schema.field(field) {
                None if !field.is_empty() => return Err(Error::FieldNotFound { name: field.to_owned() }),
                definition => definition.map(|definition| definition.id),
            };
            if index.is_empty() && on_field.is_none() && record.indexes.len() > 1 {
                let detail =
                    "the collection has several indexes; say which one to drop by its name or field".to_owned();
                return Err(Error::IndexConflict { detail });
            }
            let chosen = |known: &IndexRecord| match (index.is_empty(), on_field) {
                (false, _) => known.name == index,
                (true, Some(field)) => known.field == field,
                (true, None) => true,
            };
            if !record.indexes.iter().any(chosen) {
                // As Milvus does: dropping what is not there is success.
                return Ok(Plan::Done(()));
            }
            let mut changed = CollectionRecord::clone(record);
            changed.indexes.retain(|known| !chosen(known));
            self.database.replace_record(catalog, found, changed, change)
        };
        Ok(change(*self, collection, plan).await?.1)
    }
}

impl Database {
    /// Puts a changed record, and the name record where the index type told there changes with it.
    fn replace_record(
        &self,
        catalog: &Catalog,
        found: &Collection,
        changed: CollectionRecord,
        change: &mut Change<'_>,
    ) -> Result<Plan<()>> {
        let index_type = changed
            .schema
            .vector_fields()
            .find_map(|field| changed.index_on(field.id))
            .map_or(NO_INDEX, |index| index.index_type.as_str());
        let mut names: Vec<NameRecord> = catalog.names.to_vec();
        if let Some(name) = names.iter_mut().find(|name| name.id == changed.id && name.index_type != index_type) {
            name.index_type = index_type.to_owned();
            change.compares.push(self.names_unchanged(catalog));
            change.ops.push(Op::put(self.keys.collection_list(), entry::encode(&names)?));
        }
        change.replace_record(found, changed)?;
        Ok(Plan::Change(()))
    }
}

fn distinct(name: &str) -> Error {
    Error::IndexConflict {
        detail: format!(
            "at most one distinct index is allowed per field; index {name} differs from the one that exists, drop that first"
        ),
    }
}
