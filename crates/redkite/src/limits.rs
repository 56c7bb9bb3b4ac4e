//! What the process may have of the system.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Fewer open files than this are too few for many clients and fragments.
const OPEN_FILES_WANTED: u64 = 65_536;

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
            "few files may be open at once; raise the hard limit (ulimit -Hn, LimitNOFILE=) for many clients or large data"
        ),
        files => tracing::debug!(files, "limit of open files"),
    }
}
