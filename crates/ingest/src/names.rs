//! The names clients give flushes, and those that run on this node: a resend waits for the first one instead of racing it.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::{Error, Result};

/// Longest name a client may give a flush, in bytes.
const FLUSH_NAME_BYTES_MAX: usize = 128;

/// Refuses a name that is too long, before it becomes part of a key.
pub(crate) fn check_length(name: &[u8]) -> Result<()> {
    match name.len() {
        0..=FLUSH_NAME_BYTES_MAX => Ok(()),
        length => Err(Error::FlushNameTooLong { limit: FLUSH_NAME_BYTES_MAX, length }),
    }
}

/// Named flushes under way.
#[derive(Debug, Default)]
pub(crate) struct NamesInFlight {
    running: Mutex<HashMap<Vec<u8>, watch::Receiver<()>>>,
}

/// Held while a named flush runs.
#[derive(Debug)]
pub(crate) struct Running {
    names: Arc<NamesInFlight>,
    name: Vec<u8>,
    _done: watch::Sender<()>,
}

impl NamesInFlight {
    /// Waits until no flush of that name runs here.
    pub(crate) async fn wait(&self, name: &[u8]) {
        loop {
            let Some(mut running) = self.running.lock().get(name).cloned() else { return };
            // An error is what is waited for: the sender is gone.
            while running.changed().await.is_ok() {}
        }
    }

    /// Enters a flush; waits for another one of that name to finish first.
    pub(crate) async fn enter(self: &Arc<Self>, name: &[u8]) -> Running {
        loop {
            self.wait(name).await;
            let mut running = self.running.lock();
            if running.contains_key(name) {
                continue;
            }
            let (done, receiver) = watch::channel(());
            running.insert(name.to_vec(), receiver);
            return Running { names: self.clone(), name: name.to_vec(), _done: done };
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.names.running.lock().remove(&self.name);
    }
}
