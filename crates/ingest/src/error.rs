//! What can go wrong between a write and its becoming visible.

use std::sync::Arc;

use redkite_types::{CommitId, ErrorKind, NodeId};

/// A failure of a write or a flush.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The table layer failed. The block is still in the session unless the text says otherwise.
    #[error(transparent)]
    Table(#[from] redkite_table::Error),
    /// The client's earlier session is gone with operations it had not flushed.
    #[error(
        "operations of this client that were not flushed, if it had any, are gone: {reason}; what was flushed is safe. \
         The client has a new, empty session from here on"
    )]
    SessionLost {
        /// Why, and if known how much.
        reason: String,
    },
    /// The client counts other operations since its last flush than the session holds.
    #[error(
        "the client has had {client} operations acknowledged since its last flush, this session holds {session}: \
         operations were lost with an earlier connection; the session was emptied, insert them again and flush"
    )]
    BlockOpsMismatch {
        /// What the client sent in `redkite-block-ops`.
        client: u64,
        /// What the session holds.
        session: u64,
    },
    /// A collection that operations of the block were for is gone.
    #[error(
        "collection {collection} was dropped before the flush; its {ops} operations were discarded, \
         the others are still in the session: flush again"
    )]
    CollectionDropped {
        /// Its name.
        collection: String,
        /// How many operations.
        ops: u64,
    },
    /// Files uploaded early for the block are so old that they may have been removed.
    #[error(
        "rows uploaded before the flush have waited for it for too long and may have been removed; \
         insert them again and flush sooner"
    )]
    UploadsCollected,
    /// The node that held rows of the block is gone, and they with it.
    #[error(
        "node {node}, to which rows of this client were forwarded for want of memory here, is gone with them ({reason}): \
         none of its {ops} unflushed operations ({rows} rows) can be published; insert them again and flush"
    )]
    ForwardedLost {
        /// The node.
        node: NodeId,
        /// What was heard of it.
        reason: String,
        /// Operations of the block.
        ops: u64,
        /// Rows of the block.
        rows: u64,
    },
    /// The node that holds rows of the block cannot store them for the moment.
    #[error(
        "node {node}, to which rows of this client were forwarded, could not store them: {reason}; \
         what was buffered stays, flush again"
    )]
    NotStored {
        /// The node.
        node: NodeId,
        /// Why.
        reason: String,
    },
    /// The block can never be published as it is.
    #[error("{cause}; nothing was published, the unflushed operations were discarded")]
    Discarded {
        /// Why.
        cause: Box<Error>,
    },
    /// The same flush name came with another block.
    #[error("flush ID {name} was used for a different set of operations; use a new one")]
    FlushNameReused {
        /// The name, readable.
        name: String,
    },
    /// The named flush was settled as not committed.
    #[error("flush ID was not committed")]
    FlushNotCommitted,
    /// The name is longer than allowed.
    #[error("a flush ID has at most {limit} bytes, this one has {length}")]
    FlushNameTooLong {
        /// The limit.
        limit: usize,
        /// What was given.
        length: usize,
    },
    /// The outcome of the session's last flush is not known yet.
    #[error("outcome unknown, id {id}: {detail}; the operations are kept, flush again to learn the outcome")]
    OutcomeUnknown {
        /// The commit.
        id: CommitId,
        /// Why.
        detail: String,
    },
    /// Too much is buffered.
    #[error(
        "the unflushed operations and waiting writes of all clients would exceed session.memory_hard ({limit} bytes); \
         what was buffered stays, flush before inserting more"
    )]
    MemoryExhausted {
        /// The limit in bytes.
        limit: u64,
    },
    /// What failed for all blocks that were published together.
    #[error("{cause}")]
    Shared {
        /// Why.
        cause: Arc<Error>,
    },
    /// A broken invariant.
    #[error("internal error: {detail}")]
    Internal {
        /// Which.
        detail: String,
    },
}

impl Error {
    /// What the caller should do now.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Error::Table(error) => error.kind(),
            Error::SessionLost { .. } | Error::BlockOpsMismatch { .. } => ErrorKind::Conflict,
            Error::CollectionDropped { .. } => ErrorKind::NotFound,
            Error::FlushNameReused { .. } | Error::FlushNameTooLong { .. } => ErrorKind::Invalid,
            Error::UploadsCollected | Error::ForwardedLost { .. } => ErrorKind::Conflict,
            Error::NotStored { .. } => ErrorKind::Unavailable,
            Error::Discarded { cause } => cause.kind(),
            Error::FlushNotCommitted => ErrorKind::Conflict,
            Error::OutcomeUnknown { .. } => ErrorKind::Unknown,
            Error::MemoryExhausted { .. } => ErrorKind::Exhausted,
            Error::Shared { cause } => cause.kind(),
            Error::Internal { .. } => ErrorKind::Internal,
        }
    }
}

/// A result of a write or a flush.
pub type Result<T> = std::result::Result<T, Error>;
