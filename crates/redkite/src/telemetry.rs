//! Log lines on stderr, for people or for programs. Panics are log lines, too.

use std::backtrace::Backtrace;
use std::io::IsTerminal;

use anyhow::{Context, Result, anyhow};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;

use crate::config::LogFormat;

/// From here on what passes `filter` is written to stderr.
pub fn start(filter: &str, format: LogFormat) -> Result<()> {
    let filter = EnvFilter::try_new(filter).with_context(|| format!("log = {filter:?} is not a log filter"))?;
    let lines = fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = match format {
        LogFormat::Text => lines.with_ansi(std::io::stderr().is_terminal()).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
    started.map_err(|error| anyhow!("the log cannot be started: {error}"))?;
    log_panics();
    Ok(())
}

/// A panic is a defect; the thread it happens on decides what it costs.
fn log_panics() {
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        let message = info.payload_as_str().unwrap_or("(no text)");
        let thread = std::thread::current();
        let thread = thread.name().unwrap_or("unnamed");
        let backtrace = Backtrace::capture();
        tracing::error!(place, thread, %backtrace, "a defect of redkite: panicked at {message:?}");
    }));
}
