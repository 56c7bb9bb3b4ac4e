//! The data directory: its layout, its format number, and that one process at a time uses it.
//!
//! | name | what |
//! |---|---|
//! | `redkite.json` | the format number, written durably before anything else |
//! | `redkite.lock` | locked while a process uses the directory; says which and where to ask it |
//! | `meta.redb` | the embedded metadata store |
//! | `objects/` | data files, unless `storage.url` says otherwise |
//! | `cache/` | copies of files from a remote store |
//!
//! The lock is the kernel's: it ends with the process, however that ends. What the lock file says is for people and for
//! `meta dump`, and is out of date once nobody holds the lock.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use redkite_table::store_identity;
use serde::{Deserialize, Serialize};

/// The newest layout this version knows, and the one it writes.
pub const FORMAT: u32 = 1;
/// Longest `redkite.json` and `redkite.lock` that are read.
const NOTE_BYTES_MAX: u64 = 64 << 10;

const MARKER: &str = "redkite.json";
const LOCK: &str = "redkite.lock";
const METADATA: &str = "meta.redb";

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// Written by a newer version.
    #[error("data directory {} has format {found}, this version reads up to {FORMAT}; use a newer redkite", .dir.display())]
    NewerFormat {
        /// The directory.
        dir: PathBuf,
        /// Its format.
        found: u32,
    },
    /// Its format cannot be told.
    #[error("data directory {} cannot be used: {MARKER} is damaged ({detail}); restore that file from a copy", .dir.display())]
    Damaged {
        /// The directory.
        dir: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// Another process has it.
    #[error("data directory {} is in use by another redkite{}; stop that one or use another directory", .dir.display(), .holder)]
    InUse {
        /// The directory.
        dir: PathBuf,
        /// Who has it.
        holder: Holder,
    },
    /// There is nothing in it.
    #[error("there is no redkite data in {}; --data-dir or --set data_dir=... says where to look", .dir.display())]
    Empty {
        /// The directory.
        dir: PathBuf,
    },
    /// The file system says no.
    #[error("data directory {} cannot be used: {what}: {source}", .dir.display())]
    Io {
        /// The directory.
        dir: PathBuf,
        /// What was tried.
        what: String,
        /// The cause.
        source: io::Error,
    },
}

/// Who holds the lock, as far as is known.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Its process id.
    pub pid: Option<u32>,
    /// Where it answers HTTP.
    pub http: Option<SocketAddr>,
    /// Whether it does so with TLS.
    #[serde(default)]
    pub tls: bool,
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.pid {
            Some(pid) => write!(f, " (process {pid})"),
            None => Ok(()),
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Marker {
    format: u32,
    created_by: String,
}

/// A data directory this process has locked. Dropping it gives the lock back.
#[derive(Debug)]
pub struct DataDir {
    root: PathBuf,
    lock: File,
}

impl DataDir {
    /// Creates the directory where it is missing, checks its format and locks it.
    pub fn open(path: &Path) -> Result<Self, DataDirError> {
        let root = absolute(path)?;
        let failed = |what: &str| io_error(&root, what);
        // A newer version's directory is refused before anything in it is touched.
        let known = read_marker(&root)?;
        create_durably(&root).map_err(failed("create it"))?;
        let lock = lock(&root)?;
        if known.is_none() && read_marker(&root)?.is_none() {
            write_marker(&root).map_err(failed("write redkite.json"))?;
        }
        let mut dir = Self { root, lock };
        dir.announce(None, false)?;
        Ok(dir)
    }

    /// As `open`, for a directory that must be there already.
    pub fn open_existing(path: &Path) -> Result<Self, DataDirError> {
        let root = absolute(path)?;
        if read_marker(&root)?.is_none() {
            return Err(DataDirError::Empty { dir: root });
        }
        Self::open(&root)
    }

    /// Tells whoever finds the lock taken where to ask.
    pub fn announce(&mut self, http: Option<SocketAddr>, tls: bool) -> Result<(), DataDirError> {
        let holder = Holder { pid: Some(std::process::id()), http, tls };
        let text = serde_json::to_string(&holder).unwrap_or_default();
        let write = |file: &mut File| -> io::Result<()> {
            file.set_len(0)?;
            file.seek(SeekFrom::Start(0))?;
            file.write_all(text.as_bytes())
        };
        write(&mut self.lock).map_err(io_error(&self.root, "write redkite.lock"))
    }

    /// Absolute.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The embedded metadata store's file.
    pub fn metadata(&self) -> PathBuf {
        self.root.join(METADATA)
    }

    /// Where data files lie unless `storage.url` says otherwise.
    pub fn objects(&self) -> PathBuf {
        self.root.join("objects")
    }

    /// Whether anything lies there that belongs to some metadata: a user's claim does as well as data. The mark of the store
    /// itself is nobody's.
    pub fn has_objects(&self) -> bool {
        let is_someones =
            |entry: io::Result<fs::DirEntry>| entry.map_or(true, |entry| entry.file_name() != store_identity::FILE);
        fs::read_dir(self.objects()).is_ok_and(|mut entries| entries.any(is_someones))
    }

    /// The default of `storage.url`.
    pub fn objects_url(&self) -> String {
        format!("file://{}", self.objects().display())
    }

    /// The default of `storage.cache_dir`.
    pub fn cache(&self) -> PathBuf {
        self.root.join("cache")
    }
}

fn io_error(dir: &Path, what: &str) -> impl Fn(io::Error) -> DataDirError + use<> {
    let (dir, what) = (dir.to_owned(), what.to_owned());
    move |source| DataDirError::Io { dir: dir.clone(), what: what.clone(), source }
}

fn absolute(path: &Path) -> Result<PathBuf, DataDirError> {
    let absolute = std::path::absolute(path).map_err(io_error(path, "find its absolute path"))?;
    // Without `.` and a trailing slash, as a person would write it.
    Ok(absolute.components().collect())
}

fn lock(root: &Path) -> Result<File, DataDirError> {
    let path = root.join(LOCK);
    let opened = File::options().read(true).write(true).create(true).truncate(false).open(&path);
    let mut file = opened.map_err(io_error(root, "open redkite.lock"))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            let text = read_note(&mut file).unwrap_or_default();
            let holder = serde_json::from_str(&text).unwrap_or_default();
            Err(DataDirError::InUse { dir: root.to_owned(), holder })
        }
        Err(TryLockError::Error(source)) => Err(io_error(root, "lock redkite.lock")(source)),
    }
}

fn read_note(file: &mut File) -> io::Result<String> {
    let mut text = String::new();
    file.take(NOTE_BYTES_MAX).read_to_string(&mut text)?;
    Ok(text)
}

/// Whether there is a marker this version can read.
fn read_marker(root: &Path) -> Result<Option<()>, DataDirError> {
    let mut file = match File::open(root.join(MARKER)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io_error(root, "read redkite.json")(error)),
    };
    let text = read_note(&mut file).map_err(io_error(root, "read redkite.json"))?;
    // Of a newer format nothing but its number may be relied on.
    #[derive(Deserialize)]
    struct Format {
        format: u32,
    }
    match serde_json::from_str::<Format>(&text) {
        Ok(Format { format }) if format > FORMAT => {
            Err(DataDirError::NewerFormat { dir: root.to_owned(), found: format })
        }
        Ok(_) => Ok(Some(())),
        Err(error) => Err(DataDirError::Damaged { dir: root.to_owned(), detail: error.to_string() }),
    }
}

/// Writes the marker so that after a crash it is there whole or not at all.
fn write_marker(root: &Path) -> io::Result<()> {
    let marker = Marker { format: FORMAT, created_by: format!("redkite {}", env!("CARGO_PKG_VERSION")) };
    let mut text = serde_json::to_string(&marker)?;
    text.push('\n');
    let temporary = root.join("redkite.json.new");
    let mut file = File::create(&temporary)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&temporary, root.join(MARKER))?;
    File::open(root)?.sync_all()
}

/// Creates the directory and those above it; the entry of each new one is on disk when it returns.
fn create_durably(root: &Path) -> io::Result<()> {
    let missing: Vec<&Path> = root.ancestors().take_while(|dir| !dir.exists()).collect();
    fs::create_dir_all(root)?;
    missing.iter().filter_map(|dir| dir.parent()).try_for_each(|parent| File::open(parent)?.sync_all())
}

#[cfg(test)]
mod tests;
