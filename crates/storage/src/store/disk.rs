//! The file system calls that durability rests on, as a trait so that a test can watch them and drop what was not synced.

use std::fmt::Debug;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::Path;

use crate::Error;

/// Changes to a local directory. None is durable before the matching sync.
pub(super) trait Disk: Debug + Send + Sync {
    /// Creates one directory; its parent must be there.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;
    /// Creates the file, which must not be there, empty.
    fn create_file(&self, file: &Path) -> io::Result<File>;
    /// Appends to `opened`, the file at `file`; on failure a part of `bytes` may be there.
    fn append(&self, file: &Path, opened: &File, bytes: &[u8]) -> io::Result<()>;
    /// Makes the content of `opened`, the file at `file`, durable.
    fn sync_file(&self, file: &Path, opened: &File) -> io::Result<()>;
    /// Gives the file at `temporary` its name, atomically; fails with `AlreadyExists` if the name is taken.
    fn publish(&self, temporary: &Path, name: &Path) -> io::Result<()>;
    /// Makes the entries of `dir` durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
}

/// The real file system.
#[derive(Debug)]
pub(super) struct RealDisk;

impl Disk for RealDisk {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        fs::create_dir(dir)
    }

    fn create_file(&self, file: &Path) -> io::Result<File> {
        File::create_new(file)
    }

    fn append(&self, _file: &Path, mut opened: &File, bytes: &[u8]) -> io::Result<()> {
        opened.write_all(bytes)
    }

    fn sync_file(&self, _file: &Path, opened: &File) -> io::Result<()> {
        opened.sync_all()
    }

    fn publish(&self, temporary: &Path, name: &Path) -> io::Result<()> {
        match fs::hard_link(temporary, name) {
            Ok(()) => fs::remove_file(temporary),
            // File systems without hard links (some network mounts). Names never repeat, so looking first is enough.
            Err(error) if matches!(error.kind(), ErrorKind::Unsupported | ErrorKind::PermissionDenied) => {
                if fs::exists(name)? {
                    return Err(ErrorKind::AlreadyExists.into());
                }
                fs::rename(temporary, name)
            }
            Err(error) => Err(error),
        }
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }
}

/// What a failed call on the way of `path` means.
pub(super) fn io_error(path: &str, error: io::Error) -> Error {
    let (path, cause) = (path.to_owned(), error.to_string());
    match error.kind() {
        ErrorKind::NotFound => Error::Missing { path },
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Error::Full { path, cause },
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => Error::Denied { path, cause },
        _ => Error::Unavailable { path, cause },
    }
}

/// As [`io_error`] for a step that writes, where "not found" means that the directory vanished, not the file.
pub(super) fn write_error(path: &str, error: io::Error) -> Error {
    match error.kind() {
        ErrorKind::NotFound => Error::unavailable(path, error),
        _ => io_error(path, error),
    }
}
