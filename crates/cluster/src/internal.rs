//! The port for the other processes of the cluster: gRPC, apart from that of the clients.
//!
//! Every call proves that its sender knows the cluster's secret, which stands in the metadata: whoever can read that is one of the
//! cluster (see `secret`). It keeps strangers out who reach the port, not those who can listen to the network.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use parking_lot::Mutex;
use proto::member_client::MemberClient;
use proto::member_server::{self, MemberServer};
use proto::{HeartbeatRequest, IdentifyRequest, Identity, Work};
use redkite_net::{Acceptor, Dialer, Stream};
use redkite_types::{ClusterId, Revision, UserName};
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Request, Response, Status, Streaming};

use crate::call::{Call, connector};
use crate::conversation::{Converse, answers, undone};
use crate::secret::{is_same, of_calls};
use crate::{Ask, Holding, Load, Member, handover};

/// The messages.
#[allow(missing_docs, clippy::all, reason = "generated")]
pub(crate) mod proto {
    tonic::include_proto!("redkite.internal.v1");
}

/// Metadata of every call.
const PROOF: &str = "redkite-cluster-proof";
/// How long a process is waited for that is asked who it is: it does nothing else for that.
pub(crate) const ANSWER_MAX: Duration = Duration::from_secs(2);
/// Most connections of which it is not known yet what they are for; further ones wait.
const UNSORTED_MAX: usize = 1_024;
/// Most connections that carry calls: one of each other process of the largest cluster, and some for those that come anew. Further
/// ones are turned away.
const CALLERS_MAX: usize = 16_384;
/// What a connection for calls begins with.
const HTTP2_PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Most bytes of the reason why work was refused.
const REASON_BYTES_MAX: usize = 1_024;
/// How often the other end of a connection for calls is asked whether it is still there, and how long it may take to answer.
const KEEP_ALIVE: [Duration; 2] = [Duration::from_secs(10), Duration::from_secs(10)];
/// Most calls at once over one connection. A conversation is one for as long as it lasts, and must keep no other call waiting.
const CALLS_MAX: u32 = 65_536;
/// How long a connection may take to tell.
const SORTED_WITHIN: Duration = Duration::from_secs(5);
/// Pause before another connection is accepted where there was no room for one.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);

/// Most bytes of work, and of what comes of it, that a node takes from another; the lengths around it included.
pub const WORK_BYTES_MAX: usize = (256 << 20) + (1 << 20);

/// Does this process's part of requests that reached other nodes.
#[async_trait]
pub trait Execute: Send + Sync {
    /// What comes of it, or why nothing does. Dropped when nobody waits for it any more.
    async fn execute(&self, work: Bytes) -> Result<Bytes, Undone>;
}

/// What this process answers, once it knows who it is.
#[derive(Clone)]
pub struct Answering {
    user: UserName,
    cluster: ClusterId,
    load: Arc<dyn Fn() -> Load + Send + Sync>,
    known: Arc<Mutex<Option<Known>>>,
    executing: Arc<OnceLock<Arc<dyn Execute>>>,
    conversing: Arc<OnceLock<Arc<dyn Converse>>>,
}

#[derive(Clone)]
struct Known {
    secret: String,
    member: Member,
}

impl Answering {
    /// Of a process that does not know yet: until it does, every call is answered UNAVAILABLE.
    /// `load` is asked for with every heartbeat.
    pub fn new(user: UserName, cluster: ClusterId, load: impl Fn() -> Load + Send + Sync + 'static) -> Self {
        let (known, executing, conversing) = (Arc::default(), Arc::default(), Arc::default());
        Self { user, cluster, load: Arc::new(load), known, executing, conversing }
    }

    /// From now on this process does work for others; until then it answers UNAVAILABLE. To be called once.
    pub fn execute_by(&self, executor: Arc<dyn Execute>) {
        // A second one would be a defect; the first one stays.
        _ = self.executing.set(executor);
    }

    /// From now on this process takes part in conversations that others begin; until then it answers UNAVAILABLE. To be called
    /// once.
    pub fn converse_by(&self, partners: Arc<dyn Converse>) {
        // A second one would be a defect; the first one stays.
        _ = self.conversing.set(partners);
    }

    /// From now on this process answers as `member`, to those who know `secret`.
    pub fn answer(&self, secret: &str, member: &Member) {
        *self.known.lock() = Some(Known { secret: secret.to_owned(), member: member.clone() });
    }
}

#[async_trait]
impl member_server::Member for Answering {
    async fn identify(&self, _: Request<IdentifyRequest>) -> Result<Response<Identity>, Status> {
        let known = self.known.lock().clone().ok_or_else(not_yet)?;
        Ok(Response::new(Identity {
            user: self.user.to_string(),
            cluster: self.cluster.to_string(),
            node: known.member.node.0,
            incarnation: known.member.incarnation.0,
            boot: known.member.boot,
        }))
    }

    async fn heartbeat(&self, _: Request<HeartbeatRequest>) -> Result<Response<proto::Load>, Status> {
        let known = self.known.lock().clone().ok_or_else(not_yet)?;
        let Load { connections, memory_bytes, memory_budget_bytes, takes_clients, holding } = (self.load)();
        let (boot, holding) = (known.member.boot, holding.map(Into::into));
        let load = proto::Load { boot, connections, memory_bytes, takes_clients, memory_budget_bytes, holding };
        Ok(Response::new(load))
    }

    async fn execute(&self, request: Request<Work>) -> Result<Response<Work>, Status> {
        let executor = self.executing.get().ok_or_else(|| Status::unavailable("this process does not serve yet"))?;
        // A task of its own, so that a defect there ends neither the connection nor what else comes over it; ended when dropped.
        let mut executing = JoinSet::new();
        let (executor, work) = (executor.clone(), request.into_inner().bytes);
        executing.spawn(async move { executor.execute(work).await });
        match executing.join_next().await {
            Some(Ok(Ok(bytes))) => Ok(Response::new(Work { bytes })),
            Some(Ok(Err(Undone::Refused(reason)))) => Err(Status::failed_precondition(cut(reason))),
            Some(Ok(Err(Undone::Unable(reason)))) => Err(Status::aborted(cut(reason))),
            Some(Ok(Err(Undone::Failed(reason)))) => Err(Status::unavailable(cut(reason))),
            _ => Err(Status::internal("this process met a defect, which its log describes")),
        }
    }

    type ConverseStream = BoxStream<'static, Result<Work, Status>>;

    async fn converse(&self, request: Request<Streaming<Work>>) -> Result<Response<Self::ConverseStream>, Status> {
        let partners = self.conversing.get().ok_or_else(|| Status::unavailable("this process does not serve yet"))?;
        Ok(Response::new(answers(partners.begin(), request.into_inner()).boxed()))
    }
}

impl fmt::Debug for Answering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Never the secret.
        f.debug_struct("Answering").field("user", &self.user).field("cluster", &self.cluster).finish_non_exhaustive()
    }
}

/// A reason travels in a header, which has a limit.
pub(crate) fn cut(mut reason: String) -> String {
    let end = (0..=REASON_BYTES_MAX.min(reason.len())).rev().find(|end| reason.is_char_boundary(*end));
    reason.truncate(end.unwrap_or(0));
    reason
}

fn not_yet() -> Status {
    Status::unavailable("this process has not joined its cluster yet")
}

/// Lets only those in who know the secret.
impl Interceptor for Answering {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        let known = self.known.lock().clone().ok_or_else(not_yet)?;
        let given = request.metadata().get(PROOF).map(|value| value.as_bytes()).unwrap_or_default();
        match is_same(given, of_calls(&known.secret, &known.member.boot).as_bytes()) {
            true => Ok(request),
            false => {
                Err(Status::unauthenticated("this port is for the processes of one cluster, which know its secret"))
            }
        }
    }
}

/// A client's connection that a Master handed over, and where the client is.
pub type Forwarded = (Stream, SocketAddr);

/// The internal port: where it is open, and whether its connections have TLS.
#[derive(Debug)]
pub struct Port {
    /// Where.
    pub listener: TcpListener,
    /// How.
    pub acceptor: Acceptor,
}

impl From<TcpListener> for Port {
    /// Without TLS.
    fn from(listener: TcpListener) -> Self {
        Self { listener, acceptor: Acceptor::plain() }
    }
}

/// Serves the internal port until `stop` resolves: calls, and connections that Masters hand over, which go to `clients`.
pub async fn serve(
    port: impl Into<Port>,
    answering: Answering,
    clients: mpsc::Sender<Forwarded>,
    stop: impl Future<Output = ()>,
) {
    let member = MemberServer::new(answering.clone())
        .max_decoding_message_size(WORK_BYTES_MAX)
        .max_encoding_message_size(WORK_BYTES_MAX);
    let service = InterceptedService::new(member, answering.clone());
    let (calls, incoming) = mpsc::channel(UNSORTED_MAX);
    let incoming = stream::unfold(incoming, async |mut incoming: mpsc::Receiver<Call>| {
        incoming.recv().await.map(|stream| (Ok::<_, io::Error>(stream), incoming))
    });
    let [keep_alive_interval, keep_alive_timeout] = KEEP_ALIVE;
    let mut server = Server::builder()
        .max_concurrent_streams(Some(CALLS_MAX))
        .http2_keepalive_interval(Some(keep_alive_interval))
        .http2_keepalive_timeout(Some(keep_alive_timeout));
    let accepting =
        accept(port.into(), Sorter { answering, clients, calls, places: Arc::new(Semaphore::new(CALLERS_MAX)) });
    tokio::pin!(stop);
    tokio::select! {
        served = server.add_service(service).serve_with_incoming(incoming) => {
            if let Err(error) = served {
                tracing::error!(%error, "the port for the other processes of the cluster has ended");
            }
        }
        () = accepting => {}
        () = &mut stop => {}
    }
}

/// Takes connections, and finds out in a task of its own for each what it is for.
async fn accept(Port { listener, acceptor }: Port, sorter: Sorter) {
    let places = Arc::new(Semaphore::new(UNSORTED_MAX));
    let mut sorting = JoinSet::new();
    loop {
        // Never closed.
        let Ok(place) = places.clone().acquire_owned().await else { return };
        while sorting.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((socket, peer)) => {
                if let Err(error) = socket.set_nodelay(true) {
                    tracing::debug!(%peer, %error, "a connection to the internal port ended at once");
                    continue;
                }
                let Some(stream) = acceptor.accept(socket) else { continue };
                let sorter = sorter.clone();
                sorting.spawn(async move {
                    match tokio::time::timeout(SORTED_WITHIN, sorter.sort(stream)).await {
                        Ok(Ok(())) => {}
                        Ok(Err(error)) => {
                            tracing::debug!(%peer, %error, "a connection to the internal port is dropped")
                        }
                        Err(_) => {
                            tracing::debug!(%peer, "a connection to the internal port says nothing, and is dropped")
                        }
                    }
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "no connection to the internal port can be accepted for the moment");
                tokio::time::sleep(EXHAUSTED_PAUSE).await;
            }
        }
    }
}

#[derive(Debug, Clone)]
struct Sorter {
    answering: Answering,
    clients: mpsc::Sender<Forwarded>,
    calls: mpsc::Sender<Call>,
    /// For connections that carry calls.
    places: Arc<Semaphore>,
}

impl Sorter {
    /// By what a connection begins with it is one for calls, or a client's.
    async fn sort(&self, mut stream: Stream) -> io::Result<()> {
        let ended = || io::Error::from(io::ErrorKind::BrokenPipe);
        let stranger = || io::Error::new(io::ErrorKind::PermissionDenied, "it is not from this cluster");
        if !stream.begins_with(handover::SIGNATURE).await? {
            // All of it: what has begun no more than a connection would be waited for without end.
            return match stream.begins_with(HTTP2_PREFACE).await? {
                true => {
                    let full = |_| io::Error::new(io::ErrorKind::QuotaExceeded, "there are too many of them");
                    let place = self.places.clone().try_acquire_owned().map_err(full)?;
                    self.calls.send(Call { stream, _place: place }).await.map_err(|_| ended())
                }
                false => Err(stranger()),
            };
        }
        let mut header = vec![0; handover::FIXED_BYTES];
        stream.read_exact(&mut header).await?;
        let fixed: &[u8; handover::FIXED_BYTES] = header.as_slice().try_into().map_err(|_| stranger())?;
        let rest = handover::rest_bytes(fixed).ok_or_else(stranger)?;
        header.resize(handover::FIXED_BYTES + rest, 0);
        stream.read_exact(&mut header[handover::FIXED_BYTES..]).await?;
        let known = self.answering.known.lock().clone().ok_or_else(stranger)?;
        let client = handover::client(&header, &known.secret, &known.member.boot).ok_or_else(stranger)?;
        self.clients.send((stream, client)).await.map_err(|_| ended())
    }
}

/// A channel to the internal port at `internal`, which is opened with its first call.
pub(crate) fn channel(internal: &str, dialer: &Dialer) -> Result<Channel, tonic::transport::Error> {
    let endpoint = Endpoint::from_shared(format!("http://{internal}"))?
        .tcp_nodelay(true)
        .connect_timeout(ANSWER_MAX)
        .http2_keep_alive_interval(KEEP_ALIVE[0])
        .keep_alive_timeout(KEEP_ALIVE[1]);
    Ok(match dialer.is_tls() {
        true => endpoint.connect_with_connector_lazy(connector(dialer, internal)),
        false => endpoint.connect_lazy(),
    })
}

/// Asks the process of `boot` behind `channel` for its load; which process it is, and what it tells.
pub(crate) async fn heartbeat(channel: Channel, secret: &str, boot: &str) -> Result<(String, Load), Status> {
    let proof = of_calls(secret, boot).parse().map_err(|_| Status::internal("a proof is no text"))?;
    let mut client = MemberClient::with_interceptor(channel, Proving(proof));
    let answer = client.heartbeat(HeartbeatRequest {}).await?.into_inner();
    let proto::Load { boot, connections, memory_bytes, takes_clients, memory_budget_bytes, holding } = answer;
    let holding = holding.map(Into::into);
    Ok((boot, Load { connections, memory_bytes, memory_budget_bytes, takes_clients, holding }))
}

impl From<Holding> for proto::Holding {
    fn from(holding: Holding) -> Self {
        let Holding { fragments, bytes, pending, missing, total, members, catalog, warm } = holding;
        let (members, catalog) = (members.0, catalog.0);
        Self { fragments, bytes, pending, missing, total, members, catalog, warm }
    }
}

impl From<proto::Holding> for Holding {
    fn from(holding: proto::Holding) -> Self {
        let proto::Holding { fragments, bytes, pending, missing, total, members, catalog, warm } = holding;
        let (members, catalog) = (Revision(members), Revision(catalog));
        Self { fragments, bytes, pending, missing, total, members, catalog, warm }
    }
}

/// Why another process has not done its part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Undone {
    /// It will not, and nobody would.
    Refused(String),
    /// It is well, and cannot do this: files that it cannot read another one may.
    Unable(String),
    /// It is not well, or not there.
    Failed(String),
}

/// Has the process of `boot` behind `channel` do its part.
pub(crate) async fn execute(channel: Channel, secret: &str, boot: &str, bytes: Bytes) -> Result<Bytes, Undone> {
    match client(channel, secret, boot)?.execute(Work { bytes }).await {
        Ok(answer) => Ok(answer.into_inner().bytes),
        Err(status) => Err(undone(&status)),
    }
}

/// Calls the process of `boot` behind `channel`, with work of any size.
pub(crate) fn client(channel: Channel, secret: &str, boot: &str) -> Result<MemberClient<Proven>, Undone> {
    let proof = of_calls(secret, boot).parse().map_err(|_| Undone::Failed("a proof is no text".to_owned()))?;
    Ok(MemberClient::with_interceptor(channel, Proving(proof))
        .max_decoding_message_size(WORK_BYTES_MAX)
        .max_encoding_message_size(WORK_BYTES_MAX))
}

/// A channel whose calls are proven.
type Proven = InterceptedService<Channel, Proving>;

/// Proves calls.
#[derive(Clone)]
pub(crate) struct Proving(MetadataValue<Ascii>);

impl Interceptor for Proving {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert(PROOF, self.0.clone());
        Ok(request)
    }
}

/// Asks over the network, without TLS.
#[derive(Debug, Clone, Copy, Default)]
pub struct Network;

#[async_trait]
impl Ask for Network {
    async fn boot(&self, member: &Member, secret: &str) -> Option<String> {
        Dialer::plain().boot(member, secret).await
    }
}

#[async_trait]
impl Ask for Dialer {
    async fn boot(&self, member: &Member, secret: &str) -> Option<String> {
        let internal = member.internal.as_str();
        let asked = async {
            let proof = of_calls(secret, &member.boot).parse()?;
            let mut client = MemberClient::with_interceptor(channel(internal, self)?, Proving(proof));
            let answer = client.identify(IdentifyRequest {}).await?;
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(answer.into_inner().boot)
        };
        match tokio::time::timeout(ANSWER_MAX, asked).await {
            Ok(Ok(boot)) => Some(boot),
            Ok(Err(error)) => {
                tracing::debug!(internal, error, "a process of the cluster does not answer");
                None
            }
            Err(_) => {
                tracing::debug!(internal, "a process of the cluster does not answer in time");
                None
            }
        }
    }
}
