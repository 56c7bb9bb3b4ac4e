//! The store on a local or mounted directory.
//!
//! How a file becomes durable, and why in this order: its directories are created; it is written under a temporary name
//! beside its final one; it is synced; it gets its final name, which fails rather than replaces; then every directory
//! that gained an entry is synced. So a name never stands for part of a file, and once the call returns a power failure
//! takes nothing of it. The syncs of each step run in parallel, because the file system commits them together.
//!
//! [`LocalStore::put_all`] goes these steps for all its files together, a [`LocalWriter`] for one that is written piece by
//! piece.
//!
//! A crash leaves at worst temporary files and unnamed directories; no entry of the metadata knows them, listing shows
//! them, and garbage collection removes them like any other file that was never committed.

mod temporary;
mod writer;

use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use bytes::Bytes;
use futures::stream::{self, StreamExt, TryStreamExt};
use parking_lot::Mutex;

use super::ListedFile;
use super::blocking::blocking;
use super::disk::{Disk, RealDisk, io_error, write_error};
use super::mapped::{open_bytes, read_bytes};
use crate::format::FileInfo;
use crate::{Error, Result, failpoint, metrics};
use temporary::{Temporary, create_beside};
pub(super) use writer::LocalWriter;

/// Files written, and then directories synced, at the same time by one call. More than a disk can commit together gains
/// nothing.
const SYNCS_IN_FLIGHT: usize = 16;
/// Directories remembered as durable; beyond it all are forgotten, which costs a few syncs.
const DURABLE_DIRS_MAX: usize = 8_192;
/// Files deleted at the same time by one call.
const DELETES_IN_FLIGHT: usize = 16;

/// Files below one directory. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct LocalStore(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    root: PathBuf,
    disk: Box<dyn Disk>,
    /// Directories whose own entry in their parent is known to be synced. Forgotten before they are removed.
    durable_dirs: Mutex<HashSet<PathBuf>>,
    next_temporary: AtomicU64,
}

impl LocalStore {
    /// Opens the store at `root`, creating the directory durably if it is not there.
    pub(super) async fn open(root: PathBuf) -> Result<Self> {
        Self::open_on(root, Box::new(RealDisk)).await
    }

    pub(super) async fn open_on(root: PathBuf, disk: Box<dyn Disk>) -> Result<Self> {
        let shown = root.display().to_string();
        let named = shown.clone();
        blocking(&shown, move || {
            let root = std::path::absolute(&root).map_err(|error| write_error(&named, error))?;
            create_root(&root, disk.as_ref()).map_err(|error| write_error(&named, error))?;
            let durable_dirs = Mutex::new(HashSet::new());
            Ok(Self(Arc::new(Inner { root, disk, durable_dirs, next_temporary: AtomicU64::new(0) })))
        })
        .await
    }

    pub(super) fn root(&self) -> &Path {
        &self.0.root
    }

    /// See [`super::DataStore::put_all`].
    pub(super) async fn put_all(&self, files: Vec<(String, Bytes)>) -> Result<()> {
        let paths: Vec<String> = files.iter().map(|(path, _)| path.clone()).collect();
        let written: Vec<Result<bool>> = stream::iter(files)
            .map(|(path, bytes)| {
                let inner = self.0.clone();
                async move { blocking(&path.clone(), move || inner.put_file(&path, &bytes)).await }
            })
            .buffered(SYNCS_IN_FLIGHT)
            .collect()
            .await;
        self.conclude(paths, written).await
    }

    /// The last step of a put: `written` says of each of `paths` whether it is new under its name.
    async fn conclude(&self, paths: Vec<String>, written: Vec<Result<bool>>) -> Result<()> {
        let result = self.settle(&paths, &written).await;
        if matches!(result, Err(Error::Full { .. })) {
            // Nobody knows these files yet; on a full disk they must not stand in the way of the next try.
            let created = paths.into_iter().zip(written).filter(|(_, created)| *created == Ok(true));
            for (path, _) in created {
                if let Err(error) = self.delete(&path).await {
                    tracing::warn!(path, %error, "could not remove a file of a failed put");
                }
            }
        }
        result
    }

    /// Syncs the directories if all files were written.
    async fn settle(&self, paths: &[String], written: &[Result<bool>]) -> Result<()> {
        if let Some(error) = written.iter().find_map(|written| written.as_ref().err()) {
            return Err(error.clone());
        }
        let dirs = self.0.gained_entries(paths);
        self.sync_dirs(dirs.clone()).await?;
        self.0.remember_durable(paths, &dirs);
        paths.iter().try_for_each(|path| failpoint::pass(failpoint::AFTER_PUT, path))
    }

    /// See [`super::DataStore::create`].
    pub(super) async fn create(&self, path: &str) -> Result<LocalWriter> {
        let (inner, named) = (self.0.clone(), path.to_owned());
        let temporary = blocking(path, move || inner.begin_file(&named)).await?;
        Ok(LocalWriter::new(self.clone(), path, temporary))
    }

    async fn sync_dirs(&self, dirs: BTreeSet<PathBuf>) -> Result<()> {
        stream::iter(dirs)
            .map(|dir| {
                let inner = self.0.clone();
                let shown = dir.display().to_string();
                async move { blocking(&shown, move || inner.sync_dir(&dir)).await }
            })
            .buffer_unordered(SYNCS_IN_FLIGHT)
            .try_collect::<()>()
            .await
    }

    /// See [`super::DataStore::open`].
    pub(super) async fn open_file(&self, path: &str, expected: &FileInfo) -> Result<Bytes> {
        let (file, size, named) = (self.0.file(path), expected.size, path.to_owned());
        let bytes = blocking(path, move || open_bytes(&file, &named, size)).await?;
        metrics::get(bytes.len());
        Ok(bytes)
    }

    /// See [`super::DataStore::read`].
    pub(super) async fn read(&self, path: &str, bytes_max: u64) -> Result<Option<Bytes>> {
        let (file, named) = (self.0.file(path), path.to_owned());
        blocking(path, move || read_bytes(&file, &named, bytes_max)).await
    }

    /// Deletes the file and the directories that become empty by that.
    pub(super) async fn delete(&self, path: &str) -> Result<()> {
        let (inner, named) = (self.0.clone(), path.to_owned());
        blocking(path, move || inner.delete(&named)).await
    }

    /// See [`super::DataStore::delete_all`].
    pub(super) async fn delete_all(&self, paths: &[String]) -> Result<()> {
        // By position: futures made by a closure over references could not move between threads.
        stream::iter(0..paths.len())
            .map(|at| self.delete(&paths[at]))
            .buffer_unordered(DELETES_IN_FLIGHT)
            .try_collect::<()>()
            .await
    }

    /// All files below the folder `prefix`.
    pub(super) async fn list(&self, prefix: &str) -> Result<Vec<ListedFile>> {
        let (inner, named) = (self.0.clone(), prefix.to_owned());
        blocking(prefix, move || inner.list(&named)).await
    }

    /// See [`super::DataStore::folders`].
    pub(super) async fn folders(&self, prefix: &str) -> Result<Vec<String>> {
        let (inner, named) = (self.0.clone(), prefix.to_owned());
        blocking(prefix, move || inner.folders(&named)).await
    }

    /// Whether files can be created now.
    pub(super) async fn probe(&self) -> Result<()> {
        let inner = self.0.clone();
        blocking("", move || {
            let failed = |error| write_error(&inner.root.display().to_string(), error);
            let (file, _) = create_beside(&inner, &inner.root.join(".probe")).map_err(failed)?;
            fs::remove_file(file).map_err(failed)
        })
        .await
    }
}

impl Inner {
    fn file(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// Writes, syncs and names one file. False if it was there already.
    fn put_file(self: &Arc<Self>, path: &str, bytes: &[u8]) -> Result<bool> {
        failpoint::pass(failpoint::BEFORE_PUT, path)?;
        let temporary = Temporary::create(self, path)?;
        temporary.append(bytes)?;
        if temporary.publish()? {
            return Ok(true);
        }
        let same = open_bytes(&self.file(path), path, bytes.len() as u64).is_ok_and(|found| found == bytes);
        if same { Ok(false) } else { Err(Error::Exists { path: path.to_owned() }) }
    }

    /// A new file that is to be written; fails if its name is taken.
    fn begin_file(self: &Arc<Self>, path: &str) -> Result<Temporary> {
        failpoint::pass(failpoint::BEFORE_PUT, path)?;
        if fs::exists(self.file(path)).map_err(|error| write_error(path, error))? {
            return Err(Error::Exists { path: path.to_owned() });
        }
        Temporary::create(self, path)
    }

    fn create_dirs(&self, dir: &Path) -> std::io::Result<()> {
        match self.disk.create_dir(dir) {
            Err(error) if error.kind() == ErrorKind::NotFound && dir != self.root => {
                if let Some(parent) = dir.parent() {
                    self.create_dirs(parent)?;
                }
                self.disk.create_dir(dir).or_else(already_there)
            }
            result => result.or_else(already_there),
        }
    }

    /// The directories to sync so that the files at `paths` are found: those they lie in, and the parents of those whose
    /// own entry is not known to be synced. A directory that another call created a moment ago counts as not known.
    fn gained_entries(&self, paths: &[String]) -> BTreeSet<PathBuf> {
        let durable = self.durable_dirs.lock();
        let mut dirs = BTreeSet::new();
        for path in paths {
            let file = self.file(path);
            let mut at = file.as_path();
            while let Some(parent) = at.parent().filter(|_| at != self.root) {
                if !durable.contains(at) && !dirs.insert(parent.to_owned()) {
                    break;
                }
                at = parent;
            }
        }
        dirs
    }

    /// Notes that the directories of `paths` whose parents are among the `synced` are durable. They hold the files just
    /// put, so nobody can have removed them since.
    fn remember_durable(&self, paths: &[String], synced: &BTreeSet<PathBuf>) {
        let mut durable = self.durable_dirs.lock();
        if durable.len() > DURABLE_DIRS_MAX {
            durable.clear();
        }
        for path in paths {
            let file = self.file(path);
            let dirs = file.ancestors().skip(1).take_while(|dir| *dir != self.root);
            durable.extend(dirs.filter(|dir| dir.parent().is_some_and(|up| synced.contains(up))).map(Path::to_owned));
        }
    }

    fn sync_dir(&self, dir: &Path) -> Result<()> {
        let shown = dir.display().to_string();
        failpoint::pass(failpoint::BEFORE_FSYNC, &shown)?;
        self.disk.sync_dir(dir).map_err(|error| write_error(&shown, error))?;
        failpoint::pass(failpoint::AFTER_FSYNC, &shown)
    }

    fn delete(&self, path: &str) -> Result<()> {
        self.remove(&self.file(path)).map_err(|error| io_error(path, error))
    }

    /// Removes the file, if it is there, and the directories that become empty by that.
    fn remove(&self, file: &Path) -> std::io::Result<()> {
        match fs::remove_file(file) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut dir = file.parent();
        while let Some(empty) = dir.filter(|dir| *dir != self.root) {
            self.durable_dirs.lock().remove(empty);
            if fs::remove_dir(empty).is_err() {
                break;
            }
            dir = empty.parent();
        }
        Ok(())
    }

    fn list(&self, prefix: &str) -> Result<Vec<ListedFile>> {
        let mut found = Vec::new();
        let mut dirs = vec![self.file(prefix)];
        while let Some(dir) = dirs.pop() {
            let entries = match fs::read_dir(&dir) {
                // Removed while listing, or never there.
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                entries => entries.map_err(|error| io_error(prefix, error))?,
            };
            for entry in entries {
                let entry = entry.map_err(|error| io_error(prefix, error))?;
                let metadata = match entry.metadata() {
                    Err(error) if error.kind() == ErrorKind::NotFound => continue,
                    metadata => metadata.map_err(|error| io_error(prefix, error))?,
                };
                let path = entry.path();
                if metadata.is_dir() {
                    dirs.push(path);
                } else if let Some(path) = path.strip_prefix(&self.root).ok().and_then(Path::to_str) {
                    found.push(ListedFile { path: path.to_owned(), size: metadata.len() });
                }
            }
        }
        Ok(found)
    }

    fn folders(&self, prefix: &str) -> Result<Vec<String>> {
        let failed = |error| io_error(prefix, error);
        let entries = match fs::read_dir(self.file(prefix)) {
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                return Ok(Vec::new());
            }
            entries => entries.map_err(failed)?,
        };
        let mut found = Vec::new();
        for entry in entries {
            let entry = entry.map_err(failed)?;
            if entry.file_type().map_err(failed)?.is_dir() {
                found.extend(entry.file_name().into_string());
            }
        }
        Ok(found)
    }
}

fn already_there(error: std::io::Error) -> std::io::Result<()> {
    if error.kind() == ErrorKind::AlreadyExists { Ok(()) } else { Err(error) }
}

/// Creates `root` and what is missing above it, each new entry synced.
fn create_root(root: &Path, disk: &dyn Disk) -> std::io::Result<()> {
    if root.is_dir() {
        return Ok(());
    }
    let Some(parent) = root.parent() else { return Ok(()) };
    create_root(parent, disk)?;
    disk.create_dir(root).or_else(already_there)?;
    disk.sync_dir(parent)
}

#[cfg(test)]
mod tests;
