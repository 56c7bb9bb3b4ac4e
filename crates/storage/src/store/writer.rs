//! A file that is written piece by piece, for files too large to be held.

use bytes::Bytes;

use super::local::LocalWriter;
use super::remote::ObjectWriter;
use crate::{Error, Result, metrics};

/// A file that is not there before it is finished; from [`super::DataStore::create`].
///
/// Dropping it, or [`FileWriter::abort`], leaves nothing under its name: the temporary file of a local store is removed, an
/// upload in parts aborted, both best effort. Until then listing a local store shows the temporary file, so who removes
/// files that no entry names must leave young ones alone.
///
/// Memory: none on a local store; at most three parts of 16 MiB on S3, and the whole file in memory. Dropping the future of a
/// call half way is a failure like any other.
#[derive(Debug)]
pub struct FileWriter {
    path: String,
    size: u64,
    to: Target,
    /// What every later call says.
    failed: Option<Error>,
}

#[derive(Debug)]
pub(super) enum Target {
    Local(LocalWriter),
    Object(Box<ObjectWriter>),
}

impl FileWriter {
    pub(super) fn new(path: &str, to: Target) -> Self {
        Self { path: path.to_owned(), size: 0, to, failed: None }
    }

    /// Where the file will be, relative to the storage url.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Bytes written so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Appends `bytes`; they may still be on their way when this returns.
    ///
    /// After an error, of whatever kind, the file cannot be finished any more and what was written is gone: every later
    /// call fails with the same error. A failure on S3 may show only in a later call. Costs on a local store one write on a
    /// thread for blocking work, so pieces should have 100 KiB or more; on S3 a copy, and one request for each 16 MiB.
    pub async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.check()?;
        if bytes.is_empty() {
            return Ok(());
        }
        // Stays if this future is dropped half way.
        self.failed = Some(Error::misuse(&self.path, "used after a write that was given up half way"));
        let size = self.size + bytes.len() as u64;
        let written = match &mut self.to {
            Target::Local(local) => local.write(bytes).await,
            Target::Object(object) => object.write(bytes).await,
        };
        self.failed = written.as_ref().err().cloned();
        match &written {
            Ok(()) => self.size = size,
            Err(_) => metrics::put_failed(),
        }
        written
    }

    /// Whether [`FileWriter::write_here`] writes.
    pub fn writes_here(&self) -> bool {
        matches!(self.to, Target::Local(_))
    }

    /// As [`FileWriter::write`], but on the calling thread, which it may block: for threads that are made for that. Only a
    /// file of a local store can be written so; see [`FileWriter::writes_here`].
    pub fn write_here(&mut self, bytes: &[u8]) -> Result<()> {
        self.check()?;
        let Target::Local(local) = &mut self.to else {
            return Err(Error::misuse(&self.path, "written by a thread, which only a file of a local store can be"));
        };
        if bytes.is_empty() {
            return Ok(());
        }
        let written = local.write_here(bytes);
        self.failed = written.as_ref().err().cloned();
        match &written {
            Ok(()) => self.size += bytes.len() as u64,
            Err(_) => metrics::put_failed(),
        }
        written
    }

    /// Ends the file; returns when it is durable under its name.
    ///
    /// Fails with [`Error::Exists`] if a file has got the name since [`super::DataStore::create`]; on S3 one of the same size
    /// may be taken for this one, put by a request whose answer was lost. After another error the file may or may not be
    /// there, though never a part of it; a full disk leaves nothing. So the next try needs another name. Costs on a local
    /// store the fsyncs of [`super::DataStore::put_all`] for one file; on S3 one request if the file is no larger than 16 MiB,
    /// else the last part and two requests.
    pub async fn finish(self) -> Result<()> {
        self.check()?;
        let finished = match self.to {
            Target::Local(local) => local.finish().await,
            Target::Object(object) => object.finish().await,
        };
        match &finished {
            Ok(()) => metrics::put(self.size as usize),
            Err(_) => metrics::put_failed(),
        }
        finished
    }

    /// Gives the file up, as dropping it does, but returns when that is done.
    pub async fn abort(self) {
        match self.to {
            Target::Local(local) => local.abort().await,
            Target::Object(object) => object.abort().await,
        }
    }

    fn check(&self) -> Result<()> {
        self.failed.clone().map_or(Ok(()), Err)
    }
}
