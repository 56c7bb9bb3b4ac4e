//! Threads for background work, which the machine's scheduler prefers less than those that serve requests.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::{Error, Result};

/// How much less, on Unix's scale from -20 to 19.
const NICENESS: i32 = 10;

type Job = Box<dyn FnOnce() + Send>;

/// A few threads of low priority.
#[derive(Debug, Clone)]
pub struct Pool {
    /// None: work is done where it is asked for.
    jobs: Option<std::sync::mpsc::Sender<Job>>,
}

impl Pool {
    /// `threads` threads; they end when the last clone of the pool is dropped.
    pub fn new(threads: usize) -> Result<Self> {
        let (sender, receiver) = std::sync::mpsc::channel::<Job>();
        let receiver = Arc::new(Mutex::new(receiver));
        for number in 0..threads.max(1) {
            let receiver = receiver.clone();
            std::thread::Builder::new()
                .name(format!("background-{number}"))
                .spawn(move || {
                    yield_to_requests();
                    loop {
                        let job = receiver.lock().recv();
                        let Ok(job) = job else { return };
                        // A defect met by one job must not end the thread for all that follow; whoever asked is told.
                        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(job));
                    }
                })
                .map_err(|error| Error::Internal {
                    detail: format!("a background thread cannot be started: {error}"),
                })?;
        }
        Ok(Self { jobs: Some(sender) })
    }

    /// No threads: work is done where it is asked for. For simulations, in which no thread may be waited for.
    pub fn in_place() -> Self {
        Self { jobs: None }
    }

    /// Runs CPU work there.
    pub async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        let Some(jobs) = &self.jobs else {
            return Ok(work());
        };
        let (sender, receiver) = oneshot::channel();
        let job: Job = Box::new(move || {
            // Whoever asked may have gone.
            let _ = sender.send(work());
        });
        let stopped = || Error::Internal { detail: "background work met a defect, which the log describes".into() };
        jobs.send(job).map_err(|_| stopped())?;
        receiver.await.map_err(|_| stopped())
    }
}

/// Lowers the priority of the calling thread; where that is not to be had it works at the usual one.
fn yield_to_requests() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICENESS) {
        tracing::debug!(%error, "a background thread runs at the usual priority");
    }
}
