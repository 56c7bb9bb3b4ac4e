//! Writes one file of the local store piece by piece.

use bytes::Bytes;

use super::super::blocking::{blocking, later};
use super::{LocalStore, Temporary};
use crate::{Error, Result};

/// A file that gets its name when it is finished. Each piece goes to the disk as it comes, so none is held.
#[derive(Debug)]
pub(in crate::store) struct LocalWriter {
    store: LocalStore,
    path: String,
    /// None once a step failed or was given up half way.
    temporary: Option<Temporary>,
}

impl LocalWriter {
    pub(super) fn new(store: LocalStore, path: &str, temporary: Temporary) -> Self {
        Self { store, path: path.to_owned(), temporary: Some(temporary) }
    }

    /// See [`super::super::FileWriter::write`]. A failure removes what was written.
    pub(in crate::store) async fn write(&mut self, bytes: Bytes) -> Result<()> {
        let temporary = self.take()?;
        let appended = blocking(&self.path, move || temporary.append(&bytes).map(|()| temporary)).await;
        self.temporary = Some(appended?);
        Ok(())
    }

    /// See [`super::super::FileWriter::write_here`]. A failure removes what was written.
    pub(in crate::store) fn write_here(&mut self, bytes: &[u8]) -> Result<()> {
        let temporary = self.take()?;
        temporary.append(bytes)?;
        self.temporary = Some(temporary);
        Ok(())
    }

    /// See [`super::super::FileWriter::finish`].
    pub(in crate::store) async fn finish(mut self) -> Result<()> {
        let (temporary, path) = (self.take()?, self.path.clone());
        let publish = move || if temporary.publish()? { Ok(true) } else { Err(Error::Exists { path }) };
        let published = blocking(&self.path, publish).await;
        self.store.conclude(vec![self.path.clone()], vec![published]).await
    }

    /// See [`super::super::FileWriter::abort`].
    pub(in crate::store) async fn abort(mut self) {
        if let Some(temporary) = self.temporary.take() {
            let remove = move || {
                drop(temporary);
                Ok(())
            };
            if let Err(error) = blocking(&self.path, remove).await {
                tracing::warn!(path = self.path, %error, "could not remove a file that was not put");
            }
        }
    }

    fn take(&mut self) -> Result<Temporary> {
        self.temporary.take().ok_or_else(|| Error::misuse(&self.path, "written after a failure"))
    }
}

impl Drop for LocalWriter {
    fn drop(&mut self) {
        if let Some(temporary) = self.temporary.take() {
            // Its name goes at once; giving the blocks of a large file back, when it is closed, takes a while.
            let opened = temporary.opened().clone();
            drop(temporary);
            later(move || drop(opened));
        }
    }
}
