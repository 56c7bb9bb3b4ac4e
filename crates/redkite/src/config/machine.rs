//! What defaults depend on: how much memory this process may have, and what the machine is called.

use std::fs;
use std::path::Path;

use redkite_types::NodeId;

use super::kind::size_text;

/// Most bytes all sessions may hold by default, however much memory there is.
const SESSION_MEMORY_HARD_MAX: u64 = 2 << 30;
/// The share of memory sessions may hold by default, as a divisor.
const SESSION_MEMORY_SHARE: u64 = 4;
/// What is assumed where the machine does not tell: small enough for any.
const UNKNOWN_MEMORY: u64 = 1 << 30;

/// The machine, or the part of it this process was given.
#[derive(Debug, Clone)]
pub struct Machine {
    /// Memory of the machine or of the control group, whichever is less.
    pub memory_bytes: u64,
    /// The name of the host.
    pub host: String,
}

impl Machine {
    /// The one we run on.
    pub fn this() -> Self {
        let root = Path::new("/");
        let of_machine = read(&root.join("proc/meminfo")).and_then(|text| meminfo_bytes(&text));
        let groups = read(&root.join("proc/self/cgroup")).unwrap_or_default();
        let memory_bytes = of_machine.into_iter().chain(group_limits(root, &groups)).min();
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        Self { memory_bytes: memory_bytes.unwrap_or(UNKNOWN_MEMORY), host }
    }

    /// The number at the end of the host's name, as `redkite-3` has one.
    pub fn ordinal(&self) -> Option<NodeId> {
        let digits = self.host.split('.').next()?.rsplit_once('-')?.1;
        digits.parse().ok().map(NodeId)
    }

    /// The default of `memory_budget`, in whole MiB.
    pub fn memory_budget(&self) -> String {
        size_text((self.memory_bytes >> 20).max(1) << 20)
    }

    /// The default of `session.memory_hard`, in whole MiB.
    pub fn session_memory_hard(&self) -> String {
        let bytes = (self.memory_bytes / SESSION_MEMORY_SHARE).min(SESSION_MEMORY_HARD_MAX);
        size_text((bytes >> 20).max(1) << 20)
    }
}

fn read(path: &Path) -> Option<String> {
    fs::read_to_string(path).ok()
}

fn meminfo_bytes(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

/// The memory limits of the process's control groups and all groups around them. `groups` is `/proc/self/cgroup`; a
/// group without a limit says `max` or a number near 2^63, which does no harm as one of several.
fn group_limits(root: &Path, groups: &str) -> Vec<u64> {
    let mut limits = Vec::new();
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(group)) = (parts.next(), parts.next(), parts.next()) else { continue };
        let (mount, file) = match controllers {
            "" => ("sys/fs/cgroup", "memory.max"),
            _ if controllers.split(',').any(|name| name == "memory") => {
                ("sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => continue,
        };
        // In a container the group's path may be the host's; its own limit then lies at the mount itself.
        let mount = root.join(mount);
        let mut at = Some(Path::new(group.trim_start_matches('/')));
        while let Some(group) = at {
            limits.extend(read(&mount.join(group).join(file)).and_then(|text| text.trim().parse::<u64>().ok()));
            at = group.parent();
        }
    }
    limits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_limit_of_all_groups_counts() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("sys/fs/cgroup/a/memory.max", "500\n");
        write("sys/fs/cgroup/a/b/memory.max", "max\n");
        write("sys/fs/cgroup/memory/c/memory.limit_in_bytes", "700\n");
        write("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
        assert_eq!(group_limits(root.path(), "0::/a/b\n"), [500]);
        assert_eq!(group_limits(root.path(), "7:cpu,memory:/c\n3:cpuset:/a\n"), [700, 9223372036854771712]);
        assert_eq!(group_limits(root.path(), "0::/not/there\nnonsense\n"), Vec::<u64>::new());
    }

    #[test]
    fn sessions_get_a_quarter_of_memory_and_two_gigabytes_at_most() {
        let check = |memory_bytes: u64, want: &str| {
            assert_eq!(Machine { memory_bytes, host: String::new() }.session_memory_hard(), want, "{memory_bytes}");
        };
        check(64 << 30, "2G");
        check(8 << 30, "2G");
        check(3 << 30, "768M");
        check((1 << 30) + 12_345, "256M");
        check(0, "1M");
    }

    #[test]
    fn the_budget_is_all_the_memory_there_is() {
        for (memory_bytes, want) in [(64 << 30, "64G"), ((3 << 20) + 1, "3M"), (0, "1M")] {
            assert_eq!(Machine { memory_bytes, host: String::new() }.memory_budget(), want);
        }
    }

    #[test]
    fn a_host_may_tell_the_number_of_its_node() {
        let hosts =
            [("redkite-0", Some(0)), ("redkite-12.redkite.prod.svc", Some(12)), ("a-b-3", Some(3)), ("db7", None)];
        for (host, want) in hosts.into_iter().chain([("", None), ("a-", None), ("a-x3", None), ("a-99999999999", None)])
        {
            assert_eq!(Machine { memory_bytes: 1, host: host.to_owned() }.ordinal(), want.map(NodeId), "{host}");
        }
    }

    #[test]
    fn meminfo_is_understood() {
        assert_eq!(meminfo_bytes("MemTotal:       24630000 kB\nMemFree: 1 kB\n"), Some(24_630_000 * 1024));
        assert_eq!(meminfo_bytes("nonsense"), None);
        assert!(Machine::this().memory_bytes > 0);
    }
}
