//! The data store: files by path, on a local directory, in memory or on S3.
//!
//! A file is put once and never changed; putting the same bytes under the same name again succeeds, so a put whose answer
//! was lost can simply be repeated. [`DataStore::put_all`] returns only when all files are durable. A file too large to be held
//! is written piece by piece, see [`DataStore::create`]. Opening maps the file into memory where it lies: in place on a local
//! store, in the node cache for a remote one.

mod blocking;
mod cache;
mod disk;
mod local;
mod mapped;
mod options;
mod path;
mod remote;
mod s3;
mod writer;

use std::sync::Arc;

use bytes::Bytes;
use object_store::memory::InMemory;

use crate::format::FileInfo;
use crate::{Error, Result, failpoint, metrics};
use cache::NodeCache;
use local::LocalStore;
use options::Location;
pub use options::{S3Credentials, StorageOptions};
use remote::ObjectBackend;
pub use writer::FileWriter;
use writer::Target;

/// A file found by [`DataStore::list`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ListedFile {
    /// Relative to the storage url.
    pub path: String,
    /// Size in bytes.
    pub size: u64,
}

/// The store all data files lie in. Cheap to clone.
///
/// Paths are relative to the storage url, of plain segments joined by `/`; anything else is [`Error::InvalidPath`].
#[derive(Debug, Clone)]
pub struct DataStore {
    backend: Arc<Backend>,
}

#[derive(Debug)]
enum Backend {
    Local(LocalStore),
    Memory(ObjectBackend),
    Remote { store: ObjectBackend, cache: NodeCache, keep_puts: bool },
}

impl DataStore {
    /// Connects to the store that `options` name. Creates a local directory; asks a remote store nothing yet, see
    /// [`DataStore::probe`].
    pub async fn connect(options: StorageOptions) -> Result<Self> {
        let backend = match options.location()? {
            Location::Local(root) => Backend::Local(LocalStore::open(root).await?),
            Location::Memory => Backend::Memory(ObjectBackend::new(Arc::new(InMemory::new()), "", &options)),
            Location::S3 { bucket, prefix } => {
                let cache = options.cache_dir.clone().ok_or_else(|| Error::InvalidOption {
                    option: "storage.cache_dir",
                    value: String::new(),
                    reason: "a remote storage url needs a directory for the node cache".to_owned(),
                })?;
                let cache = NodeCache::open(cache, &options.url, options.cache_bytes_max).await?;
                let store = ObjectBackend::new(Arc::new(s3::build(&bucket, &options)?), &prefix, &options);
                Backend::Remote { store, cache, keep_puts: options.keep_puts }
            }
        };
        Ok(Self { backend: Arc::new(backend) })
    }

    /// Puts all `files`, concurrently; returns when all of them are durable.
    ///
    /// A file of the same name and content that is there already counts as put. If one fails the others may or may not be
    /// there; calling again with the same files is safe. This node keeps copies of what it put. Costs on a local store one fsync a file, in parallel, and then one
    /// for each directory that gained an entry, in parallel; on S3 one request a file, more for large ones.
    pub async fn put_all(&self, files: Vec<(String, Bytes)>) -> Result<()> {
        path::check_distinct(&files)?;
        let sizes: Vec<usize> = files.iter().map(|(_, bytes)| bytes.len()).collect();
        let result = match &*self.backend {
            Backend::Local(local) => local.put_all(files).await,
            Backend::Memory(store) => store.put_all(files).await,
            Backend::Remote { store, cache, keep_puts } => {
                let copies = if *keep_puts { files.clone() } else { Vec::new() };
                store.put_all(files).await.inspect(|()| cache.keep_put(copies))
            }
        };
        match &result {
            Ok(()) => sizes.into_iter().for_each(metrics::put),
            Err(_) => metrics::put_failed(),
        }
        result
    }

    /// Begins the file at `path`, to be written piece by piece; nobody sees it before [`FileWriter::finish`].
    ///
    /// Fails with [`Error::Exists`] if there is a file of that name, whatever its content. Costs on a local store the
    /// creation of a file, on S3 one request.
    pub async fn create(&self, path: &str) -> Result<FileWriter> {
        path::check(path)?;
        let created = match &*self.backend {
            Backend::Local(local) => local.create(path).await.map(Target::Local),
            Backend::Memory(store) | Backend::Remote { store, .. } => {
                store.create(path).await.map(|writer| Target::Object(Box::new(writer)))
            }
        };
        if created.is_err() {
            metrics::put_failed();
        }
        Ok(FileWriter::new(path, created?))
    }

    /// The content of the file, mapped from the local disk or the node cache where it is large.
    ///
    /// Fails with [`Error::Missing`], or with [`Error::Corrupt`] if the size is not the expected one. The CRC-32, if
    /// given, is checked when a remote file is downloaded; checksums inside the file guard all later reads. Concurrent
    /// opens of one remote file share one download.
    pub async fn open(&self, path: &str, expected: &FileInfo) -> Result<Bytes> {
        path::check(path)?;
        failpoint::pass(failpoint::BEFORE_OPEN, path)?;
        match &*self.backend {
            Backend::Local(local) => local.open_file(path, expected).await,
            Backend::Memory(store) => store.read_whole(path, expected).await,
            Backend::Remote { store, cache, .. } => cache.open_file(store, path, expected).await,
        }
    }

    /// Sees to it that the file can be opened without asking the store: downloads it into the node cache, unless it is there.
    /// False if it is larger than the cache. Where files are opened in place there is nothing to do.
    pub async fn fetch(&self, path: &str, expected: &FileInfo) -> Result<bool> {
        path::check(path)?;
        failpoint::pass(failpoint::BEFORE_OPEN, path)?;
        match &*self.backend {
            Backend::Local(_) | Backend::Memory(_) => Ok(true),
            Backend::Remote { store, cache, .. } => cache.fetch(store, path, expected).await,
        }
    }

    /// Whether the file could be opened now without asking the store. What was fetched may have had to make room for others.
    pub fn is_fetched(&self, path: &str, expected: &FileInfo) -> bool {
        match &*self.backend {
            Backend::Local(_) | Backend::Memory(_) => true,
            Backend::Remote { cache, .. } => cache.has(path, expected),
        }
    }

    /// From now on the node's copies of `paths` stay in its cache (`stay`), or may go when others need the room. Who pins sees
    /// to it that what is pinned fits: see [`DataStore::cache_bytes_max`].
    pub fn pin(&self, paths: &[String], stay: bool) {
        if let Backend::Remote { cache, .. } = &*self.backend {
            cache.pin(paths, stay);
        }
    }

    /// Most bytes of copies that this node keeps; none if files are opened in place.
    pub fn cache_bytes_max(&self) -> Option<u64> {
        match &*self.backend {
            Backend::Remote { cache, .. } => Some(cache.bytes_max()),
            Backend::Local(_) | Backend::Memory(_) => None,
        }
    }

    /// A file of at most `bytes_max` bytes as the store has it now, whatever this node keeps of it; None if there is none.
    ///
    /// For the few files whose size nobody noted. Fails with [`Error::Corrupt`] if it is larger. One request.
    pub async fn read(&self, path: &str, bytes_max: u64) -> Result<Option<Bytes>> {
        path::check(path)?;
        match &*self.backend {
            Backend::Local(local) => local.read(path, bytes_max).await,
            Backend::Memory(store) | Backend::Remote { store, .. } => store.read(path, bytes_max).await,
        }
    }

    /// Drops the node's copy of a remote file, so that the next open downloads it again: for a copy found damaged.
    pub async fn forget(&self, path: &str) -> Result<()> {
        path::check(path)?;
        match &*self.backend {
            Backend::Remote { cache, .. } => cache.forget(path).await,
            Backend::Local(_) | Backend::Memory(_) => Ok(()),
        }
    }

    /// Deletes the file; succeeds if it is not there. Who has it open keeps reading it.
    pub async fn delete(&self, path: &str) -> Result<()> {
        path::check(path)?;
        match &*self.backend {
            Backend::Local(local) => local.delete(path).await,
            Backend::Memory(store) => store.delete(path).await,
            Backend::Remote { store, cache, .. } => {
                store.delete(path).await?;
                cache.forget(path).await
            }
        }
    }

    /// Deletes the files; those that are not there count as deleted.
    ///
    /// Stops at the first error and returns it; the rest may or may not be deleted, and calling again is safe. Costs on S3
    /// one request for each 1,000 files, four at a time; elsewhere as deleting them singly, 16 at a time.
    pub async fn delete_all(&self, paths: &[String]) -> Result<()> {
        paths.iter().try_for_each(|path| path::check(path))?;
        match &*self.backend {
            Backend::Local(local) => local.delete_all(paths).await,
            Backend::Memory(store) => store.delete_all(paths).await,
            Backend::Remote { store, cache, .. } => {
                store.delete_all(paths).await?;
                for path in paths {
                    cache.forget(path).await?;
                }
                Ok(())
            }
        }
    }

    /// The names of the folders directly below the folder `prefix` (of the whole store if empty), sorted; none if there is
    /// no such folder. For listing a store one collection at a time.
    ///
    /// Every folder with files below it is named; one that is empty may be, on a local store after a crash and on some S3
    /// servers. Costs on a local store reading one directory; on S3 one request for each 1,000 folders and files directly
    /// below `prefix`.
    pub async fn folders(&self, prefix: &str) -> Result<Vec<String>> {
        check_prefix(prefix)?;
        let mut folders = match &*self.backend {
            Backend::Local(local) => local.folders(prefix).await?,
            Backend::Memory(store) | Backend::Remote { store, .. } => store.folders(prefix).await?,
        };
        folders.sort_unstable();
        Ok(folders)
    }

    /// All files below the folder `prefix` (the whole store if empty), sorted by path, files of puts that never finished
    /// included. Takes memory for each of them: list one collection at a time.
    pub async fn list(&self, prefix: &str) -> Result<Vec<ListedFile>> {
        check_prefix(prefix)?;
        let mut files = match &*self.backend {
            Backend::Local(local) => local.list(prefix).await?,
            Backend::Memory(store) | Backend::Remote { store, .. } => store.list(prefix).await?,
        };
        files.sort_unstable();
        Ok(files)
    }

    /// Whether files are opened in place, without a copy on this node.
    pub fn is_local(&self) -> bool {
        !matches!(&*self.backend, Backend::Remote { .. })
    }

    /// Where the data is, for a person.
    pub fn describe(&self) -> String {
        match &*self.backend {
            Backend::Local(local) => format!("directory {}", local.root().display()),
            Backend::Memory(_) => "memory (gone when the process ends)".to_owned(),
            Backend::Remote { store, .. } => store.describe().to_owned(),
        }
    }

    /// Asks the store whether it can be used now.
    pub async fn probe(&self) -> Result<()> {
        match &*self.backend {
            Backend::Local(local) => local.probe().await,
            Backend::Memory(_) => Ok(()),
            Backend::Remote { store, .. } => store.probe().await,
        }
    }
}

/// Checks the path of a folder; the empty one is the whole store.
fn check_prefix(prefix: &str) -> Result<()> {
    if prefix.is_empty() { Ok(()) } else { path::check(prefix) }
}
