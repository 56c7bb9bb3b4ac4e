//! A multipart upload: parts that become one file together, or nothing.

use bytes::Bytes;
use object_store::{MultipartUpload, ObjectStoreExt};
use tokio::runtime::Handle;
use tokio::task::JoinSet;

use super::{ObjectBackend, put_error};
use crate::{Error, Result};

/// Most parts of one upload; the limit of S3. With 16 MiB each that is 156 GiB.
const PARTS_MAX: usize = 10_000;

/// A running upload, which replaces what is there when it completes. Parts are sent by tasks of their own, while the
/// caller makes the next one.
///
/// Dropping it gives its parts back in a task, best effort: a bucket without a rule for old ones would keep them for ever.
#[derive(Debug)]
pub(super) struct PartsUpload {
    store: ObjectBackend,
    path: String,
    /// None once it is completed or given up.
    upload: Option<Box<dyn MultipartUpload>>,
    in_flight: JoinSet<Result<()>>,
    in_flight_max: usize,
    parts: usize,
    size: u64,
    /// Where parts are given back, whichever thread drops this.
    runtime: Handle,
}

impl PartsUpload {
    /// Begins an upload of the file at `path`, of which at most `in_flight_max` parts are on their way: one request.
    pub(super) async fn start(store: &ObjectBackend, path: &str, in_flight_max: usize) -> Result<Self> {
        let key = store.key(path)?;
        let started = store.bounded(path, store.store.put_multipart(&key)).await?;
        let upload = Some(started.map_err(|error| put_error(path, error))?);
        let (store, path) = (store.clone(), path.to_owned());
        Ok(Self {
            store,
            path,
            upload,
            in_flight: JoinSet::new(),
            in_flight_max,
            parts: 0,
            size: 0,
            runtime: Handle::current(),
        })
    }

    /// Sends the next part, of [`super::PART_BYTES`] unless it is the last, once there is room for it on the
    /// way. Tells the failure of this or an earlier part, now or in a later call.
    pub(super) async fn put(&mut self, part: Bytes) -> Result<()> {
        while self.in_flight.len() >= self.in_flight_max {
            self.settle_one().await?;
        }
        self.parts += 1;
        if self.parts > PARTS_MAX {
            let what = format!("data file {}, parts", self.path);
            return Err(Error::TooLarge { what, found: self.parts as u64, limit: PARTS_MAX as u64 });
        }
        self.size += part.len() as u64;
        let Some(upload) = &mut self.upload else { return Err(self.over()) };
        let sent = upload.put_part(part.into());
        let (store, path) = (self.store.clone(), self.path.clone());
        self.in_flight.spawn(async move { store.bounded(&path, sent).await?.map_err(|error| put_error(&path, error)) });
        Ok(())
    }

    /// Makes the parts the file. A failure gives them back, unless all that was lost is the answer.
    pub(super) async fn complete(mut self) -> Result<()> {
        match self.settle_and_complete().await {
            Ok(()) => {
                self.upload = None;
                Ok(())
            }
            Err(error) => {
                self.abort().await;
                Err(error)
            }
        }
    }

    async fn settle_and_complete(&mut self) -> Result<()> {
        while !self.in_flight.is_empty() {
            self.settle_one().await?;
        }
        let Some(upload) = &mut self.upload else { return Err(self.over()) };
        let Err(error) = self.store.bounded(&self.path, upload.complete()).await? else { return Ok(()) };
        // A repeated request does not find the upload that an earlier one, whose answer was lost, has completed.
        match self.store.size(&self.path).await {
            Ok(size) if size == self.size => Ok(()),
            _ => Err(put_error(&self.path, error)),
        }
    }

    /// Gives the parts back, best effort.
    pub(super) async fn abort(mut self) {
        if let Some(aborted) = self.abort_later() {
            aborted.await;
        }
    }

    /// Waits until one part has arrived.
    async fn settle_one(&mut self) -> Result<()> {
        match self.in_flight.join_next().await {
            Some(Ok(result)) => result,
            // It panicked or the runtime is shutting down.
            Some(Err(error)) => Err(Error::unavailable(&self.path, error)),
            None => Ok(()),
        }
    }

    fn over(&self) -> Error {
        Error::misuse(&self.path, "an upload that is over was used")
    }

    /// What is to be done to give the parts back; none if the upload is over.
    fn abort_later(&mut self) -> Option<impl Future<Output = ()> + Send + 'static> {
        let mut upload = self.upload.take()?;
        let mut in_flight = std::mem::take(&mut self.in_flight);
        let (store, path) = (self.store.clone(), self.path.clone());
        Some(async move {
            // A part that arrived after the abort would stay.
            in_flight.shutdown().await;
            let aborted = store.bounded(&path, upload.abort()).await;
            if let Err(error) = aborted.and_then(|aborted| aborted.map_err(|error| put_error(&path, error))) {
                tracing::warn!(path, %error, "could not remove the parts of an upload that was given up");
            }
        })
    }
}

impl Drop for PartsUpload {
    fn drop(&mut self) {
        if let Some(aborted) = self.abort_later() {
            self.runtime.spawn(aborted);
        }
    }
}
