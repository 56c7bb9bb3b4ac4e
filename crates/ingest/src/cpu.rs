//! Where CPU work leaves the async threads.

use crate::{Error, Result};

/// Rows below which moving to another thread costs more than the work.
const INLINE_ROWS_MAX: u64 = 8_192;

/// Runs `work`, over about `rows` rows, where it does not hold up other requests.
pub async fn run<T: Send + 'static>(rows: u64, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    if rows <= INLINE_ROWS_MAX {
        return Ok(work());
    }
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Error::Internal { detail: format!("a worker thread failed: {error}") })
}
