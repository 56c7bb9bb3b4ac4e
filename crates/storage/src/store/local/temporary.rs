//! A file under its temporary name, on its way to the final one.

use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::super::disk::write_error;
use super::Inner;
use crate::{Result, failpoint};

/// Names tried for a temporary file: an earlier process with the same id may have left some.
const TEMPORARY_NAMES_MAX: usize = 1_000;

/// A file that nobody knows yet. Dropping it removes it, together with the directories that are empty without it.
///
/// All its functions block.
#[derive(Debug)]
pub(super) struct Temporary {
    inner: Arc<Inner>,
    /// Of the file to be; what errors call it.
    path: String,
    at: PathBuf,
    opened: Arc<File>,
    published: bool,
}

impl Temporary {
    /// A new empty file beside the place of the one at `path`, with the directories above it.
    pub(super) fn create(inner: &Arc<Inner>, path: &str) -> Result<Self> {
        let (at, opened) = create_beside(inner, &inner.file(path)).map_err(|error| write_error(path, error))?;
        let (inner, path) = (inner.clone(), path.to_owned());
        Ok(Self { inner, path, at, opened: Arc::new(opened), published: false })
    }

    /// Writes `bytes` at its end. If that fails it can only be dropped: a full disk takes the part that fits.
    pub(super) fn append(&self, bytes: &[u8]) -> Result<()> {
        self.inner.disk.append(&self.at, &self.opened, bytes).map_err(|error| write_error(&self.path, error))
    }

    /// Makes the content durable and gives the file its name; the entry of that is not durable yet. False if the name is
    /// taken.
    pub(super) fn publish(mut self) -> Result<bool> {
        failpoint::pass(failpoint::BEFORE_FSYNC, &self.path)?;
        let failed = |error| write_error(&self.path, error);
        self.inner.disk.sync_file(&self.at, &self.opened).map_err(failed)?;
        failpoint::pass(failpoint::AFTER_FSYNC, &self.path)?;
        match self.inner.disk.publish(&self.at, &self.inner.file(&self.path)) {
            Ok(()) => self.published = true,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(failed(error)),
        }
        Ok(self.published)
    }

    /// The open file.
    pub(super) fn opened(&self) -> &Arc<File> {
        &self.opened
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if self.published {
            return;
        }
        // Already gone if the failure came after naming.
        if let Err(error) = self.inner.remove(&self.at) {
            tracing::warn!(file = %self.at.display(), %error, "could not remove a file that was not put");
        }
    }
}

/// Creates an empty file of another name beside `name`, and the directories above it.
pub(super) fn create_beside(inner: &Inner, name: &Path) -> std::io::Result<(PathBuf, File)> {
    let mut last = ErrorKind::AlreadyExists.into();
    for _ in 0..TEMPORARY_NAMES_MAX {
        let number = inner.next_temporary.fetch_add(1, Ordering::Relaxed);
        let mut at = name.as_os_str().to_owned();
        at.push(format!(".{}-{number}.tmp", std::process::id()));
        let at = PathBuf::from(at);
        match inner.disk.create_file(&at) {
            Ok(opened) => return Ok((at, opened)),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => last = error,
            // The directory is not there yet, or was removed this moment because it had become empty; so may those above it
            // be while they are created.
            Err(error) if error.kind() == ErrorKind::NotFound => {
                last = match name.parent().map_or(Ok(()), |parent| inner.create_dirs(parent)) {
                    Ok(()) => error,
                    Err(error) if error.kind() == ErrorKind::NotFound => error,
                    Err(error) => return Err(error),
                };
            }
            Err(error) => return Err(error),
        }
    }
    Err(last)
}
