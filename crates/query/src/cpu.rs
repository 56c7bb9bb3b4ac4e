//! Where CPU work leaves the async threads, and how much of it runs side by side.

use std::num::NonZero;
use std::sync::{Arc, LazyLock, Weak};

use tokio::task::JoinSet;

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

/// Tells work whether anybody waits for it: a request may be given up while it runs, of which its thread hears nothing.
#[derive(Debug)]
pub(crate) struct Awaited(Weak<()>);

impl Awaited {
    /// Fails once nobody waits any more. To be called now and then by what takes long.
    pub(crate) fn check(&self) -> Result<()> {
        match self.0.strong_count() {
            0 => Err(Error::Internal { detail: "nobody waits for this work any more".into() }),
            _ => Ok(()),
        }
    }
}

/// Runs `work`, which reads about `bytes`, where it does not hold up other requests. Dropped before it has begun, it never does.
pub(crate) async fn run<T: Send + 'static>(bytes: u64, work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    run_awaited(bytes, |_| work()).await
}

/// As [`run`], for work that is long enough to be ended when this is dropped.
pub(crate) async fn run_awaited<T: Send + 'static>(
    bytes: u64,
    work: impl FnOnce(&Awaited) -> Result<T> + Send + 'static,
) -> Result<T> {
    let waiting = Arc::new(());
    let awaited = Awaited(Arc::downgrade(&waiting));
    if bytes <= INLINE_BYTES_MAX {
        return work(&awaited);
    }
    let mut working = JoinSet::new();
    working.spawn_blocking(move || work(&awaited));
    let result = working.join_next().await;
    drop(waiting);
    let gone = || Error::Internal { detail: "a worker thread is gone".into() };
    result.ok_or_else(gone)?.map_err(|error| Error::Internal { detail: format!("a worker thread failed: {error}") })?
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn work_ends_that_nobody_waits_for() {
        let (tell, mut told) = mpsc::unbounded_channel();
        let working = tokio::spawn(run_awaited(u64::MAX, move |awaited| {
            tell.send("begun").unwrap();
            while awaited.check().is_ok() {
                std::thread::sleep(Duration::from_millis(1));
            }
            tell.send("ended").unwrap();
            awaited.check()
        }));
        assert_eq!(told.recv().await, Some("begun"));
        working.abort();
        let ended = tokio::time::timeout(Duration::from_secs(20), told.recv()).await;
        assert_eq!(ended.unwrap(), Some("ended"));
        for bytes in [0, u64::MAX] {
            assert_eq!(run_awaited(bytes, |awaited| awaited.check().map(|()| 7)).await.unwrap(), 7);
        }
    }
}
