//! An etcd of one member for the servers under test, with its data on the same disk as theirs.

use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

const READY_TIMEOUT: Duration = Duration::from_secs(30);
const READY_PAUSE: Duration = Duration::from_millis(20);

/// A running etcd; dropping it kills it.
#[derive(Debug)]
pub struct Etcd {
    child: Child,
    port: u16,
}

impl Etcd {
    /// Starts it with its data in `folder`, as it comes but for its ports: it syncs what it writes.
    pub fn start(folder: &Path) -> Result<Self> {
        let free = || TcpListener::bind(("127.0.0.1", 0)).context("no free port on 127.0.0.1");
        let (one, two) = (free()?, free()?);
        let (port, peer) = (one.local_addr()?.port(), two.local_addr()?.port());
        drop((one, two));
        let (client, peer) = (format!("http://127.0.0.1:{port}"), format!("http://127.0.0.1:{peer}"));
        let program = std::env::var_os("REDKITE_TEST_ETCD").unwrap_or_else(|| "etcd".into());
        let mut command = Command::new(program);
        command.arg("--data-dir").arg(folder).args(["--name", "bench", "--log-level", "error"]);
        command.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
        command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
        command.args(["--initial-cluster", &format!("bench={peer}")]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child =
            command.spawn().context("etcd is needed: the Debian package etcd-server, or `cargo xtask setup`")?;
        let mut etcd = Self { child, port };
        let began = Instant::now();
        // It listens once it can serve.
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if let Some(status) = etcd.child.try_wait()? {
                bail!("etcd ended ({status})");
            }
            if began.elapsed() > READY_TIMEOUT {
                bail!("etcd does not listen");
            }
            std::thread::sleep(READY_PAUSE);
        }
        Ok(etcd)
    }

    /// The setting that names it.
    pub fn setting(&self) -> String {
        format!("etcd.endpoints=http://127.0.0.1:{}", self.port)
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        // Both fail only where it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
