//! Gives memory that is no longer used back to the machine.
//!
//! A bulk insert passes many times its block's size through the allocator, which keeps what was freed for the next
//! one. Keeping a little is right; keeping all of it after the load is over takes memory from the page cache, which is
//! where the data is served from.

use std::fs;
use std::time::Duration;

use tokio::task::JoinHandle;

/// How often the process looks at its own memory; a look costs some 20 microseconds.
const LOOK_PAUSE: Duration = Duration::from_millis(250);
/// Below this much nothing is given back.
const TRIM_BYTES_MIN: u64 = 16 << 20;

/// Gives unused memory back whenever it has grown, until aborted. Must be called within a runtime.
pub fn give_back() -> JoinHandle<()> {
    tokio::spawn(async {
        let mut after_last = 0;
        loop {
            tokio::time::sleep(LOOK_PAUSE).await;
            let Some(now) = anonymous_bytes() else { return };
            if !is_worth_a_trim(now, after_last) {
                continue;
            }
            if tokio::task::spawn_blocking(trim).await.is_err() {
                return;
            }
            after_last = anonymous_bytes().unwrap_or(now);
            tracing::debug!(before = now, after = after_last, "unused memory was given back");
        }
    })
}

/// Whether the process uses so much more than after the last time that some of it is likely unused.
fn is_worth_a_trim(now_bytes: u64, after_last_bytes: u64) -> bool {
    now_bytes >= TRIM_BYTES_MIN && now_bytes > after_last_bytes + after_last_bytes / 2
}

/// Memory that no file backs; none where the kernel does not tell.
fn anonymous_bytes() -> Option<u64> {
    let statm = fs::read_to_string("/proc/self/statm").ok()?;
    let mut pages = statm.split_whitespace().skip(1).map(str::parse::<u64>);
    let (resident, shared) = (pages.next()?.ok()?, pages.next()?.ok()?);
    Some(resident.saturating_sub(shared) * rustix::param::page_size() as u64)
}

#[cfg(target_env = "gnu")]
#[allow(unsafe_code)]
fn trim() {
    // SAFETY: malloc_trim takes no pointer, may be called at any time from any thread, and only touches memory that
    // the allocator itself holds as free.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Other allocators look after this themselves.
#[cfg(not(target_env = "gnu"))]
fn trim() {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_growth_is_worth_a_trim() {
        let mib = 1 << 20;
        for (now, after_last, worth) in [
            (15 * mib, 0, false),
            (16 * mib, 0, true),
            (60 * mib, 3 * mib, true),
            (60 * mib, 50 * mib, false),
            (80 * mib, 50 * mib, true),
        ] {
            assert_eq!(is_worth_a_trim(now, after_last), worth, "{now} after {after_last}");
        }
    }

    #[test]
    fn the_kernel_tells_and_trimming_does_no_harm() {
        let held = vec![1u8; 1 << 20];
        assert!(anonymous_bytes().is_some_and(|bytes| bytes > 0));
        trim();
        assert_eq!(held.iter().map(|byte| u64::from(*byte)).sum::<u64>(), 1 << 20);
    }
}
