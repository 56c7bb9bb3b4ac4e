//! What one request reads: the fragments of a collection that can hold rows it wants.

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};
use redkite_expr::Predicate;
use redkite_table::entry::CollectionRecord;
use redkite_table::fragment::FragmentReader;
use redkite_table::{Collection, Database, Fragment};
use redkite_types::FieldId;

use crate::{Error, Result};

/// Fragments opened at the same time.
const CONCURRENT_OPENS: usize = 16;

/// What a request answers; if it met a damaged file, what the node keeps of that is dropped.
pub(crate) async fn forgetting_damage<T>(database: &Database, request: impl Future<Output = Result<T>>) -> Result<T> {
    let result = request.await;
    if let Err(Error::Table(error)) = &result {
        database.readers.forget_damaged(error).await;
    }
    result
}

/// The fragments of a request, in the snapshot's order.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    pub(crate) collection: Arc<Collection>,
    pub(crate) record: Arc<CollectionRecord>,
    pub(crate) fragments: Vec<Arc<Fragment>>,
    pub(crate) key: FieldId,
    /// Of another node's request: the fields whose files it tells. That a fragment has none of another field is not known.
    pub(crate) told: Option<Vec<FieldId>>,
}

impl Source {
    /// The fragments of `collection` that may hold rows satisfying `filter`, by what the metadata says alone.
    pub(crate) fn new(collection: &Arc<Collection>, filter: &Predicate) -> Result<Self> {
        let record = collection.record()?.clone();
        let key = record
            .schema
            .primary_key()
            .ok_or_else(|| Error::Internal { detail: "a schema without primary key".into() })?
            .id;
        let keys = filter.candidate_keys();
        let wanted =
            |fragment: &&Arc<Fragment>| fragment.live_rows() > 0 && keys.is_none_or(|keys| fragment.may_contain(keys));
        // A fragment without anchor would count as empty: it has to be an error instead.
        collection.fragments.values().try_for_each(|fragment| fragment.anchor().map(|_| ()))?;
        let fragments = collection.fragments.values().filter(wanted).cloned().collect();
        Ok(Self { collection: collection.clone(), record, fragments, key, told: None })
    }

    /// The fragment at `place`.
    pub(crate) fn fragment(&self, place: usize) -> Result<&Arc<Fragment>> {
        self.fragments
            .get(place)
            .ok_or_else(|| Error::Internal { detail: format!("fragment {place} of a request is out of range") })
    }

    /// Rows of all fragments, deleted ones included.
    pub(crate) fn rows(&self) -> u64 {
        self.fragments.iter().map(|fragment| fragment.rows()).sum()
    }

    /// Rows of the fragments at `places`, deleted ones included.
    pub(crate) fn rows_of(&self, places: &[usize]) -> u64 {
        places.iter().filter_map(|place| self.fragments.get(*place)).map(|fragment| fragment.rows()).sum()
    }

    /// The places of all fragments.
    pub(crate) fn all(&self) -> Vec<usize> {
        (0..self.fragments.len()).collect()
    }

    /// What a column of the field is of.
    pub(crate) fn type_of(&self, field: FieldId) -> Result<arrow_schema::DataType> {
        let definition = self.record.schema.field_by_id(field);
        let definition =
            definition.ok_or_else(|| Error::Internal { detail: format!("field {field} is not in the schema") })?;
        Ok(definition.data_type.arrow())
    }

    /// Fails where the files of one of `fields` are not told: its rows would pass for older than the field.
    pub(crate) fn check_told(&self, fields: &[FieldId]) -> Result<()> {
        let Some(told) = &self.told else { return Ok(()) };
        match fields.iter().find(|field| !told.contains(field)) {
            None => Ok(()),
            Some(field) => Err(Error::SubRequest {
                detail: format!("it does not tell the files of field {field}, and asks for it"),
            }),
        }
    }

    /// Opens `fields` of the fragments at `places`.
    pub(crate) async fn open(
        &self,
        database: &Database,
        places: impl IntoIterator<Item = usize>,
        fields: &[FieldId],
    ) -> Result<Vec<(usize, FragmentReader)>> {
        self.check_told(fields)?;
        let open = |place: usize| async move {
            let fragment = self.fragment(place)?;
            let reader = database.readers.open(&self.collection, fragment, fields.iter().copied()).await?;
            Ok::<_, Error>((place, reader))
        };
        let places: Vec<usize> = places.into_iter().collect();
        if let [place] = places[..] {
            return Ok(vec![open(place).await?]);
        }
        stream::iter(places.into_iter().map(open)).buffered(CONCURRENT_OPENS).try_collect().await
    }
}
