//! The RPCs: each translates its message, calls the engine, and translates what comes back.
//!
//! Every request that names a collection resolves it on a snapshot that is as new as the request (S08), and keeps to
//! that snapshot to its end (S36). Failures go into the answer's `status`; only a full write buffer is a gRPC error.

mod answer;
mod client;
mod collections;
mod deletes;
mod errors;
mod flushes;
mod indexes;
mod loading;
mod output;
mod partitions;
mod properties;
mod queries;
mod search_by_ids;
mod searches;
mod slow;
mod system;
mod timestamps;
mod turns;
mod writes;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use redkite_ingest::{ClientId, Ingest};
use redkite_query::Coordinator;
use redkite_table::{Catalog, Collection, Database, Past, Visibility};
use tonic::metadata::MetadataMap;
use tonic::{Request, Response};

use crate::convert::moments::{past_of, refuse_past};
use crate::proto::common::{ConsistencyLevel, Status};
use crate::proto::milvus as wire;
use crate::proto::milvus::milvus_service_server::MilvusService;
use crate::server::arrivals::{Arrival, Place};
use crate::server::{ConnectionEvents, ConnectionId, ConnectionInfo};
use crate::status::{WireError, WireResult, collection_not_found};
use answer::reply;
use slow::SlowLog;
use timestamps::Timestamps;

/// The one database there is so far.
const DEFAULT_DATABASE: &str = "default";

/// Answers Milvus's RPCs from one database.
#[derive(Debug, Clone)]
pub struct MilvusServer {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    database: Arc<Database>,
    ingest: Arc<Ingest>,
    reads: Arc<Coordinator>,
    timestamps: Timestamps,
    slow: SlowLog,
}

/// Tells the sessions of connections and their end.
#[derive(Debug)]
pub struct SessionEvents(pub Arc<Ingest>);

impl ConnectionEvents for SessionEvents {
    fn on_connect(&self, connection: ConnectionInfo) {
        self.0.connected(redkite_ingest::ConnectionId(connection.id.0), connection.peer);
    }

    fn on_disconnect(&self, connection: ConnectionId) {
        self.0.disconnected(redkite_ingest::ConnectionId(connection.0));
    }
}

impl MilvusServer {
    /// Serves `ingest` and the database it writes to, without the help of other nodes.
    pub fn new(ingest: Arc<Ingest>) -> Self {
        let reads = Arc::new(Coordinator::alone(ingest.database().clone()));
        Self::reading_by(ingest, reads, None)
    }

    /// Serves `ingest` and the database it writes to, of which `reads` answers searches and queries. The log tells of those that
    /// take longer than `slow`.
    pub fn reading_by(ingest: Arc<Ingest>, reads: Arc<Coordinator>, slow: Option<Duration>) -> Self {
        let database = ingest.database().clone();
        let timestamps = Timestamps::new(database.ambient.clone());
        Self { shared: Arc::new(Shared { database, ingest, reads, timestamps, slow: SlowLog(slow) }) }
    }
}

/// A request taken apart: who asks, with which headers, for what, and after which others.
struct Call<T> {
    client: ClientId,
    /// Among the calls of its connection, until it has asked for the client's turn.
    place: Option<Place>,
    metadata: MetadataMap,
    message: T,
}

impl<T> Call<T> {
    fn new(request: Request<T>) -> Self {
        let client = client::client_of(&request);
        let (metadata, extensions, message) = request.into_parts();
        let place = extensions.get().and_then(Arrival::place);
        Self { client, place, metadata, message }
    }
}

/// A collection as a request names it, on the request's snapshot.
struct Resolved {
    collection: Arc<Collection>,
    snapshot: Snapshot,
}

/// What keeps the files of a request's snapshot from being removed, until the request is done.
enum Snapshot {
    /// The present state, on the catalog it was resolved on.
    Present { _catalog: Arc<Catalog> },
    /// A past state.
    Past { _pin: Past },
}

impl Resolved {
    fn is_past(&self) -> bool {
        matches!(self.snapshot, Snapshot::Past { .. })
    }
}

impl Shared {
    /// The database a request means: its own field, else the header; empty is the default.
    fn check_database(&self, metadata: &MetadataMap, name: &str) -> WireResult<()> {
        let header = metadata.get("dbname").and_then(|value| value.to_str().ok()).unwrap_or_default();
        match if name.is_empty() { header } else { name } {
            "" | DEFAULT_DATABASE => Ok(()),
            other => Err(WireError::DatabaseNotFound { database: other.to_owned() }),
        }
    }

    /// The collection of that name as it is now, to be changed or read.
    async fn resolve(&self, metadata: &MetadataMap, database: &str, name: &str) -> WireResult<Resolved> {
        refuse_past(name)?;
        self.resolve_at(metadata, database, name, Visibility::Strong).await
    }

    /// The collection of that name, now or at the moment the name tells, to be read.
    async fn resolve_at(
        &self,
        metadata: &MetadataMap,
        database: &str,
        name: &str,
        visibility: Visibility,
    ) -> WireResult<Resolved> {
        self.check_database(metadata, database)?;
        let not_found = |error| match error {
            redkite_table::Error::CollectionNotFound { .. } => collection_not_found(DEFAULT_DATABASE, name),
            error => error.into(),
        };
        let resolved = match past_of(name)? {
            Some((collection, moment)) => {
                let past = self.database.as_of(collection, moment).await.map_err(not_found)?;
                Resolved { collection: past.collection.clone(), snapshot: Snapshot::Past { _pin: past } }
            }
            None => {
                let catalog = self.database.snapshot(visibility).await?;
                let collection = catalog.collection(name).map_err(not_found)?.clone();
                Resolved { collection, snapshot: Snapshot::Present { _catalog: catalog } }
            }
        };
        resolved.collection.check()?;
        Ok(resolved)
    }

    /// Reads `resolved`. If a file is missing that it names, which happens to a node that was taken for dead, once more on
    /// a fresh snapshot, if the collection still is the same.
    async fn read<T, F>(&self, resolved: &Resolved, name: &str, read: impl Fn(Arc<Collection>) -> F) -> WireResult<T>
    where
        F: Future<Output = redkite_query::Result<T>>,
    {
        let error = match read(resolved.collection.clone()).await {
            Err(error) if error.is_missing_file() && !resolved.is_past() => error,
            result => return Ok(result?),
        };
        tracing::warn!(%error, collection = name, "a file is missing; the request is answered from a fresh snapshot");
        let catalog = self.database.snapshot(Visibility::Strong).await?;
        let fresh = catalog.collection(name)?.clone();
        if fresh.record()?.schema != resolved.collection.record()?.schema {
            return Err(error.into());
        }
        Ok(read(fresh).await?)
    }
}

/// Only an explicit "eventually" may read less than everything flushed before the request.
fn visibility(level: i32, use_default: bool, default_level: i32) -> Visibility {
    let level = if use_default { default_level } else { level };
    match level == i32::from(ConsistencyLevel::Eventually) {
        true => Visibility::Eventual,
        false => Visibility::Strong,
    }
}

/// What a client hears of a handler that panicked; the panic itself is in the log.
fn defect(rpc: &str) -> WireError {
    WireError::Unexpected { what: format!("{rpc} met a defect of the server, which its log describes") }
}

type Reply<T> = Result<Response<T>, tonic::Status>;

/// Forwards RPCs to functions of [`Shared`].
macro_rules! forward {
    ($($rpc:ident: $request:ty => $answer:ty, $function:path;)*) => {
        #[tonic::async_trait]
        impl MilvusService for MilvusServer {
            $(
                async fn $rpc(&self, request: Request<$request>) -> Reply<$answer> {
                    // A defect met by one request must not look like an outage: clients retry gRPC's INTERNAL for ever.
                    let answer = AssertUnwindSafe($function(&self.shared, Call::new(request))).catch_unwind().await;
                    reply(stringify!($rpc), answer.unwrap_or_else(|_| Err(defect(stringify!($rpc)))))
                }
            )*
        }
    };
}

forward! {
    connect: wire::ConnectRequest => wire::ConnectResponse, system::connect;
    get_version: wire::GetVersionRequest => wire::GetVersionResponse, system::get_version;
    check_health: wire::CheckHealthRequest => wire::CheckHealthResponse, system::check_health;
    alloc_timestamp: wire::AllocTimestampRequest => wire::AllocTimestampResponse, system::alloc_timestamp;
    list_databases: wire::ListDatabasesRequest => wire::ListDatabasesResponse, system::list_databases;
    describe_database: wire::DescribeDatabaseRequest => wire::DescribeDatabaseResponse, system::describe_database;
    create_collection: wire::CreateCollectionRequest => Status, collections::create;
    drop_collection: wire::DropCollectionRequest => Status, collections::drop;
    rename_collection: wire::RenameCollectionRequest => Status, collections::rename;
    has_collection: wire::HasCollectionRequest => wire::BoolResponse, collections::has;
    describe_collection: wire::DescribeCollectionRequest => wire::DescribeCollectionResponse, collections::describe;
    show_collections: wire::ShowCollectionsRequest => wire::ShowCollectionsResponse, collections::show;
    get_collection_statistics: wire::GetCollectionStatisticsRequest => wire::GetCollectionStatisticsResponse,
        collections::statistics;
    alter_collection: wire::AlterCollectionRequest => Status, collections::alter;
    has_partition: wire::HasPartitionRequest => wire::BoolResponse, partitions::has;
    show_partitions: wire::ShowPartitionsRequest => wire::ShowPartitionsResponse, partitions::show;
    get_partition_statistics: wire::GetPartitionStatisticsRequest => wire::GetPartitionStatisticsResponse,
        partitions::statistics;
    load_partitions: wire::LoadPartitionsRequest => Status, partitions::load;
    release_partitions: wire::ReleasePartitionsRequest => Status, partitions::release;
    create_index: wire::CreateIndexRequest => Status, indexes::create;
    describe_index: wire::DescribeIndexRequest => wire::DescribeIndexResponse, indexes::describe;
    drop_index: wire::DropIndexRequest => Status, indexes::drop;
    load_collection: wire::LoadCollectionRequest => Status, loading::load;
    release_collection: wire::ReleaseCollectionRequest => Status, loading::release;
    get_loading_progress: wire::GetLoadingProgressRequest => wire::GetLoadingProgressResponse, loading::progress;
    get_load_state: wire::GetLoadStateRequest => wire::GetLoadStateResponse, loading::state;
    insert: wire::InsertRequest => wire::MutationResult, writes::insert;
    upsert: wire::UpsertRequest => wire::MutationResult, writes::upsert;
    delete: wire::DeleteRequest => wire::MutationResult, deletes::delete;
    search: wire::SearchRequest => wire::SearchResults, searches::search;
    query: wire::QueryRequest => wire::QueryResults, queries::query;
    flush: wire::FlushRequest => wire::FlushResponse, flushes::flush;
    get_flush_state: wire::GetFlushStateRequest => wire::GetFlushStateResponse, flushes::state;
    flush_all: wire::FlushAllRequest => wire::FlushAllResponse, flushes::flush_all;
    get_flush_all_state: wire::GetFlushAllStateRequest => wire::GetFlushAllStateResponse, flushes::all_state;
}
