//! The port for the other processes of the cluster: gRPC, apart from that of the clients.
//!
//! Every call carries the cluster's secret, which stands in the metadata: whoever can read that is one of the cluster. It keeps
//! strangers out who reach the port, not those who can listen to the network.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use redkite_types::{ClusterId, UserName};
use tokio::net::TcpListener;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Request, Response, Status};

use crate::{Ask, Member};
use proto::member_client::MemberClient;
use proto::member_server::{self, MemberServer};
use proto::{IdentifyRequest, Identity};

/// The messages.
#[allow(missing_docs, clippy::all, reason = "generated")]
mod proto {
    tonic::include_proto!("redkite.internal.v1");
}

/// Metadata of every call.
const SECRET: &str = "redkite-cluster-secret";
/// How long a process is waited for that is asked who it is: it does nothing else for that.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// What this process answers, once it knows who it is.
#[derive(Debug, Clone)]
pub struct Answering {
    user: UserName,
    cluster: ClusterId,
    known: Arc<Mutex<Option<Known>>>,
}

#[derive(Debug, Clone)]
struct Known {
    secret: String,
    member: Member,
}

impl Answering {
    /// Of a process that does not know yet: until it does, every call is answered UNAVAILABLE.
    pub fn new(user: UserName, cluster: ClusterId) -> Self {
        Self { user, cluster, known: Arc::default() }
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
}

fn not_yet() -> Status {
    Status::unavailable("this process has not joined its cluster yet")
}

/// Lets only those in who know the secret.
impl Interceptor for Answering {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        let known = self.known.lock().clone().ok_or_else(not_yet)?;
        let given = request.metadata().get(SECRET).map(|value| value.as_bytes()).unwrap_or_default();
        match is_same(given, known.secret.as_bytes()) {
            true => Ok(request),
            false => {
                Err(Status::unauthenticated("this port is for the processes of one cluster, which know its secret"))
            }
        }
    }
}

/// In a time that tells nothing of where they differ.
fn is_same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
}

/// Serves the internal port until `stop` resolves.
pub async fn serve(listener: TcpListener, answering: Answering, stop: impl Future<Output = ()>) {
    let service = MemberServer::with_interceptor(answering.clone(), answering);
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    if let Err(error) = Server::builder().add_service(service).serve_with_incoming_shutdown(incoming, stop).await {
        tracing::error!(%error, "the port for the other processes of the cluster has ended");
    }
}

/// Asks over the network.
#[derive(Debug, Clone, Copy, Default)]
pub struct Network;

#[async_trait]
impl Ask for Network {
    async fn boot(&self, internal: &str, secret: &str) -> Option<String> {
        let asked = async {
            let endpoint = Endpoint::from_shared(format!("http://{internal}"))?.tcp_nodelay(true);
            let channel: Channel = endpoint.connect().await?;
            let secret: MetadataValue<Ascii> = secret.parse()?;
            let mut client = MemberClient::with_interceptor(channel, move |mut request: Request<()>| {
                request.metadata_mut().insert(SECRET, secret.clone());
                Ok(request)
            });
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
