//! Python environments, one per set of requirements, kept until the requirements change.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::run;
use crate::workspace::Workspace;

/// Written last; an environment without it was interrupted.
const COMPLETE: &str = "complete";

/// A ready environment.
#[derive(Debug)]
pub struct Venv {
    folder: PathBuf,
}

impl Venv {
    /// The environment with the packages of `tests-e2e/requirements/<name>.txt`, made unless it is there.
    pub fn ensure(workspace: &Workspace, name: &str) -> Result<Self> {
        let requirements = workspace.root.join("tests-e2e/requirements").join(format!("{name}.txt"));
        let wanted = std::fs::read(&requirements).with_context(|| format!("read {}", requirements.display()))?;
        let prefix = format!("venv-{name}-");
        let venv = Self { folder: workspace.scratch().join(format!("{prefix}{:016x}", fingerprint(&wanted)?)) };
        if venv.folder.join(COMPLETE).exists() {
            println!("{name}: {} is up to date", venv.folder.display());
            return Ok(venv);
        }
        println!("{name}: making {} from {}", venv.folder.display(), requirements.display());
        remove_older(&workspace.scratch(), &prefix)?;
        let mut make = Command::new("python3");
        make.args(["-m", "venv"]).arg(&venv.folder);
        run::to_end(make)?;
        let mut install = Command::new(venv.python());
        install.args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--retries",
            "5",
            "--requirement",
        ]);
        install.arg(&requirements);
        run::to_end(install)?;
        std::fs::write(venv.folder.join(COMPLETE), b"").context("mark the environment as complete")?;
        Ok(venv)
    }

    /// Its Python.
    pub fn python(&self) -> PathBuf {
        self.program("python")
    }

    /// A program one of its packages brought.
    pub fn program(&self, name: &str) -> PathBuf {
        self.folder.join("bin").join(name)
    }
}

/// Changes with the requirements and with the Python the environment would be made from.
fn fingerprint(requirements: &[u8]) -> Result<u64> {
    let script = "import sys; print(sys.executable, sys.version)";
    let python = Command::new("python3").args(["-c", script]).output().context("run python3")?;
    let mut hasher = DefaultHasher::new();
    (requirements, python.stdout).hash(&mut hasher);
    Ok(hasher.finish())
}

fn remove_older(scratch: &Path, prefix: &str) -> Result<()> {
    std::fs::create_dir_all(scratch).with_context(|| format!("make {}", scratch.display()))?;
    for entry in std::fs::read_dir(scratch)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(prefix) {
            std::fs::remove_dir_all(entry.path()).with_context(|| format!("remove {}", entry.path().display()))?;
        }
    }
    Ok(())
}
