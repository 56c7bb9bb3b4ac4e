//! `redkite status`: asks a Master what it knows of the nodes of its cluster.

use std::fmt::Write as _;
use std::io::Write as _;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::admin::resolve;
use crate::ask::ask;
use crate::cli::StatusArgs;

/// A Master answers from what it has in memory.
const PATIENCE: Duration = Duration::from_secs(10);

/// Asks and prints: for people a table, for programs what the Master answered.
pub fn run(args: &StatusArgs) -> Result<()> {
    let address = resolve("--master", &args.master)?;
    let answer = ask(address, "GET", "/redkite/loads", PATIENCE)
        .with_context(|| format!("the Master at {} (see --master) could not be asked", args.master))?;
    let text = match args.json {
        true => format!("{}\n", answer.trim()),
        false => table(&serde_json::from_str(&answer).context("the Master's answer is no JSON")?),
    };
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).context("write to stdout")
}

fn table(answer: &Value) -> String {
    let nodes = answer["nodes"].as_array().map(Vec::as_slice).unwrap_or_default();
    if nodes.is_empty() {
        return "The Master knows of no nodes.\n".to_owned();
    }
    let mut text = format!(
        "{:<16} {:>6}  {:<28} {:<6} {:>11} {:>9}\n",
        "cluster", "node", "address", "state", "connections", "memory"
    );
    for node in nodes {
        let state = if node["alive"].as_bool() == Some(true) { "alive" } else { "down" };
        _ = writeln!(
            text,
            "{:<16} {:>6}  {:<28} {state:<6} {:>11} {:>6.1} MB",
            node["cluster"].as_str().unwrap_or_default(),
            node["node"],
            node["address"].as_str().unwrap_or_default(),
            node["connections"],
            node["memory_bytes"].as_f64().unwrap_or_default() / 1e6,
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_table_says_who_is_alive() {
        let node = |node: u32, alive: bool| {
            let address = format!("10.0.0.{node}:19530");
            json!({ "cluster": "c1", "node": node, "address": address, "alive": alive, "connections": 7, "memory_bytes": 12_345_678 })
        };
        let text = table(&json!({ "nodes": [node(1, true), node(12, false)] }));
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[1], ["c1", "1", "10.0.0.1:19530", "alive", "7", "12.3", "MB"]);
        assert_eq!(lines[2][..4], ["c1", "12", "10.0.0.12:19530", "down"]);
        assert_eq!(table(&json!({ "nodes": [] })), "The Master knows of no nodes.\n");
    }
}
