//! What can go wrong with a metadata store.

use redkite_types::{ErrorKind, Revision};

/// A failure of the metadata store.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store did not answer, and the request is known not to have taken effect (a read, or never sent) or does no
    /// harm if it did (a lease granted or renewed, a compaction).
    #[error("metadata store unavailable: {0}")]
    Unavailable(String),
    /// A write was sent and no answer came: it may have happened, now or later. Settle it, never retry it.
    #[error("no answer from the metadata store, the outcome is unknown: {0}")]
    OutcomeUnknown(String),
    /// The history before `oldest` is gone.
    #[error("revision {asked} has been compacted, the oldest one readable is {oldest}")]
    Compacted {
        /// The revision asked for.
        asked: Revision,
        /// The first revision that is still there; [`Revision::ZERO`] where the store does not say.
        oldest: Revision,
    },
    /// A revision that does not exist yet.
    #[error("revision {asked} is in the future")]
    FutureRevision {
        /// The revision asked for.
        asked: Revision,
    },
    /// The lease has expired or never was.
    #[error("lease {0} not found")]
    LeaseNotFound(i64),
    /// The request breaks a rule of the store: too many operations, the same key put twice, too large.
    #[error("invalid metadata request: {0}")]
    Invalid(String),
    /// The store is out of space.
    #[error("metadata store is out of space: {0}")]
    NoSpace(String),
    /// Stored bytes are not what was written.
    #[error("metadata store is damaged: {0}")]
    Corrupt(String),
    /// Written by a newer version of Redkite.
    #[error("{what} has format {found}, this version reads up to {supported}; use a newer redkite")]
    NewerFormat {
        /// What was read.
        what: String,
        /// Its format number.
        found: u32,
        /// The newest format number this version knows.
        supported: u32,
    },
    /// A restore has begun and not ended.
    #[error(
        "the metadata is only half restored ({key}): `redkite meta restore` runs or was interrupted; wait for it, or run it \
         again with the same file"
    )]
    HalfRestored {
        /// The key that says so.
        key: String,
    },
    /// Another process has the store open.
    #[error("{0} is in use by another process")]
    Locked(String),
    /// The file system failed.
    #[error("{what}: {source}")]
    Io {
        /// What was tried, with the path.
        what: String,
        /// The cause.
        source: std::io::Error,
    },
}

impl Error {
    /// What the caller should do now.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Error::Unavailable(_) => ErrorKind::Unavailable,
            Error::OutcomeUnknown(_) => ErrorKind::Unknown,
            Error::Compacted { .. } | Error::FutureRevision { .. } => ErrorKind::NotFound,
            Error::LeaseNotFound(_) => ErrorKind::NotFound,
            Error::Invalid(_) => ErrorKind::Internal,
            Error::NoSpace(_) => ErrorKind::Exhausted,
            Error::Corrupt(_) => ErrorKind::Corrupt,
            Error::NewerFormat { .. } => ErrorKind::Unsupported,
            Error::Locked(_) | Error::Io { .. } | Error::HalfRestored { .. } => ErrorKind::Unavailable,
        }
    }
}

/// A result of the metadata store.
pub type Result<T> = std::result::Result<T, Error>;
