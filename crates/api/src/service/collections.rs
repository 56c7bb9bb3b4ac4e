//! Creating, describing, renaming, changing and dropping collections.
//!
//! A change takes effect at once, in the client's order all the same (S06): it takes the client's turn, if the client has a
//! session, and keeps it to its end, which comes whatever becomes of the request.

use redkite_table::ddl::NewCollection;
use redkite_table::{Catalog, Collection, Visibility};
use redkite_types::{CollectionId, ErrorKind};

use super::properties::properties;
use super::timestamps::from_ms;
use super::{Call, DEFAULT_DATABASE, Shared};
use crate::convert::moments::{past_of, refuse_past};
use crate::convert::names::check_collection_name;
use crate::convert::schema_in::schema_from_bytes;
use crate::convert::schema_out::schema_to_message;
use crate::proto::common::{ConsistencyLevel, KeyValuePair, Status};
use crate::proto::milvus as wire;
use crate::status::{WireError, WireResult, collection_not_found, engine, invalid_parameter, success};

/// Most shards a client may ask for; they mean nothing here.
const SHARDS_MAX: i32 = 16;

/// Runs a change to its end even if the request goes away.
pub(super) async fn to_the_end<T: Send + 'static>(
    change: impl Future<Output = WireResult<T>> + Send + 'static,
) -> WireResult<T> {
    match tokio::spawn(change).await.map_err(|error| error.try_into_panic()) {
        Ok(result) => result,
        Err(Ok(panic)) => std::panic::resume_unwind(panic),
        Err(Err(error)) => Err(engine(ErrorKind::Internal, format!("a change was cut off: {error}"))),
    }
}

pub(super) async fn create(shared: &Shared, mut call: Call<wire::CreateCollectionRequest>) -> WireResult<Status> {
    let precedence = shared.precedence(&mut call).await?;
    let request = call.message;
    shared.check_database(&call.metadata, &request.db_name)?;
    check_collection_name(&request.collection_name)?;
    let schema = schema_from_bytes(&request.collection_name, &request.schema)?;
    if request.shards_num > SHARDS_MAX {
        let what = format!("maximum shards's number should be limited to {SHARDS_MAX}");
        return Err(invalid_parameter(what));
    }
    let new = NewCollection {
        name: request.collection_name,
        schema,
        properties: properties(&request.properties)?,
        consistency_level: consistency_level(request.consistency_level)?,
        shards: request.shards_num.max(1),
    };
    let database = shared.database.clone();
    to_the_end(async move {
        let precedence = precedence;
        let (id, revision) = database.changing(precedence.guard()).create_collection(new).await?;
        tracing::debug!(%id, %revision, "collection created");
        Ok(success())
    })
    .await
}

fn consistency_level(level: i32) -> WireResult<i32> {
    ConsistencyLevel::try_from(level)
        .map(i32::from)
        .map_err(|_| invalid_parameter(format!("consistency_level {level} is not known")))
}

pub(super) async fn drop(shared: &Shared, mut call: Call<wire::DropCollectionRequest>) -> WireResult<Status> {
    let precedence = shared.precedence(&mut call).await?;
    shared.check_database(&call.metadata, &call.message.db_name)?;
    let name = call.message.collection_name;
    refuse_past(&name)?;
    let database = shared.database.clone();
    to_the_end(async move {
        // The whole of it, and to the end: naming a part alone would take no more than that along.
        let mut precedence = precedence;
        // Dropping what is not there is success, as in Milvus.
        let (Some(id), _) = database.changing(precedence.guard()).drop_collection(&name).await? else {
            return Ok(success());
        };
        // What the client had not flushed for it goes with it.
        if let Some(turn) = &mut precedence.turn {
            turn.discard(id);
        }
        Ok(success())
    })
    .await
}

pub(super) async fn rename(shared: &Shared, mut call: Call<wire::RenameCollectionRequest>) -> WireResult<Status> {
    let precedence = shared.precedence(&mut call).await?;
    let wire::RenameCollectionRequest { db_name, old_name, new_name, new_db_name, .. } = call.message;
    shared.check_database(&call.metadata, &db_name)?;
    if !new_db_name.is_empty() {
        shared.check_database(&call.metadata, &new_db_name)?;
    }
    refuse_past(&old_name)?;
    check_collection_name(&new_name)?;
    if old_name == new_name {
        return Err(invalid_parameter("collection name or database name should be different"));
    }
    let database = shared.database.clone();
    to_the_end(async move {
        let precedence = precedence;
        database.changing(precedence.guard()).rename_collection(&old_name, &new_name).await?;
        Ok(success())
    })
    .await
}

pub(super) async fn has(shared: &Shared, call: Call<wire::HasCollectionRequest>) -> WireResult<wire::BoolResponse> {
    shared.check_database(&call.metadata, &call.message.db_name)?;
    let name = &call.message.collection_name;
    let value = match past_of(name)? {
        None => shared.database.snapshot(Visibility::Strong).await?.name_record(name)?.is_some(),
        Some((collection, moment)) => match shared.database.as_of(collection, moment).await {
            Err(redkite_table::Error::CollectionNotFound { .. }) => false,
            result => result.map(|_| true)?,
        },
    };
    Ok(wire::BoolResponse { value, ..Default::default() })
}

pub(super) async fn describe(
    shared: &Shared,
    call: Call<wire::DescribeCollectionRequest>,
) -> WireResult<wire::DescribeCollectionResponse> {
    let request = call.message;
    shared.check_database(&call.metadata, &request.db_name)?;
    let past = match past_of(&request.collection_name)? {
        Some((collection, moment)) => Some(shared.database.as_of(collection, moment).await?),
        None => None,
    };
    let catalog = shared.database.snapshot(Visibility::Strong).await?;
    let (name, collection) = match &past {
        Some(past) => (request.collection_name, &*past.collection),
        None => named(&catalog, &request.collection_name, request.collection_id)?,
    };
    let record = collection.record()?;
    let pair = |(key, value): (&String, &String)| KeyValuePair { key: key.clone(), value: value.clone() };
    Ok(wire::DescribeCollectionResponse {
        schema: Some(schema_to_message(&name, &record.schema)),
        collection_id: record.id.0,
        created_timestamp: from_ms(record.created_ms),
        created_utc_timestamp: record.created_ms,
        shards_num: record.shards,
        consistency_level: record.consistency_level,
        collection_name: name,
        properties: record.properties.iter().map(pair).collect(),
        db_name: DEFAULT_DATABASE.to_owned(),
        num_partitions: 1,
        db_id: 1,
        request_time: shared.timestamps.next(),
        update_timestamp: from_ms(record.updated_ms),
        update_timestamp_str: from_ms(record.updated_ms).to_string(),
        ..Default::default()
    })
}

/// A collection by name or, without one, by id.
pub(super) fn named<'c>(catalog: &'c Catalog, name: &str, id: i64) -> WireResult<(String, &'c Collection)> {
    if !name.is_empty() || id <= 0 {
        return Ok((name.to_owned(), catalog.collection(name)?));
    }
    let missing = || collection_not_found(DEFAULT_DATABASE, &id.to_string());
    let record = catalog.names.iter().find(|record| record.id == CollectionId(id)).ok_or_else(missing)?;
    Ok((record.name.clone(), catalog.collection(&record.name)?))
}

pub(super) async fn show(
    shared: &Shared,
    call: Call<wire::ShowCollectionsRequest>,
) -> WireResult<wire::ShowCollectionsResponse> {
    let request = call.message;
    shared.check_database(&call.metadata, &request.db_name)?;
    let catalog = shared.database.snapshot(Visibility::Strong).await?;
    let mut answer = wire::ShowCollectionsResponse::default();
    let loaded_only = request.r#type() == wire::ShowType::InMemory;
    for name in catalog.names.iter() {
        let wanted = request.collection_names.is_empty() || request.collection_names.contains(&name.name);
        // One damaged collection must not hide the others.
        let record = catalog.collection(&name.name).ok().and_then(|collection| collection.record().ok().cloned());
        let loaded = record.as_ref().is_some_and(|record| !record.released);
        if !wanted || (loaded_only && !loaded) {
            continue;
        }
        let created_ms = record.as_ref().map_or(0, |record| record.created_ms);
        answer.collection_names.push(name.name.clone());
        answer.collection_ids.push(name.id.0);
        answer.created_timestamps.push(from_ms(created_ms));
        answer.created_utc_timestamps.push(created_ms);
        answer.in_memory_percentages.push(if loaded { 100 } else { 0 });
        answer.query_service_available.push(loaded);
        answer.shards_num.push(record.as_ref().map_or(1, |record| record.shards));
    }
    if loaded_only
        && let Some(missing) = request.collection_names.iter().find(|name| !answer.collection_names.contains(name))
    {
        return match catalog.name_record(missing)? {
            Some(_) => Err(WireError::CollectionNotLoaded { collection: missing.clone() }),
            None => Err(collection_not_found(DEFAULT_DATABASE, missing)),
        };
    }
    Ok(answer)
}

pub(super) async fn statistics(
    shared: &Shared,
    call: Call<wire::GetCollectionStatisticsRequest>,
) -> WireResult<wire::GetCollectionStatisticsResponse> {
    let request = call.message;
    let name = &request.collection_name;
    let resolved = shared.resolve_at(&call.metadata, &request.db_name, name, Visibility::Strong).await?;
    let rows = KeyValuePair { key: "row_count".into(), value: resolved.collection.live_rows().to_string() };
    Ok(wire::GetCollectionStatisticsResponse { stats: vec![rows], ..Default::default() })
}

pub(super) async fn alter(shared: &Shared, mut call: Call<wire::AlterCollectionRequest>) -> WireResult<Status> {
    let precedence = shared.precedence(&mut call).await?;
    let request = call.message;
    shared.check_database(&call.metadata, &request.db_name)?;
    refuse_past(&request.collection_name)?;
    if request.properties.is_empty() && request.delete_keys.is_empty() {
        return Err(invalid_parameter("no properties to set or delete"));
    }
    let name = match request.collection_name.is_empty() {
        false => request.collection_name,
        true => {
            let catalog = shared.database.snapshot(Visibility::Strong).await?;
            named(&catalog, "", request.collection_id)?.0
        }
    };
    let set = properties(&request.properties)?;
    let database = shared.database.clone();
    to_the_end(async move {
        let precedence = precedence;
        database.changing(precedence.guard()).alter_properties(&name, &set, &request.delete_keys).await?;
        Ok(success())
    })
    .await
}
