//! Writes one object piece by piece.

use bytes::Bytes;

use super::upload::PartsUpload;
use super::{ObjectBackend, PART_BYTES};
use crate::{Result, failpoint};

/// Parts of one file on their way while it is still being made. What is made in pieces is made so to save memory.
const PIECES_IN_FLIGHT: usize = 2;

/// A file that appears when it is finished. Pieces are gathered into parts of [`PART_BYTES`]; a file that is no larger
/// goes in one request that does not replace.
///
/// Holds one part, and as many more as are on their way: [`PIECES_IN_FLIGHT`] at most.
#[derive(Debug)]
pub(in crate::store) struct ObjectWriter {
    store: ObjectBackend,
    path: String,
    /// The part that is being gathered, full at most.
    part: Vec<u8>,
    /// None as long as one part is enough.
    upload: Option<PartsUpload>,
}

impl ObjectWriter {
    pub(super) fn new(store: ObjectBackend, path: &str) -> Self {
        Self { store, path: path.to_owned(), part: Vec::new(), upload: None }
    }

    /// See [`super::super::FileWriter::write`]. A failure gives back what was uploaded.
    pub(in crate::store) async fn write(&mut self, mut bytes: Bytes) -> Result<()> {
        while !bytes.is_empty() {
            if self.part.len() == PART_BYTES {
                let part = std::mem::replace(&mut self.part, Vec::with_capacity(PART_BYTES));
                self.put(part.into()).await?;
            }
            let fitting = bytes.len().min(PART_BYTES - self.part.len());
            self.part.extend_from_slice(&bytes.split_to(fitting));
        }
        Ok(())
    }

    /// See [`super::super::FileWriter::finish`].
    pub(in crate::store) async fn finish(mut self) -> Result<()> {
        let last = Bytes::from(std::mem::take(&mut self.part));
        if self.upload.is_none() {
            self.store.put_whole(&self.path, last).await?;
        } else {
            self.put(last).await?;
            self.complete().await?;
        }
        failpoint::pass(failpoint::AFTER_PUT, &self.path)
    }

    /// See [`super::super::FileWriter::abort`].
    pub(in crate::store) async fn abort(mut self) {
        self.give_up().await;
    }

    async fn put(&mut self, part: Bytes) -> Result<()> {
        let upload = match &mut self.upload {
            Some(upload) => upload,
            None => self.upload.insert(PartsUpload::start(&self.store, &self.path, PIECES_IN_FLIGHT).await?),
        };
        let put = upload.put(part).await;
        if put.is_err() {
            self.give_up().await;
        }
        put
    }

    /// Completes the upload, which would replace what is there: names never repeat, so looking first is enough.
    async fn complete(&mut self) -> Result<()> {
        if let Err(error) = self.store.check_absent(&self.path).await {
            self.give_up().await;
            return Err(error);
        }
        match self.upload.take() {
            Some(upload) => upload.complete().await,
            None => Ok(()),
        }
    }

    async fn give_up(&mut self) {
        if let Some(upload) = self.upload.take() {
            upload.abort().await;
        }
    }
}
