//! What the kernel says about this process: CPU, memory, files. Read when it is asked for.

use std::fs;

use metrics::{counter, describe_counter, describe_gauge, gauge};
use rustix::time::{ClockId, clock_gettime};

/// Fields of `/proc/self/status` that are told, in kB there.
const STATUS: [(&str, &str, &str); 4] = [
    ("VmRSS:", "process_resident_memory_bytes", "Memory in use, mapped files included."),
    ("RssAnon:", "process_anonymous_memory_bytes", "Memory in use that no file backs."),
    ("RssFile:", "process_mapped_memory_bytes", "Pages of mapped files that are in memory."),
    ("VmHWM:", "process_resident_memory_peak_bytes", "The most memory ever in use, mapped files included."),
];

pub(super) fn describe() {
    describe_gauge!("process_cpu_seconds_total", "CPU time used, user and system.");
    describe_gauge!("process_open_fds", "Open files and sockets.");
    describe_gauge!("process_max_fds", "Most files and sockets that may be open.");
    describe_gauge!("process_threads", "Threads.");
    for (_, name, help) in STATUS {
        describe_gauge!(name, help);
    }
    describe_counter!("redkite_metrics_scrapes_total", "Times the metrics were read.");
}

/// Memory in use that no file backs, in bytes; none where the kernel does not tell.
pub fn anonymous_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    number_after(&status, "RssAnon:").map(|kib| (kib * 1024.0) as u64)
}

pub(super) fn record() {
    counter!("redkite_metrics_scrapes_total").increment(1);
    let cpu = clock_gettime(ClockId::ProcessCPUTime);
    gauge!("process_cpu_seconds_total").set(cpu.tv_sec as f64 + cpu.tv_nsec as f64 / 1e9);
    // Where there is no /proc these are simply missing.
    if let Ok(status) = fs::read_to_string("/proc/self/status") {
        for (field, name, _) in STATUS {
            if let Some(kib) = number_after(&status, field) {
                gauge!(name).set(kib * 1024.0);
            }
        }
        if let Some(threads) = number_after(&status, "Threads:") {
            gauge!("process_threads").set(threads);
        }
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        gauge!("process_open_fds").set(open.count() as f64);
    }
    if let Some(limit) = rustix::process::getrlimit(rustix::process::Resource::Nofile).current {
        gauge!("process_max_fds").set(limit as f64);
    }
}

fn number_after(text: &str, field: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(field))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_the_kernel_are_found() {
        let status = "Name:\tredkite\nVmRSS:\t  123456 kB\nThreads:\t7\n";
        assert_eq!(number_after(status, "VmRSS:"), Some(123_456.0));
        assert_eq!(number_after(status, "Threads:"), Some(7.0));
        assert_eq!(number_after(status, "RssAnon:"), None);
    }
}
