//! Nodes over shared stores, their clients, and rows small enough to write down.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Int64Type};
use arrow_array::{ArrayRef, FixedSizeListArray, Int64Array, RecordBatch};
use redkite_expr::{Predicate, Templates, parse};
use redkite_ingest::block::{BlockOp, OpKind};
use redkite_ingest::{ClientId, ConnectionId, Error, FlushRequest, Flushed, Ingest, IngestOptions, WriteReport};
use redkite_meta::{Clock as _, ManualClock, MemoryStore, MetaStore};
use redkite_storage::{DataStore, StorageOptions};
use redkite_table::ddl::NewCollection;
use redkite_table::entry::CollectionRecord;
use redkite_table::{Ambient, Collection, Database, DatabaseOptions, Visibility};
use redkite_types::{ClusterId, DataType, Field, FieldId, NodeId, Revision, Schema, UserName};

use crate::faulty_meta::FaultyMeta;
use crate::plain::{Row, Write};

/// The collection most tests write to.
pub const FILMS: &str = "films";
/// The key field.
pub const ID: FieldId = FieldId(100);
/// The field that tells rows of one key apart.
pub const TAG: FieldId = FieldId(101);
/// The vector field: a row's is `[key, tag]`.
pub const VECTOR: FieldId = FieldId(102);

/// What outlives nodes.
#[derive(Debug, Clone)]
pub struct Stores {
    pub meta: Arc<dyn MetaStore>,
    pub data: DataStore,
    clock: Arc<ManualClock>,
    random: Arc<AtomicU64>,
}

impl Stores {
    /// Stores in memory.
    pub async fn new() -> Self {
        let data = DataStore::connect(StorageOptions::new("memory://")).await.unwrap();
        let clock = Arc::new(ManualClock::new());
        let meta = Arc::new(MemoryStore::with_clock(clock.clone()));
        Self { meta, data, clock, random: Arc::default() }
    }

    pub fn over(meta: Arc<dyn MetaStore>, data: DataStore) -> Self {
        Self { meta, data, clock: Arc::default(), random: Arc::default() }
    }

    /// Moves the clock on: that of all nodes, and of leases in stores in memory. It stands still otherwise.
    #[allow(dead_code, reason = "not every test binary that includes this file needs it")]
    pub fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }

    /// A clock that moves only when told to and random numbers that are alike in every run.
    fn ambient(&self) -> Ambient {
        let (clock, random) = (self.clock.clone(), self.random.clone());
        Ambient::new(
            move || UNIX_EPOCH + Duration::from_secs(1_800_000_000) + clock.now(),
            move || mix(random.fetch_add(1, Ordering::Relaxed)),
        )
    }

    /// A node with default options.
    pub async fn node(&self, number: u32) -> Node {
        self.node_with(number, IngestOptions::default()).await
    }

    pub async fn node_with(&self, number: u32, options: IngestOptions) -> Node {
        self.node_over(number, options, FaultyMeta::new(self.meta.clone())).await
    }

    pub async fn node_over(&self, number: u32, options: IngestOptions, meta: Arc<FaultyMeta>) -> Node {
        let database_options = DatabaseOptions {
            user: UserName::new("u").unwrap(),
            cluster: ClusterId::new("c").unwrap(),
            node: NodeId(number),
            incarnation: Default::default(),
            remote_metadata: false,
            readers: Default::default(),
        };
        let database = Database::open(meta.clone(), self.data.clone(), self.ambient(), database_options).await.unwrap();
        let ingest = Ingest::new(database.clone(), options);
        Node { database, ingest, meta, connections: Arc::default() }
    }
}

/// Spreads the bits of a counter (splitmix64).
fn mix(counter: u64) -> u64 {
    let mut x = counter.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// One node.
#[derive(Debug, Clone)]
pub struct Node {
    pub database: Arc<Database>,
    pub ingest: Arc<Ingest>,
    pub meta: Arc<FaultyMeta>,
    connections: Arc<AtomicU64>,
}

impl Node {
    /// A new connection.
    pub fn connect(&self) -> ConnectionId {
        let connection = ConnectionId(self.connections.fetch_add(1, Ordering::Relaxed) + 1);
        self.ingest.connected(connection, ([127, 0, 0, 1], 1).into());
        connection
    }

    /// A client on a connection of its own, with an identifier of its own.
    pub fn client(&self) -> Client {
        let connection = self.connect();
        self.client_on(connection, self.ingest.new_identifier(connection))
    }

    pub fn client_on(&self, connection: ConnectionId, identifier: i64) -> Client {
        Client { node: self.clone(), id: ClientId { connection, identifier } }
    }

    /// Creates a collection of ids, tags and vectors.
    pub async fn create(&self, name: &str) {
        self.create_with(name, schema(), &[]).await;
    }

    pub async fn create_with(&self, name: &str, schema: Schema, properties: &[(&str, &str)]) {
        let properties =
            properties.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect::<BTreeMap<_, _>>();
        let new = NewCollection { name: name.to_owned(), schema, properties, consistency_level: 0, shards: 1 };
        self.database.create_collection(new).await.unwrap();
    }

    pub async fn drop_collection(&self, name: &str) {
        assert!(self.database.drop_collection(name).await.unwrap().0.is_some());
    }

    /// The collection as a reader that asks now sees it.
    pub async fn collection(&self, name: &str) -> Arc<Collection> {
        let catalog = self.database.snapshot(Visibility::Strong).await.unwrap();
        catalog.collection(name).unwrap().clone()
    }

    /// All rows a reader that asks now sees, in order, each checked to have its own vector.
    pub async fn rows(&self, name: &str) -> Vec<Row> {
        self.try_rows(name).await.unwrap()
    }

    pub async fn try_rows(&self, name: &str) -> redkite_table::Result<Vec<Row>> {
        let catalog = self.database.snapshot(Visibility::Strong).await?;
        let collection = catalog.collection(name)?.clone();
        let mut rows = Vec::new();
        for fragment in collection.fragments.values() {
            let reader = self.database.readers.open(&collection, fragment, [ID, TAG, VECTOR]).await?;
            let live = reader.live().to_rows();
            assert_eq!(live.len() as u64, fragment.live_rows());
            let (keys, tags) = (reader.take(ID, &live)?, reader.take(TAG, &live)?);
            let vectors = reader.take(VECTOR, &live)?;
            let (keys, tags) = (keys.as_primitive::<Int64Type>(), tags.as_primitive::<Int64Type>());
            for row in 0..live.len() {
                let (key, tag) = (keys.value(row), tags.value(row));
                let vector = vectors.as_fixed_size_list().value(row);
                assert_eq!(vector.as_primitive::<Float32Type>().values(), &[key as f32, tag as f32]);
                rows.push((key, tag));
            }
        }
        rows.sort_unstable();
        Ok(rows)
    }

    /// How many fragments a collection has.
    pub async fn fragments(&self, name: &str) -> usize {
        self.collection(name).await.fragments.len()
    }
}

/// One client of a node.
#[derive(Debug, Clone)]
pub struct Client {
    pub node: Node,
    pub id: ClientId,
}

impl Client {
    /// Writes into a collection, as the wire's handlers do: takes the turn, then resolves the name.
    pub async fn write(&self, name: &str, write: &Write) -> Result<WriteReport, Error> {
        let turn = self.node.ingest.turn(self.id).await?;
        let catalog = self.node.database.snapshot(Visibility::Strong).await?;
        let record = catalog.collection(name)?.record()?.clone();
        turn.submit(op(&record, write)).await
    }

    /// Writes into the usual collection; it must succeed.
    pub async fn films(&self, write: Write) {
        self.write(FILMS, &write).await.unwrap();
    }

    pub async fn insert(&self, rows: &[Row]) {
        self.films(Write::Insert(rows.to_vec())).await;
    }

    pub async fn upsert(&self, rows: &[Row]) {
        self.films(Write::Upsert(rows.to_vec())).await;
    }

    pub async fn delete(&self, keys: &[i64]) {
        self.films(Write::DeleteKeys(keys.to_vec())).await;
    }

    /// A flush without a name; it must succeed.
    pub async fn flush(&self) -> Revision {
        self.try_flush().await.unwrap().revision
    }

    pub async fn try_flush(&self) -> Result<Flushed, Error> {
        self.flush_with(FlushRequest::default()).await
    }

    pub async fn flush_named(&self, name: &str) -> Result<Flushed, Error> {
        self.flush_with(FlushRequest { name: Some(name.as_bytes().to_vec()), block_ops: None }).await
    }

    pub async fn flush_with(&self, request: FlushRequest) -> Result<Flushed, Error> {
        self.node.ingest.turn(self.id).await?.flush(request).await
    }

    /// Cuts the connection.
    pub fn disconnect(&self) {
        self.node.ingest.disconnected(self.id.connection);
    }

    /// The same client on a new connection, as after a silent reconnect.
    pub fn reconnected(&self) -> Client {
        self.node.client_on(self.node.connect(), self.id.identifier)
    }
}

/// A field that is neither nullable nor a key.
pub fn field(id: FieldId, name: &str, data_type: DataType) -> Field {
    Field {
        id,
        name: name.to_owned(),
        description: String::new(),
        data_type,
        nullable: false,
        default: None,
        primary_key: false,
        auto_id: false,
        partition_key: false,
        dynamic: false,
        params: BTreeMap::new(),
    }
}

/// Ids, tags and vectors.
pub fn schema() -> Schema {
    let fields = vec![
        Field { primary_key: true, ..field(ID, "id", DataType::Int64) },
        field(TAG, "tag", DataType::Int64),
        field(VECTOR, "vector", DataType::FloatVector { dim: 2 }),
    ];
    Schema { fields, description: String::new() }
}

/// The same with another vector field behind, of the same values.
#[allow(dead_code, reason = "not every test binary that includes this file needs it")]
pub fn schema_of_two_vectors() -> Schema {
    let mut schema = schema();
    schema.fields.push(field(FieldId(103), "second", DataType::FloatVector { dim: 2 }));
    schema
}

/// Rows as a batch of [`schema`] or [`schema_of_two_vectors`].
pub fn batch(schema: &Schema, rows: &[Row]) -> RecordBatch {
    let column = |value: fn(&Row) -> i64| Arc::new(rows.iter().map(value).collect::<Int64Array>());
    let vectors = rows.iter().map(|(key, tag)| Some([Some(*key as f32), Some(*tag as f32)]));
    let vectors = FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>(vectors, 2);
    let (_, size, values, nulls) = vectors.into_parts();
    let arrow_schema::DataType::FixedSizeList(item, _) = schema.fields[2].data_type.arrow() else { unreachable!() };
    let vectors = Arc::new(FixedSizeListArray::new(item, size, values, nulls.filter(|nulls| nulls.null_count() > 0)));
    let mut columns: Vec<ArrayRef> = vec![column(|row| row.0), column(|row| row.1)];
    columns.resize(schema.fields.len(), vectors);
    RecordBatch::try_new(schema.arrow(), columns).unwrap()
}

/// A write as an operation on the collection of `record`.
pub fn op(record: &Arc<CollectionRecord>, write: &Write) -> BlockOp {
    let schema = &record.schema;
    let kind = match write {
        Write::Insert(rows) => OpKind::Insert(batch(schema, rows)),
        Write::Upsert(rows) => OpKind::Upsert(batch(schema, rows)),
        Write::DeleteKeys(_) | Write::DeleteTags(..) => {
            let text = write.filter();
            OpKind::Delete { predicate: filter(schema, &text), text }
        }
    };
    BlockOp { collection: record.id, record: record.clone(), kind }
}

/// A filter over [`schema`].
pub fn filter(schema: &Schema, text: &str) -> Arc<Predicate> {
    Arc::new(parse(text, &Templates::new(), schema).unwrap())
}

/// Lets tasks run until `done`; on a paused clock, time passes, too.
pub async fn until<F: Future<Output = bool>>(mut done: impl FnMut() -> F) {
    for _ in 0..10_000 {
        if done().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("waited in vain");
}
