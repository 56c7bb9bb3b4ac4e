//! Which revision a reader has to have seen (S08).
//!
//! A request may use only a read that was sent after the request arrived. Requests join the next read, never the one
//! in flight, so at most one is in flight and the cost does not grow with the load. Where a read costs no more than a
//! look into memory, each request makes its own.

use std::sync::Arc;

use redkite_meta::MetaStore;
use redkite_types::Revision;
use tokio::sync::{mpsc, oneshot};

use crate::{Error, Result};

/// Most requests waiting for the next read; beyond it callers wait for a place.
const WAITING_MAX: usize = 65_536;

type Answer = oneshot::Sender<std::result::Result<Revision, Arc<redkite_meta::Error>>>;

/// Reads the newest revision any reader has to have seen.
#[derive(Debug)]
pub struct HeadReader {
    meta: Arc<dyn MetaStore>,
    key: String,
    queue: Option<mpsc::Sender<Answer>>,
}

impl HeadReader {
    /// Reads `key`, which every commit puts. `shared`: whether requests share reads (for a store across a network).
    pub fn new(meta: Arc<dyn MetaStore>, key: String, shared: bool) -> Self {
        let queue = shared.then(|| {
            let (sender, receiver) = mpsc::channel(WAITING_MAX);
            tokio::spawn(serve(meta.clone(), key.clone(), receiver));
            sender
        });
        Self { meta, key, queue }
    }

    /// The mod revision of the head, read after this call.
    pub async fn read(&self) -> Result<Revision> {
        let Some(queue) = &self.queue else {
            return Ok(read(self.meta.as_ref(), &self.key).await?);
        };
        let (answer, answered) = oneshot::channel();
        queue.send(answer).await.map_err(|_| Error::ShuttingDown)?;
        let read = answered.await.map_err(|_| Error::ShuttingDown)?;
        read.map_err(|error| Error::Meta(redkite_meta::Error::Unavailable(error.to_string())))
    }
}

async fn read(meta: &dyn MetaStore, key: &str) -> redkite_meta::Result<Revision> {
    Ok(meta.get(key).await?.map_or(Revision::ZERO, |kv| kv.mod_revision))
}

async fn serve(meta: Arc<dyn MetaStore>, key: String, mut queue: mpsc::Receiver<Answer>) {
    let mut batch = Vec::new();
    while queue.recv_many(&mut batch, WAITING_MAX).await > 0 {
        metrics::counter!("redkite_head_reads_total").increment(1);
        let result = read(meta.as_ref(), &key).await.map_err(Arc::new);
        for answer in batch.drain(..) {
            // A requester that went away needs no answer.
            let _ = answer.send(result.clone());
        }
    }
}
