//! The test programs: cargo's and pytest.

use std::process::Command;

use anyhow::Result;

use crate::environment::{Binaries, Clients, describe};
use crate::run;
use crate::seaweedfs::SeaweedFs;
use crate::tally::{self, Tally};
use crate::venv::Venv;
use crate::workspace::{FAILPOINTS, Workspace};

/// pytest's exit code where the filter leaves no test.
const PYTEST_NOTHING_TO_DO: i32 = 5;

/// The Rust tests of the workspace, by cargo-nextest where it is installed.
pub fn rust(
    workspace: &Workspace,
    filters: &[String],
    clients: Option<&Clients>,
    s3: Option<&SeaweedFs>,
) -> Result<Tally> {
    if run::find("cargo-nextest").is_none() {
        return cargo_test(workspace, filters, clients, s3);
    }
    let args = ["nextest", "run", "--workspace", "--features", FAILPOINTS, "--no-fail-fast", "--no-tests=pass"];
    let mut command = workspace.cargo(&args);
    command.args(["--status-level", "slow"]).args(filters);
    describe(&mut command, clients, s3);
    let (status, output) = run::teed(command)?;
    Ok(tally::nextest(&output).with_success(status.success()))
}

/// `cargo test` takes one filter, so it runs once for each.
fn cargo_test(
    workspace: &Workspace,
    filters: &[String],
    clients: Option<&Clients>,
    s3: Option<&SeaweedFs>,
) -> Result<Tally> {
    let mut total = Tally::default();
    let all = [String::new()];
    for filter in if filters.is_empty() { &all } else { filters } {
        let mut command = workspace.cargo(&["test", "--workspace", "--features", FAILPOINTS, "--no-fail-fast"]);
        command.arg("--").arg(filter);
        describe(&mut command, clients, s3);
        let (status, output) = run::teed(command)?;
        total += tally::cargo_test(&output).with_success(status.success());
    }
    Ok(total)
}

/// What a run of the end-to-end tests needs.
#[derive(Debug)]
pub struct EndToEnd<'a> {
    /// The Python environments.
    pub clients: &'a Clients,
    /// The S3 server.
    pub s3: &'a SeaweedFs,
    /// The binaries under test.
    pub binaries: &'a Binaries,
    /// Only tests whose name contains one of these.
    pub filters: &'a [String],
}

impl EndToEnd<'_> {
    /// The end-to-end tests with one set of clients; `marker` chooses a part of them.
    pub fn run(&self, workspace: &Workspace, venv: &Venv, marker: Option<&str>) -> Result<Tally> {
        let mut command = self.pytest(workspace, venv);
        if let Some(marker) = marker {
            command.args(["-m", marker]);
        }
        let (status, output) = run::teed(command)?;
        let success = status.success() || status.code() == Some(PYTEST_NOTHING_TO_DO);
        Ok(tally::pytest(&output).with_success(success))
    }

    fn pytest(&self, workspace: &Workspace, venv: &Venv) -> Command {
        let mut command = run::guarded(&venv.python());
        command.args(["-m", "pytest", "-q", "-p", "no:cacheprovider", "--durations=10"]);
        command.current_dir(workspace.root.join("tests-e2e"));
        command.env("PYTHONDONTWRITEBYTECODE", "1");
        command.env("REDKITE_TEST_BINARY", &self.binaries.redkite);
        command.env("REDKITE_TEST_RUST_CLIENT", &self.binaries.client);
        describe(&mut command, Some(self.clients), Some(self.s3));
        if !self.filters.is_empty() {
            command.args(["-k", &self.filters.join(" or ")]);
        }
        command
    }
}
