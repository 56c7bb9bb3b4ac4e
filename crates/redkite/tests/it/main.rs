//! The real binary: what it prints, where it listens, how it ends, what it refuses.

mod commands;
mod lifecycle;
mod metadata;
mod operators;

use std::process::{Command, Output, Stdio};

/// The program under test.
const BINARY: &str = env!("CARGO_BIN_EXE_redkite");

/// Runs the program to its end.
fn run(args: &[&str]) -> Output {
    let mut command = Command::new(BINARY);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("REDKITE_") {
            command.env_remove(name);
        }
    }
    command.args(args).stdin(Stdio::null()).output().expect("the program starts")
}

/// What it wrote to stdout.
fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("it prints UTF-8")
}

/// What it wrote to stderr.
fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("it prints UTF-8")
}
