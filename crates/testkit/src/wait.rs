//! Waiting for another process: the only place of the testkit that sleeps.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

const POLL: Duration = Duration::from_millis(10);

/// Asks `ready` again and again until it answers true; fails after `timeout`, naming `what`.
///
/// Blocks the thread. In an async test with a single-threaded runtime nothing else runs meanwhile.
pub fn wait_until(what: &str, timeout: Duration, mut ready: impl FnMut() -> Result<bool>) -> Result<()> {
    let start = Instant::now();
    loop {
        if ready()? {
            return Ok(());
        }
        if start.elapsed() >= timeout {
            bail!("waited {timeout:?} in vain for {what}");
        }
        std::thread::sleep(POLL);
    }
}
