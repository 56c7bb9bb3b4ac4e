//! What can be wrong with a configuration, and where a value came from.

use std::fmt;
use std::path::PathBuf;

use super::keys;

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// The command has a default of its own.
    Command(&'static str),
    /// The configuration file.
    File(PathBuf),
    /// An environment variable.
    Variable(String),
    /// `--set`.
    Set,
    /// A flag that stands for a key.
    Flag(&'static str),
    /// `redkite config set`.
    Change,
    /// The cluster's configuration, at this key of the metadata.
    Stored(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::Command(command) => write!(f, "default of {command}"),
            Origin::File(path) => write!(f, "from file {}", path.display()),
            Origin::Variable(name) => write!(f, "from environment variable {name}"),
            Origin::Set => f.write_str("from --set"),
            Origin::Flag(flag) => write!(f, "from {flag}"),
            Origin::Change => f.write_str("from redkite config set"),
            Origin::Stored(key) => write!(f, "from the metadata, {key}"),
        }
    }
}

/// One thing that is wrong.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// No such key.
    #[error("unknown key \"{name}\" ({origin}); {}", hint(.name))]
    UnknownKey {
        /// What was given.
        name: String,
        /// Where.
        origin: Origin,
    },
    /// The key exists, the value will not do.
    #[error("{key} = {value} ({origin}) is not valid: {reason}")]
    BadValue {
        /// The key.
        key: String,
        /// What was given, in TOML syntax.
        value: String,
        /// Where.
        origin: Origin,
        /// What would be valid.
        reason: String,
    },
    /// One source sets a key twice under its two names.
    #[error("{key} is set twice ({origin}), also as {alias}; keep one of them")]
    Twice {
        /// The key.
        key: &'static str,
        /// Its other spelling.
        alias: &'static str,
        /// Where.
        origin: Origin,
    },
    /// The key is each process's own.
    #[error("{key} is not the cluster's but each process's own: set it where that process is started")]
    NotOfCluster {
        /// The key.
        key: &'static str,
    },
    /// An assignment without `=`.
    #[error("{text:?} ({origin}) is not valid: want key=value such as auto_flush=true")]
    NotAnAssignment {
        /// What was given.
        text: String,
        /// Where.
        origin: Origin,
    },
    /// The file cannot be read.
    #[error("the configuration file {} cannot be read: {source}", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is no TOML.
    #[error("the configuration file {} is not valid TOML: {detail}", .path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Where and what.
        detail: String,
    },
    /// The table of keys and the typed configuration do not fit.
    #[error("a defect of redkite: the configuration does not fit its own table: {detail}")]
    Defect {
        /// How.
        detail: String,
    },
}

fn hint(name: &str) -> String {
    match keys::nearest(name) {
        Some(key) => format!("did you mean {}?", key.name),
        None => "`redkite standalone --dump-config` lists all keys".to_owned(),
    }
}

/// Everything that is wrong; never empty.
#[derive(Debug)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.0.iter().map(Problem::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl std::error::Error for Problems {}
