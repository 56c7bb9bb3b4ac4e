//! Where CPU work leaves the async threads, and how much of it runs side by side.

use std::num::NonZero;
use std::sync::LazyLock;

use crate::{Error, Result};

/// Bytes below which moving work to another thread costs more than the work: some 50 microseconds of reading.
const INLINE_BYTES_MAX: u64 = 512 * 1024;
/// Bytes a further worker should have to do.
const WORKER_BYTES_MIN: u64 = 8 << 20;
/// Asked once: the answer takes a dozen system calls over the control groups, more than a small search costs.
static CORES: LazyLock<usize> = LazyLock::new(|| std::thread::available_parallelism().map_or(1, NonZero::get));

/// How many workers work over `bytes` is worth.
pub(crate) fn workers(bytes: u64) -> usize {
    usize::try_from(bytes / WORKER_BYTES_MIN).unwrap_or(usize::MAX).clamp(1, *CORES)
}

/// Runs `work`, which reads about `bytes`, where it does not hold up other requests.
pub(crate) async fn run<T: Send + 'static>(bytes: u64, work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    if bytes <= INLINE_BYTES_MAX {
        return work();
    }
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Error::Internal { detail: format!("a worker thread failed: {error}") })?
}
