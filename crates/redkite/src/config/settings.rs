//! The values in force, key by key, with their origins.

use serde::Deserialize as _;
use serde_json::{Map, json};
use toml::{Table, Value};

use super::Config;
use super::keys::{self, Default, KEYS, Key};
use super::kind::{Kind, Reading};
use super::machine::Machine;
use super::problem::{Origin, Problem};
use super::sources::{Assignment, Given};

/// One value in force for every key, in the order of the keys.
#[derive(Debug, Clone)]
pub struct Settings(Vec<Setting>);

/// One key's value.
#[derive(Clone)]
pub struct Setting {
    /// The key.
    pub key: &'static Key,
    /// Its value.
    pub reading: Reading,
    /// Where that came from.
    pub origin: Origin,
}

// Never a secret.
impl std::fmt::Debug for Setting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} = {} ({})", self.key.name, shown(self.key, &self.reading.shown), self.origin)
    }
}

impl Settings {
    /// What is in force where nobody sets anything.
    pub fn defaults(machine: &Machine) -> Self {
        let setting = |key: &'static Key| {
            let text = match key.default {
                Default::Text(text) => text.to_owned(),
                Default::Of(default) => default(machine),
            };
            let value = key.kind.read_text(&text);
            // A test checks that every default passes the check of its kind.
            let reading = key.kind.check(value.clone()).unwrap_or(Reading { shown: value.clone(), plain: value });
            Setting { key, reading, origin: Origin::Default }
        };
        Self(KEYS.iter().map(setting).collect())
    }

    /// Applies assignments in order; what is wrong with them is returned and changes nothing.
    pub fn apply(&mut self, assignments: Vec<Assignment>) -> Vec<Problem> {
        let mut problems = Vec::new();
        for Assignment { name, key, value, origin } in assignments {
            let Some(setting) = self.0.iter_mut().find(|setting| key.is_some_and(|key| key.name == setting.key.name))
            else {
                problems.push(Problem::UnknownKey { name, origin });
                continue;
            };
            let key = setting.key;
            if let Some(alias) = key.alias
                && is_same_place(&setting.origin, &origin)
            {
                problems.push(Problem::Twice { key: key.name, alias, origin });
                continue;
            }
            let value = match value {
                Given::Typed(value) => value,
                Given::Text(text) => key.kind.read_text(&text),
            };
            match key.kind.check(value.clone()) {
                Ok(reading) => (setting.reading, setting.origin) = (reading, origin),
                Err(reason) => {
                    let value = shown(key, &value);
                    problems.push(Problem::BadValue { key: key.name.to_owned(), value, origin, reason });
                }
            }
        }
        problems
    }

    /// Takes over the keys of the cluster from its stored configuration, whatever is set here; what is wrong with them changes
    /// nothing.
    pub fn adopt(&mut self, place: &str, stored: &Map<String, serde_json::Value>) -> Adopted {
        let mut adopted = Adopted::default();
        for setting in self.0.iter_mut().filter(|setting| setting.key.of_cluster) {
            let Some(value) = stored.get(setting.key.name) else { continue };
            let reading = Value::deserialize(value.clone()).map_err(|error| error.to_string());
            let reading = match reading.and_then(|value| setting.key.kind.check(value)) {
                Ok(reading) => reading,
                Err(reason) => {
                    let origin = Origin::Stored(place.to_owned());
                    let (key, value) = (setting.key.name.to_owned(), value.to_string());
                    adopted.problems.push(Problem::BadValue { key, value, origin, reason });
                    continue;
                }
            };
            let is_set_here = !matches!(setting.origin, Origin::Default | Origin::Command(_) | Origin::Stored(_));
            if is_set_here && reading.plain != setting.reading.plain {
                adopted.overruled.push(format!(
                    "{setting:?} is not in force: the cluster has {} ({place}); leave it out here, or change it for all \
                     with: redkite config set {}={}",
                    shown(setting.key, &reading.shown),
                    setting.key.name,
                    bare(&setting.reading.shown),
                ));
            }
            (setting.reading, setting.origin) = (reading, Origin::Stored(place.to_owned()));
        }
        adopted
    }

    /// The value of a key that is text, as the program uses it.
    pub fn plain_text(&self, name: &str) -> Option<&str> {
        self.get(name)?.reading.plain.as_str()
    }

    /// All of them, in the order of the keys.
    pub fn iter(&self) -> impl Iterator<Item = &Setting> {
        self.0.iter()
    }

    /// The setting of a key.
    pub fn get(&self, name: &str) -> Option<&Setting> {
        let key = keys::find(name)?;
        self.iter().find(|setting| setting.key.name == key.name)
    }

    /// The value of a key as it was given, in TOML syntax.
    pub fn shown(&self, name: &str) -> String {
        self.get(name).map(|setting| shown(setting.key, &setting.reading.shown)).unwrap_or_default()
    }

    /// What would be wrong with a key's value for a reason that another key gives.
    pub fn problem(&self, name: &str, reason: String) -> Problem {
        let origin = self.get(name).map_or(Origin::Default, |setting| setting.origin.clone());
        Problem::BadValue { key: name.to_owned(), value: self.shown(name), origin, reason }
    }

    /// The cluster's configuration as it is stored in the metadata (S34): the keys and values of S15 and on as given.
    pub fn of_cluster(&self) -> serde_json::Value {
        let mut object = Map::new();
        object.insert("format".to_owned(), json!(CLUSTER_CONFIG_FORMAT));
        for setting in self.iter().filter(|setting| setting.key.of_cluster) {
            object.insert(setting.key.name.to_owned(), json!(setting.reading.shown));
        }
        serde_json::Value::Object(object)
    }

    /// The typed configuration.
    pub fn typed(&self) -> Result<Config, Problem> {
        let mut table = Table::new();
        for setting in self.iter() {
            let value = setting.reading.plain.clone();
            match setting.key.name.split_once('.') {
                None => _ = table.insert(setting.key.name.to_owned(), value),
                Some((section, name)) => {
                    let section = table.entry(section).or_insert_with(|| Value::Table(Table::new()));
                    if let Value::Table(section) = section {
                        section.insert(name.to_owned(), value);
                    }
                }
            }
        }
        Value::Table(table).try_into().map_err(|error| Problem::Defect { detail: error.to_string() })
    }
}

/// What came of taking over the cluster's stored configuration.
#[derive(Debug, Default)]
pub struct Adopted {
    /// What is wrong with it.
    pub problems: Vec<Problem>,
    /// For people: what is set here and not in force for that.
    pub overruled: Vec<String>,
}

/// A value as it is written on a command line.
fn bare(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Format number of the cluster's stored configuration.
pub const CLUSTER_CONFIG_FORMAT: u32 = 1;

/// A value in TOML syntax; a secret is not shown.
fn shown(key: &Key, value: &Value) -> String {
    match (key.kind, value) {
        (Kind::Secret, Value::String(text)) if text.is_empty() => value.to_string(),
        (Kind::Secret, _) => "(not shown)".to_owned(),
        _ => value.to_string(),
    }
}

/// Whether two values stand in one place that has no order: the file or the environment.
fn is_same_place(a: &Origin, b: &Origin) -> bool {
    matches!((a, b), (Origin::File(_), Origin::File(_)) | (Origin::Variable(_), Origin::Variable(_)))
}
