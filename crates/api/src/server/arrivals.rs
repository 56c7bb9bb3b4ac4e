//! The order in which the calls of one connection arrived.
//!
//! HTTP/2 runs every call as a task of its own, and whichever task runs first would take effect first. So the calls that
//! change something (see [`is_ordered`]) stand in a line, one per connection: in it a call's place is given by when its
//! last byte was received (S06). Where the task of the connection found several complete at once, their headers decide.
//!
//! The bodies of these calls are read by the task of the connection, which is the one place that sees all of them. A body
//! that is not complete holds nobody up. Large frames are not copied, small ones are gathered, and nothing is read that
//! would not be read anyway.
//!
//! A [`Place`] is given up by dropping it, however far it got, so a call that its client cancelled lets the others pass.

use std::collections::VecDeque;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf, Bytes, BytesMut};
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use http::Request;
use http_body::Frame;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use parking_lot::Mutex;
use tokio::sync::{OwnedMutexGuard, oneshot};
use tokio::task::coop;
use tonic::Status;
use tonic::body::Body;

use super::dispatch::is_grpc;
use crate::proto::milvus::milvus_service_server::SERVICE_NAME;

/// Bytes before a gRPC message: whether it is compressed, and four of its length.
const GRPC_PREFIX_BYTES: usize = 5;
/// Frames of fewer bytes are copied together: what is kept of a frame besides its bytes would be larger than they are.
const FRAME_GATHERED_BYTES: usize = 4 * 1024;
/// Gathered bytes are put aside at so many, so that none are copied again and again while they grow.
const GATHERED_BYTES: usize = 64 * 1024;

/// Whether the calls to `path` take effect in the order they arrived. A new RPC does, until it is known to change nothing.
fn is_ordered(path: &str) -> bool {
    const READS: [&str; 10] =
        ["AllocTimestamp", "CheckHealth", "Connect", "Describe", "Get", "Has", "List", "Query", "Search", "Show"];
    /// Settles the flush that it names.
    const FLUSH_STATE: &str = "GetFlushState";
    let method = path.strip_prefix('/').and_then(|path| path.strip_prefix(SERVICE_NAME)?.strip_prefix('/'));
    method.is_some_and(|method| method == FLUSH_STATE || !READS.iter().any(|read| method.starts_with(read)))
}

/// The calls of one connection whose last byte is still to come, and the line of the others.
pub(super) struct Arrivals {
    line: Line,
    incomplete: Mutex<Incomplete>,
    message_bytes_max: usize,
}

/// The calls whose last byte is still to come.
#[derive(Default)]
struct Incomplete {
    bodies: FuturesUnordered<BoxFuture<'static, Option<Complete>>>,
    /// Calls so far, which numbers them in the order of their headers.
    calls: u64,
}

/// A call that is all there, and has no place yet.
struct Complete {
    number: u64,
    arrival: Arrival,
    body: oneshot::Sender<Received>,
    received: Received,
}

impl Arrivals {
    /// Of a connection whose calls may have as many bytes.
    pub(super) fn new(message_bytes_max: usize) -> Self {
        Self { line: Line::default(), incomplete: Mutex::default(), message_bytes_max }
    }

    /// Sees to the order of a call. To be called in the task of its connection, in the order of the headers.
    pub(super) fn order(&self, request: Request<Incoming>) -> Request<Body> {
        if !is_grpc(&request) || !is_ordered(request.uri().path()) {
            return request.map(Body::new);
        }
        let (mut parts, incoming) = request.into_parts();
        let arrival = Arrival::default();
        parts.extensions.insert(arrival.clone());
        let (mut body, received) = oneshot::channel();
        let message_bytes_max = self.message_bytes_max;
        let mut incomplete = self.incomplete.lock();
        incomplete.calls += 1;
        let number = incomplete.calls;
        // Reading is not put off by a task that has worked for long enough: what is complete is to be seen at once.
        incomplete.bodies.push(Box::pin(coop::unconstrained(async move {
            let received = tokio::select! {
                biased;
                // The call has ended: it was cancelled, or its deadline passed.
                () = body.closed() => return None,
                received = receive(incoming, message_bytes_max) => received,
            };
            Some(Complete { number, arrival, body, received })
        })));
        drop(incomplete);
        Request::from_parts(parts, Body::new(Late::Awaited(received)))
    }

    /// Reads what has come. To be called in the task of the connection whenever that has run.
    pub(super) fn receive(&self, cx: &mut Context<'_>) {
        let mut complete = Vec::new();
        let mut incomplete = self.incomplete.lock();
        while let Poll::Ready(Some(ended)) = incomplete.bodies.poll_next_unpin(cx) {
            complete.extend(ended);
        }
        drop(incomplete);
        complete.sort_unstable_by_key(|call: &Complete| call.number);
        for call in complete {
            if call.received.error.is_none() {
                *call.arrival.0.lock() = Some(self.line.join());
            }
            // Nobody waits for it where the call has ended by now.
            _ = call.body.send(call.received);
        }
    }
}

/// What came of a body: its bytes, and what went wrong after them.
#[derive(Default)]
struct Received {
    data: VecDeque<Bytes>,
    /// The last of the data, while it grows.
    gathered: BytesMut,
    error: Option<Status>,
}

impl Received {
    fn push(&mut self, data: Bytes) {
        if data.len() < FRAME_GATHERED_BYTES {
            self.gathered.extend_from_slice(&data);
            if self.gathered.len() >= GATHERED_BYTES {
                self.put_aside();
            }
        } else {
            self.put_aside();
            self.data.push_back(data);
        }
    }

    fn put_aside(&mut self) {
        if !self.gathered.is_empty() {
            self.data.push_back(mem::take(&mut self.gathered).freeze());
        }
    }

    /// The length that the message says it has, once its prefix is there in one piece.
    fn announced(&self) -> Option<usize> {
        let first = self.data.front().map_or(&self.gathered[..], |data| &data[..]);
        let mut prefix = first.get(1..GRPC_PREFIX_BYTES)?;
        Some(prefix.get_u32() as usize)
    }
}

/// Reads `body` to its end, unless it has more than one message of `message_bytes_max`.
async fn receive(mut body: Incoming, message_bytes_max: usize) -> Received {
    let mut received = Received::default();
    let mut bytes = 0;
    while let Some(frame) = body.frame().await {
        match frame.map(Frame::into_data) {
            Ok(Ok(data)) => {
                bytes += data.len();
                received.push(data);
            }
            // Trailers, which end the body; gRPC's clients send none.
            Ok(Err(_)) => {}
            // Asked again it would say so again, for ever.
            Err(error) => {
                received.error = Some(Status::from_error(error.into()));
                break;
            }
        }
        let message_bytes = received.announced().unwrap_or(0).max(bytes.saturating_sub(GRPC_PREFIX_BYTES));
        if message_bytes > message_bytes_max {
            received = Received { error: Some(too_large(message_bytes, message_bytes_max)), ..Received::default() };
            break;
        }
    }
    received.put_aside();
    received
}

fn too_large(bytes: usize, bytes_max: usize) -> Status {
    let text = format!(
        "the message is too large: it has {bytes} bytes or more, the limit is: {bytes_max} bytes (server.message_limit); \
         send smaller batches"
    );
    Status::resource_exhausted(text)
}

/// A body that the task of the connection reads.
enum Late {
    Awaited(oneshot::Receiver<Received>),
    Here(Received),
}

impl http_body::Body for Late {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        loop {
            match &mut *self {
                Self::Awaited(received) => match ready!(Pin::new(received).poll(cx)) {
                    Ok(received) => *self = Self::Here(received),
                    // The task of the connection is gone.
                    Err(_) => return Poll::Ready(Some(Err(Status::cancelled("the connection has ended")))),
                },
                Self::Here(received) => {
                    return Poll::Ready(match received.data.pop_front() {
                        Some(data) => Some(Ok(Frame::data(data))),
                        None => received.error.take().map(Err),
                    });
                }
            }
        }
    }
}

/// What the extensions of a request hold of its order: the place, from the last byte on.
#[derive(Clone, Default)]
pub(crate) struct Arrival(Arc<Mutex<Option<Place>>>);

impl Arrival {
    /// The place, to whoever asks first.
    pub(crate) fn place(&self) -> Option<Place> {
        self.0.lock().take()
    }
}

/// First come, first served.
#[derive(Clone, Default)]
struct Line(Arc<tokio::sync::Mutex<()>>);

impl Line {
    /// The last place.
    fn join(&self) -> Place {
        let mut waiting: BoxFuture<'static, Front> = Box::pin({
            let lock = self.0.clone();
            async move { Front(lock.lock_owned().await) }
        });
        // It stands in line from its first poll on, which must not be put off by a task that has worked for long enough.
        let first = waiting.as_mut();
        let front = std::pin::pin!(coop::unconstrained(first)).poll(&mut Context::from_waker(Waker::noop()));
        match front {
            Poll::Ready(front) => Place::First(front),
            Poll::Pending => Place::Behind(waiting),
        }
    }
}

/// A call's place among those of its connection; given up when dropped.
pub(crate) enum Place {
    First(Front),
    Behind(BoxFuture<'static, Front>),
}

impl Place {
    /// Waits until all calls before it have let it pass.
    pub(crate) async fn reached(self) -> Front {
        match self {
            Self::First(front) => front,
            Self::Behind(waiting) => waiting.await,
        }
    }
}

/// The front of the line; the next call comes up when this is dropped.
#[derive(Debug)]
pub(crate) struct Front(#[expect(dead_code, reason = "held for its drop")] OwnedMutexGuard<()>);

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn what_may_change_something_is_ordered() {
        let check = |method: &str, want: bool| {
            assert_eq!(is_ordered(&format!("/milvus.proto.milvus.MilvusService/{method}")), want, "{method}");
        };
        for method in ["Insert", "Upsert", "Delete", "Flush", "FlushAll", "CreateCollection", "GetFlushState"] {
            check(method, true);
        }
        for method in ["Search", "Query", "GetFlushAllState", "HasCollection", "ShowCollections", "Connect"] {
            check(method, false);
        }
        check("NotKnownYet", true);
        assert!(!is_ordered("/"));
        assert!(!is_ordered("/v2/Insert"));
        assert!(!is_ordered("/milvus.proto.milvus.MilvusServiceInsert"));
    }

    #[test]
    fn frames_of_any_size_keep_their_order_and_large_ones_are_not_copied() {
        let frames = [1, 3, 3, FRAME_GATHERED_BYTES, 0, 7, GATHERED_BYTES, FRAME_GATHERED_BYTES - 1, 2];
        let frames: Vec<Bytes> = frames.iter().zip(b'a'..).map(|(&length, byte)| vec![byte; length].into()).collect();
        let mut received = Received::default();
        for frame in &frames {
            received.push(frame.clone());
        }
        received.put_aside();
        let expected: Vec<u8> = frames.concat();
        let parts: Vec<Bytes> = received.data.into();
        assert_eq!(parts.concat(), expected);
        let lengths = [7, FRAME_GATHERED_BYTES, 7, GATHERED_BYTES, FRAME_GATHERED_BYTES + 1];
        assert_eq!(parts.iter().map(Bytes::len).collect::<Vec<_>>(), lengths);
        assert_eq!(parts[3].as_ptr(), frames[6].as_ptr());
    }

    #[test]
    fn a_message_announces_its_length_however_it_is_cut() {
        let message: Bytes = [&[0, 0, 1, 0, 2][..], &[7; 9]].concat().into();
        for cut in 0..message.len() {
            let mut received = Received::default();
            received.push(message.slice(..cut));
            assert_eq!(received.announced(), (cut >= 5).then_some(0x1_0002), "{cut}");
            received.push(message.slice(cut..));
            assert_eq!(received.announced(), Some(0x1_0002));
        }
    }

    #[test]
    fn places_are_reached_in_order_and_given_up_by_dropping() {
        let line = Line::default();
        let (first, second, third, fourth) = (line.join(), line.join(), line.join(), line.join());
        let mut third = Box::pin(third.reached());
        assert!(
            third.as_mut().now_or_never().is_none(),
            "the first has not been asked for yet, and is first all the same"
        );
        let front = first.reached().now_or_never().unwrap();
        drop(second);
        let mut fourth = Box::pin(fourth.reached());
        assert!(fourth.as_mut().now_or_never().is_none());
        assert!(third.as_mut().now_or_never().is_none());
        drop(front);
        assert!(fourth.as_mut().now_or_never().is_none(), "the third is before it");
        drop(third);
        assert!(fourth.now_or_never().is_some());
        assert!(line.join().reached().now_or_never().is_some());
    }

    #[tokio::test]
    async fn a_task_that_worked_long_enough_still_joins() {
        let line = Line::default();
        let front = line.join().reached().await;
        // Uses up what a task may do at once.
        while coop::has_budget_remaining() {
            coop::consume_budget().now_or_never();
        }
        let (second, third) = (line.join(), line.join());
        drop(front);
        let front = second.reached().await;
        assert!(third.reached().now_or_never().is_none());
        drop(front);
    }
}
