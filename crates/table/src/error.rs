//! What can go wrong with collections, fragments and commits.

use redkite_types::{CommitId, ErrorKind, Revision};

use crate::store_identity::FILE as STORE_FILE;

/// A failure of the table layer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The metadata store failed.
    #[error(transparent)]
    Meta(#[from] redkite_meta::Error),
    /// The object store failed, or a file is damaged.
    #[error(transparent)]
    Storage(#[from] redkite_storage::Error),
    /// A filter could not be evaluated.
    #[error(transparent)]
    Expr(#[from] redkite_expr::ExprError),
    /// No collection of that name.
    #[error("collection not found[database=default][collection={name}]")]
    CollectionNotFound {
        /// The name asked for.
        name: String,
    },
    /// A collection of that name exists with other parameters.
    #[error("collection {name} already exists with different parameters")]
    CollectionExists {
        /// The name.
        name: String,
    },
    /// A collection is to be called as another one is.
    #[error("duplicated new collection name default:{name} with other collection name or alias")]
    NameTaken {
        /// The name.
        name: String,
    },
    /// The user has as many collections as there may be.
    #[error("exceeded the limit number of collections[limit={limit}]; drop some first")]
    TooManyCollections {
        /// The limit.
        limit: usize,
    },
    /// The request names a field that is not in the schema.
    #[error("field {name} not exist")]
    FieldNotFound {
        /// The name.
        name: String,
    },
    /// A named limit is reached.
    #[error("{what} is limited to {limit}: {advice}")]
    LimitReached {
        /// What there is too much of.
        what: &'static str,
        /// The limit.
        limit: usize,
        /// What to do about it.
        advice: &'static str,
    },
    /// An index of that name or on that field exists already and is another one.
    #[error("{detail}")]
    IndexConflict {
        /// What collides with what.
        detail: String,
    },
    /// A past state was asked for that cannot be read any more.
    #[error(
        "{asked} is older than the retention: the oldest revision that can still be read is {oldest}; \
         a longer gc.retention keeps more"
    )]
    TooOld {
        /// The revision or time asked for.
        asked: String,
        /// The oldest that can be read.
        oldest: Revision,
    },
    /// A state was asked for that lies in the future.
    #[error("{asked} has not been yet: the newest revision is {newest}")]
    NotYet {
        /// The revision or time asked for.
        asked: String,
        /// The newest revision.
        newest: Revision,
    },
    /// What was to be published lies on too few nodes.
    #[error(
        "{had} of the {wanted} replicas that sync_level = {wanted} asks for could be had ({reasons}); nothing was published: \
         see to it that more nodes run, or set sync_level lower (redkite config set sync_level={had}), and flush again"
    )]
    ReplicasMissing {
        /// On how many other nodes it lies, at least.
        had: usize,
        /// On how many it has to.
        wanted: usize,
        /// Why not on more.
        reasons: String,
    },
    /// Whoever asked for a change of a collection has gone on at another node since.
    #[error("{what} was not changed: this client has been taken up by another node since it asked for that")]
    ClientMoved {
        /// What was to be changed.
        what: String,
    },
    /// A stored value or file is not what was written.
    #[error("{what} is damaged: {detail}")]
    Damaged {
        /// The key or path.
        what: String,
        /// What is wrong with it.
        detail: String,
    },
    /// Written by a newer version of Redkite.
    #[error("{what} has format {found}, this version reads up to {supported}; use a newer redkite")]
    NewerFormat {
        /// The key or path.
        what: String,
        /// Its format.
        found: u32,
        /// The newest this version knows.
        supported: u32,
    },
    /// The object store is not the one the metadata's files lie in.
    #[error(
        "it is not the store this metadata belongs to: {} {known}; set storage.url to that store again, or copy all of its \
         files, {STORE_FILE} included, to where it points now",
        found_identity(.found.as_deref())
    )]
    OtherStore {
        /// The id in the store's file, if it has one.
        found: Option<String>,
        /// The id in the metadata.
        known: String,
    },
    /// The user's files in the object store are those of other metadata.
    #[error(
        "the files of user {user} in it are not those of this metadata: {}, the metadata has id {known}; use the metadata \
         they belong to, another storage.url or another user. Redkite removes what its metadata does not name, so only if \
         nothing there is needed any more remove the user's folder and {file}",
        found_claim(file, .found.as_deref())
    )]
    OtherMetadata {
        /// The user.
        user: String,
        /// The file that says whose they are.
        file: String,
        /// The id in it, if there is one.
        found: Option<String>,
        /// The id in the metadata.
        known: String,
    },
    /// The metadata is in an earlier state than this node has seen it in.
    #[error(
        "the metadata store has gone back from revision {seen} to {found}, as if a backup had been restored; \
         restart every node, so that it reads what is there now"
    )]
    WentBack {
        /// The newest revision of the user's data that was seen.
        seen: Revision,
        /// What was found after that.
        found: Revision,
    },
    /// The metadata is another one than this node has read.
    #[error(
        "the metadata has been restored from a dump while this node ran; restart it, so that it reads what is there now"
    )]
    Restored,
    /// A commit was sent and its outcome could not be learnt yet.
    #[error("the outcome of commit {id} is unknown: {detail}; ask again")]
    OutcomeUnknown {
        /// The commit.
        id: CommitId,
        /// Why it could not be learnt.
        detail: String,
    },
    /// Others kept changing what the operation rests on.
    #[error("{what} kept changing while the operation was worked out; nothing was changed, try again")]
    Contended {
        /// The collection or list.
        what: String,
    },
    /// The commit was settled as not committed.
    #[error("commit {id} was settled as not committed; nothing was changed")]
    Aborted {
        /// The commit.
        id: CommitId,
    },
    /// The node is stopping.
    #[error("the node is shutting down")]
    ShuttingDown,
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
            Error::Meta(error) => error.kind(),
            Error::Storage(error) => error.kind(),
            Error::Expr(error) => error.kind(),
            Error::CollectionNotFound { .. } => ErrorKind::NotFound,
            Error::CollectionExists { .. } | Error::NameTaken { .. } => ErrorKind::Exists,
            Error::IndexConflict { .. }
            | Error::FieldNotFound { .. }
            | Error::TooOld { .. }
            | Error::NotYet { .. }
            | Error::OtherStore { .. }
            | Error::OtherMetadata { .. } => ErrorKind::Invalid,
            Error::LimitReached { .. } | Error::TooManyCollections { .. } => ErrorKind::Exhausted,
            Error::Damaged { .. } => ErrorKind::Corrupt,
            Error::NewerFormat { .. } => ErrorKind::Unsupported,
            Error::OutcomeUnknown { .. } => ErrorKind::Unknown,
            Error::Contended { .. } | Error::Aborted { .. } | Error::ClientMoved { .. } => ErrorKind::Conflict,
            Error::ShuttingDown | Error::WentBack { .. } | Error::Restored | Error::ReplicasMissing { .. } => {
                ErrorKind::Unavailable
            }
            Error::Internal { .. } => ErrorKind::Internal,
        }
    }
}

fn found_identity(found: Option<&str>) -> String {
    match found {
        Some(found) => format!("its {STORE_FILE} has id {found}, the metadata has"),
        None => format!("it has no {STORE_FILE} with the metadata's id"),
    }
}

fn found_claim(file: &str, found: Option<&str>) -> String {
    match found {
        Some(found) => format!("{file} has id {found}"),
        None => format!("there is no {file}"),
    }
}

/// A result of the table layer.
pub type Result<T> = std::result::Result<T, Error>;
