//! The order in which the calls of one connection arrived.
//!
//! HTTP/2 runs every call as a task of its own, and whichever task runs first would take effect first. So the calls that
//! change something (see [`is_ordered`]) stand in a line, one per connection: in it a call's place is given by when its
//! last byte was received (S06). Where the last bytes of several came with one read of the socket, their headers decide.
//!
//! The bodies of these calls are read by the task of the connection, which is the one place that sees all of them: hyper
//! hands it each frame, the body that got one is woken, and those that were woken are read in that order. A body that is
//! not complete holds nobody up. Nothing is copied, and nothing is read that would not be read anyway.
//!
//! A [`Place`] is given up by dropping it, however far it got, so a call that its client cancelled lets the others pass.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
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

use crate::proto::milvus::milvus_service_server::SERVICE_NAME;

/// Bytes before a gRPC message.
const GRPC_PREFIX_BYTES: usize = 5;

/// Whether the calls to `path` take effect in the order they arrived. A new RPC does, until it is known to change nothing.
fn is_ordered(path: &str) -> bool {
    const READS: [&str; 10] =
        ["AllocTimestamp", "CheckHealth", "Connect", "Describe", "Get", "Has", "List", "Query", "Search", "Show"];
    let method = path.strip_prefix('/').and_then(|path| path.strip_prefix(SERVICE_NAME)?.strip_prefix('/'));
    method.is_some_and(|method| !READS.iter().any(|read| method.starts_with(read)))
}

/// The calls of one connection whose last byte is still to come, and the line of the others.
pub(super) struct Arrivals {
    line: Line,
    /// Woken ones are read in the order they were woken in.
    incomplete: Mutex<FuturesUnordered<BoxFuture<'static, ()>>>,
    message_bytes_max: usize,
}

impl Arrivals {
    /// Of a connection whose calls may have as many bytes.
    pub(super) fn new(message_bytes_max: usize) -> Self {
        Self { line: Line::default(), incomplete: Mutex::default(), message_bytes_max }
    }

    /// Sees to the order of a call. To be called in the task of its connection, in the order of the headers.
    pub(super) fn order(&self, request: Request<Incoming>) -> Request<Body> {
        if !is_ordered(request.uri().path()) {
            return request.map(Body::new);
        }
        let (mut parts, body) = request.into_parts();
        let arrival = Arrival::default();
        let (sender, received) = oneshot::channel();
        let (line, bytes_max) = (self.line.clone(), self.message_bytes_max.saturating_add(GRPC_PREFIX_BYTES));
        self.incomplete.lock().push(Box::pin({
            let arrival = arrival.clone();
            async move {
                let received = receive(body, bytes_max).await;
                if matches!(received.end, End::Complete) {
                    *arrival.0.lock() = Some(line.join());
                }
                // Nobody waits for it where the call was cancelled.
                _ = sender.send(received);
            }
        }));
        parts.extensions.insert(arrival);
        Request::from_parts(parts, Body::new(Late::Awaited(received)))
    }

    /// Reads what has come. To be called in the task of the connection whenever that has run.
    pub(super) fn receive(&self, cx: &mut Context<'_>) {
        let mut incomplete = self.incomplete.lock();
        while let Poll::Ready(Some(())) = incomplete.poll_next_unpin(cx) {}
    }
}

/// What came of a body.
struct Received {
    frames: VecDeque<Result<Frame<Bytes>, Status>>,
    end: End,
}

/// Where the task of the connection stopped reading a body.
enum End {
    /// It is all there.
    Complete,
    /// It broke off; the last frame says why.
    Broken,
    /// It is too large to be a call, and the rest is still to come.
    TooLarge(Incoming),
}

/// Reads `body` to its end, unless it has more than `bytes_max`.
async fn receive(mut body: Incoming, bytes_max: usize) -> Received {
    let mut frames = VecDeque::new();
    let mut bytes = 0;
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => {
                bytes += frame.data_ref().map_or(0, Bytes::len);
                frames.push_back(Ok(frame));
            }
            // Asked again it would say so again, for ever.
            Err(error) => {
                frames.push_back(Err(Status::from_error(error.into())));
                return Received { frames, end: End::Broken };
            }
        }
        if bytes > bytes_max {
            return Received { frames, end: End::TooLarge(body) };
        }
    }
    Received { frames, end: End::Complete }
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
                Self::Here(Received { frames, end }) => {
                    if let Some(frame) = frames.pop_front() {
                        return Poll::Ready(Some(frame));
                    }
                    let End::TooLarge(rest) = end else { return Poll::Ready(None) };
                    let frame = ready!(Pin::new(rest).poll_frame(cx));
                    return Poll::Ready(frame.map(|frame| frame.map_err(|error| Status::from_error(error.into()))));
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
        for method in ["Insert", "Upsert", "Delete", "Flush", "FlushAll", "CreateCollection", "LoadPartitions"] {
            check(method, true);
        }
        for method in ["Search", "Query", "GetFlushState", "HasCollection", "ShowCollections", "Connect"] {
            check(method, false);
        }
        check("NotKnownYet", true);
        assert!(!is_ordered("/"));
        assert!(!is_ordered("/v2/Insert"));
        assert!(!is_ordered("/milvus.proto.milvus.MilvusServiceInsert"));
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
