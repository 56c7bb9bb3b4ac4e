//! Programs of the operating system that the tests need, installed from Debian's packages where they are missing.

use std::process::{Command, Stdio};

use anyhow::{Result, bail};

use crate::run;

/// Sees to it that etcd, its client, openssl and a Python with venv are there.
pub fn ensure() -> Result<()> {
    let missing = missing();
    if missing.is_empty() {
        println!("etcd, etcdctl, openssl and python3 with venv are installed");
        return Ok(());
    }
    let packages = missing.join(" ");
    let by_hand = format!("apt-get update && apt-get install --yes --no-install-recommends {packages}");
    if run::find("apt-get").is_none() {
        bail!("missing: {packages} (Debian's names); this system has no apt-get, install them by its own means");
    }
    if !is_root() {
        bail!("missing packages, and only root may install them; run: sudo sh -c '{by_hand}'");
    }
    println!("installing {packages}");
    run::to_end(apt_get(&["update"]))?;
    let mut install = apt_get(&["install", "--yes", "--no-install-recommends"]);
    install.args(&missing);
    run::to_end(install)
}

fn missing() -> Vec<&'static str> {
    let mut packages = Vec::new();
    if run::find("etcd").is_none() {
        packages.push("etcd-server");
    }
    if run::find("etcdctl").is_none() {
        packages.push("etcd-client");
    }
    if run::find("openssl").is_none() {
        packages.push("openssl");
    }
    // Debian's python3 comes without the part that makes environments.
    if !succeeds(Command::new("python3").args(["-c", "import venv, ensurepip"])) {
        packages.extend(["python3", "python3-venv"]);
    }
    packages
}

fn apt_get(args: &[&str]) -> Command {
    let mut command = Command::new("apt-get");
    command.args(["-o", "Acquire::Retries=3", "-qq"]).args(args).env("DEBIAN_FRONTEND", "noninteractive");
    command
}

fn succeeds(command: &mut Command) -> bool {
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output();
    id.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}
