//! The signals that end the process: the first in good order, the second at once.

use anyhow::{Context, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// What a shell reports for a process that a signal ended early.
const EXIT_AT_ONCE: i32 = 130;

/// SIGTERM and SIGINT. From `listen` on they no longer kill the process by themselves.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Starts to listen for them. Must be called within a runtime.
    pub fn listen() -> Result<Self> {
        let listen = |kind| signal(kind).context("signals cannot be listened for");
        Ok(Self { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }

    /// Waits for the next one; its name.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }

    /// The next one ends the process at once.
    pub fn end_at_once(mut self) {
        tokio::spawn(async move {
            let signal = self.next().await;
            tracing::warn!(signal, "a second signal: ending at once; what was acknowledged is safe");
            std::process::exit(EXIT_AT_ONCE);
        });
    }
}
