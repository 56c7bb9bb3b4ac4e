//! The static checks: everything that can be said without running the program.

use anyhow::{Context as _, Result, bail};

use crate::report::Report;
use crate::workspace::{FAILPOINTS, Workspace};
use crate::{headers, layers, licences, run};

/// Runs all of them.
pub fn all(workspace: &Workspace, report: &mut Report) {
    report.check("layers: dependencies point downwards", || none(layers::violations(&workspace.metadata)));
    report.check("sources: headers, no unfinished work", || {
        none(headers::check(&workspace.root, &["crates", "xtask/src"])?)
    });
    report.check("licences of all dependencies", || check_licences(workspace));
    report.check("format (cargo fmt --check)", || run::to_end(workspace.cargo(&["fmt", "--all", "--check"])));
    report.check("clippy, warnings are errors", || {
        let args = ["clippy", "--workspace", "--all-targets", "--features", FAILPOINTS, "--", "-D", "warnings"];
        run::to_end(workspace.cargo(&args))
    });
}

fn check_licences(workspace: &Workspace) -> Result<()> {
    let text = std::fs::read_to_string(workspace.root.join("deny.toml")).context("read deny.toml")?;
    let allowed = licences::allowed(&text)?;
    none(licences::violations(&workspace.full_metadata()?, &allowed))
}

fn none(violations: Vec<String>) -> Result<()> {
    if !violations.is_empty() {
        bail!("{} found:\n  {}", violations.len(), violations.join("\n  "));
    }
    Ok(())
}
