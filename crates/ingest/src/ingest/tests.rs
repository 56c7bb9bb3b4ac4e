//! Which session a request belongs to, and what its client is told.

use super::*;

fn registry() -> Registry {
    Registry {
        identities: Identities::new(7),
        connections: HashMap::new(),
        sessions: HashMap::new(),
        homes: HashMap::new(),
        ending: HashMap::new(),
    }
}

fn connect(registry: &mut Registry, connection: u64) {
    let connected =
        Connected { peer: ([127, 0, 0, 1], 1).into(), identifiers: Vec::new(), handed_out: Default::default() };
    registry.connections.insert(ConnectionId(connection), connected);
}

fn client(connection: u64, identifier: i64) -> ClientId {
    ClientId { connection: ConnectionId(connection), identifier }
}

async fn database() -> Arc<Database> {
    let options = redkite_table::DatabaseOptions {
        user: redkite_types::UserName::new("u").unwrap(),
        cluster: redkite_types::ClusterId::new("c").unwrap(),
        node: redkite_types::NodeId(1),
        incarnation: Default::default(),
        remote_metadata: false,
        readers: Default::default(),
    };
    let data = redkite_storage::DataStore::connect(redkite_storage::StorageOptions::new("memory://")).await.unwrap();
    let meta = Arc::new(redkite_meta::MemoryStore::new());
    Database::open(meta, data, redkite_table::Ambient::system(), options).await.unwrap()
}

async fn bind(registry: &mut Registry, client: ClientId) -> std::result::Result<Arc<Session>, String> {
    let ingest = Ingest::new(database().await, IngestOptions::default());
    registry.bind(client, &ingest).map_err(|error| error.to_string())
}

#[tokio::test]
async fn a_session_is_a_connection_and_an_identifier() {
    let mut registry = registry();
    let (a, b) = (registry.identities.hand_out(), registry.identities.hand_out());
    connect(&mut registry, 1);
    let first = bind(&mut registry, client(1, a)).await.unwrap();
    assert!(Arc::ptr_eq(&first, &bind(&mut registry, client(1, a)).await.unwrap()));
    assert!(!Arc::ptr_eq(&first, &bind(&mut registry, client(1, b)).await.unwrap()));
    assert_eq!(registry.sessions.len(), 2);
}

#[tokio::test]
async fn a_request_on_a_connection_that_ended_finds_nothing_and_breaks_nothing() {
    let mut registry = registry();
    let id = registry.identities.hand_out();
    assert!(bind(&mut registry, client(1, id)).await.unwrap_err().contains("the connection has ended"));
    connect(&mut registry, 2);
    let session = bind(&mut registry, client(2, id)).await.unwrap();
    assert!(bind(&mut registry, client(1, id)).await.is_err());
    assert!(Arc::ptr_eq(&session, &bind(&mut registry, client(2, id)).await.unwrap()));
}

#[tokio::test]
async fn the_newer_connection_has_the_client() {
    let mut registry = registry();
    let id = registry.identities.hand_out();
    for connection in [1, 2] {
        connect(&mut registry, connection);
    }
    bind(&mut registry, client(1, id)).await.unwrap();
    let newer = bind(&mut registry, client(2, id)).await.unwrap();
    assert!(bind(&mut registry, client(1, id)).await.unwrap_err().contains("reconnected"));
    assert!(Arc::ptr_eq(&newer, &bind(&mut registry, client(2, id)).await.unwrap()));
    assert_eq!((registry.sessions.len(), registry.homes[&id]), (1, ConnectionId(2)));
}

#[tokio::test]
async fn clients_without_identifier_never_meet() {
    let mut registry = registry();
    for connection in [1, 2] {
        connect(&mut registry, connection);
        bind(&mut registry, client(connection, 0)).await.unwrap();
    }
    assert_eq!((registry.sessions.len(), registry.homes.len()), (2, 0));
}
