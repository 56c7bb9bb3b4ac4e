//! What the tests run with: clients, servers, the binary.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::run;
use crate::seaweedfs::SeaweedFs;
use crate::venv::Venv;
use crate::workspace::{FAILPOINTS, Workspace};

/// The Python environments.
#[derive(Debug)]
pub struct Clients {
    /// The current client and everything else the end-to-end tests import.
    pub current: Venv,
    /// The client before it.
    pub previous: Venv,
    /// The S3 server and a client for it.
    pub s3: Venv,
}

impl Clients {
    /// Makes what is missing.
    pub fn ensure(workspace: &Workspace) -> Result<Self> {
        Ok(Self {
            current: Venv::ensure(workspace, "pymilvus-3.0")?,
            previous: Venv::ensure(workspace, "pymilvus-2.6")?,
            s3: Venv::ensure(workspace, "s3")?,
        })
    }
}

/// Tells a test program where everything is.
pub fn describe(command: &mut Command, clients: Option<&Clients>, s3: Option<&SeaweedFs>) {
    if let Some(clients) = clients {
        command.env("REDKITE_TEST_PYTHON", clients.current.python());
    }
    if let Some(s3) = s3 {
        command.envs(s3.test_env());
        // Everything is there, so a test that finds nothing to run against has to fail.
        command.env("REDKITE_TEST_REQUIRE", "1");
    }
}

/// What is tested end to end.
#[derive(Debug)]
pub struct Binaries {
    /// The server, with its failpoints.
    pub redkite: PathBuf,
    /// The Rust client, an example.
    pub client: PathBuf,
}

/// Builds the binaries under test and puts them where no later build replaces them.
pub fn binaries_under_test(workspace: &Workspace) -> Result<Binaries> {
    // As the Rust tests build it, for their own use: another selection would give dependencies other features, and build
    // most of them a second time.
    run::to_end(workspace.cargo(&["test", "--no-run", "--workspace", "--features", FAILPOINTS]))?;
    let built = workspace.target.join("debug");
    Ok(Binaries {
        redkite: set_aside(workspace, &built.join("redkite"), "redkite-under-test")?,
        client: set_aside(workspace, &built.join("examples").join("client"), "client-under-test")?,
    })
}

fn set_aside(workspace: &Workspace, built: &Path, name: &str) -> Result<PathBuf> {
    let ours = workspace.scratch().join(name);
    std::fs::create_dir_all(workspace.scratch())?;
    // A running program cannot be overwritten, but its name can be given to another file.
    let fresh = workspace.scratch().join(format!("{name}-{}", std::process::id()));
    std::fs::copy(built, &fresh)?;
    std::fs::rename(&fresh, &ours)?;
    Ok(ours)
}
