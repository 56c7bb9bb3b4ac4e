//! What can go wrong with data files and the object store.

use redkite_types::ErrorKind;

/// A failure of a data file or of the store it lies in. Paths are relative to the storage url, as in the metadata.
///
/// Causes are kept as text, so that one failed download can be told to everybody who waited for it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Stored bytes are not what was written.
    #[error("data file {path} is damaged: {detail}; restore it from a copy")]
    Corrupt {
        /// The file.
        path: String,
        /// What does not fit.
        detail: String,
    },
    /// Written by a newer version of Redkite.
    #[error("{what} has format {found}, this version reads up to {supported}; use a newer redkite")]
    NewerFormat {
        /// The file.
        what: String,
        /// Its format number.
        found: u32,
        /// The newest format number this version knows.
        supported: u32,
    },
    /// No such file.
    #[error("data file {path} is missing from the store")]
    Missing {
        /// The file.
        path: String,
    },
    /// Another file of that name, not the one to be written, is there. Names never repeat, so this is a defect or a
    /// foreign writer.
    #[error("data file {path} exists already with other content")]
    Exists {
        /// The file.
        path: String,
    },
    /// The store did not answer in time, or answered with an error that may pass. The write may have happened; writing
    /// the same bytes under the same name again is safe.
    #[error("storage unavailable for {path}: {cause}; try again once the store answers")]
    Unavailable {
        /// The file.
        path: String,
        /// The answer of the store.
        cause: String,
    },
    /// The store refuses: wrong credentials or missing permission.
    #[error("storage access denied for {path}: {cause}; check credentials and permissions of the storage url")]
    Denied {
        /// The file.
        path: String,
        /// The answer of the store.
        cause: String,
    },
    /// No space left on the device, or a quota is reached.
    #[error("storage is full, {path} could not be written: {cause}; free some space and try again")]
    Full {
        /// The file.
        path: String,
        /// The answer of the store.
        cause: String,
    },
    /// A named limit of the file formats.
    #[error("{what} has {found}, the limit is {limit}")]
    TooLarge {
        /// What is too large.
        what: String,
        /// Its size.
        found: u64,
        /// The limit.
        limit: u64,
    },
    /// A path that is not a plain relative one.
    #[error("path {path:?} is not valid: {reason}")]
    InvalidPath {
        /// What was given.
        path: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A setting that cannot work.
    #[error("{option} = {value:?} is not valid: {reason}")]
    InvalidOption {
        /// Name of the setting.
        option: &'static str,
        /// What was given.
        value: String,
        /// What would be valid.
        reason: String,
    },
    /// The caller broke a rule of the interface: wrong type of array, row beyond the end.
    #[error("wrong use of {what}: {detail}; this is a defect of redkite")]
    Misuse {
        /// The file or column.
        what: String,
        /// The broken rule.
        detail: String,
    },
}

impl Error {
    /// What the caller should do now.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Error::Corrupt { .. } => ErrorKind::Corrupt,
            Error::NewerFormat { .. } => ErrorKind::Unsupported,
            Error::Missing { .. } => ErrorKind::NotFound,
            Error::Exists { .. } => ErrorKind::Exists,
            Error::Unavailable { .. } | Error::Denied { .. } => ErrorKind::Unavailable,
            Error::Full { .. } | Error::TooLarge { .. } => ErrorKind::Exhausted,
            Error::InvalidPath { .. } | Error::InvalidOption { .. } => ErrorKind::Invalid,
            Error::Misuse { .. } => ErrorKind::Internal,
        }
    }

    /// Whether trying the same request again, unchanged, can succeed.
    pub fn is_retryable(&self) -> bool {
        self.kind().is_retryable()
    }

    pub(crate) fn corrupt(path: &str, detail: impl Into<String>) -> Self {
        Error::Corrupt { path: path.to_owned(), detail: detail.into() }
    }

    pub(crate) fn misuse(what: &str, detail: impl Into<String>) -> Self {
        Error::Misuse { what: what.to_owned(), detail: detail.into() }
    }

    pub(crate) fn unavailable(path: &str, cause: impl std::fmt::Display) -> Self {
        Error::Unavailable { path: path.to_owned(), cause: cause.to_string() }
    }
}

/// A result of the storage crate.
pub type Result<T> = std::result::Result<T, Error>;
