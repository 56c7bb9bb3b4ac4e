//! The query vectors of a search by ids: those of rows that are there.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::Array;
use bytes::Bytes;
use redkite_expr::Predicate;
use redkite_query::QueryRequest;
use redkite_table::entry::CollectionRecord;
use redkite_types::limits::NQ_MAX;
use redkite_types::{ErrorKind, Field, Key, Keys};

use super::{Resolved, Shared};
use crate::convert::keys::{array_to_keys, ids_to_keys};
use crate::convert::rows_out::{DynamicKeys, column_to_field};
use crate::proto::schema::IDs;
use crate::proto::schema::field_data::Field as Column;
use crate::proto::schema::vector_field::Data;
use crate::status::{WireError, WireResult, engine, invalid_parameter};

/// The vectors of `field` in the rows of these ids, in their order, little-endian, and how many. Of several rows with one
/// key it is the newest one's.
pub(super) async fn vectors_of_ids(
    shared: &Shared,
    resolved: &Resolved,
    record: &CollectionRecord,
    field: &Field,
    ids: IDs,
) -> WireResult<(Bytes, usize)> {
    let key = record.schema.primary_key().ok_or_else(|| defect("a schema without primary key"))?;
    let keys = ids_to_keys(key, ids)?;
    let count = keys.len();
    if !(1..=NQ_MAX).contains(&count) {
        let what = format!("nq (number of ids to search by) should be in range [1, {NQ_MAX}], but got {count}");
        return Err(invalid_parameter(what));
    }
    let wanted = in_order(keys.clone());
    let filter = Predicate::from_keys(&record.schema, keys).map_err(|error| defect(&error.to_string()))?;
    let query = QueryRequest {
        collection: resolved.collection.clone(),
        filter: Arc::new(filter),
        offset: 0,
        limit: None,
        fields: vec![key.id, field.id],
    };
    let rows = shared.reads.query(query).await?;
    let [(_, keys), (_, vectors)] = rows.columns.as_slice() else {
        return Err(defect("a query for two columns answered other ones"));
    };
    // Null vectors have no place among the bytes.
    let valid = (0..vectors.len()).filter(|row| vectors.is_valid(*row));
    let found = in_order(array_to_keys(keys)?);
    let places: HashMap<&Key, usize> = valid.zip(0..).map(|(row, place)| (&found[row], place)).collect();
    let bytes = vector_bytes(column_to_field(field, vectors, &DynamicKeys::All)?.field)?;
    let width = field.data_type.vector_bytes().ok_or_else(|| defect("a vector field without width"))?;
    let mut queries = Vec::with_capacity(count * width);
    for id in &wanted {
        let place = places.get(id).ok_or_else(|| missing(id, field))?;
        queries.extend_from_slice(&bytes[place * width..(place + 1) * width]);
    }
    Ok((queries.into(), count))
}

fn missing(id: &Key, field: &Field) -> WireError {
    let id = match id {
        Key::Int(id) => id.to_string(),
        Key::Text(id) => format!("{id:?}"),
    };
    invalid_parameter(format!("there is no row with id {id}, or it has no vector in field {}", field.name))
}

fn in_order(keys: Keys) -> Vec<Key> {
    match keys {
        Keys::Int(keys) => keys.into_iter().map(Key::Int).collect(),
        Keys::Text(keys) => keys.into_iter().map(Key::Text).collect(),
    }
}

fn vector_bytes(column: Option<Column>) -> WireResult<Bytes> {
    let Some(Column::Vectors(vectors)) = column else {
        return Err(defect("a vector column that holds no vectors"));
    };
    match vectors.data {
        Some(Data::FloatVector(floats)) => Ok(floats.data.iter().flat_map(|value| value.to_le_bytes()).collect()),
        Some(
            Data::BinaryVector(bytes)
            | Data::Float16Vector(bytes)
            | Data::Bfloat16Vector(bytes)
            | Data::Int8Vector(bytes),
        ) => Ok(bytes),
        _ => Err(defect("a vector column of an unknown kind")),
    }
}

fn defect(what: &str) -> WireError {
    engine(ErrorKind::Internal, what)
}
