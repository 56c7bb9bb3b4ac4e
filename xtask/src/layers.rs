//! The layer check: which crate may depend on which.
//!
//! Every crate stands on a level. A dependency points to a lower level, never sideways and never up, build-dependencies
//! included; so there are no cycles and every edge in the code is one of the architecture page. Only tests may look sideways:
//! those of reading need something written. The testkit stands aside: any crate may use it as a dev-dependency and only so,
//! and it sees nothing but the vocabulary.

use serde_json::Value;

/// Level of each crate, lowest first; the same table as in ARCHITECTURE.md.
const LEVELS: [(&str, u8); 15] = [
    ("redkite-types", 0),
    ("redkite-expr", 1),
    ("redkite-index", 1),
    ("redkite-net", 1),
    ("redkite-storage", 2),
    ("redkite-meta", 2),
    ("redkite-table", 3),
    ("redkite-ingest", 4),
    ("redkite-query", 4),
    ("redkite-jobs", 4),
    ("redkite-cluster", 4),
    ("redkite-api", 5),
    ("redkite", 6),
    ("redkite-bench", 7),
    ("xtask", 8),
];

const TESTKIT: &str = "redkite-testkit";
const BUILD_TOOL: &str = "xtask";

/// How a crate uses another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `[dependencies]` or `[build-dependencies]`.
    Normal,
    /// `[dev-dependencies]`.
    Dev,
}

/// One dependency between two crates of the workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edge {
    /// The crate that declares it.
    pub from: String,
    /// The crate it names.
    pub to: String,
    /// In which table.
    pub kind: Kind,
}

/// What is wrong with the workspace of this `cargo metadata --no-deps`; empty where nothing is.
pub fn violations(metadata: &Value) -> Vec<String> {
    let (crates, edges) = graph(metadata);
    let mut found: Vec<String> = crates
        .iter()
        .filter(|name| *name != TESTKIT && level(name).is_none())
        .map(|name| format!("{name} has no level: give it one in xtask/src/layers.rs and in ARCHITECTURE.md"))
        .collect();
    found.extend(edges.iter().filter_map(violation));
    found
}

fn level(name: &str) -> Option<u8> {
    LEVELS.iter().find(|(known, _)| *known == name).map(|(_, level)| *level)
}

fn violation(Edge { from, to, kind }: &Edge) -> Option<String> {
    if to == TESTKIT {
        let allowed = *kind == Kind::Dev;
        return (!allowed).then(|| format!("{from} -> {to}: the testkit is a dev-dependency only"));
    }
    if from == TESTKIT {
        let allowed = level(to) == Some(0);
        return (!allowed)
            .then(|| format!("{from} -> {to}: the testkit may use level 0 only, so that every crate can use it"));
    }
    if from == to && *kind == Kind::Dev {
        // Cargo's idiom for turning on features of the crate itself in its tests.
        return None;
    }
    if from == BUILD_TOOL {
        return Some(format!("{from} -> {to}: the build tool uses no crate of the workspace"));
    }
    // A crate without a level is reported by itself.
    let (above, below) = (level(from)?, level(to)?);
    let sideways = *kind == Kind::Dev && below == above;
    (below >= above && !sideways)
        .then(|| format!("{from} (level {above}) -> {to} (level {below}): a dependency must point to a lower level"))
}

fn graph(metadata: &Value) -> (Vec<String>, Vec<Edge>) {
    let empty = Vec::new();
    let packages = metadata["packages"].as_array().unwrap_or(&empty);
    let name_of = |value: &Value| value["name"].as_str().unwrap_or_default().to_owned();
    let crates: Vec<String> = packages.iter().map(name_of).collect();
    let mut edges = Vec::new();
    for package in packages {
        for dependency in package["dependencies"].as_array().unwrap_or(&empty) {
            let to = name_of(dependency);
            // A crate of the registry may have any name; ours have a path.
            if dependency["path"].is_string() || crates.contains(&to) {
                let kind = if dependency["kind"].as_str() == Some("dev") { Kind::Dev } else { Kind::Normal };
                edges.push(Edge { from: name_of(package), to, kind });
            }
        }
    }
    (crates, edges)
}

#[cfg(test)]
mod tests;
