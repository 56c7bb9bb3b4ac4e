//! Where things are, and cargo with protoc in its environment.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::run;
use crate::seaweedfs::SeaweedFs;
use crate::venv::Venv;

/// The cargo feature under which the binary under test has its failpoints.
pub const FAILPOINTS: &str = "redkite/failpoints";

/// This repository and its target directory.
#[derive(Debug)]
pub struct Workspace {
    /// The repository.
    pub root: PathBuf,
    /// Where cargo builds (`CARGO_TARGET_DIR`, else `target`), absolute.
    pub target: PathBuf,
    /// `cargo metadata --no-deps`: the workspace's own crates and their declared dependencies.
    pub metadata: Value,
    protoc: PathBuf,
    protoc_include: PathBuf,
}

impl Workspace {
    /// Finds the workspace this program was built from.
    pub fn find() -> Result<Self> {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask has no parent folder")?;
        let manifest = manifest.join("Cargo.toml");
        let metadata = read_metadata(&manifest, &["--no-deps"])?;
        let path = |key: &str| {
            metadata[key].as_str().map(PathBuf::from).with_context(|| format!("cargo metadata says no {key}"))
        };
        Ok(Self {
            root: path("workspace_root")?,
            target: path("target_directory")?,
            metadata,
            protoc: protoc_bin_vendored::protoc_bin_path().context("no protoc for this platform")?,
            protoc_include: protoc_bin_vendored::include_path().context("protoc's include files are missing")?,
        })
    }

    /// A cargo command in the repository. PROTOC and PROTOC_INCLUDE stay as they are where the user set them.
    pub fn cargo(&self, args: &[&str]) -> Command {
        let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.args(args).current_dir(&self.root).env("CARGO_TARGET_DIR", &self.target);
        for (key, path) in [("PROTOC", &self.protoc), ("PROTOC_INCLUDE", &self.protoc_include)] {
            if std::env::var_os(key).is_none() {
                command.env(key, path);
            }
        }
        command
    }

    /// `cargo metadata` with all dependencies.
    pub fn full_metadata(&self) -> Result<Value> {
        read_metadata(&self.root.join("Cargo.toml"), &[])
    }

    /// A folder of our own under the target directory: Python environments, servers' data.
    pub fn scratch(&self) -> PathBuf {
        self.target.join("xtask")
    }

    /// Builds the release binary and says where it is.
    pub fn build_release(&self) -> Result<PathBuf> {
        run::to_end(self.cargo(&["build", "--release", "--package", "redkite"]))?;
        Ok(self.target.join("release").join("redkite"))
    }

    /// Builds the release binary and runs its `demo`.
    pub fn demo(&self, args: &[String]) -> Result<ExitCode> {
        let binary = self.build_release()?;
        run::as_ours(Command::new(binary).arg("demo").args(args))
    }

    /// Builds the release binary and the benchmark program and runs the latter on the former; with `--s3` beside an S3 server.
    pub fn bench(&self, args: &[String]) -> Result<ExitCode> {
        let binary = self.build_release()?;
        let mut command = self.cargo(&["run", "--release", "--package", "redkite-bench", "--"]);
        command.args(args.iter().filter(|arg| *arg != "--s3")).env("REDKITE_TEST_BINARY", binary);
        // Until the benchmarks have ended.
        let s3 = match args.iter().any(|arg| arg == "--s3") {
            true => Some(SeaweedFs::start(self, &Venv::ensure(self, "s3")?)?),
            false => None,
        };
        command.envs(s3.iter().flat_map(SeaweedFs::test_env));
        run::as_ours(&mut command)
    }
}

fn read_metadata(manifest: &Path, args: &[&str]) -> Result<Value> {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(["metadata", "--format-version", "1", "--manifest-path"]).arg(manifest).args(args);
    let output = command.output().context("run cargo metadata")?;
    if !output.status.success() {
        bail!("cargo metadata failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    serde_json::from_slice(&output.stdout).context("cargo metadata answered no JSON")
}
