//! The options of `cargo xtask test`.

use anyhow::{Context as _, Result, bail};

/// One part of the test run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// Format, clippy, layers, licences, headers.
    Checks,
    /// Rust tests of the workspace.
    Rust,
    /// Python tests that drive the real binary.
    EndToEnd,
}

/// What to run.
#[derive(Debug, PartialEq, Eq)]
pub struct Options {
    /// The parts, in the order they run.
    pub groups: Vec<Group>,
    /// Only tests whose name contains one of these; empty for all.
    pub filters: Vec<String>,
}

/// Reads the arguments after `test`.
pub fn parse(args: &[String]) -> Result<Options> {
    let mut groups = Vec::new();
    let mut filters = Vec::new();
    let mut quick = false;
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--quick" => quick = true,
            "--only" => groups.push(group(args.next().context("--only needs one of: checks, rust, e2e")?)?),
            flag if flag.starts_with('-') => bail!("unknown option {flag:?}; `cargo xtask help` lists them"),
            filter => filters.push(filter.to_owned()),
        }
    }
    if groups.is_empty() {
        groups = match (filters.is_empty(), quick) {
            (true, true) => vec![Group::Checks, Group::Rust],
            (true, false) => vec![Group::Checks, Group::Rust, Group::EndToEnd],
            (false, true) => vec![Group::Rust],
            (false, false) => vec![Group::Rust, Group::EndToEnd],
        };
    } else if quick {
        bail!("--quick and --only exclude each other");
    }
    Ok(Options { groups, filters })
}

fn group(name: &str) -> Result<Group> {
    match name {
        "checks" => Ok(Group::Checks),
        "rust" => Ok(Group::Rust),
        "e2e" => Ok(Group::EndToEnd),
        other => bail!("--only {other}: use one of checks, rust, e2e"),
    }
}

#[cfg(test)]
mod tests {
    use super::{Group, parse};

    fn check(line: &str, groups: &[Group], filters: &[&str]) {
        let args: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let options = parse(&args).unwrap();
        assert_eq!(options.groups, groups, "{line}");
        assert_eq!(options.filters, filters, "{line}");
    }

    #[test]
    fn options_choose_groups_and_filters() {
        use Group::{Checks, EndToEnd, Rust};
        check("", &[Checks, Rust, EndToEnd], &[]);
        check("--quick", &[Checks, Rust], &[]);
        check("s09 s10", &[Rust, EndToEnd], &["s09", "s10"]);
        check("--quick s09", &[Rust], &["s09"]);
        check("--only e2e crash", &[EndToEnd], &["crash"]);
    }

    #[test]
    fn nonsense_is_refused() {
        for line in ["--fast", "--only", "--only all", "--quick --only rust"] {
            let args: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            assert!(parse(&args).is_err(), "{line}");
        }
    }
}
