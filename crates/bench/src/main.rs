//! Measures the real server against the figures it is meant to hold.
//!
//! It starts the release binary as a user would, talks to it over gRPC as a client would, and reads what that cost from
//! the server's process: CPU time from its CPU clock, memory and mapped files from /proc. CPU time is the honest figure on
//! a machine that does other things, too; wall time is told where a person waits for it. Where a target is relative (to an
//! empty call, to a plain memory read, to the bare syncs of the disk) both sides are measured in turns in the same run.
//!
//! Nothing here judges by itself: it prints a table with target, figure and verdict. Linux only.

mod client;
mod dataset;
mod etcd;
mod figure;
mod machine;
mod measure;
mod npy;
mod options;
mod sample;
mod scenario;
mod server;
mod usage;
mod yardstick;

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Parser as _;

use crate::dataset::Dataset;
use crate::machine::Machine;
use crate::options::Options;
use crate::scenario::{Bench, SCENARIOS};
use crate::server::Installation;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run(&Options::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("redkite-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: &Options) -> Result<()> {
    let chosen = scenario::choose(&options.only)?;
    let binary = options.binary()?;
    let scratch = tempfile::Builder::new().prefix("redkite-bench-").tempdir_in(options.scratch()?);
    let scratch = scratch.context("create a directory for the server's data")?;
    let machine = Machine::describe(scratch.path())?;
    println!("{machine}");
    let data = Dataset::open(options.data.as_deref())?;
    println!("data: {}", data.origin);
    println!("server: {}\n", binary.display());
    let mut bench = Bench::new(data, Installation { binary, scratch: scratch.path().to_owned() });
    for scenario in SCENARIOS.iter().filter(|scenario| chosen.contains(&scenario.name)) {
        eprintln!("{} ...", scenario.name);
        scenario.run(&mut bench).await.with_context(|| format!("{} failed", scenario.name))?;
    }
    let shown = if options.markdown { figure::markdown(&bench.figures) } else { figure::table(&bench.figures) };
    println!("{shown}");
    println!("load average at the end: {}", machine::load_average()?);
    Ok(())
}
