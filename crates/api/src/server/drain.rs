//! Ending in good order: what is still answered once the end was asked for, and when connections go.
//!
//! | step | from then on | ends when |
//! |---|---|---|
//! | [`Drain::stop`] | no new connections; requests are refused, but for those that ask what became of a flush | |
//! | [`Drain::flushes_told`] | | the running flushes have ended and their clients had a grace to ask |
//! | [`Drain::requests_ended`] | clients have been told to go (GOAWAY) | the last byte of every answer was handed over |
//! | [`Drain::cut_off`] | every connection that is left reads its end | |
//!
//! A client that got the answer to its flush asks for the flush's state before it believes it, on the same connection:
//! hence the second step. A client may ignore GOAWAY: hence the last one.
//!
//! A request is counted before it looks whether it is refused, so none slips in between [`Drain::stop`] and the waiting.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, WaitForCancellationFuture};
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::proto::milvus::milvus_service_server::SERVICE_NAME;

/// What the parts of one listener share about its end. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Drain(Arc<State>);

#[derive(Debug, Default)]
struct State {
    stopping: CancellationToken,
    cut: CancellationToken,
    requests: TaskTracker,
    flushes: TaskTracker,
    last_flush_ended: Mutex<Option<Instant>>,
}

/// A request that runs until this is dropped.
#[derive(Debug)]
pub(super) struct Running {
    _request: TaskTrackerToken,
    flush: Option<(TaskTrackerToken, Drain)>,
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some((_, drain)) = &self.flush {
            *drain.0.last_flush_ended.lock() = Some(Instant::now());
        }
    }
}

/// What a request is to a server that ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// Its client will ask what became of it.
    Flush,
    /// Asks what became of a flush.
    FollowUp,
    /// Everything else.
    Other,
}

fn role(path: &str) -> Role {
    let method = path.strip_prefix('/').and_then(|path| path.strip_prefix(SERVICE_NAME));
    match method {
        Some("/Flush" | "/FlushAll") => Role::Flush,
        Some("/GetFlushState" | "/GetFlushAllState") => Role::FollowUp,
        _ => Role::Other,
    }
}

impl Drain {
    /// Counts the request to `path`, unless it comes too late.
    pub(super) fn admit(&self, path: &str) -> Option<Running> {
        let role = role(path);
        let request = self.0.requests.token();
        let flush = (role == Role::Flush).then(|| self.0.flushes.token());
        if role != Role::FollowUp && self.0.stopping.is_cancelled() {
            return None;
        }
        Some(Running { _request: request, flush: flush.map(|token| (token, self.clone())) })
    }

    /// Takes nothing new from now on.
    pub(super) fn stop(&self) {
        self.0.stopping.cancel();
    }

    /// Resolves once nothing new is taken.
    pub(super) fn stopping(&self) -> WaitForCancellationFuture<'_> {
        self.0.stopping.cancelled()
    }

    /// Resolves when no flush runs and the last one ended at least `grace` ago.
    pub(super) async fn flushes_told(&self, grace: Duration) {
        self.0.flushes.close();
        self.0.flushes.wait().await;
        let ended = *self.0.last_flush_ended.lock();
        if let Some(ended) = ended {
            tokio::time::sleep_until(ended + grace).await;
        }
    }

    /// Resolves when no request runs.
    pub(super) async fn requests_ended(&self) {
        self.0.requests.close();
        self.0.requests.wait().await;
    }

    /// Ends all connections.
    pub(super) fn cut_off(&self) {
        self.0.cut.cancel();
    }

    /// Cancelled when connections end; one for each connection, so that they do not share a lock.
    pub(super) fn cut(&self) -> CancellationToken {
        self.0.cut.child_token()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_those_who_flushed_are_still_answered() {
        let check = |method: &str, want: Role| {
            assert_eq!(role(&format!("/milvus.proto.milvus.MilvusService/{method}")), want, "{method}");
        };
        check("Flush", Role::Flush);
        check("FlushAll", Role::Flush);
        check("GetFlushState", Role::FollowUp);
        check("GetFlushAllState", Role::FollowUp);
        check("Insert", Role::Other);
        check("Flush/x", Role::Other);
        assert_eq!(role("/v2/Flush"), Role::Other);
        assert_eq!(role(""), Role::Other);
    }

    #[test]
    fn a_refused_flush_counts_as_none() {
        let drain = Drain::default();
        drain.stop();
        assert!(drain.admit("/milvus.proto.milvus.MilvusService/Flush").is_none());
        assert!(drain.0.last_flush_ended.lock().is_none());
    }
}
