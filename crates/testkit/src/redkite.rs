//! The real `redkite` binary as a process.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use anyhow::{Context as _, Result};
use tempfile::TempDir;

use crate::{Process, free_ports, http_get};

const READY_TIMEOUT: Duration = Duration::from_secs(30);
const START_TRIES: usize = 3;

/// How to start a server; see [`RedkiteOptions::start`].
#[derive(Debug, Clone)]
pub struct RedkiteOptions {
    binary: PathBuf,
    data_dir: Option<PathBuf>,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
}

impl RedkiteOptions {
    /// A `standalone` of the program at `binary`, usually `env!("CARGO_BIN_EXE_redkite")`.
    pub fn new(binary: impl Into<PathBuf>) -> Self {
        Self { binary: binary.into(), data_dir: None, args: Vec::new(), env: Vec::new() }
    }

    /// Uses `path`, which outlives the server. Without this call the data dies with the handle.
    pub fn data_dir(mut self, path: impl Into<PathBuf>) -> Self {
        self.data_dir = Some(path.into());
        self
    }

    /// Adds a command line argument.
    pub fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Adds `--set key=value`.
    pub fn set(self, key: &str, value: &str) -> Self {
        self.arg("--set").arg(format!("{key}={value}"))
    }

    /// Adds an environment variable (`FAILPOINTS`, `REDKITE_AUTO_FLUSH`).
    pub fn env(mut self, key: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.env.push((key.into(), value.into()));
        self
    }

    /// Starts the server on free ports and waits until `/readyz` answers 200.
    pub fn start(self) -> Result<Redkite> {
        let scratch = TempDir::with_prefix("redkite-test-").context("a temporary directory for the server")?;
        let data_dir = self.data_dir.clone().unwrap_or_else(|| scratch.path().join("data"));
        let mut tries = START_TRIES;
        loop {
            let ports = free_ports()?;
            match self.run(&data_dir, ports, &scratch.path().join("log")) {
                Ok(process) => return Ok(Redkite { process, scratch, options: self, data_dir, ports }),
                Err(error) if tries <= 1 || !format!("{error:#}").contains("in use") => return Err(error),
                Err(_) => tries -= 1,
            }
        }
    }

    fn run(&self, data_dir: &Path, ports: [u16; 2], log: &Path) -> Result<Process> {
        let mut process = Process::spawn("redkite", self.command(data_dir, ports), log)?;
        process.wait_ready(READY_TIMEOUT, || {
            http_get(local(ports[1]), "/readyz").is_ok_and(|(status, _)| status == 200)
        })?;
        Ok(process)
    }

    fn command(&self, data_dir: &Path, [listen, http]: [u16; 2]) -> Command {
        let mut command = Command::new(&self.binary);
        command.arg("standalone").arg("--data-dir").arg(data_dir);
        command.args(["--listen", &local(listen).to_string(), "--http", &local(http).to_string()]);
        command.args(&self.args).envs(self.env.iter().map(|(key, value)| (key, value)));
        command
    }
}

/// A running server. Dropping it kills it, and removes its data unless a directory was given.
#[derive(Debug)]
pub struct Redkite {
    // Dropped, so killed, before its directory goes.
    process: Process,
    scratch: TempDir,
    options: RedkiteOptions,
    data_dir: PathBuf,
    ports: [u16; 2],
}

impl Redkite {
    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        local(self.ports[0])
    }

    /// Where clients connect: `http://127.0.0.1:<port>`.
    pub fn uri(&self) -> String {
        format!("http://{}", self.address())
    }

    /// Health and metrics.
    pub fn http_address(&self) -> SocketAddr {
        local(self.ports[1])
    }

    /// Where the data is.
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// What it wrote, over all its restarts.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// SIGKILL.
    pub fn kill9(&mut self) -> Result<()> {
        self.process.kill9()
    }

    /// SIGTERM, then waits up to `timeout` for the end.
    pub fn terminate(&mut self, timeout: Duration) -> Result<ExitStatus> {
        self.process.terminate(timeout)
    }

    /// Waits up to `timeout` for it to end by itself, for instance at a failpoint.
    pub fn wait_exit(&mut self, timeout: Duration) -> Result<ExitStatus> {
        self.process.wait_exit(timeout)
    }

    /// SIGSTOP.
    pub fn pause(&mut self) -> Result<()> {
        self.process.pause()
    }

    /// SIGCONT.
    pub fn resume(&mut self) -> Result<()> {
        self.process.resume()
    }

    /// Kills it if it runs and starts it again on the same data and ports, with the same options.
    pub fn restart(&mut self) -> Result<()> {
        let options = self.options.clone();
        self.restart_with(options)
    }

    /// As [`Redkite::restart`], with other options; their data directory is ignored.
    pub fn restart_with(&mut self, options: RedkiteOptions) -> Result<()> {
        self.process.kill9()?;
        self.process = options.run(&self.data_dir, self.ports, &self.scratch.path().join("log"))?;
        self.options = options;
        Ok(())
    }
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}
