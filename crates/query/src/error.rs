//! What can go wrong with a search or query.

use redkite_types::ErrorKind;

/// A failure of a search or query.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The table layer failed.
    #[error(transparent)]
    Table(#[from] redkite_table::Error),
    /// The vectors do not fit the field or the metric.
    #[error(transparent)]
    Index(#[from] redkite_index::IndexError),
    /// The answer would be too large.
    #[error(
        "query results exceed the maxOutputSize Limit: {bytes} bytes, the limit is {limit}; ask for fewer rows or fields"
    )]
    TooLarge {
        /// Its size, or the part of it that is certain.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// A node's request to another one, or the answer to it, is not what it should be. No client hears of it: the node that
    /// asked reads by itself.
    #[error("a request between nodes, or its answer, cannot be used: {detail}")]
    SubRequest {
        /// Why.
        detail: String,
    },
    /// A broken invariant.
    #[error("internal error: {detail}")]
    Internal {
        /// Which.
        detail: String,
    },
}

impl Error {
    /// Whether a file is not there that the request's snapshot names.
    pub fn is_missing_file(&self) -> bool {
        matches!(self, Error::Table(redkite_table::Error::Storage(redkite_storage::Error::Missing { .. })))
    }

    /// Whether another node may have what this one could not read: files in its cache, or a way to the store.
    pub fn may_be_this_nodes(&self) -> bool {
        matches!(self, Error::Table(redkite_table::Error::Storage(_)))
    }

    /// What the caller should do now.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Error::Table(error) => error.kind(),
            Error::Index(_) => ErrorKind::Invalid,
            Error::TooLarge { .. } => ErrorKind::Invalid,
            Error::SubRequest { .. } | Error::Internal { .. } => ErrorKind::Internal,
        }
    }
}

/// A result of a search or query.
pub type Result<T> = std::result::Result<T, Error>;
