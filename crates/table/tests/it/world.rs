//! Databases over shared stores in memory, with clocks that stand still.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use redkite_meta::{ManualClock, MemoryStore};
use redkite_storage::{DataStore, StorageOptions};
use redkite_table::ddl::NewCollection;
use redkite_table::entry::IndexRecord;
use redkite_table::{Ambient, Database, DatabaseOptions};
use redkite_types::{ClusterId, DataType, Field, FieldId, Metric, NodeId, Schema, UserName};

use crate::faulty_meta::FaultyMeta;

/// What nodes share.
#[derive(Debug, Clone)]
pub struct Stores {
    pub meta: Arc<MemoryStore>,
    clock: Arc<ManualClock>,
    now_secs: Arc<AtomicU64>,
    random: Arc<AtomicU64>,
}

/// One node.
#[derive(Debug, Clone)]
pub struct Node {
    pub database: Arc<Database>,
    pub meta: Arc<FaultyMeta>,
}

impl Stores {
    pub fn new() -> Self {
        let clock = Arc::new(ManualClock::new());
        let now_secs = Arc::new(AtomicU64::new(1_800_000_000));
        Self { meta: Arc::new(MemoryStore::with_clock(clock.clone())), clock, now_secs, random: Arc::default() }
    }

    /// Moves the time on, of the nodes and of the store's leases.
    pub fn pass(&self, time: Duration) {
        self.now_secs.fetch_add(time.as_secs(), Ordering::Relaxed);
        self.clock.advance(time);
    }

    pub async fn node(&self, number: u32) -> Node {
        self.node_with(number, false).await
    }

    pub async fn node_with(&self, number: u32, remote_metadata: bool) -> Node {
        self.node_over(number, remote_metadata, FaultyMeta::new(self.meta.clone())).await
    }

    pub async fn node_over(&self, number: u32, remote_metadata: bool, meta: Arc<FaultyMeta>) -> Node {
        let options = DatabaseOptions {
            user: UserName::new("u").unwrap(),
            cluster: ClusterId::new("c").unwrap(),
            node: NodeId(number),
            incarnation: Default::default(),
            remote_metadata,
            readers: Default::default(),
        };
        let (now, random) = (self.now_secs.clone(), self.random.clone());
        let ambient = Ambient::new(
            move || UNIX_EPOCH + Duration::from_secs(now.load(Ordering::Relaxed)),
            move || random.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9e37_79b9_7f4a_7c15),
        );
        let data = DataStore::connect(StorageOptions::new("memory://")).await.unwrap();
        Node { database: Database::open(meta.clone(), data, ambient, options).await.unwrap(), meta }
    }
}

fn field(id: i64, name: &str, data_type: DataType, primary_key: bool) -> Field {
    Field {
        id: FieldId(id),
        name: name.to_owned(),
        description: String::new(),
        data_type,
        nullable: false,
        default: None,
        primary_key,
        auto_id: false,
        partition_key: false,
        dynamic: false,
        params: BTreeMap::new(),
    }
}

/// A collection with vectors of `dim` components.
pub fn collection(name: &str, dim: u32) -> NewCollection {
    let fields = vec![field(100, "id", DataType::Int64, true), field(101, "v", DataType::FloatVector { dim }, false)];
    NewCollection {
        name: name.to_owned(),
        schema: Schema { fields, description: String::new() },
        properties: BTreeMap::new(),
        consistency_level: 0,
        shards: 1,
    }
}

/// An index on the vectors of a [`collection`].
pub fn vector_index() -> IndexRecord {
    IndexRecord {
        name: "v".to_owned(),
        field: FieldId(101),
        index_type: "HNSW".to_owned(),
        metric: Some(Metric::L2),
        params: BTreeMap::new(),
    }
}
