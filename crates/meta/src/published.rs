//! The newest durable state of a store in this process, and the watches that follow it.
//!
//! A watch has no buffer of its own: it is a place in the state's log plus a wake-up. So publishing costs the same
//! however many watches there are, a slow one costs nothing, and none can miss a revision: it reads the next one from
//! the log or, if it fell so far behind that a compaction overtook it, ends with [`Error::Compacted`].

use std::collections::VecDeque;
use std::sync::Arc;

use futures::StreamExt;
use redkite_types::Revision;
use tokio::sync::watch;

use crate::state::State;
use crate::{Error, KeyRange, Result, WatchBatch, WatchStream, validate};

/// Revisions a watch takes from the log at once; bounds what it holds beyond the store's own memory.
const WATCH_STEP_REVISIONS: usize = 64;

/// The published state.
#[derive(Debug)]
pub(crate) struct Published {
    newest: watch::Sender<Arc<State>>,
}

impl Published {
    pub(crate) fn new(state: State) -> Self {
        Self { newest: watch::Sender::new(Arc::new(state)) }
    }

    /// The newest state; stays as it is for as long as it is held.
    pub(crate) fn snapshot(&self) -> Arc<State> {
        Arc::clone(&self.newest.borrow())
    }

    /// Shows a state to readers and wakes the watches.
    pub(crate) fn publish(&self, state: State) {
        self.newest.send_replace(Arc::new(state));
    }

    /// Watches from a revision on; one that lies in the future is waited for.
    pub(crate) fn watch(&self, range: KeyRange, from: Revision) -> Result<WatchStream> {
        validate::check_range(&range)?;
        // Nothing ever happened at the first revision.
        let from = from.max(Revision(2));
        let follower = Follower { newest: self.newest.subscribe(), range, from, ready: VecDeque::new(), ended: false };
        // A place already compacted is said at once rather than by the stream's first item.
        drop(self.snapshot().changes(from)?);
        Ok(futures::stream::unfold(follower, Follower::next).boxed())
    }
}

struct Follower {
    newest: watch::Receiver<Arc<State>>,
    range: KeyRange,
    from: Revision,
    ready: VecDeque<WatchBatch>,
    ended: bool,
}

impl Follower {
    async fn next(mut self) -> Option<(Result<WatchBatch>, Self)> {
        if self.ended {
            return None;
        }
        loop {
            if let Some(batch) = self.ready.pop_front() {
                return Some((Ok(batch), self));
            }
            match self.read_log() {
                Ok(true) => continue,
                Ok(false) => {}
                Err(error) => {
                    self.ended = true;
                    return Some((Err(error), self));
                }
            }
            if self.newest.changed().await.is_err() {
                self.ended = true;
                return Some((Err(Error::Unavailable("the store was closed".to_owned())), self));
            }
        }
    }

    /// Moves on in the log; false at its end.
    fn read_log(&mut self) -> Result<bool> {
        let state = Arc::clone(&self.newest.borrow_and_update());
        let mut moved = false;
        for change in state.changes(self.from)?.take(WATCH_STEP_REVISIONS) {
            self.ready.extend(change.batch(&self.range));
            self.from = change.revision.next();
            moved = true;
        }
        Ok(moved)
    }
}
