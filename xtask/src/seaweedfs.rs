//! A real S3 server for the tests: one SeaweedFS on free ports, with one bucket and an identity limited to it.

use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result};
use serde_json::json;

use crate::run;
use crate::venv::Venv;
use crate::workspace::Workspace;

const BUCKET: &str = "redkite-test";
const ADMIN: &str = "redkite-test-admin";
const USER: &str = "redkite-test-user";

/// SeaweedFS listens on each of its ports and on that port + 10,000. Both stay below the range from which the kernel gives
/// outgoing connections their ports, so that nobody takes them by chance.
const PORTS: std::ops::Range<u16> = 12_000..19_000;
const SECOND_PORT: u16 = 10_000;

/// A running server. Dropping it kills it and removes its data.
#[derive(Debug)]
pub struct SeaweedFs {
    child: Child,
    folder: PathBuf,
    endpoint: String,
}

impl SeaweedFs {
    /// Starts the server and waits until an object can be written to the bucket.
    pub fn start(workspace: &Workspace, venv: &Venv) -> Result<Self> {
        remove_leftovers(&workspace.scratch())?;
        let folder = workspace.scratch().join(format!("s3-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("data")).with_context(|| format!("make {}", folder.display()))?;
        let config = folder.join("s3.json");
        std::fs::write(&config, identities().to_string()).context("write the identities of the S3 server")?;
        let [master, filer, volume, s3] = free_ports()?;
        let log = File::create(folder.join("log")).context("make the log of the S3 server")?;
        let mut command = run::guarded(&venv.program("weed"));
        command.args(["-logtostderr", "server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-master.telemetry=false"]);
        command.args(["-master.volumeSizeLimitMB=256", "-volume.max=100", "-volume.preStopSeconds=1", "-filer", "-s3"]);
        command.args(["-s3.port.iceberg=0", "-s3.port.lance=0"]);
        command.arg(format!("-dir={}", folder.join("data").display()));
        command.arg(format!("-s3.config={}", config.display()));
        for (name, port) in [("master", master), ("filer", filer), ("volume", volume), ("s3", s3)] {
            command.arg(format!("-{name}.port={port}"));
        }
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().context("start the S3 server")?;
        // From here on dropping cleans up.
        let server = Self { child, folder, endpoint: format!("http://127.0.0.1:{s3}") };
        let mut ready = Command::new(venv.python());
        ready.arg(workspace.root.join("tests-e2e/support/s3_bucket.py")).envs(server.test_env()).env("S3_ADMIN", ADMIN);
        run::to_end(ready).with_context(|| format!("the S3 server's log ends with:\n{}", server.log_end()))?;
        println!("S3 server on {}", server.endpoint);
        Ok(server)
    }

    /// What the tests need to know.
    pub fn test_env(&self) -> [(&'static str, &str); 4] {
        [
            ("REDKITE_TEST_S3_ENDPOINT", &self.endpoint),
            ("REDKITE_TEST_S3_BUCKET", BUCKET),
            ("REDKITE_TEST_S3_ACCESS_KEY", USER),
            ("REDKITE_TEST_S3_SECRET_KEY", USER),
        ]
    }

    fn log_end(&self) -> String {
        let log = std::fs::read(self.folder.join("log")).unwrap_or_default();
        let text = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = text.lines().rev().take(20).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }
}

impl Drop for SeaweedFs {
    fn drop(&mut self) {
        // SIGTERM would take it a quarter of a minute, and its data goes anyway.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// An administrator to make the bucket, and a user who may use it and nothing else. Secrets are the names: it is a test.
fn identities() -> serde_json::Value {
    let identity = |name: &str, actions: Vec<String>| json!({"name": name, "credentials": [{"accessKey": name, "secretKey": name}], "actions": actions});
    let user = ["Read", "Write", "List", "Tagging"].map(|action| format!("{action}:{BUCKET}"));
    json!({"identities": [identity(ADMIN, vec!["Admin".to_owned()]), identity(USER, user.to_vec())]})
}

/// Four ports that are free together with their seconds.
fn free_ports() -> Result<[u16; 4]> {
    let is_free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    // Runs side by side begin at different places.
    let offset = std::process::id() as usize * 16 % PORTS.len();
    let candidates = PORTS.cycle().skip(offset).take(PORTS.len());
    let mut free = candidates.filter(|port| is_free(*port) && is_free(port + SECOND_PORT));
    let mut next = || free.next().context("no free ports for the S3 server");
    Ok([next()?, next()?, next()?, next()?])
}

/// Removes the data of servers whose starter was killed.
fn remove_leftovers(scratch: &Path) -> Result<()> {
    let Ok(entries) = std::fs::read_dir(scratch) else {
        return Ok(());
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let pid = name.strip_prefix("s3-").and_then(|pid| pid.parse::<u32>().ok());
        if pid.is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists()) {
            std::fs::remove_dir_all(entry.path()).with_context(|| format!("remove {}", entry.path().display()))?;
        }
    }
    Ok(())
}
