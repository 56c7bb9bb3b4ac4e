//! The server under test: the release binary as a process, on free ports, with its data on disk.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::client::Client;
use crate::usage::Usage;

const READY_TIMEOUT: Duration = Duration::from_secs(30);
const EXIT_TIMEOUT: Duration = Duration::from_secs(30);
/// Pause between tries to connect: short beside what is measured, long enough to leave the cores to the server.
const CONNECT_PAUSE: Duration = Duration::from_micros(200);
const ANSWER_BYTES_MAX: u64 = 16 << 20;

/// The program and the room for its data.
#[derive(Debug, Clone)]
pub struct Installation {
    /// The program.
    pub binary: PathBuf,
    /// A directory on disk; each server's data gets a folder of its own in it.
    pub scratch: PathBuf,
}

/// How a server ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// SIGTERM: it finishes what it does and exits.
    Terminated,
    /// SIGKILL.
    Killed,
}

/// A running server; dropping it kills it.
#[derive(Debug)]
pub struct Server {
    child: Child,
    grpc: SocketAddr,
    http: SocketAddr,
    data: PathBuf,
    log: PathBuf,
    spawned: Instant,
    /// What it uses.
    pub usage: Usage,
}

impl Installation {
    /// Starts a server on the data called `name`, empty the first time, and returns at once.
    pub fn spawn(&self, name: &str) -> Result<Server> {
        self.spawn_with(name, &[])
    }

    /// As [`Installation::spawn`], with settings (`key=value`).
    pub fn spawn_with(&self, name: &str, settings: &[&str]) -> Result<Server> {
        self.spawn_as("standalone", name, settings, &[])
    }

    /// Starts `redkite <role>` on the data called `name`, with settings and variables of the environment.
    pub fn spawn_as(&self, role: &str, name: &str, settings: &[&str], env: &[(&str, String)]) -> Result<Server> {
        let [grpc, http] = free_addresses()?;
        let data = self.scratch.join(name);
        let log = self.scratch.join(format!("{name}.log"));
        let output = File::options().create(true).append(true).open(&log).context("open the server's log")?;
        let mut command = Command::new(&self.binary);
        command.arg(role).arg("--data-dir").arg(&data);
        command.args(["--listen", &grpc.to_string(), "--http", &http.to_string()]);
        settings.iter().for_each(|setting| _ = command.args(["--set", setting]));
        // Settings of the caller's environment would be measured, too.
        for (key, _) in std::env::vars_os().filter(|(key, _)| key.to_string_lossy().starts_with("REDKITE_")) {
            command.env_remove(key);
        }
        command.envs(env.iter().map(|(key, value)| (key, value)));
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let spawned = Instant::now();
        let child = command.spawn().with_context(|| format!("start {}", self.binary.display()))?;
        let usage = Usage::of(child.id())?;
        Ok(Server { child, grpc, http, data, log, spawned, usage })
    }

    /// Starts a server and waits until it answers.
    pub async fn start(&self, name: &str) -> Result<(Server, Client)> {
        self.start_with(name, &[]).await
    }

    /// As [`Installation::start`], with settings (`key=value`).
    pub async fn start_with(&self, name: &str, settings: &[&str]) -> Result<(Server, Client)> {
        let mut server = self.spawn_with(name, settings)?;
        let client = server.connect().await?;
        Ok((server, client))
    }
}

impl Server {
    /// Time since it was started.
    pub fn age(&self) -> Duration {
        self.spawned.elapsed()
    }

    /// Where its data is.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Where it answers HTTP.
    pub fn http(&self) -> SocketAddr {
        self.http
    }

    /// Connects as soon as it answers.
    pub async fn connect(&mut self) -> Result<Client> {
        loop {
            if let Some(status) = self.child.try_wait()? {
                bail!("the server ended ({status}); its log:\n{}", self.log_text());
            }
            // A bare connection first: a refused one is much cheaper this way.
            let refused = match TcpStream::connect(self.grpc) {
                Ok(_) => match Client::connect(self.grpc).await {
                    Ok(client) => return Ok(client),
                    Err(error) => error,
                },
                Err(error) => error.into(),
            };
            if self.age() > READY_TIMEOUT {
                return Err(refused.context(format!("the server does not answer; its log:\n{}", self.log_text())));
            }
            std::thread::sleep(CONNECT_PAUSE);
        }
    }

    /// One of its counters; 0 before the first count.
    pub fn counter(&self, name: &str) -> Result<u64> {
        let mut stream = TcpStream::connect(self.http).context("connect to the server's metrics")?;
        stream.set_read_timeout(Some(READY_TIMEOUT))?;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.take(ANSWER_BYTES_MAX).read_to_string(&mut answer).context("read the server's metrics")?;
        if !answer.starts_with("HTTP/1.1 200") {
            bail!("/metrics answers {}", answer.lines().next().unwrap_or("nothing"));
        }
        Ok(answer.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<f64>().ok()).unwrap_or(0.0) as u64)
    }

    /// How many keys its metadata has.
    pub fn keys(&self, binary: &Path) -> Result<u64> {
        let mut dump = Command::new(binary);
        dump.args(["meta", "dump", "--data-dir"]).arg(&self.data).stdin(Stdio::null());
        let output = dump.output().context("start redkite meta dump")?;
        if !output.status.success() {
            bail!("redkite meta dump failed: {}", String::from_utf8_lossy(&output.stderr));
        }
        // A line a key, after the first and before the last.
        let lines = output.stdout.iter().filter(|byte| **byte == b'\n').count() as u64;
        Ok(lines.saturating_sub(2))
    }

    /// Ends it and waits until it is gone.
    pub async fn end(mut self, ending: Ending) -> Result<()> {
        if ending == Ending::Killed {
            self.child.kill().context("kill the server")?;
            self.child.wait().context("wait for the server")?;
            return Ok(());
        }
        let pid = Pid::from_raw(i32::try_from(self.child.id()).context("an impossible process id")?);
        kill(pid, Signal::SIGTERM).context("terminate the server")?;
        let asked = Instant::now();
        while self.child.try_wait().context("wait for the server")?.is_none() {
            if asked.elapsed() > EXIT_TIMEOUT {
                bail!("the server does not end; its log:\n{}", self.log_text());
            }
            // The clients in this process have to hear of it, or their connections keep it alive.
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Ok(())
    }

    fn log_text(&self) -> String {
        std::fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only where it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Two addresses nobody listened on a moment ago.
fn free_addresses() -> Result<[SocketAddr; 2]> {
    let bind = || TcpListener::bind(("127.0.0.1", 0)).context("no free port on 127.0.0.1");
    // Both are bound before one is released, otherwise the kernel may name one port twice.
    let listeners = [bind()?, bind()?];
    let [one, two] = listeners.each_ref().map(TcpListener::local_addr);
    Ok([one?, two?])
}
