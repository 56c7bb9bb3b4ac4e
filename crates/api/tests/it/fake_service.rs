//! A service whose answers show what the transport does, and a server around it.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use redkite_api::proto::common::Status;
use redkite_api::proto::milvus::milvus_service_client::MilvusServiceClient;
use redkite_api::proto::milvus::milvus_service_server::MilvusService;
use redkite_api::proto::milvus::*;
use redkite_api::server::{AcceptPolicy, ConnectionEvents, ConnectionId, ConnectionInfo, Server, ServerOptions};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinHandle;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Response};

/// The service of one server.
struct FakeService(Arc<Fake>);

/// What the tests steer and see of the service.
#[derive(Default)]
pub struct Fake {
    /// A call of Flush has begun.
    pub begun: Notify,
    /// Lets one call of Flush end.
    pub release: Notify,
}

/// Methods in the form that `async_trait` makes of them: it does not look into macros.
macro_rules! unused {
    ($($method:ident($request:ident) -> $response:ident;)*) => {$(
        fn $method<'a, 'b>(
            &'a self,
            _: Request<$request>,
        ) -> Pin<Box<dyn Future<Output = Result<Response<$response>, tonic::Status>> + Send + 'b>>
        where
            'a: 'b,
            Self: 'b,
        {
            Box::pin(async { Err(tonic::Status::failed_precondition("not used by these tests")) })
        }
    )*};
}

#[tonic::async_trait]
impl MilvusService for FakeService {
    /// Answers the connection's id.
    async fn get_version(
        &self,
        request: Request<GetVersionRequest>,
    ) -> Result<Response<GetVersionResponse>, tonic::Status> {
        let info = request.extensions().get::<ConnectionInfo>().expect("every request knows its connection");
        Ok(Response::new(GetVersionResponse { status: Some(Status::default()), version: info.id.to_string() }))
    }

    async fn check_health(
        &self,
        _: Request<CheckHealthRequest>,
    ) -> Result<Response<CheckHealthResponse>, tonic::Status> {
        panic!("on purpose")
    }

    /// Waits to be released.
    async fn flush(&self, _: Request<FlushRequest>) -> Result<Response<FlushResponse>, tonic::Status> {
        self.0.begun.notify_one();
        self.0.release.notified().await;
        Ok(Response::new(FlushResponse::default()))
    }

    async fn get_flush_state(
        &self,
        _: Request<GetFlushStateRequest>,
    ) -> Result<Response<GetFlushStateResponse>, tonic::Status> {
        Ok(Response::new(GetFlushStateResponse { flushed: true, ..GetFlushStateResponse::default() }))
    }

    /// Answers how many bytes came.
    async fn create_collection(
        &self,
        request: Request<CreateCollectionRequest>,
    ) -> Result<Response<Status>, tonic::Status> {
        let bytes = request.into_inner().schema.len();
        Ok(Response::new(Status { reason: bytes.to_string(), ..Status::default() }))
    }

    /// Answers as many bytes as asked for.
    async fn query(&self, request: Request<QueryRequest>) -> Result<Response<QueryResults>, tonic::Status> {
        let bytes = request.into_inner().travel_timestamp as usize;
        Ok(Response::new(QueryResults { collection_name: "x".repeat(bytes), ..QueryResults::default() }))
    }

    unused! {
        connect(ConnectRequest) -> ConnectResponse;
        alloc_timestamp(AllocTimestampRequest) -> AllocTimestampResponse;
        drop_collection(DropCollectionRequest) -> Status;
        rename_collection(RenameCollectionRequest) -> Status;
        has_collection(HasCollectionRequest) -> BoolResponse;
        describe_collection(DescribeCollectionRequest) -> DescribeCollectionResponse;
        show_collections(ShowCollectionsRequest) -> ShowCollectionsResponse;
        get_collection_statistics(GetCollectionStatisticsRequest) -> GetCollectionStatisticsResponse;
        alter_collection(AlterCollectionRequest) -> Status;
        has_partition(HasPartitionRequest) -> BoolResponse;
        show_partitions(ShowPartitionsRequest) -> ShowPartitionsResponse;
        get_partition_statistics(GetPartitionStatisticsRequest) -> GetPartitionStatisticsResponse;
        load_partitions(LoadPartitionsRequest) -> Status;
        release_partitions(ReleasePartitionsRequest) -> Status;
        create_index(CreateIndexRequest) -> Status;
        describe_index(DescribeIndexRequest) -> DescribeIndexResponse;
        drop_index(DropIndexRequest) -> Status;
        load_collection(LoadCollectionRequest) -> Status;
        release_collection(ReleaseCollectionRequest) -> Status;
        get_loading_progress(GetLoadingProgressRequest) -> GetLoadingProgressResponse;
        get_load_state(GetLoadStateRequest) -> GetLoadStateResponse;
        insert(InsertRequest) -> MutationResult;
        upsert(UpsertRequest) -> MutationResult;
        delete(DeleteRequest) -> MutationResult;
        search(SearchRequest) -> SearchResults;
        flush_all(FlushAllRequest) -> FlushAllResponse;
        get_flush_all_state(GetFlushAllStateRequest) -> GetFlushAllStateResponse;
        list_databases(ListDatabasesRequest) -> ListDatabasesResponse;
        describe_database(DescribeDatabaseRequest) -> DescribeDatabaseResponse;
    }
}

/// What happened to a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    Connected(ConnectionId),
    Gone(ConnectionId),
}

struct Recorder(mpsc::UnboundedSender<Event>);

impl ConnectionEvents for Recorder {
    fn on_connect(&self, connection: ConnectionInfo) {
        let _ = self.0.send(Event::Connected(connection.id));
    }

    fn on_disconnect(&self, connection: ConnectionId) {
        let _ = self.0.send(Event::Gone(connection));
    }
}

/// A running server.
pub struct Running {
    pub address: SocketAddr,
    pub fake: Arc<Fake>,
    pub events: mpsc::UnboundedReceiver<Event>,
    pub stop: Option<oneshot::Sender<()>>,
    pub served: JoinHandle<()>,
}

/// Small, so that tests of the limit are cheap.
pub const MESSAGE_BYTES_MAX: usize = 1024 * 1024;

/// Long enough never to matter where a test is not about it.
pub const LONG: Duration = Duration::from_secs(600);

/// Waits for requests and for clients as long as it takes, and for nobody who may ask about a flush.
pub fn patient() -> ServerOptions {
    ServerOptions {
        message_bytes_max: MESSAGE_BYTES_MAX,
        shutdown_grace: LONG,
        follow_up_grace: Duration::ZERO,
        leave_grace: LONG,
        ..ServerOptions::default()
    }
}

/// Starts a server on a free port of the loopback address.
pub async fn start(accept: Arc<dyn AcceptPolicy>, options: ServerOptions) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, events) = mpsc::unbounded_channel();
    let fake = Arc::new(Fake::default());
    let (stop, stopped) = oneshot::channel::<()>();
    let server = Server { accept, events: Arc::new(Recorder(sender)), options, ..Server::new() };
    let served = tokio::spawn(server.serve(listener, FakeService(Arc::clone(&fake)), async {
        let _ = stopped.await;
    }));
    Running { address, fake, events, stop: Some(stop), served }
}

impl Running {
    /// A connection of its own.
    pub async fn channel(&self) -> Channel {
        Endpoint::from_shared(format!("http://{}", self.address)).unwrap().connect().await.unwrap()
    }

    /// A client on a connection of its own.
    pub async fn client(&self) -> MilvusServiceClient<Channel> {
        MilvusServiceClient::new(self.channel().await)
    }

    /// Asks it to stop, and returns once it takes no new connections.
    pub async fn stop(&mut self) {
        self.stop.take().unwrap().send(()).unwrap();
        while TcpStream::connect(self.address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    }

    /// Asserts that a new connection is answered.
    pub async fn assert_alive(&self) {
        self.client().await.get_version(GetVersionRequest {}).await.unwrap();
    }
}
