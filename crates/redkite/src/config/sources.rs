//! The file, the environment and the command line as plain assignments, in the order in which they win.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::keys::{self, Key};
use super::problem::{Origin, Problem};

/// What all variables of ours begin with.
const VARIABLE_PREFIX: &str = "REDKITE_";
/// Variables of the tests of this repository, which may be around when a server starts.
const TEST_PREFIX: &str = "TEST_";

/// Everything that was said about the configuration.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// For which kind of process.
    pub role: Role,
    /// Defaults of the command; anything else wins over them.
    pub command: Option<CommandDefaults>,
    /// The environment.
    pub environment: Vec<(OsString, OsString)>,
    /// The command line.
    pub command_line: CommandLine,
}

/// What a process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Role {
    /// All there is.
    #[default]
    Standalone,
    /// One of the nodes of a cluster.
    Node,
    /// What sends clients to the nodes of a cluster.
    Master,
}

/// Defaults that one command has instead of the usual ones.
#[derive(Debug, Clone)]
pub struct CommandDefaults {
    /// The command: `redkite demo`.
    pub command: &'static str,
    /// Keys and values, written as on the command line.
    pub values: Vec<(&'static str, String)>,
}

/// The part of the command line that is about the configuration.
#[derive(Debug, Clone, Default)]
pub struct CommandLine {
    /// `--config`.
    pub file: Option<PathBuf>,
    /// `--set key=value`, in order.
    pub set: Vec<String>,
    /// Flags that stand for a key; they win over `--set`.
    pub flags: Vec<Flag>,
}

/// A flag that stands for a key.
#[derive(Debug, Clone)]
pub struct Flag {
    /// As typed: `--listen`.
    pub flag: &'static str,
    /// The key it stands for.
    pub key: &'static str,
    /// Its value.
    pub value: String,
}

/// One value for one name, not checked yet.
#[derive(Debug)]
pub struct Assignment {
    /// The key's name as given.
    pub name: String,
    /// The key, if there is one.
    pub key: Option<&'static Key>,
    /// Its value.
    pub value: Given,
    /// Where it stands.
    pub origin: Origin,
}

/// A value as a source gives it.
#[derive(Debug)]
pub enum Given {
    /// With a type, from a file.
    Typed(Value),
    /// As text.
    Text(String),
}

impl Assignment {
    fn new(name: &str, value: Given, origin: Origin) -> Self {
        Self { name: name.to_owned(), key: keys::find(name), value, origin }
    }

    /// From `key=value`.
    pub fn parse(text: &str, origin: Origin) -> Result<Self, Problem> {
        let Some((name, value)) = text.split_once('=') else {
            return Err(Problem::NotAnAssignment { text: text.to_owned(), origin });
        };
        Ok(Self::new(name.trim(), Given::Text(value.trim().to_owned()), origin))
    }
}

impl Sources {
    /// All assignments, the later ones winning, and what cannot be read.
    pub fn read(&self) -> (Vec<Assignment>, Vec<Problem>) {
        let mut assignments = Vec::new();
        let mut problems = Vec::new();
        if let Some(CommandDefaults { command, values }) = &self.command {
            let given = |(name, text): &(&str, String)| {
                Assignment::new(name, Given::Text(text.clone()), Origin::Command(command))
            };
            assignments.extend(values.iter().map(given));
        }
        if let Some(path) = &self.command_line.file {
            match read_file(path) {
                Ok(table) => assignments.extend(from_file(path, table)),
                Err(problem) => problems.push(problem),
            }
        }
        assignments.extend(from_environment(&self.environment));
        for text in &self.command_line.set {
            match Assignment::parse(text, Origin::Set) {
                Ok(assignment) => assignments.push(assignment),
                Err(problem) => problems.push(problem),
            }
        }
        let flags = self.command_line.flags.iter();
        assignments.extend(
            flags.map(|flag| Assignment::new(flag.key, Given::Text(flag.value.clone()), Origin::Flag(flag.flag))),
        );
        (assignments, problems)
    }
}

fn read_file(path: &Path) -> Result<Table, Problem> {
    let text = std::fs::read_to_string(path).map_err(|source| Problem::Unreadable { path: path.to_owned(), source })?;
    toml::from_str(&text).map_err(|error| {
        let detail = error.to_string().trim_end().to_owned();
        Problem::Syntax { path: path.to_owned(), detail }
    })
}

/// The keys of a file; those of a section get its name before theirs.
fn from_file(path: &Path, table: Table) -> Vec<Assignment> {
    let mut assignments = Vec::new();
    for (name, value) in table {
        let origin = || Origin::File(path.to_owned());
        match value {
            Value::Table(section) if keys::find(&name).is_none() => {
                let is_section = keys::KEYS.iter().any(|key| key.name.split_once('.').is_some_and(|(s, _)| s == name));
                if section.is_empty() && !is_section {
                    assignments.push(Assignment::new(&name, Given::Typed(Value::Table(section)), origin()));
                } else {
                    assignments.extend(section.into_iter().map(|(below, value)| {
                        Assignment::new(&format!("{name}.{below}"), Given::Typed(value), origin())
                    }));
                }
            }
            value => assignments.push(Assignment::new(&name, Given::Typed(value), origin())),
        }
    }
    assignments
}

fn from_environment(environment: &[(OsString, OsString)]) -> Vec<Assignment> {
    let mut assignments = Vec::new();
    for (name, value) in environment {
        let (name, value) = (name.to_string_lossy(), value.to_string_lossy());
        let Some(suffix) = name.strip_prefix(VARIABLE_PREFIX) else { continue };
        let key = keys::find_variable(suffix);
        if key.is_none() && is_foreign(suffix, &value) {
            continue;
        }
        let name_of_key = key.map_or_else(|| suffix.to_ascii_lowercase(), |key| key.name.to_owned());
        let (value, origin) = (Given::Text(value.into_owned()), Origin::Variable(name.into_owned()));
        assignments.push(Assignment { name: name_of_key, key, value, origin });
    }
    // The environment has no order of its own.
    assignments.sort_by_key(|assignment| assignment.origin.to_string());
    assignments
}

/// Variables that begin like ours and are not: Kubernetes describes every service to every container, one called
/// `redkite` as `REDKITE_SERVICE_HOST`, `REDKITE_PORT=tcp://...`, `REDKITE_PORT_19530_TCP_ADDR` and so on.
fn is_foreign(suffix: &str, value: &str) -> bool {
    let is_service = suffix.ends_with("SERVICE_HOST")
        || suffix.contains("SERVICE_PORT")
        || (suffix.ends_with("PORT") && value.contains("://"))
        || (suffix.contains("PORT_") && (suffix.contains("_TCP") || suffix.contains("_UDP")));
    is_service || suffix.starts_with(TEST_PREFIX)
}
