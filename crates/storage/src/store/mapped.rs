//! Opens a file of the local disk as bytes: large ones mapped, small ones read.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

use bytes::Bytes;
use memmap2::Mmap;

use super::disk::io_error;
use crate::{Error, Result};

/// Smaller files are read: a mapping costs a page, page faults and one of the limited number of mappings a process has.
const MAP_BYTES_MIN: u64 = 32 << 10;

/// The content of `file`, which must have `size` bytes; errors call it `path`.
pub(super) fn open_bytes(file: &Path, path: &str, size: u64) -> Result<Bytes> {
    let failed = |error| io_error(path, error);
    let mut opened = File::open(file).map_err(failed)?;
    let metadata = opened.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err(Error::corrupt(path, "not a file"));
    }
    if metadata.len() != size {
        return Err(wrong_size(path, metadata.len(), size));
    }
    if size >= MAP_BYTES_MIN {
        return map(&opened).map_err(failed);
    }
    let mut bytes = Vec::with_capacity(size as usize);
    opened.read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 != size {
        return Err(wrong_size(path, bytes.len() as u64, size));
    }
    Ok(Bytes::from(bytes))
}

/// The content of `file`, if it is there and has at most `bytes_max` bytes; errors call it `path`.
pub(super) fn read_bytes(file: &Path, path: &str, bytes_max: u64) -> Result<Option<Bytes>> {
    let failed = |error| io_error(path, error);
    let opened = match File::open(file) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(failed)?,
    };
    let mut bytes = Vec::new();
    opened.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > bytes_max {
        return Err(too_large(path, bytes_max));
    }
    Ok(Some(Bytes::from(bytes)))
}

/// The error for a file that is longer than one of its kind can be.
pub(super) fn too_large(path: &str, bytes_max: u64) -> Error {
    Error::corrupt(path, format!("it has more than {bytes_max} bytes"))
}

/// The error for a file that is not as long as its entry says.
pub(super) fn wrong_size(path: &str, found: u64, expected: u64) -> Error {
    let what = if found < expected { "truncated: " } else { "" };
    Error::corrupt(path, format!("{what}it has {found} bytes, its entry says {expected}"))
}

#[allow(unsafe_code)]
fn map(file: &File) -> std::io::Result<Bytes> {
    // SAFETY: a mapping is sound as long as nobody changes the file under it. Data files are never changed: they are
    // written under another name, published whole, only ever unlinked, and an unlinked file lives on until it is unmapped.
    // A foreign process that writes into the data directory breaks that, as it would break any database.
    let map = unsafe { Mmap::map(file)? };
    Ok(Bytes::from_owner(map))
}
