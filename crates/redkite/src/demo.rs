//! placeholder
use crate::cli::ConfigArgs;
pub fn run(_config: ConfigArgs, _exit: bool, _started: std::time::Instant) -> anyhow::Result<()> { Ok(()) }
