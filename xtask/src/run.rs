//! Running other programs.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus};

use anyhow::{Context as _, Result, bail};

/// Runs to the end with our own input and output; an error unless it succeeds.
pub fn to_end(mut command: Command) -> Result<()> {
    let status = command.status().with_context(|| format!("start {}", line(&command)))?;
    if !status.success() {
        bail!("{} failed: {status}", line(&command));
    }
    Ok(())
}

/// Runs to the end and hands its exit code on as ours.
pub fn as_ours(command: &mut Command) -> Result<ExitCode> {
    let status = command.status().with_context(|| format!("start {}", line(command)))?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}

/// Runs to the end, showing each line of its output as it comes; returns how it ended and all it said.
pub fn teed(mut command: Command) -> Result<(ExitStatus, String)> {
    let (reader, writer) = std::io::pipe().context("a pipe")?;
    command.stdout(writer.try_clone()?).stderr(writer);
    let mut child = command.spawn().with_context(|| format!("start {}", line(&command)))?;
    // The command holds the pipe's writing ends; while it lives reading would never end.
    drop(command);
    let mut said = String::new();
    let mut reader = BufReader::new(reader);
    let mut bytes = Vec::new();
    while reader.read_until(b'\n', &mut bytes)? > 0 {
        let text = String::from_utf8_lossy(&bytes);
        let mut out = std::io::stdout().lock();
        out.write_all(text.as_bytes())?;
        out.flush()?;
        said.push_str(&text);
        bytes.clear();
    }
    Ok((child.wait()?, said))
}

/// The path of `program`, if it is installed.
pub fn find(program: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?).map(|folder| folder.join(program)).find(|path| path.is_file())
}

/// A command whose process the kernel kills when we die, however we die (where `setpriv` is there to arrange it).
pub fn guarded(program: &Path) -> Command {
    let Some(setpriv) = find("setpriv") else {
        return Command::new(program);
    };
    let mut command = Command::new(setpriv);
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command
}

/// The command as a person would type it.
pub fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}
