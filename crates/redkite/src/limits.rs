//! What the process may have of the system.

use redkite_api::server::ServerOptions;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Fewer open files than this may be too few: each connection takes one.
const OPEN_FILES_WANTED: u64 = 4_096;

/// Most clients' connections at once: half of the files that may be open, as the rest is for data.
pub fn connections_max() -> usize {
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(files / 2).unwrap_or(usize::MAX).min(ServerOptions::default().connections_max)
}

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
