//! The file: tables, opening, and the one way a batch of changes becomes durable.
//!
//! | table | key | value |
//! |---|---|---|
//! | `meta` | `format` | [`FORMAT`] |
//! | | `commits` | number of commits so far: tells whether one whose end is unknown arrived |
//! | | `compacted` | revision of the last compaction |
//! | | `lease_last` | last lease id given out |
//! | | `running_ms` | how long the store has been running as of the last commit, in all its processes; from format 2 |
//! | `base` | key | its version as of the compaction |
//! | `log` | revision | all that it changed; one entry for each since the compaction |
//! | `lease` | id | its term in milliseconds |
//! | `lease_end` | id | the `running_ms` at which it ends; absent once it was renewed; from format 2 |
//!
//! A lease without end starts a term when the file is opened, and that is written at once: so it does for those of a file
//! of format 1. That format is read; the first commit makes it this one, as a version that knows only the former
//! would renew a lease without taking back its end.
//!
//! A commit appends to `log`; only a compaction folds `log` into `base`. Opening verifies all of redb's checksums, which
//! is also redb's repair after a crash, so commits need no second fsync to make that quick: the file is read once anyway.
//!
//! What can be read is not durable yet where an fsync failed: the kernel forgets what it could not write and the next fsync
//! succeeds. So after a failed commit, and after a process that died without closing the file, all of the file is written
//! again and synced before anything in it is believed.

use std::fs::File;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use redb::{
    Builder, Database, DatabaseError, ReadableDatabase, ReadableTable, StorageError, TableDefinition, TableError,
};
use redkite_types::Revision;

use super::codec;
use super::file::{ReservingFile, mark_left_open, was_left_open, write_again};
use crate::state::{Change, State, StoredLease};
use crate::{Error, LeaseId, Result, failpoint};

/// The newest format this version reads and the one it writes.
pub(super) const FORMAT: u32 = 2;
/// redb's page cache: everything is served from the state in memory, so it only has to hold a commit's path.
const CACHE_BYTES: usize = 1 << 20;

const META: TableDefinition<'_, &str, i64> = TableDefinition::new("meta");
const BASE: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("base");
const LOG: TableDefinition<'_, i64, &[u8]> = TableDefinition::new("log");
const LEASE: TableDefinition<'_, i64, u64> = TableDefinition::new("lease");
const LEASE_END: TableDefinition<'_, i64, u64> = TableDefinition::new("lease_end");

/// One step of what has to become durable, in order.
#[derive(Debug)]
pub(super) enum Durable {
    /// A revision.
    Change(Arc<Change>),
    /// A new lease.
    LeaseGranted(LeaseId, Duration),
    /// When a lease ends, in running time; none for one that was renewed.
    LeaseEnds(LeaseId, Option<Duration>),
    /// A lease that is over.
    LeaseEnded(LeaseId),
    /// A compaction.
    Compacted(Revision),
}

/// What every commit writes anew.
#[derive(Debug, Clone, Copy)]
pub(super) struct Counters {
    /// The last lease id given out.
    pub(super) lease_last: i64,
    /// How long the store has been running.
    pub(super) running: Duration,
}

/// A commit that did not end well.
#[derive(Debug)]
pub(super) enum CommitFailed {
    /// Nothing of it is in the file.
    NotDone(Failure),
    /// All of it is in the file, durable.
    Done(Failure),
    /// The file cannot be read to tell, or not be made durable; [`Disk::settle`] will tell, once it can.
    Unknown(Failure),
}

/// Why the file did not do what it should; can be told to several callers.
#[derive(Debug, Clone)]
pub(super) struct Failure {
    text: String,
    io: Option<std::io::ErrorKind>,
}

impl Failure {
    /// The error of a request that is known not to have happened.
    pub(super) fn not_done(&self) -> Error {
        match self.io {
            Some(std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded) => {
                Error::NoSpace(self.text.clone())
            }
            Some(kind) => Error::Io { what: self.text.clone(), source: kind.into() },
            None => Error::Unavailable(self.text.clone()),
        }
    }

    /// The error of a request that may have happened.
    pub(super) fn unknown(&self) -> Error {
        Error::OutcomeUnknown(self.text.clone())
    }
}

/// The open file, or the memory of one that has to be opened again.
#[derive(Debug)]
pub(super) struct Disk {
    path: PathBuf,
    database: Option<Database>,
    commits: i64,
    saved_running: Duration,
}

impl Disk {
    /// Opens or creates the file and reads all of it. Comes with how long the store had been running.
    pub(super) fn open(path: &Path) -> Result<(Self, State, Duration)> {
        let opened = open_database(path)?;
        let created = opened.created;
        let database = if opened.left_open { written_again(path, opened)? } else { opened.database };
        let mut disk =
            Self { path: path.to_owned(), database: Some(database), commits: 0, saved_running: Duration::ZERO };
        let state = match disk.load()? {
            Some(state) => state,
            None => {
                disk.initialise()?;
                State::new()
            }
        };
        if created {
            sync_parent(path)?;
        }
        let running = disk.saved_running;
        Ok((disk, state, running))
    }

    /// The running time the last commit wrote.
    pub(super) fn saved_running(&self) -> Duration {
        self.saved_running
    }

    /// Makes a batch durable, wholly or not at all.
    pub(super) fn commit(&mut self, batch: &[Durable], counters: Counters) -> std::result::Result<(), CommitFailed> {
        let Some(database) = &self.database else {
            return Err(CommitFailed::NotDone(self.failure(&"the file is not open", None)));
        };
        match write(database, batch, self.commits + 1, counters) {
            Ok(()) => {
                self.commits += 1;
                self.saved_running = counters.running;
                Ok(())
            }
            Err(error) => {
                let failure = self.failure(&error, io_kind(&error));
                tracing::error!(path = %self.path.display(), %error, "a metadata commit failed");
                Err(match self.settle() {
                    Ok(true) => CommitFailed::Done(failure),
                    Ok(false) => CommitFailed::NotDone(failure),
                    Err(_) => CommitFailed::Unknown(failure),
                })
            }
        }
    }

    /// After a failed commit: opens the file again and tells whether the commit is in it, durable. redb wants the former
    /// after any failure. To be called until it succeeds; nothing may be committed before.
    pub(super) fn settle(&mut self) -> std::result::Result<bool, Failure> {
        self.database = None;
        let reopened = open_database(&self.path).and_then(|opened| {
            let commits = read_meta(&opened.database, "commits").map_err(|error| self.translate(error))?.unwrap_or(0);
            let arrived = commits > self.commits;
            Ok((if arrived { written_again(&self.path, opened)? } else { opened.database }, commits))
        });
        match reopened {
            Ok((database, commits)) => {
                let arrived = commits > self.commits;
                self.database = Some(database);
                self.commits = commits;
                Ok(arrived)
            }
            Err(error) => Err(self.failure(&format!("it cannot be opened again: {error}"), None)),
        }
    }

    fn load(&mut self) -> Result<Option<State>> {
        let Some(database) = &self.database else { return Ok(None) };
        let Some(format) = read_meta(database, "format").map_err(|error| self.translate(error))? else {
            return Ok(None);
        };
        check_format(&self.path, format)?;
        let found = read_all(database).map_err(|error| match error {
            Error::Corrupt(text) => Error::Corrupt(format!("{}: {text}", self.path.display())),
            other => other,
        })?;
        self.commits = found.commits;
        self.saved_running = found.running;
        if !found.started.is_empty() {
            let counters = Counters { lease_last: found.state.lease_last(), running: found.running };
            self.commit(&found.started, counters).map_err(|failed| match failed {
                CommitFailed::NotDone(failure) | CommitFailed::Done(failure) | CommitFailed::Unknown(failure) => {
                    failure.not_done()
                }
            })?;
        }
        Ok(Some(found.state))
    }

    fn initialise(&mut self) -> Result<()> {
        let Some(database) = &self.database else { return Ok(()) };
        let made = || -> std::result::Result<(), redb::Error> {
            let transaction = database.begin_write()?;
            transaction.open_table(META)?.insert("format", i64::from(FORMAT))?;
            transaction.open_table(BASE)?;
            transaction.open_table(LOG)?;
            transaction.open_table(LEASE)?;
            transaction.open_table(LEASE_END)?;
            transaction.commit()?;
            Ok(())
        };
        made().map_err(|error| self.translate(error))
    }

    fn translate(&self, error: redb::Error) -> Error {
        translate(&self.path, error)
    }

    fn failure(&self, text: &dyn std::fmt::Display, io: Option<std::io::ErrorKind>) -> Failure {
        Failure { text: format!("{}: {text}", self.path.display()), io }
    }
}

fn check_format(path: &Path, format: i64) -> Result<()> {
    let found = u32::try_from(format).unwrap_or(u32::MAX);
    if found > FORMAT {
        return Err(Error::NewerFormat { what: path.display().to_string(), found, supported: FORMAT });
    }
    Ok(())
}

/// A file that redb has open and locked.
struct Opened {
    database: Database,
    /// The same file. To be let go soon: the lock lives until both are.
    file: File,
    created: bool,
    left_open: bool,
}

/// Opens the file, which verifies all of it.
fn open_database(path: &Path) -> Result<Opened> {
    let io = |source| Error::Io { what: format!("open {}", path.display()), source };
    let created = !path.try_exists().map_err(io)?;
    let file = File::options().read(true).write(true).create(true).truncate(false).open(path).map_err(io)?;
    let left_open = was_left_open(&file).map_err(io)?;
    let backend = ReservingFile::new(file.try_clone().map_err(io)?).map_err(io)?;
    // A damaged file must be an error, whatever redb does on its way to find out.
    let opened = std::panic::catch_unwind(AssertUnwindSafe(|| {
        Builder::new().set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true).create_with_backend(backend)
    }));
    match opened {
        Ok(Ok(database)) => Ok(Opened { database, file, created, left_open }),
        Ok(Err(DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch)) => {
            Err(Error::Locked(path.display().to_string()))
        }
        Ok(Err(error)) => Err(translate(path, error.into())),
        Err(_) => Err(Error::Corrupt(format!("{}: not a metadata file, or a damaged one", path.display()))),
    }
}

/// The database once all of it is durable. If that fails, it will have to be tried again, by another process at the latest.
fn written_again(path: &Path, Opened { database, file, .. }: Opened) -> Result<Database> {
    let Err(error) = write_again(&file) else { return Ok(database) };
    // Closing the file says that all is well with it.
    drop(database);
    if let Err(error) = mark_left_open(&file) {
        tracing::error!(path = %path.display(), %error, "a file that is not durable could not be marked so");
    }
    Err(translate(path, redb::Error::Io(error)))
}

fn translate(path: &Path, error: redb::Error) -> Error {
    match error {
        redb::Error::Io(source) if source.kind() == std::io::ErrorKind::InvalidData => {
            Error::Corrupt(format!("{}: {source}", path.display()))
        }
        redb::Error::Io(source) if source.kind() == std::io::ErrorKind::StorageFull => {
            Error::NoSpace(format!("{}: {source}", path.display()))
        }
        redb::Error::Io(source) => Error::Io { what: path.display().to_string(), source },
        other => Error::Corrupt(format!("{}: {other}", path.display())),
    }
}

fn io_kind(error: &redb::Error) -> Option<std::io::ErrorKind> {
    match error {
        redb::Error::Io(error) => Some(error.kind()),
        _ => None,
    }
}

fn sync_parent(path: &Path) -> Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let synced = File::open(parent).and_then(|directory| directory.sync_all());
    synced.map_err(|source| Error::Io { what: format!("fsync of the directory {}", parent.display()), source })
}

fn read_meta(database: &Database, name: &str) -> std::result::Result<Option<i64>, redb::Error> {
    let table = match database.begin_read()?.open_table(META) {
        Ok(table) => table,
        Err(TableError::TableDoesNotExist(_)) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    Ok(table.get(name)?.map(|value| value.value()))
}

/// What the file holds.
struct Found {
    state: State,
    commits: i64,
    running: Duration,
    /// The ends of the terms that leases started just now.
    started: Vec<Durable>,
}

fn read_all(database: &Database) -> Result<Found> {
    let broken = |error: redb::Error| Error::Corrupt(error.to_string());
    let transaction = database.begin_read().map_err(|error| broken(error.into()))?;
    let meta = |name| Ok(read_meta(database, name).map_err(broken)?.unwrap_or(0));
    let mut state = State::restore(Revision(meta("compacted")?), meta("lease_last")?);

    let base = transaction.open_table(BASE).map_err(|error| broken(error.into()))?;
    for entry in base.iter().map_err(|error| broken(error.into()))? {
        let (key, value) = entry.map_err(|error| broken(error.into()))?;
        state.restore_key(codec::decode_base(key.value(), value.value())?)?;
    }
    let log = transaction.open_table(LOG).map_err(|error| broken(error.into()))?;
    for entry in log.iter().map_err(|error| broken(error.into()))? {
        let (revision, value) = entry.map_err(|error| broken(error.into()))?;
        state.replay(codec::decode_change(revision.value(), value.value())?)?;
    }
    let running = Duration::from_millis(u64::try_from(meta("running_ms")?).unwrap_or(0));
    let ends = match transaction.open_table(LEASE_END) {
        Ok(table) => Some(table),
        // A file of format 1.
        Err(TableError::TableDoesNotExist(_)) => None,
        Err(error) => return Err(broken(error.into())),
    };
    let mut leases = Vec::new();
    let table = transaction.open_table(LEASE).map_err(|error| broken(error.into()))?;
    for entry in table.iter().map_err(|error| broken(error.into()))? {
        let (id, ttl_ms) = entry.map_err(|error| broken(error.into()))?;
        let end = ends.as_ref().map(|table| table.get(id.value())).transpose();
        let end = end.map_err(|error| broken(error.into()))?.flatten();
        leases.push(StoredLease {
            id: LeaseId(id.value()),
            ttl: Duration::from_millis(ttl_ms.value()),
            deadline: end.map(|end| Duration::from_millis(end.value())),
        });
    }
    let started: Vec<LeaseId> = leases.iter().filter(|lease| lease.deadline.is_none()).map(|lease| lease.id).collect();
    state.finish(leases, running)?;
    let started = started.into_iter().map(|id| Durable::LeaseEnds(id, state.lease_deadline(id))).collect();
    Ok(Found { commits: meta("commits")?, state, running, started })
}

fn write(
    database: &Database,
    batch: &[Durable],
    commits: i64,
    counters: Counters,
) -> std::result::Result<(), redb::Error> {
    // The default durability is an fsync before `commit` returns.
    let transaction = database.begin_write()?;
    {
        let mut meta = transaction.open_table(META)?;
        let mut log = transaction.open_table(LOG)?;
        let mut leases = transaction.open_table(LEASE)?;
        let mut lease_ends = transaction.open_table(LEASE_END)?;
        for step in batch {
            match step {
                Durable::Change(change) => {
                    log.insert(change.revision.0, codec::encode_change(change).as_slice())?;
                }
                Durable::LeaseGranted(id, ttl) => {
                    leases.insert(id.0, u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX))?;
                }
                Durable::LeaseEnds(id, Some(end)) => {
                    lease_ends.insert(id.0, whole_ms(*end))?;
                }
                Durable::LeaseEnds(id, None) => {
                    lease_ends.remove(id.0)?;
                }
                Durable::LeaseEnded(id) => {
                    leases.remove(id.0)?;
                    lease_ends.remove(id.0)?;
                }
                Durable::Compacted(revision) => {
                    fold(&mut log, &mut transaction.open_table(BASE)?, *revision)?;
                    meta.insert("compacted", revision.0)?;
                }
            }
        }
        meta.insert("format", i64::from(FORMAT))?;
        meta.insert("commits", commits)?;
        meta.insert("lease_last", counters.lease_last)?;
        // Rounded down, and ends up: a lease may live a little longer, never shorter.
        meta.insert("running_ms", i64::try_from(counters.running.as_millis()).unwrap_or(i64::MAX))?;
    }
    transaction.commit()?;
    Ok(())
}

/// Milliseconds, rounded up.
fn whole_ms(time: Duration) -> u64 {
    u64::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

/// Moves the log up to `revision` into the base.
fn fold(
    log: &mut redb::Table<'_, i64, &'static [u8]>,
    base: &mut redb::Table<'_, &'static str, &'static [u8]>,
    revision: Revision,
) -> std::result::Result<(), redb::Error> {
    for entry in log.range(..=revision.0)? {
        let (at, value) = entry?;
        let change = codec::decode_change(at.value(), value.value())
            .map_err(|error| StorageError::Corrupted(error.to_string()))?;
        for record in &change.records {
            match codec::encode_base(record) {
                Some(bytes) => base.insert(record.key.as_ref(), bytes.as_slice())?,
                None => base.remove(record.key.as_ref())?,
            };
        }
    }
    log.retain_in(..=revision.0, |_, _| false)?;
    Ok(())
}

/// The failpoints around a commit.
pub(super) fn before_commit() -> std::result::Result<(), String> {
    failpoint::step("meta-embedded-before-commit")
}

/// See [`before_commit`].
pub(super) fn after_commit() -> std::result::Result<(), String> {
    failpoint::step("meta-embedded-after-commit")
}
