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
/// Looks after a time that followed growth until the next one: what was in use then may be free now, which does not show.
const FIRST_WAIT_LOOKS: u32 = 2;
/// The wait doubles up to a minute while nothing grows.
const WAIT_LOOKS_MAX: u32 = 240;

/// Gives unused memory back when it has grown, and a while after, until aborted. Must be called within a runtime.
pub fn give_back() -> JoinHandle<()> {
    tokio::spawn(async {
        let mut rhythm = Rhythm::default();
        loop {
            tokio::time::sleep(LOOK_PAUSE).await;
            let Some(now) = anonymous_bytes() else { return };
            if !rhythm.is_time(now) {
                continue;
            }
            if tokio::task::spawn_blocking(trim).await.is_err() {
                return;
            }
            let after = anonymous_bytes().unwrap_or(now);
            rhythm.done(after);
            tracing::debug!(before = now, after, "unused memory was given back");
        }
    })
}

/// Decides when to give memory back.
#[derive(Debug, Default)]
struct Rhythm {
    after_last_bytes: u64,
    looks: u32,
    wait_looks: u32,
    grown: bool,
}

impl Rhythm {
    /// Whether the memory has grown, or the last time is long enough ago.
    fn is_time(&mut self, now_bytes: u64) -> bool {
        self.looks = self.looks.saturating_add(1);
        self.grown = now_bytes > self.after_last_bytes + self.after_last_bytes / 2;
        now_bytes >= TRIM_BYTES_MIN && (self.grown || self.looks >= self.wait_looks)
    }

    fn done(&mut self, after_bytes: u64) {
        self.after_last_bytes = after_bytes;
        self.looks = 0;
        self.wait_looks = if self.grown { FIRST_WAIT_LOOKS } else { (self.wait_looks * 2).min(WAIT_LOOKS_MAX) };
    }
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
    fn growth_is_followed_at_once_and_then_ever_less_often() {
        const MIB: u64 = 1 << 20;
        let mut rhythm = Rhythm::default();
        assert!(!rhythm.is_time(15 * MIB), "too little to bother");
        assert!(rhythm.is_time(60 * MIB), "grown");
        rhythm.done(40 * MIB);
        let mut waits = Vec::new();
        for _ in 0..10 {
            let looks = (1..).find(|_| rhythm.is_time(41 * MIB)).unwrap();
            waits.push(looks);
            rhythm.done(40 * MIB);
        }
        assert_eq!(waits, [2, 4, 8, 16, 32, 64, 128, 240, 240, 240]);
        assert!(rhythm.is_time(61 * MIB), "grown again");
        rhythm.done(3 * MIB);
        assert!((0..1_000).all(|_| !rhythm.is_time(4 * MIB)));
    }

    #[test]
    fn the_kernel_tells_and_trimming_does_no_harm() {
        let held = vec![1u8; 1 << 20];
        assert!(anonymous_bytes().is_some_and(|bytes| bytes > 0));
        trim();
        assert_eq!(held.iter().map(|byte| u64::from(*byte)).sum::<u64>(), 1 << 20);
    }
}
