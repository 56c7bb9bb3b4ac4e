//! Puts the parts of a node together as the configuration says: metadata, objects, catalog, sessions.

use std::sync::Arc;

use anyhow::{Context, Result};
use redkite_ingest::{Ingest, IngestOptions};
use redkite_meta::MetaStore;
use redkite_storage::{DataStore, StorageOptions};
use redkite_table::fragment::ReaderOptions;
use redkite_table::{Ambient, Database, DatabaseOptions};
use redkite_types::NodeId;

use crate::cluster_config;
use crate::config::{Config, Loaded};
use crate::data_dir::DataDir;
use crate::metadata;

/// The number of the only node of a standalone.
const STANDALONE_NODE: NodeId = NodeId(1);

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
}

impl Engine {
    /// Opens the metadata, then the object store, then the catalog.
    pub async fn open(loaded: &Loaded, dir: &DataDir) -> Result<Self> {
        let config = &loaded.config;
        let meta = metadata::open(&config.etcd, dir).await?;
        let options = storage_options(config, dir);
        let url = options.url.clone();
        let data =
            DataStore::connect(options).await.with_context(|| format!("storage.url = {url:?} cannot be used"))?;
        let database = Database::open(meta.clone(), data.clone(), Ambient::system(), database_options(config))
            .await
            .with_context(|| format!("the catalog of user {} cannot be read", config.user))?;
        let key = database.keys.config(&config.cluster_id);
        cluster_config::publish(meta.as_ref(), &key, &loaded.settings.of_cluster()).await?;
        let ingest = Ingest::new(database, ingest_options(config));
        Ok(Self { meta, meta_is_shared: metadata::is_remote(&config.etcd), data, ingest })
    }

    /// Where the data is, for a person.
    pub fn describe(&self, config: &Config, dir: &DataDir) -> String {
        match (metadata::is_remote(&config.etcd), config.storage.url.is_empty()) {
            (false, true) => dir.root().display().to_string(),
            _ => format!("{} (metadata: {})", self.data.describe(), metadata::describe(&config.etcd, dir)),
        }
    }
}

fn storage_options(config: &Config, dir: &DataDir) -> StorageOptions {
    let storage = &config.storage;
    let some = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    let mut options = StorageOptions::new(some(&storage.url).unwrap_or_else(|| dir.objects_url()));
    options.endpoint = some(&storage.endpoint);
    options.region = some(&storage.region);
    options.cache_dir = Some(some(&storage.cache_dir).map_or_else(|| dir.cache(), Into::into));
    options.cache_bytes_max = storage.cache_bytes_max;
    options
}

fn database_options(config: &Config) -> DatabaseOptions {
    let readers = ReaderOptions { decoded_bytes_max: config.cache.column_bytes_max, ..ReaderOptions::default() };
    DatabaseOptions {
        user: config.user.clone(),
        cluster: config.cluster_id.clone(),
        node: STANDALONE_NODE,
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
