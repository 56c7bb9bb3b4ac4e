//! Certificates made on the fly by the program `openssl`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use tempfile::TempDir;

/// Long enough for any test, short enough for any clock.
const DAYS: &str = "30";

/// An authority, and the files of what it has signed. Dropping it removes them.
#[derive(Debug)]
pub struct Authority {
    directory: TempDir,
}

/// A certificate and its key, both in PEM.
#[derive(Debug, Clone)]
pub struct Certificate {
    /// The certificate.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

impl Authority {
    /// A new one.
    pub fn new() -> Result<Self> {
        let authority = Self { directory: TempDir::with_prefix("redkite-ca-").context("a temporary directory")? };
        // Of a name of its own, so that no two can be taken for each other.
        let subject = format!("/CN={}", authority.directory.path().file_name().unwrap_or_default().display());
        authority
            .openssl(&["req", "-x509", "-subj", &subject, "-days", DAYS, "-keyout", "ca.key", "-out", "ca.pem"])?;
        Ok(authority)
    }

    /// Its own certificate.
    pub fn ca(&self) -> PathBuf {
        self.path("ca.pem")
    }

    /// A file of that name beside the certificates.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A certificate for `hosts` (`DNS:localhost,IP:127.0.0.1`), for servers and clients, in files called after `name`.
    pub fn issue(&self, name: &str, hosts: &str) -> Result<Certificate> {
        let (cert, key) = (format!("{name}.pem"), format!("{name}.key"));
        let (subject, hosts) = (format!("/CN={name}"), format!("subjectAltName={hosts}"));
        let signed = ["-CA", "ca.pem", "-CAkey", "ca.key", "-addext", "basicConstraints=critical,CA:FALSE"];
        let new = ["req", "-x509", "-subj", &subject, "-addext", &hosts, "-days", DAYS, "-keyout", &key, "-out", &cert];
        self.openssl(&[&new[..], &signed[..]].concat())?;
        Ok(Certificate { cert: self.path(&cert), key: self.path(&key) })
    }

    fn openssl(&self, arguments: &[&str]) -> Result<()> {
        let mut command = Command::new("openssl");
        command.args(arguments).args(["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]);
        let output = command.current_dir(self.directory.path()).stdin(Stdio::null()).output();
        let output =
            output.context("openssl is needed: install the Debian package openssl, or run `cargo xtask setup`")?;
        if !output.status.success() {
            bail!("openssl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(())
    }
}

impl Certificate {
    /// Puts another one in its place, in the order in which people do it: certificate, then key.
    pub fn replace(&self, with: &Certificate) -> Result<()> {
        copy(&with.cert, &self.cert)?;
        copy(&with.key, &self.key)
    }
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::copy(from, to).map(drop).with_context(|| format!("copy {} to {}", from.display(), to.display()))
}
