//! The wrappers against real child processes.

use std::process::Command;
use std::time::Duration;

use anyhow::Result;
use redkite_testkit::{Etcd, Process, free_ports, http_get};

const TIMEOUT: Duration = Duration::from_secs(30);

#[test]
fn ports_differ() -> Result<()> {
    let ports: [u16; 8] = free_ports()?;
    let distinct: std::collections::BTreeSet<u16> = ports.into_iter().collect();
    assert_eq!(distinct.len(), ports.len());
    Ok(())
}

fn etcdctl(etcd: &Etcd, args: &[&str]) -> Result<String> {
    let mut command = Command::new("etcdctl");
    command.env("ETCDCTL_API", "3").args(["--endpoints", &etcd.endpoint()]).args(args);
    Ok(String::from_utf8(command.output()?.stdout)?)
}

#[test]
fn etcd_keeps_its_data_over_kill9() -> Result<()> {
    let mut etcd = Etcd::start()?;
    etcdctl(&etcd, &["put", "/user_list", "[]"])?;
    etcd.kill9()?;
    assert!(http_get(etcd.address(), "/health").is_err());
    etcd.restart()?;
    assert_eq!(etcdctl(&etcd, &["get", "--print-value-only", "/user_list"])?.trim(), "[]");
    Ok(())
}

#[test]
fn a_process_is_ended_in_every_way() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let log = directory.path().join("log");
    let start = |script: &str| {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Process::spawn("sh", command, &log)
    };

    let mut ends = start("echo over; exit 3")?;
    assert_eq!(ends.wait_exit(TIMEOUT)?.code(), Some(3));
    assert!(ends.log().contains("over"));
    assert!(ends.pause().is_err(), "a signal to a process that has ended");

    let mut obeys = start("trap 'exit 0' TERM; echo ready; while :; do read -t 1 line || sleep 0.01; done")?;
    let seen = log.clone();
    obeys.wait_ready(TIMEOUT, || std::fs::read_to_string(&seen).is_ok_and(|text| text.contains("ready")))?;
    obeys.pause()?;
    obeys.resume()?;
    assert_eq!(obeys.terminate(TIMEOUT)?.code(), Some(0));

    let mut hangs = start("exec sleep 1000")?;
    hangs.kill9()?;
    assert!(hangs.exited()?.is_some());

    let mut fails = start("echo bad config; exit 1")?;
    let error = fails.wait_ready(TIMEOUT, || false).unwrap_err();
    assert!(format!("{error:#}").contains("bad config"), "{error:#}");
    Ok(())
}
