//! Puts the parts of a node together as the configuration says: metadata, objects, catalog, sessions.
//!
//! A node that cannot tell whether the object store is that of its metadata does not start: it could serve nothing that is
//! there, and what it wrote might lie in the wrong place.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use redkite_ingest::{Ingest, IngestOptions};
use redkite_jobs::{CollectOptions, Maintenance, MaintenanceOptions, MergeOptions};
use redkite_meta::MetaStore;
use redkite_meta::keys::UserKeys;
use redkite_query::{Coordinator, Peers};
use redkite_storage::{DataStore, StorageOptions};
use redkite_table::fragment::ReaderOptions;
use redkite_table::{Ambient, Database, DatabaseOptions, store_identity, user_claim};
use redkite_types::{Incarnation, NodeId, UserName};
use tokio::time::Instant;

use crate::config::Config;
use crate::data_dir::DataDir;
use crate::metadata;

/// For how long a store that does not answer at the start is asked again: servers that start together with theirs, and
/// short outages. After that whoever started this process has to hear of it.
const STORE_WAIT_MAX: Duration = Duration::from_secs(30);
/// Pause before it is asked again. Each time takes as long as the store's own retries.
const STORE_PAUSE: Duration = Duration::from_millis(500);

/// The stores a node works on.
#[derive(Debug, Clone)]
pub struct Stores {
    /// The metadata.
    pub meta: Arc<dyn MetaStore>,
    /// The objects, which are those of the metadata.
    pub data: DataStore,
}

impl Stores {
    /// Opens the metadata, then the object store, which has to be that of the metadata.
    pub async fn open(config: &Config, dir: &DataDir) -> Result<Self> {
        let meta = metadata::open(&config.etcd, dir, &config.user).await?;
        let options = storage_options(config, dir);
        let url = options.url.clone();
        let unusable = || format!("storage.url = {url:?} cannot be used");
        let data = DataStore::connect(options).await.with_context(unusable)?;
        check_store(meta.as_ref(), &config.user, &data, &Ambient::system()).await.with_context(unusable)?;
        Ok(Self { meta, data })
    }
}

/// Which process of a cluster this is.
#[derive(Debug, Clone, Copy)]
pub struct Seat {
    /// Its number.
    pub node: NodeId,
    /// Which run of that.
    pub incarnation: Incarnation,
}

impl Seat {
    /// That of a process that is its whole cluster. In metadata that others can reach nobody keeps a second one of the same
    /// cluster from running, so it gets an incarnation that the other one has not.
    pub fn standalone(config: &Config) -> Self {
        let incarnation = if metadata::is_remote(&config.etcd) { Ambient::system().random() } else { 0 };
        Self { node: NodeId(1), incarnation: Incarnation(incarnation) }
    }
}

/// The parts of a node.
#[derive(Debug, Clone)]
pub struct Engine {
    /// The metadata store.
    pub meta: Arc<dyn MetaStore>,
    /// Whether others may keep keys of their own in it.
    pub meta_is_shared: bool,
    /// The object store.
    pub data: DataStore,
    /// The sessions, over the catalog and the commit path.
    pub ingest: Arc<Ingest>,
    /// Searches and queries.
    pub reads: Arc<Coordinator>,
    /// Merging and collecting.
    pub maintenance: Arc<Maintenance>,
}

impl Engine {
    /// Opens the catalog, and starts what a node does. `peers` are the nodes of its cluster, if that may have others.
    pub async fn open(stores: Stores, config: &Config, seat: Seat, peers: Option<Arc<dyn Peers>>) -> Result<Self> {
        let Stores { meta, data } = stores;
        let options = database_options(config, seat);
        let database = Database::open(meta.clone(), data.clone(), Ambient::system(), options)
            .await
            .with_context(|| format!("the catalog of user {} cannot be read", config.user))?;
        let ingest = Ingest::new(database.clone(), ingest_options(config));
        let reads = Arc::new(match peers {
            None => Coordinator::alone(database.clone()),
            Some(peers) => Coordinator::among(database.clone(), peers),
        });
        database.replication.held_by(reads.clone());
        database.replication.set_level(replicas_waited_for(config));
        let maintenance = Maintenance::start(database, maintenance_options(config)).context("start background work")?;
        let meta_is_shared = metadata::is_remote(&config.etcd);
        Ok(Self { meta, meta_is_shared, data, ingest, reads, maintenance: Arc::new(maintenance) })
    }

    /// Where the data is, for a person.
    pub fn describe(&self, config: &Config, dir: &DataDir) -> String {
        match (metadata::is_remote(&config.etcd), config.storage.url.is_empty()) {
            (false, true) => dir.root().display().to_string(),
            _ => format!("{} (metadata: {})", self.data.describe(), metadata::describe(&config.etcd, dir)),
        }
    }
}

/// How many replicas a flush waits for.
pub fn replicas_waited_for(config: &Config) -> usize {
    usize::try_from(config.sync_level).unwrap_or(usize::MAX)
}

/// Checks that the store and the user's files in it belong to the metadata; waits for one that does not answer.
async fn check_store(
    meta: &dyn MetaStore,
    user: &UserName,
    data: &DataStore,
    ambient: &Ambient,
) -> redkite_table::Result<()> {
    let keys = UserKeys::new(user);
    let deadline = Instant::now() + STORE_WAIT_MAX;
    loop {
        let checked = async {
            store_identity::check(meta, &keys, data, ambient).await?;
            user_claim::check(meta, &keys, user, data, ambient).await
        };
        match checked.await {
            Err(redkite_table::Error::Storage(error @ redkite_storage::Error::Unavailable { .. }))
                if Instant::now() < deadline =>
            {
                tracing::warn!(%error, "the object store does not answer; it is asked again");
                tokio::time::sleep(STORE_PAUSE).await;
            }
            result => return result,
        }
    }
}

/// How the object store is reached.
pub fn storage_options(config: &Config, dir: &DataDir) -> StorageOptions {
    let storage = &config.storage;
    let some = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    let mut options = StorageOptions::new(some(&storage.url).unwrap_or_else(|| dir.objects_url()));
    options.endpoint = some(&storage.endpoint);
    options.region = some(&storage.region);
    options.cache_dir = Some(some(&storage.cache_dir).map_or_else(|| dir.cache(), Into::into));
    options.cache_bytes_max = storage.cache_bytes_max;
    options
}

fn database_options(config: &Config, seat: Seat) -> DatabaseOptions {
    let readers = ReaderOptions { decoded_bytes_max: config.cache.column_bytes_max, ..ReaderOptions::default() };
    DatabaseOptions {
        user: config.user.clone(),
        cluster: config.cluster_id.clone(),
        node: seat.node,
        incarnation: seat.incarnation,
        remote_metadata: metadata::is_remote(&config.etcd),
        readers,
    }
}

fn ingest_options(config: &Config) -> IngestOptions {
    IngestOptions {
        auto_flush: config.auto_flush,
        flush_interval: std::time::Duration::from_millis(config.flush_interval_ms.into()),
        flush_limit_bytes: config.flush_limit_bytes,
        memory_soft_bytes: config.session.memory_soft_bytes,
        memory_hard_bytes: config.session.memory_hard_bytes,
        idle_timeout: config.session.idle_timeout,
    }
}

fn maintenance_options(config: &Config) -> MaintenanceOptions {
    let (merge, gc) = (&config.merge, &config.gc);
    MaintenanceOptions {
        merge: MergeOptions {
            enabled: merge.enabled,
            target_rows: merge.target_rows,
            fan_in: merge.fan_in,
            deleted_share: f64::from(merge.deleted_percent) / 100.0,
            threads: merge.threads,
            memory_bytes: merge.memory_bytes,
        },
        collect: CollectOptions { enabled: gc.enabled, retention: gc.retention },
        collect_interval: gc.interval,
        sweep_interval: gc.sweep_interval,
        // The embedded store has no other users, and forgets by itself.
        compact_metadata: config.etcd.compact,
    }
}

#[cfg(test)]
mod tests {
    use redkite_meta::MemoryStore;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_store_that_never_answers_is_told_after_a_while() {
        let scratch = tempfile::tempdir().unwrap();
        let root = scratch.path().join("objects");
        let data = DataStore::connect(StorageOptions::new(root.to_str().unwrap())).await.unwrap();
        std::fs::remove_dir(&root).unwrap();
        std::fs::write(&root, "no directory").unwrap();
        let began = Instant::now();
        let user = UserName::new("u").unwrap();
        let told = check_store(&MemoryStore::new(), &user, &data, &Ambient::system()).await.unwrap_err();
        assert!(matches!(told, redkite_table::Error::Storage(redkite_storage::Error::Unavailable { .. })), "{told}");
        assert!(began.elapsed() >= STORE_WAIT_MAX);
    }
}
