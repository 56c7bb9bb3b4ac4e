//! `cargo xtask test`, `lint` and `setup`: which steps run, in which order.
//!
//! Cheap answers first. A failed step never hides a later one: everything that can still run does, and the last line
//! counts all of it. Servers started here die with their handles, also when a step fails.

use std::process::ExitCode;

use anyhow::Result;

use crate::environment::{Clients, binaries_under_test};
use crate::options::{Group, Options};
use crate::report::Report;
use crate::seaweedfs::SeaweedFs;
use crate::suites::{self, EndToEnd};
use crate::workspace::Workspace;
use crate::{checks, debian};

/// Sets up what the tests need and stops.
pub fn setup(workspace: &Workspace) -> Result<ExitCode> {
    debian::ensure()?;
    let clients = Clients::ensure(workspace)?;
    // Started once: what cannot run here is better found now.
    drop(SeaweedFs::start(workspace, &clients.s3)?);
    println!("the test environment is ready");
    Ok(ExitCode::SUCCESS)
}

/// The static checks.
pub fn lint(workspace: &Workspace) -> Result<ExitCode> {
    let mut report = Report::default();
    checks::all(workspace, &mut report);
    Ok(report.finish())
}

/// All tests, or the chosen ones.
pub fn test(workspace: &Workspace, options: &Options) -> Result<ExitCode> {
    let mut report = Report::default();
    let runs = |group: Group| options.groups.contains(&group);
    println!("everything built or downloaded goes to {}", workspace.target.display());
    if runs(Group::Checks) {
        checks::all(workspace, &mut report);
    }
    if runs(Group::Rust) || runs(Group::EndToEnd) {
        report.prepare("system packages: etcd, Python", debian::ensure);
    }
    let mut clients = None;
    let mut s3 = None;
    if runs(Group::EndToEnd) {
        clients = report.prepare("Python environments: clients, S3 server", || Clients::ensure(workspace));
        if let Some(clients) = &clients {
            s3 = report.prepare("S3 server (SeaweedFS)", || SeaweedFs::start(workspace, &clients.s3));
        }
    }
    if runs(Group::Rust) {
        report.suite("Rust tests", || suites::rust(workspace, &options.filters, clients.as_ref(), s3.as_ref()));
    }
    if runs(Group::EndToEnd) {
        let binaries = report.prepare("build the binaries under test", || binaries_under_test(workspace));
        // Where one of them is missing, its step has been counted as failed.
        if let (Some(clients), Some(s3), Some(binaries)) = (&clients, &s3, &binaries) {
            let suite = EndToEnd { clients, s3, binaries, filters: &options.filters };
            report.suite("end-to-end tests, pymilvus 3.0", || suite.run(workspace, &clients.current, None));
            report.suite("end-to-end tests, pymilvus 2.6", || suite.run(workspace, &clients.previous, Some("compat")));
        }
    }
    Ok(report.finish())
}
