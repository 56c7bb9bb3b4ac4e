//! The file under redb: redb's own backend, except that space is reserved when the file grows.
//!
//! So a full disk shows before a commit begins to write, and what was there can still be opened and repaired.

use std::fs::File;
use std::io;
use std::ops::Bound;

use redb::backends::FileBackend;
use redb::{BackendError, StorageBackend};
use rustix::fs::FallocateFlags;
use rustix::io::Errno;

use crate::failpoint;

type Offset = Bound<u64>;

#[derive(Debug)]
pub(super) struct ReservingFile {
    inner: FileBackend,
    file: File,
}

impl ReservingFile {
    pub(super) fn new(file: File) -> io::Result<Self> {
        let inner = FileBackend::new(file.try_clone()?).map_err(io::Error::other)?;
        Ok(Self { inner, file })
    }
}

impl StorageBackend for ReservingFile {
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.inner.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        full_disk("meta-embedded-grow")?;
        let current = self.inner.len()?;
        if len > current {
            // Without touching the length: redb does not open a file whose length it did not choose.
            match rustix::fs::fallocate(&self.file, FallocateFlags::KEEP_SIZE, 0, len) {
                // Not every file system can reserve; then a full disk shows when it is written to.
                Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => {}
                Err(error) => {
                    // Gives back what could be reserved.
                    self.inner.set_len(current)?;
                    return Err(error.into());
                }
            }
        }
        self.inner.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        full_disk("meta-embedded-sync")?;
        self.inner.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        full_disk("meta-embedded-write")?;
        self.inner.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.inner.close()
    }

    fn try_lock_range(&self, start: Offset, end: Offset) -> Result<bool, BackendError> {
        self.inner.try_lock_range(start, end)
    }

    fn try_lock_shared_range(&self, start: Offset, end: Offset) -> Result<bool, BackendError> {
        self.inner.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Offset, end: Offset) -> Result<(), BackendError> {
        self.inner.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Offset, end: Offset) -> Result<(), BackendError> {
        self.inner.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Offset, end: Offset) -> Result<(), BackendError> {
        self.inner.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Offset, end: Offset) -> Result<bool, BackendError> {
        self.inner.query_lock_range(start, end)
    }
}

/// A failpoint that stands for a disk without space.
fn full_disk(name: &'static str) -> io::Result<()> {
    failpoint::step(name).map_err(|_| Errno::NOSPC.into())
}

#[cfg(test)]
mod tests;
