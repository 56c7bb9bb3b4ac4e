//! The node cache: copies of remote files in a directory of this node, bounded, the least recently used go first; what is pinned
//! stays.
//!
//! The directory belongs to one process. A copy is downloaded under a temporary name, checked, synced and renamed, so what
//! has its final name is whole; at start what is there is taken over. Files never change under their name, so a copy is
//! never stale. A removed copy stays readable for whoever has it mapped.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use crc32fast::Hasher;
use futures::future::{BoxFuture, FutureExt, WeakShared};
use futures::stream::StreamExt;
use parking_lot::Mutex;
use xxhash_rust::xxh3::xxh3_128;

use super::blocking::blocking;
use super::disk::write_error;
use super::mapped::open_bytes;
use super::remote::ObjectBackend;
use crate::format::FileInfo;
use crate::{Error, Result, metrics};

/// Most bytes of files just put that wait to be written here; further ones are fetched when they are needed.
const KEEPING_BYTES_MAX: u64 = 256 << 20;
const TEMPORARY_SUFFIX: &str = ".tmp";
const COPY_SUFFIX: &str = ".copy";

/// Copies of remote files. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct NodeCache(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    dir: PathBuf,
    url: String,
    bytes_max: u64,
    state: Mutex<State>,
    /// Bytes that [`NodeCache::keep_put`] has in hand.
    keeping: AtomicU64,
}

type Download = BoxFuture<'static, Result<Bytes>>;

#[derive(Debug, Default)]
struct State {
    copies: HashMap<String, Copy>,
    /// Name by time of last use, of those that are not pinned.
    by_use: BTreeMap<u64, String>,
    /// Names of copies that stay, whether or not they are there yet.
    pinned: HashSet<String>,
    bytes: u64,
    /// Counts uses, and names temporary files.
    clock: u64,
    downloads: HashMap<String, WeakShared<Download>>,
    /// Names of copies that are being made of files just put, but for those that were deleted meanwhile.
    keeping: HashSet<String>,
}

#[derive(Debug)]
struct Copy {
    size: u64,
    used: u64,
}

impl NodeCache {
    /// Opens the cache in `dir` for files of the store at `url`; removes what a crash left half done.
    pub(super) async fn open(dir: PathBuf, url: &str, bytes_max: u64) -> Result<Self> {
        let shown = dir.display().to_string();
        let (named, url) = (shown.clone(), url.to_owned());
        blocking(&shown, move || {
            let state = scan(&dir).map_err(|error| write_error(&named, error))?;
            let cache =
                Self(Arc::new(Inner { dir, url, bytes_max, state: Mutex::new(state), keeping: AtomicU64::new(0) }));
            cache.0.evict(None);
            Ok(cache)
        })
        .await
    }

    /// The file at `path`, downloaded from `store` if there is no copy.
    pub(super) async fn open_file(&self, store: &ObjectBackend, path: &str, expected: &FileInfo) -> Result<Bytes> {
        let name = self.0.name_of(path);
        if self.0.state.lock().touch(&name) {
            let (copy, named, size) = (self.0.dir.join(&name), path.to_owned(), expected.size);
            if let Ok(bytes) = blocking(path, move || open_bytes(&copy, &named, size)).await {
                metrics::cache_hit(bytes.len());
                return Ok(bytes);
            }
            tracing::warn!(path, "the node's copy cannot be read or has another size, downloading again");
            self.forget(path).await?;
        }
        self.download(store, path, name, *expected).await
    }

    /// Sees to it that there is a copy of the file at `path`; false if it is too large to be kept.
    pub(super) async fn fetch(&self, store: &ObjectBackend, path: &str, expected: &FileInfo) -> Result<bool> {
        if expected.size > self.0.bytes_max {
            return Ok(false);
        }
        let name = self.0.name_of(path);
        if !self.0.state.lock().touch_of_size(&name, expected.size) {
            self.download(store, path, name, *expected).await?;
        }
        Ok(true)
    }

    /// Whether there is a copy of the file at `path`.
    pub(super) fn has(&self, path: &str, expected: &FileInfo) -> bool {
        let name = self.0.name_of(path);
        self.0.state.lock().copies.get(&name).is_some_and(|copy| copy.size == expected.size)
    }

    /// Makes copies of files that were just put, so that who wrote them has not to fetch them. In the background: nobody waits
    /// for it, and what fails is fetched when it is needed.
    pub(super) fn keep_put(&self, files: Vec<(String, Bytes)>) {
        let bytes: u64 = files.iter().map(|(_, bytes)| bytes.len() as u64).sum();
        let fits = |kept: u64| Some(kept + bytes).filter(|kept| *kept <= KEEPING_BYTES_MAX.min(self.0.bytes_max));
        if self.0.keeping.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_err() {
            return;
        }
        let inner = self.0.clone();
        let files: Vec<_> = files.into_iter().map(|(path, bytes)| (inner.name_of(&path), path, bytes)).collect();
        inner.state.lock().keeping.extend(files.iter().map(|(name, ..)| name.clone()));
        tokio::task::spawn_blocking(move || {
            for (name, path, bytes) in files {
                if let Err(error) = inner.keep_one(&name, &path, &bytes) {
                    tracing::warn!(path, %error, "no copy could be kept of a file that was just stored");
                }
                inner.state.lock().keeping.remove(&name);
            }
            inner.keeping.fetch_sub(bytes, Ordering::Relaxed);
        });
    }

    /// From now on copies of `paths` stay, or may go.
    pub(super) fn pin(&self, paths: &[String], stay: bool) {
        let names: Vec<String> = paths.iter().map(|path| self.0.name_of(path)).collect();
        let mut state = self.0.state.lock();
        names.into_iter().for_each(|name| state.pin(name, stay));
        drop(state);
        if !stay {
            self.0.evict(None);
        }
    }

    /// Most bytes of copies.
    pub(super) fn bytes_max(&self) -> u64 {
        self.0.bytes_max
    }

    /// Joins the running download of the file or starts one. It goes on for as long as somebody waits for it.
    async fn download(&self, store: &ObjectBackend, path: &str, name: String, expected: FileInfo) -> Result<Bytes> {
        let download = {
            let mut state = self.0.state.lock();
            match state.downloads.get(&name).and_then(WeakShared::upgrade) {
                Some(running) => running,
                None => {
                    let (inner, store, path) = (self.0.clone(), store.clone(), path.to_owned());
                    let (key, temporary) = (name.clone(), format!("{name}.{}{TEMPORARY_SUFFIX}", state.tick()));
                    let download = async move {
                        let result = inner.fetch(&store, &path, &key, &temporary, expected).await;
                        inner.state.lock().downloads.remove(&key);
                        result
                    };
                    let download = download.boxed().shared();
                    // Those whose waiters all went away never removed themselves.
                    state.downloads.retain(|_, download| download.upgrade().is_some());
                    state.downloads.extend(download.downgrade().map(|download| (name, download)));
                    download
                }
            }
        };
        download.await
    }

    /// Removes the copy of `path`.
    pub(super) async fn forget(&self, path: &str) -> Result<()> {
        let name = self.0.name_of(path);
        {
            let mut state = self.0.state.lock();
            state.remove(&name);
            state.keeping.remove(&name);
        }
        let (copy, named) = (self.0.dir.join(name), path.to_owned());
        blocking(path, move || remove(&copy).map_err(|error| write_error(&named, error))).await
    }
}

impl Inner {
    /// The name of the copy of `path`: a hash, since paths may be longer than names and other stores' files may be here.
    fn name_of(&self, path: &str) -> String {
        format!("{:032x}{COPY_SUFFIX}", xxh3_128(format!("{}\0{path}", self.url).as_bytes()))
    }

    /// Downloads a file, checks it and makes it a copy.
    async fn fetch(
        self: &Arc<Self>,
        store: &ObjectBackend,
        path: &str,
        name: &str,
        temporary: &str,
        expected: FileInfo,
    ) -> Result<Bytes> {
        let temporary = Temporary { path: self.dir.join(temporary) };
        let (created, named) = (temporary.path.clone(), path.to_owned());
        let mut file =
            blocking(path, move || File::create(created).map_err(|error| write_error(&named, error))).await?;
        let mut crc = Hasher::new();
        let mut parts = store.download(path, expected.size);
        while let Some(part) = parts.next().await {
            let (part, named) = (part?, path.to_owned());
            let appended = move || {
                crc.update(&part);
                file.write_all(&part).map_err(|error| write_error(&named, error))?;
                Ok((file, crc))
            };
            (file, crc) = blocking(path, appended).await?;
        }
        let found = crc.finalize();
        if expected.crc32.is_some_and(|crc32| crc32 != found) {
            return Err(Error::corrupt(path, "the checksum of the downloaded file does not match"));
        }
        let (inner, named, name) = (self.clone(), path.to_owned(), name.to_owned());
        let bytes = blocking(path, move || inner.keep(file, temporary, &name, &named, expected.size)).await?;
        metrics::get(bytes.len());
        Ok(bytes)
    }

    /// Gives a whole download its name and makes room for it. A file larger than the cache is served but not kept.
    fn keep(&self, file: File, temporary: Temporary, name: &str, path: &str, size: u64) -> Result<Bytes> {
        let failed = |error| write_error(path, error);
        // Without this a power failure could leave a name for an empty file.
        file.sync_data().map_err(failed)?;
        if size > self.bytes_max {
            return open_bytes(&temporary.path, path, size);
        }
        let copy = self.dir.join(name);
        fs::rename(&temporary.path, &copy).map_err(failed)?;
        let bytes = open_bytes(&copy, path, size)?;
        self.state.lock().insert(name.to_owned(), size);
        self.evict(Some(name));
        Ok(bytes)
    }

    /// Writes a copy, unless there is one, or the file is not wanted any more.
    fn keep_one(&self, name: &str, path: &str, bytes: &[u8]) -> Result<()> {
        let failed = |error| write_error(path, error);
        let tick = {
            let mut state = self.state.lock();
            if state.copies.contains_key(name) || !state.keeping.contains(name) {
                return Ok(());
            }
            state.tick()
        };
        let temporary = Temporary { path: self.dir.join(format!("{name}.{tick}{TEMPORARY_SUFFIX}")) };
        let mut file = File::create(&temporary.path).map_err(failed)?;
        file.write_all(bytes).and_then(|()| file.sync_data()).map_err(failed)?;
        let copy = self.dir.join(name);
        fs::rename(&temporary.path, &copy).map_err(failed)?;
        let is_wanted = {
            let mut state = self.state.lock();
            let is_wanted = state.keeping.contains(name);
            if is_wanted {
                state.insert(name.to_owned(), bytes.len() as u64);
            }
            is_wanted
        };
        match is_wanted {
            true => self.evict(Some(name)),
            // It was deleted while it was written.
            false => remove(&copy).map_err(failed)?,
        }
        Ok(())
    }

    /// Removes the least recently used copies until the rest fits; never `kept`, and none that is pinned.
    fn evict(&self, kept: Option<&str>) {
        loop {
            let victim = {
                let mut state = self.state.lock();
                metrics::cache_size(state.bytes, state.copies.len());
                if state.bytes <= self.bytes_max {
                    return;
                }
                let oldest = state.by_use.values().find(|name| Some(name.as_str()) != kept).cloned();
                let Some(oldest) = oldest else { return };
                state.remove(&oldest);
                oldest
            };
            if let Err(error) = remove(&self.dir.join(&victim)) {
                tracing::warn!(file = victim, %error, "could not remove a file of the node cache");
            }
        }
    }
}

impl State {
    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    /// Notes a use; false if there is no such copy.
    fn touch(&mut self, name: &str) -> bool {
        let used = self.tick();
        let Some(copy) = self.copies.get_mut(name) else { return false };
        if self.by_use.remove(&copy.used).is_some() {
            self.by_use.insert(used, name.to_owned());
        }
        copy.used = used;
        true
    }

    /// The same; false, too, if the copy has another size.
    fn touch_of_size(&mut self, name: &str, size: u64) -> bool {
        self.copies.get(name).is_some_and(|copy| copy.size == size) && self.touch(name)
    }

    fn insert(&mut self, name: String, size: u64) {
        self.remove(&name);
        let used = self.tick();
        if !self.pinned.contains(&name) {
            self.by_use.insert(used, name.clone());
        }
        self.copies.insert(name, Copy { size, used });
        self.bytes += size;
    }

    fn remove(&mut self, name: &str) {
        if let Some(copy) = self.copies.remove(name) {
            self.by_use.remove(&copy.used);
            self.bytes -= copy.size;
        }
    }

    fn pin(&mut self, name: String, stay: bool) {
        let used = self.copies.get(&name).map(|copy| copy.used);
        if stay {
            if let Some(used) = used {
                self.by_use.remove(&used);
            }
            self.pinned.insert(name);
        } else if self.pinned.remove(&name)
            && let Some(used) = used
        {
            self.by_use.insert(used, name);
        }
    }
}

/// A temporary file; removed when dropped, if it is still there: a download may be given up at any point.
#[derive(Debug)]
struct Temporary {
    path: PathBuf,
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Takes over the copies in `dir`, those written last counting as used last.
fn scan(dir: &Path) -> std::io::Result<State> {
    fs::create_dir_all(dir)?;
    let mut copies = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        if name.ends_with(TEMPORARY_SUFFIX) {
            fs::remove_file(entry.path())?;
        } else if name.ends_with(COPY_SUFFIX) {
            let metadata = entry.metadata()?;
            copies.push((metadata.modified()?, name, metadata.len()));
        }
    }
    copies.sort();
    let mut state = State::default();
    copies.into_iter().for_each(|(_, name, size)| state.insert(name, size));
    Ok(state)
}

fn remove(file: &Path) -> std::io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests;
