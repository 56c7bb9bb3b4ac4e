//! The one question every caller of a failed operation has: what do I do now?

/// What a failure means to the caller, independent of which crate it came from.
///
/// Every crate's error enum offers `kind()`; one table in `api` maps kinds to wire codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The request is wrong and will be wrong again; change it.
    Invalid,
    /// The named thing does not exist.
    NotFound,
    /// The named thing exists already.
    Exists,
    /// Somebody else changed what the operation rested on; work it out again.
    Conflict,
    /// A store or peer did not answer; the operation did not happen and may be tried again.
    Unavailable,
    /// The outcome is not known; it has to be asked for, never guessed.
    Unknown,
    /// A named limit (memory, disk, quota) is reached.
    Exhausted,
    /// Stored bytes are not what was written.
    Corrupt,
    /// This version does not do that.
    Unsupported,
    /// A broken invariant: a defect of Redkite itself.
    Internal,
}

impl ErrorKind {
    /// Whether trying the same request again, unchanged, can succeed.
    pub fn is_retryable(self) -> bool {
        matches!(self, ErrorKind::Conflict | ErrorKind::Unavailable)
    }
}
