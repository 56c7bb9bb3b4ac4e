//! A client that asks a Master for a node and goes there itself; the twin of `clients/python`, to be copied.
//!
//! A session is a connection: what is written on it and not flushed is gone with it. So the client counts its writes and tells
//! the server with each flush how many it is about; each flush has a name, by which its outcome is asked for where no answer
//! came. Asking settles it. When the node is gone, a Master names another one.
//!
//! One client has one session. A program that writes more has more clients, each of its own connection.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::time::Duration;

use redkite_api::proto::common::{ErrorCode, Status};
use redkite_api::proto::milvus::milvus_service_client::MilvusServiceClient;
use redkite_api::proto::milvus::{
    ConnectRequest, DeleteRequest, FlushAllRequest, GetFlushStateRequest, InsertRequest, MutationResult,
};
use serde::Deserialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Response};

/// What every call on a node carries after `Connect`.
const IDENTIFIER: &str = "identifier";
/// The name of a flush.
const FLUSH_ID: &str = "redkite-flush-id";
/// How many writes a flush is about.
const BLOCK_OPS: &str = "redkite-block-ops";
/// How long a Master, and then a node, may take to answer before another one is asked.
const ANSWER: Duration = Duration::from_secs(5);
/// How long to look for a node.
const PATIENCE: Duration = Duration::from_secs(30);
/// Pause before Masters are asked again where no node could be reached.
const PAUSE: Duration = Duration::from_millis(200);
/// Longest answer a Master is expected to give.
const ROUTE_BYTES_MAX: u64 = 64 << 10;

/// What the server says where a session's operations are gone (and its count is zero again).
const LOST: [&str; 3] = [
    "that were not flushed, if it had any, are gone",
    "operations were lost with an earlier connection",
    "the unflushed operations were discarded",
];
const NOT_COMMITTED: &str = "flush ID was not committed";

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What this client had written and not flushed is gone: write it again. What was flushed is safe.
    #[error("what was not flushed is gone: {0}")]
    Lost(String),
    /// No Master names a node that answers.
    #[error("no Master of {masters} names a node that answers: {last}")]
    NoNode {
        /// Who was asked.
        masters: String,
        /// What came of it last.
        last: String,
    },
    /// Whether that flush was committed could not be learnt; ask for it by that name.
    #[error("whether flush {0} was committed could not be learnt")]
    Unknown(String),
    /// The node has not answered a read; it has been left for another one.
    #[error("no answer: {0}")]
    NoAnswer(String),
    /// The server says no.
    #[error("the server answers {code}: {reason}")]
    Refused {
        /// Milvus's code.
        code: i32,
        /// Why.
        reason: String,
    },
}

type Result<T> = std::result::Result<T, Error>;

/// A client on a node that a Master named.
#[derive(Debug)]
pub struct Client {
    masters: Vec<String>,
    on: Node,
    /// Writes since the last flush.
    unflushed: u64,
}

#[derive(Debug)]
struct Node {
    address: String,
    rpc: MilvusServiceClient<Channel>,
    identifier: MetadataValue<Ascii>,
}

impl Client {
    /// Goes to a node that one of `masters` names, each as `host:port`.
    pub async fn connect(masters: Vec<String>) -> Result<Self> {
        let on = find_node(&masters).await?;
        Ok(Self { masters, on, unflushed: 0 })
    }

    /// Address and port of the node that the client is on.
    pub fn node(&self) -> &str {
        &self.on.address
    }

    /// Writes rows, which a flush makes visible.
    pub async fn insert(&mut self, message: InsertRequest) -> Result<()> {
        let request = self.request(message);
        let answer = self.on.rpc.insert(request).await;
        self.written(answer).await
    }

    /// Deletes rows, which a flush makes so.
    pub async fn delete(&mut self, message: DeleteRequest) -> Result<()> {
        let request = self.request(message);
        let answer = self.on.rpc.delete(request).await;
        self.written(answer).await
    }

    /// Publishes everything written since the last flush, in whichever collection, as one atom.
    pub async fn flush(&mut self) -> Result<()> {
        let name = (self.unflushed > 0).then(random_name);
        match self.send_flush(name.as_deref()).await {
            Ok(Ok(())) => {}
            // The server has published all of it by itself, or never had it: without a name it compares the numbers.
            Ok(Err(Error::Refused { reason, .. })) if name.is_some() && reason.contains(NOT_COMMITTED) => {
                match self.send_flush(None).await {
                    Ok(answer) => answer.map_err(|error| self.failed(error))?,
                    Err(error) => return Err(self.lost(&error).await),
                }
            }
            Ok(Err(error)) => return Err(self.failed(error)),
            Err(error) => match name {
                Some(name) => self.outcome(&name, &error).await?,
                // It was about nothing.
                None => self.go_elsewhere().await?,
            },
        }
        self.unflushed = 0;
        Ok(())
    }

    /// Reads, by a call of the node's, `client.read(async |mut rpc, query| rpc.query(query).await, query)`; once again on another
    /// node if that is gone.
    pub async fn read<M: Clone, A>(
        &mut self,
        call: impl AsyncFn(MilvusServiceClient<Channel>, Request<M>) -> std::result::Result<Response<A>, tonic::Status>,
        message: M,
    ) -> Result<A> {
        let first = call(self.on.rpc.clone(), self.request(message.clone())).await;
        let answer = match first {
            Err(error) if is_gone(&error) => {
                self.go_elsewhere().await?;
                call(self.on.rpc.clone(), self.request(message)).await
            }
            other => other,
        };
        answer.map(Response::into_inner).map_err(|error| Error::NoAnswer(error.to_string()))
    }

    fn request<M>(&self, message: M) -> Request<M> {
        let mut request = Request::new(message);
        request.metadata_mut().insert(IDENTIFIER, self.on.identifier.clone());
        request
    }

    async fn written(&mut self, answer: std::result::Result<Response<MutationResult>, tonic::Status>) -> Result<()> {
        match answer {
            Ok(answer) => {
                check(answer.into_inner().status).map_err(|error| self.failed(error))?;
                self.unflushed += 1;
                Ok(())
            }
            Err(error) if is_gone(&error) => Err(self.lost(&error).await),
            Err(error) => Err(refused(&error)),
        }
    }

    /// What the server answered; an error where it did not.
    async fn send_flush(&mut self, name: Option<&str>) -> std::result::Result<Result<()>, tonic::Status> {
        let mut request = self.request(FlushAllRequest::default());
        request.metadata_mut().insert(BLOCK_OPS, MetadataValue::from(self.unflushed));
        if let Some(name) = name {
            request.metadata_mut().insert(FLUSH_ID, ascii(name)?);
        }
        match self.on.rpc.flush_all(request).await {
            Ok(answer) => Ok(check(answer.into_inner().status)),
            Err(error) if is_gone(&error) => Err(error),
            Err(error) => Ok(Err(refused(&error))),
        }
    }

    /// No answer came to a flush: its outcome is asked for, wherever that is possible.
    async fn outcome(&mut self, name: &str, error: &tonic::Status) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.go_elsewhere().await?;
            let mut request = self.request(GetFlushStateRequest::default());
            request.metadata_mut().insert(FLUSH_ID, ascii(name).map_err(|_| Error::Unknown(name.to_owned()))?);
            if let Ok(answer) = self.on.rpc.get_flush_state(request).await {
                match check(answer.into_inner().status) {
                    Ok(()) => return Ok(()),
                    Err(Error::Refused { reason, .. }) if reason.contains(NOT_COMMITTED) => {
                        self.unflushed = 0;
                        return Err(Error::Lost(format!("the flush was not committed ({error})")));
                    }
                    // A node that cannot tell at the moment.
                    Err(_) => {}
                }
            }
            if Instant::now() > deadline {
                return Err(Error::Unknown(name.to_owned()));
            }
            sleep(PAUSE).await;
        }
    }

    /// The node is gone, or is left since nobody knows what it has of this session.
    async fn lost(&mut self, error: &tonic::Status) -> Error {
        let unflushed = std::mem::take(&mut self.unflushed);
        match self.go_elsewhere().await {
            Ok(()) => Error::Lost(format!("the last write and the {unflushed} before it ({error})")),
            Err(no_node) => no_node,
        }
    }

    /// What it means where the server has answered an error.
    fn failed(&mut self, error: Error) -> Error {
        match error {
            Error::Refused { reason, .. } if LOST.iter().any(|words| reason.contains(words)) => {
                self.unflushed = 0;
                Error::Lost(reason)
            }
            other => other,
        }
    }

    async fn go_elsewhere(&mut self) -> Result<()> {
        self.on = find_node(&self.masters).await?;
        Ok(())
    }
}

/// Asks Masters until one names a node that answers.
async fn find_node(masters: &[String]) -> Result<Node> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut last = String::new();
        for master in masters {
            match timeout(ANSWER, enter(master)).await {
                Ok(Ok(node)) => return Ok(node),
                Ok(Err(error)) => last = error.to_string(),
                Err(_) => last = format!("{master}, or the node that it names, does not answer"),
            }
        }
        if Instant::now() > deadline {
            return Err(Error::NoNode { masters: masters.join(", "), last });
        }
        sleep(PAUSE).await;
    }
}

/// Goes to the node that a Master names, over a connection of its own.
async fn enter(master: &str) -> std::result::Result<Node, Box<dyn std::error::Error + Send + Sync>> {
    let address = route(master).await?;
    let endpoint = Endpoint::from_shared(format!("http://{address}"))?.connect_timeout(ANSWER).timeout(ANSWER);
    let mut rpc = MilvusServiceClient::new(endpoint.connect().await?);
    let answer = rpc.connect(ConnectRequest::default()).await?.into_inner();
    check(answer.status)?;
    let identifier = answer.identifier.to_string().parse()?;
    Ok(Node { address, rpc, identifier })
}

/// Address and port of the node that a Master names.
async fn route(master: &str) -> std::result::Result<String, Box<dyn std::error::Error + Send + Sync>> {
    #[derive(Deserialize)]
    struct Route {
        address: String,
        port: u16,
    }
    let mut stream = TcpStream::connect(master).await?;
    // HTTP/1.0 keeps the body unchunked and ends it with the connection.
    stream.write_all(format!("GET /redkite/route HTTP/1.0\r\nHost: {master}\r\n\r\n").as_bytes()).await?;
    let mut answer = String::new();
    stream.take(ROUTE_BYTES_MAX).read_to_string(&mut answer).await?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("the Master's answer is no HTTP")?;
    if head.split(' ').nth(1) != Some("200") {
        return Err(format!("Master {master} answers: {}", body.trim()).into());
    }
    let Route { address, port } = serde_json::from_str(body)?;
    Ok(if address.contains(':') { format!("[{address}]:{port}") } else { format!("{address}:{port}") })
}

/// Whether after this error nobody knows what became of the call, or the node.
fn is_gone(error: &tonic::Status) -> bool {
    matches!(error.code(), Code::Unavailable | Code::Cancelled | Code::DeadlineExceeded | Code::Unknown)
}

fn refused(error: &tonic::Status) -> Error {
    Error::Refused { code: error.code().into(), reason: error.message().to_owned() }
}

/// Fails unless the answer says that all went well.
pub fn check(status: Option<Status>) -> Result<()> {
    let Status { code, reason, .. } = status.unwrap_or_else(|| Status {
        code: ErrorCode::UnexpectedError.into(),
        reason: "the answer has no status".to_owned(),
        ..Default::default()
    });
    if code == 0 { Ok(()) } else { Err(Error::Refused { code, reason }) }
}

fn ascii(text: &str) -> std::result::Result<MetadataValue<Ascii>, tonic::Status> {
    text.parse().map_err(|_| tonic::Status::invalid_argument("a name of a flush is letters and digits here"))
}

/// A name nobody else gives to a flush. The standard library's hash keys are random; a program with a crate for random
/// numbers or UUIDs uses that.
fn random_name() -> String {
    let random = || RandomState::new().build_hasher().finish();
    format!("{:016x}{:016x}{:08x}", random(), random(), std::process::id())
}
