//! The commands a person types: `cargo xtask build`, `demo`, `test`, ...
//!
//! Every documented command goes through here because the build needs protoc, and this program brings it along: it sets
//! PROTOC and PROTOC_INCLUDE from the crate `protoc-bin-vendored` and then runs cargo. One file per concern; everything that
//! decides (layers, licences, words, counting) is a pure function with tests, everything that runs programs is thin.

mod checks;
mod debian;
mod environment;
mod headers;
mod layers;
mod licences;
mod options;
mod report;
mod run;
mod seaweedfs;
mod suites;
mod tally;
mod test;
mod venv;
mod workspace;

use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::workspace::Workspace;

const HELP: &str = "\
cargo xtask <command>

  build             build the release binary and print its path
  demo [ARGS]       build the release binary, start a server with real data in it and search it (see `demo --help`)
  test [OPTIONS]    set up what the tests need and run all of them; the last line says how many passed and failed
      FILTER...       only tests whose name contains one of these, without the static checks
      --quick         static checks and Rust tests only: no Python, no S3 server
      --only GROUP    one of: checks, rust, e2e (repeatable)
  lint              the static checks of `test`: format, clippy, layers, licences, file headers
  setup             set up the test environment (etcd, Python clients, S3 server) and stop
  bench [ARGS]      build with optimisations and run the benchmarks (see `bench --help`)
      --s3          beside an S3 server, for what is measured over one
  help              this text

CARGO_TARGET_DIR says where everything built or downloaded goes (default: target).";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match dispatch(&args) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(args: &[String]) -> Result<ExitCode> {
    let (command, rest) = match args.split_first() {
        Some((command, rest)) => (command.as_str(), rest),
        None => ("help", args),
    };
    if matches!(command, "help" | "--help" | "-h") {
        println!("{HELP}");
        return Ok(ExitCode::SUCCESS);
    }
    let workspace = Workspace::find()?;
    match command {
        "build" => {
            println!("{}", workspace.build_release()?.display());
            Ok(ExitCode::SUCCESS)
        }
        "demo" => workspace.demo(rest),
        "bench" => workspace.bench(rest),
        "setup" => test::setup(&workspace),
        "lint" => test::lint(&workspace),
        "test" => test::test(&workspace, &options::parse(rest)?),
        unknown => bail!("unknown command {unknown:?}; `cargo xtask help` lists them"),
    }
}
