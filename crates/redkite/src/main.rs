//! The `redkite` program: reads the command line and the configuration, puts the parts together, runs them.
//!
//! - `cli`, `config`: what was asked for; everything is checked before anything is opened.
//! - `serve` (standalone and node), `master`, `demo`, `meta_dump`, `meta_restore`, `admin`, `status`, `config_command`: one file a command;
//!   `ask`: asking a server over HTTP.
//! - `server`: a serving process from start to end; `engine`: the parts of a node; `membership`: its place in a cluster;
//!   `fanout`: what it asks the others there; `data_dir`: its directory; `meta_file`: the form of a dump; `metadata`,
//!   `cluster_config`: what it finds in the metadata.
//! - `allow_list`: who may connect; `transport`: with TLS or without. `memory`: how the process holds memory. `http`, `metrics`,
//!   `telemetry`, `banner`: what operators see.
//!
//! Exit codes: 0 success; 1 something failed; 2 the command line or the configuration is wrong.

mod admin;
mod allow_list;
mod ask;
mod banner;
mod cli;
mod cluster_config;
mod config;
mod config_command;
mod data_dir;
mod demo;
mod engine;
mod failpoints;
mod fanout;
mod forwarding;
mod http;
mod limits;
mod master;
mod membership;
mod memory;
mod meta_dump;
mod meta_file;
mod meta_restore;
mod metadata;
mod metrics;
mod rearrange;
mod serve;
mod server;
mod shutdown;
mod status;
mod telemetry;
mod transport;

use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;
use clap::Parser;

use cli::{Cli, Command, MetaCommand};

/// The command line or the configuration is wrong; clap uses the same.
const EXIT_USAGE: u8 = 2;

fn main() -> ExitCode {
    let started = Instant::now();
    memory::give_large_blocks_back();
    match run(Cli::parse(), started) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let is_usage = error.is::<config::Problems>();
            eprintln!("redkite: {}", one_message(&error));
            if is_usage { ExitCode::from(EXIT_USAGE) } else { ExitCode::FAILURE }
        }
    }
}

fn run(cli: Cli, started: Instant) -> Result<()> {
    match cli.command {
        Command::Standalone { config, dump_config } => {
            or_dump(&config.sources(), dump_config, |loaded| serve::run(loaded, started))
        }
        Command::Node { args, dump_config } => {
            or_dump(&args.sources(), dump_config, |loaded| serve::run(loaded, started))
        }
        Command::Master { config, dump_config } => or_dump(&config.sources_of_master(), dump_config, master::run),
        Command::Demo { config, exit } => demo::run(config, exit, started),
        Command::Meta(MetaCommand::Dump { file, config }) => {
            meta_dump::run(&config::load(&config.sources())?, file.as_deref())
        }
        Command::Meta(MetaCommand::Restore { file, accept_missing_files, config }) => {
            meta_restore::run(&config::load(&config.sources())?, &file, accept_missing_files)
        }
        Command::Admin(command) => admin::run(command),
        Command::Config(command) => config_command::run(command),
        Command::Status(args) => status::run(&args),
        Command::Drain(args) => rearrange::drain(&args),
        Command::Rebalance(args) => rearrange::rebalance(&args),
        Command::Version => {
            println!("redkite {}", env!("CARGO_PKG_VERSION"));
            Ok(())
        }
    }
}

/// Runs with the configuration, or prints it.
fn or_dump(sources: &config::Sources, dump: bool, run: impl FnOnce(config::Loaded) -> Result<()>) -> Result<()> {
    let loaded = config::load(sources)?;
    if dump {
        print!("{}", loaded.settings.dump());
        return Ok(());
    }
    run(loaded)
}

/// The error and its causes on one line; a cause that the line above it tells already is left out.
fn one_message(error: &anyhow::Error) -> String {
    let mut message = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !message.contains(&cause) {
            message.push_str(": ");
            message.push_str(&cause);
        }
    }
    message
}
