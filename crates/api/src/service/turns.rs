//! A client's turn to change something, asked for in the order its calls arrived in (S06).
//!
//! There are two lines. In that of the connection a call waits until those that arrived before it have asked for their
//! client's turn; in that of the session until they have had it. The first is left as soon as the call stands in the second,
//! so that the clients which share a connection do not wait for each other's flushes.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use prost::Message;
use redkite_ingest::{Fence, Turn};
use redkite_table::ddl::Guard;
use tokio::task::coop;

use super::{Call, Shared};
use crate::server::arrivals::Front;
use crate::status::WireResult;

/// What keeps the calls that came after a change of the catalog from taking effect before it: the turn of its client's
/// session. A client that has none could get one by the next call: that one waits on the connection.
pub(super) struct Precedence {
    /// The turn, if the client has a session.
    pub(super) turn: Option<Turn>,
    fence: Option<Arc<Fence>>,
    _front: Option<Front>,
}

impl Precedence {
    /// What the change rests on: that its client has not gone to another node.
    pub(super) fn guard(&self) -> Option<&dyn Guard> {
        self.fence.as_deref().map(|fence| fence as &dyn Guard)
    }
}

impl Shared {
    /// The client's turn, to flush.
    pub(super) async fn turn<T>(&self, call: &mut Call<T>) -> WireResult<Turn> {
        let client = call.client;
        Ok(in_order(call, self.ingest.turn(client)).await?)
    }

    /// The client's turn, to write.
    pub(super) async fn turn_to_write<T: Message>(&self, call: &mut Call<T>) -> WireResult<Turn> {
        let (client, bytes) = (call.client, call.message.encoded_len());
        Ok(in_order(call, self.ingest.turn_to_write(client, bytes)).await?)
    }

    /// What a change of the catalog keeps until it has taken effect. Until it is known whether the client has a session,
    /// every call that came later on the connection waits.
    pub(super) async fn precedence<T>(&self, call: &mut Call<T>) -> WireResult<Precedence> {
        let front = reached(call).await;
        let turn = self.ingest.turn_if_any(call.client).await?;
        let fence = match &turn {
            Some(turn) => turn.fence(),
            None => self.ingest.fence(call.client).await?,
        };
        // With a turn its client's next calls wait for that, and other clients for nothing.
        let front = front.filter(|_| turn.is_none());
        Ok(Precedence { turn, fence, _front: front })
    }
}

/// Waits until the calls that arrived before have let this one pass.
async fn reached<T>(call: &mut Call<T>) -> Option<Front> {
    match call.place.take() {
        Some(place) => Some(place.reached().await),
        // Only where a test calls the handlers directly.
        None => None,
    }
}

/// Joins the line that `turn` waits in when all calls before have joined theirs, and lets the next one follow at once.
async fn in_order<T, R>(call: &mut Call<T>, turn: impl Future<Output = R>) -> R {
    let front = reached(call).await;
    // A turn is in line from its first poll on, which must not be put off by a task that has worked for long enough.
    let mut turn = pin!(turn);
    let first = {
        let mut first = pin!(coop::unconstrained(turn.as_mut()));
        poll_fn(|cx| Poll::Ready(first.as_mut().poll(cx))).await
    };
    drop(front);
    match first {
        Poll::Ready(turn) => turn,
        Poll::Pending => turn.await,
    }
}
