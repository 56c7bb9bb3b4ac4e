//! What another process has used, from its CPU clock and its files under /proc.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result};
use nix::time::{ClockId, clock_getcpuclockid};
use nix::unistd::Pid;

/// A process under observation.
#[derive(Debug, Clone, Copy)]
pub struct Usage {
    pid: u32,
    clock: ClockId,
}

/// Memory of a process, in bytes.
#[derive(Debug, Clone, Copy)]
pub struct Memory {
    /// Pages without a file behind them: what the process allocated and touched.
    pub anonymous: u64,
    /// Pages only this process maps and has written to.
    pub private_dirty: u64,
}

impl Usage {
    /// Of the process `pid`.
    pub fn of(pid: u32) -> Result<Self> {
        let id = Pid::from_raw(i32::try_from(pid).context("an impossible process id")?);
        Ok(Self { pid, clock: clock_getcpuclockid(id).context("the process has no CPU clock")? })
    }

    /// CPU time of all its threads so far, finished ones included; exact to a microsecond or so.
    pub fn cpu(&self) -> Result<Duration> {
        let now = self.clock.now().context("read the CPU clock of the server; has it ended?")?;
        Ok(now.into())
    }

    /// Its memory now, exact (the counters in `status` lag behind).
    pub fn memory(&self) -> Result<Memory> {
        let text = self.read("smaps_rollup")?;
        Ok(Memory { anonymous: bytes_of(&text, "Anonymous:")?, private_dirty: bytes_of(&text, "Private_Dirty:")? })
    }

    /// Bytes it has asked for with read calls (of files; sockets do not count).
    pub fn bytes_read(&self) -> Result<u64> {
        let text = self.read("io")?;
        let line = text.lines().find_map(|line| line.strip_prefix("rchar: ")).context("no rchar in /proc/<pid>/io")?;
        line.parse().context("rchar is no number")
    }

    /// Bytes of mapped files that it has touched, per file.
    pub fn mapped_files(&self) -> Result<BTreeMap<String, u64>> {
        Ok(resident_files(&self.read("smaps")?))
    }

    fn read(&self, file: &str) -> Result<String> {
        let path = format!("/proc/{}/{file}", self.pid);
        fs::read_to_string(&path).with_context(|| format!("read {path}"))
    }
}

/// CPU time of the calling thread.
pub fn own_thread_cpu() -> Result<Duration> {
    Ok(ClockId::CLOCK_THREAD_CPUTIME_ID.now().context("read the thread's CPU clock")?.into())
}

fn bytes_of(text: &str, key: &str) -> Result<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key)).with_context(|| format!("no {key} in smaps"))?;
    kilobytes(line).with_context(|| format!("{key} is no number"))
}

/// `   12 kB` in bytes.
fn kilobytes(text: &str) -> Option<u64> {
    text.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
}

/// Sums `Rss` of the mappings of each file in the text of `smaps`.
fn resident_files(smaps: &str) -> BTreeMap<String, u64> {
    let mut files = BTreeMap::new();
    let mut current: Option<String> = None;
    for line in smaps.lines() {
        if let Some(size) = line.strip_prefix("Rss:") {
            if let (Some(file), Some(size)) = (&current, kilobytes(size)) {
                *files.entry(file.clone()).or_default() += size;
            }
        } else if !line.split(' ').next().unwrap_or_default().ends_with(':') {
            // The head of a mapping; its path, if it has one, is all from the first slash on.
            current = line.find('/').map(|at| line[at..].to_owned());
        }
    }
    files
}

#[cfg(test)]
mod tests {
    use super::{Usage, bytes_of, resident_files};

    const SMAPS: &str = "\
7f00-7f10 r--s 00000000 fe:00 1234    /data/a b/v1.arrow
Size:                 64 kB
Rss:                   8 kB
VmFlags: rd mr
7f20-7f30 rw-p 00000000 00:00 0
Rss:                 100 kB
7f30-7f40 r--s 00010000 fe:00 1234    /data/a b/v1.arrow
Rss:                   4 kB
7f40-7f50 r--s 00000000 fe:00 99      /data/s2.arrow
Rss:                   0 kB
";

    #[test]
    fn pages_are_counted_by_file() {
        let files = resident_files(SMAPS);
        let expected = [("/data/a b/v1.arrow", 12 * 1024), ("/data/s2.arrow", 0)];
        assert_eq!(files.iter().map(|(file, size)| (file.as_str(), *size)).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn sizes_are_read() {
        assert_eq!(bytes_of("Pss: 1 kB\nAnonymous:    12 kB\n", "Anonymous:").unwrap(), 12 * 1024);
        assert!(bytes_of("Pss: 1 kB\n", "Anonymous:").is_err());
        assert!(bytes_of("Anonymous: x kB\n", "Anonymous:").is_err());
    }

    #[test]
    fn this_process_can_be_observed() {
        let own = Usage::of(std::process::id()).unwrap();
        let before = own.cpu().unwrap();
        assert!(own.memory().unwrap().anonymous > 0);
        assert!(own.bytes_read().unwrap() > 0);
        assert!(own.mapped_files().unwrap().values().any(|size| *size > 0));
        assert!(own.cpu().unwrap() > before);
    }
}
