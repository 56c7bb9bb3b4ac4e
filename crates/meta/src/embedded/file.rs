//! The file under redb: redb's own backend, except that space is reserved when the file grows.
//!
//! So a full disk shows before a commit begins to write, and what was there can still be opened and repaired.
//! Also what redb leaves to others: telling whether a file was closed, and making durable what a failed fsync has not.

use std::fs::File;
use std::io;
use std::ops::Bound;
use std::os::unix::fs::FileExt;

use redb::backends::FileBackend;
use redb::{BackendError, StorageBackend};
use rustix::fs::FallocateFlags;
use rustix::io::Errno;

use crate::failpoint;

type Offset = Bound<u64>;

/// Read and written at a time by [`write_again`].
const REWRITE_BYTES: usize = 1 << 20;
/// Where redb keeps its flags; see its docs/design.md.
const FLAGS_OFFSET: u64 = 9;
/// The flag of a file that is open, or was when its process died.
const RECOVERY_REQUIRED: u8 = 2;

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

/// Whether the last process that had the file died without closing it. To be asked before redb opens it.
pub(super) fn was_left_open(file: &File) -> io::Result<bool> {
    let mut flags = [0];
    let read = file.read_at(&mut flags, FLAGS_OFFSET)?;
    Ok(read > 0 && flags[0] & RECOVERY_REQUIRED != 0)
}

/// Marks the file as not closed, for the next process to write it again. The mark is no more durable than what it is about,
/// which is enough: a power cut takes both.
pub(super) fn mark_left_open(file: &File) -> io::Result<()> {
    let mut flags = [0];
    file.read_exact_at(&mut flags, FLAGS_OFFSET)?;
    file.write_all_at(&[flags[0] | RECOVERY_REQUIRED], FLAGS_OFFSET)
}

/// Makes the file durable as it reads now, although an fsync of it may have failed: writes all of it again.
///
/// After a failed fsync the kernel takes the pages that it could not write for written. They can be read until they are
/// evicted, and the next fsync succeeds without them; only what is written again is dirty again. To be called while redb
/// has the file locked and does nothing with it.
pub(super) fn write_again(file: &File) -> io::Result<()> {
    full_disk("meta-embedded-rewrite")?;
    let mut buffer = vec![0; REWRITE_BYTES];
    let mut offset = 0;
    loop {
        let read = file.read_at(&mut buffer, offset)?;
        if read == 0 {
            break;
        }
        file.write_all_at(&buffer[..read], offset)?;
        offset += read as u64;
    }
    full_disk("meta-embedded-sync")?;
    file.sync_all()
}

/// A failpoint that stands for a disk without space.
fn full_disk(name: &'static str) -> io::Result<()> {
    failpoint::step(name).map_err(|_| Errno::NOSPC.into())
}

#[cfg(test)]
mod tests;
