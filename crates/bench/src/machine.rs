//! The machine the figures were taken on.

use std::fmt;
use std::path::Path;

use anyhow::{Context as _, Result};

/// Load from others beyond which the reader is warned: a tenth of a core.
const QUIET_LOAD_MAX: f64 = 0.1;

/// What a reader needs to compare figures.
#[derive(Debug)]
pub struct Machine {
    processor: String,
    cores: usize,
    kernel: String,
    file_system: String,
    in_memory: bool,
    load: String,
}

impl Machine {
    /// Describes this machine; `scratch` is where the server's data will be.
    pub fn describe(scratch: &Path) -> Result<Self> {
        let cpuinfo = read("/proc/cpuinfo")?;
        let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        let (file_system, in_memory) = file_system(&read("/proc/self/mounts")?, &scratch.canonicalize()?);
        Ok(Self {
            processor: model.map_or("unknown processor", |(_, name)| name).to_owned(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            kernel: read("/proc/sys/kernel/osrelease")?.trim().to_owned(),
            file_system,
            in_memory,
            load: load_average()?,
        })
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { processor, cores, kernel, file_system, .. } = self;
        writeln!(out, "machine: {processor}, {cores} cores, Linux {kernel}, data on {file_system}")?;
        write!(out, "load average at the start: {}", self.load)?;
        let last_minute = self.load.split(' ').next().and_then(|load| load.parse().ok()).unwrap_or(0.0);
        if last_minute > QUIET_LOAD_MAX {
            write!(out, "\nWARNING: other programs are busy; waiting times will be too long, CPU times somewhat")?;
        }
        if self.in_memory {
            write!(out, "\nWARNING: the data is in memory, so syncing costs nothing; give --scratch a disk")?;
        }
        Ok(())
    }
}

/// Of the last 1, 5 and 15 minutes.
pub fn load_average() -> Result<String> {
    Ok(read("/proc/loadavg")?.split(' ').take(3).collect::<Vec<_>>().join(" "))
}

/// Kind and device of the file system that `path` is on, and whether that is memory.
fn file_system(mounts: &str, path: &Path) -> (String, bool) {
    let mut best = (0, "an unknown file system".to_owned(), false);
    for line in mounts.lines() {
        let mut words = line.split(' ');
        let (Some(device), Some(point), Some(kind)) = (words.next(), words.next(), words.next()) else { continue };
        // A later mount covers an earlier one on the same point.
        if path.starts_with(point) && point.len() >= best.0 {
            best = (point.len(), format!("{kind} ({device})"), matches!(kind, "tmpfs" | "ramfs"));
        }
    }
    (best.1, best.2)
}

fn read(path: &str) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("read {path}"))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::file_system;

    #[test]
    fn the_deepest_mount_counts() {
        let mounts = "/dev/a / ext4 rw 0 0\ntmpfs /tmp tmpfs rw 0 0\n/dev/b /tmp/disk xfs rw 0 0\nbroken\n";
        let cases = [
            ("/home/x", "ext4 (/dev/a)", false),
            ("/tmp/x", "tmpfs (tmpfs)", true),
            ("/tmp/disk/x", "xfs (/dev/b)", false),
            ("/tmpx", "ext4 (/dev/a)", false),
        ];
        for (path, expected, in_memory) in cases {
            assert_eq!(file_system(mounts, Path::new(path)), (expected.to_owned(), in_memory), "{path}");
        }
    }
}
