//! The one way blocking work leaves the async threads in this crate.

use crate::{Error, Result};

/// Runs `work` on a thread where it may block; `path` is what an error is about.
pub(super) async fn blocking<T: Send + 'static>(
    path: &str,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        // The work panicked or the runtime is shutting down.
        Err(error) => Err(Error::unavailable(path, error)),
    }
}

/// Runs `work` on a thread where it may block, without waiting for it; outside of a runtime at once.
pub(super) fn later(work: impl FnOnce() + Send + 'static) {
    match tokio::runtime::Handle::try_current() {
        Ok(runtime) => drop(runtime.spawn_blocking(work)),
        Err(_) => work(),
    }
}
