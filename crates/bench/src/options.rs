//! The command line.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use clap::Parser;

/// Set by `cargo xtask bench` to the release binary it has just built.
const BINARY_VARIABLE: &str = "REDKITE_TEST_BINARY";

/// Measure the server: CPU time, memory and waiting times against their targets.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench", version)]
pub struct Options {
    /// Folder with base.f16.npy [rows x dim], queries.f16.npy and groundtruth.npy; without it vectors are generated
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Only these measurements, separated by commas; a wrong name lists all
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub only: Vec<String>,
    /// The server to measure; by default the one built beside this program
    #[arg(long, value_name = "PATH")]
    pub binary: Option<PathBuf>,
    /// Where the server's data goes while measuring; has to be on the disk to measure [default: beside this program]
    #[arg(long, value_name = "DIR")]
    pub scratch: Option<PathBuf>,
    /// Print the table as Markdown
    #[arg(long)]
    pub markdown: bool,
}

impl Options {
    /// The server's program.
    pub fn binary(&self) -> Result<PathBuf> {
        let binary = match (&self.binary, std::env::var_os(BINARY_VARIABLE)) {
            (Some(path), _) => path.clone(),
            (None, Some(path)) => path.into(),
            (None, None) => program_folder()?.join("redkite"),
        };
        if !binary.is_file() {
            bail!("there is no server program at {}; build it with `cargo xtask build`", binary.display());
        }
        Ok(binary)
    }

    /// Where the server's data goes: not the system's temporary directory, which often is in memory.
    pub fn scratch(&self) -> Result<PathBuf> {
        match &self.scratch {
            Some(path) => Ok(path.clone()),
            None => program_folder(),
        }
    }
}

fn program_folder() -> Result<PathBuf> {
    let program = std::env::current_exe().context("where is this program?")?;
    Ok(program.parent().context("this program has no folder")?.to_owned())
}
