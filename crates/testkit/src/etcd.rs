//! A real etcd of one member in a temporary directory.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tempfile::TempDir;

use crate::{Process, free_ports, http_get};

const READY_TIMEOUT: Duration = Duration::from_secs(30);
const START_TRIES: usize = 3;

/// A running etcd. Dropping it kills it and removes its data.
///
/// Needs the program `etcd` (Debian: `etcd-server`), or its path in `REDKITE_TEST_ETCD`.
#[derive(Debug)]
pub struct Etcd {
    // Dropped, so killed, before its directory goes.
    process: Process,
    directory: TempDir,
    client_port: u16,
    peer_port: u16,
    flags: Vec<String>,
}

impl Etcd {
    /// Starts an etcd and waits until it answers. It does not fsync: it survives SIGKILL, not a power cut.
    pub fn start() -> Result<Self> {
        Self::start_with(&[])
    }

    /// As [`Etcd::start`], with further command line flags (`--max-txn-ops=256`).
    pub fn start_with(flags: &[&str]) -> Result<Self> {
        let flags: Vec<String> = flags.iter().map(|flag| (*flag).to_owned()).collect();
        let mut tries = START_TRIES;
        loop {
            let directory = TempDir::with_prefix("redkite-etcd-").context("a temporary directory for etcd")?;
            // Somebody may take a port between the choice and etcd's bind: try others.
            let [client_port, peer_port] = free_ports()?;
            match run(&directory, client_port, peer_port, &flags) {
                Ok(process) => return Ok(Self { process, directory, client_port, peer_port, flags }),
                Err(error) if tries <= 1 => return Err(error),
                Err(_) => tries -= 1,
            }
        }
    }

    /// Where clients connect: `http://127.0.0.1:<port>`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address())
    }

    /// Where clients connect, as a socket address; the upstream for a [`crate::Proxy`].
    pub fn address(&self) -> SocketAddr {
        local(self.client_port)
    }

    /// SIGKILL. The data stays for [`Etcd::restart`].
    pub fn kill9(&mut self) -> Result<()> {
        self.process.kill9()
    }

    /// Kills it if it runs and starts it again on the same data and ports.
    pub fn restart(&mut self) -> Result<()> {
        self.process.kill9()?;
        self.process = run(&self.directory, self.client_port, self.peer_port, &self.flags)?;
        Ok(())
    }

    /// SIGSTOP: connections stay open and nothing is answered.
    pub fn pause(&mut self) -> Result<()> {
        self.process.pause()
    }

    /// SIGCONT.
    pub fn resume(&mut self) -> Result<()> {
        self.process.resume()
    }

    /// What it wrote.
    pub fn log(&self) -> String {
        self.process.log()
    }
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn program() -> PathBuf {
    std::env::var_os("REDKITE_TEST_ETCD").map_or_else(|| PathBuf::from("etcd"), PathBuf::from)
}

fn run(directory: &TempDir, client_port: u16, peer_port: u16, flags: &[String]) -> Result<Process> {
    let client = format!("http://127.0.0.1:{client_port}");
    let peer = format!("http://127.0.0.1:{peer_port}");
    let mut command = Command::new(program());
    command.arg("--data-dir").arg(directory.path().join("data"));
    command.args(["--name", "test", "--unsafe-no-fsync", "--log-level", "warn"]);
    command.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
    command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
    command.args(["--initial-cluster", &format!("test={peer}")]);
    command.args(flags);
    let mut process = Process::spawn("etcd", command, &directory.path().join("log"))
        .context("etcd is needed: install the Debian package etcd-server, or run `cargo xtask setup`")?;
    let address = local(client_port);
    process.wait_ready(READY_TIMEOUT, || {
        http_get(address, "/health").is_ok_and(|(status, body)| status == 200 && body.contains("true"))
    })?;
    Ok(process)
}
