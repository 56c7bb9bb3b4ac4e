//! What can go wrong with background work.

/// A failure of background work. It is tried again by itself.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The table layer failed.
    #[error(transparent)]
    Table(#[from] redkite_table::Error),
    /// The metadata store failed.
    #[error(transparent)]
    Meta(#[from] redkite_meta::Error),
    /// The object store failed, or a file is damaged.
    #[error(transparent)]
    Storage(#[from] redkite_storage::Error),
    /// Something was written by a newer version.
    #[error("{detail}; until then nothing is merged or removed here")]
    Newer {
        /// What, and what to do.
        detail: String,
    },
    /// Metadata that says what may be removed cannot be read.
    #[error("{detail}; nothing is removed until that is mended")]
    Unreadable {
        /// What.
        detail: String,
    },
    /// A fragment to be merged cannot be read.
    #[error("fragment {fragment} cannot be read: {source}")]
    Input {
        /// Which.
        fragment: redkite_types::FragmentId,
        /// Why.
        source: Box<redkite_table::Error>,
    },
    /// There is no id between two fragments.
    #[error("there is no room for a merged fragment between its neighbours")]
    NoRoom,
    /// A broken invariant.
    #[error("internal error: {detail}")]
    Internal {
        /// Which.
        detail: String,
    },
}

/// A result of background work.
pub type Result<T> = std::result::Result<T, Error>;
