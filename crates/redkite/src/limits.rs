//! What the process may have of the system.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Fewer open files than this may be too few: each connection takes one.
const OPEN_FILES_WANTED: u64 = 4_096;

/// Raises the limit of open files to the most we may give ourselves.
pub fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let wanted = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if limit.current != limit.maximum
        && let Err(error) = setrlimit(Resource::Nofile, wanted)
    {
        tracing::warn!(%error, "the limit of open files could not be raised");
    }
    match getrlimit(Resource::Nofile).current {
        Some(files) if files < OPEN_FILES_WANTED => tracing::warn!(
            files,
            wanted = OPEN_FILES_WANTED,
            "few files may be open at once; raise the hard limit (ulimit -Hn, LimitNOFILE=) for many clients"
        ),
        files => tracing::debug!(files, "limit of open files"),
    }
}
