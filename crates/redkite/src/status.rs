//! `redkite status`: asks a Master what it knows of the nodes of its cluster.

use std::fmt::Write as _;
use std::io::Write as _;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::ask::{Target, ask};
use crate::cli::StatusArgs;

/// A Master answers from what it has in memory.
const PATIENCE: Duration = Duration::from_secs(10);

/// Asks and prints: for people a table, for programs what the Master answered.
pub fn run(args: &StatusArgs) -> Result<()> {
    let master = Target::named("--master", &args.master, &args.tls)?;
    let answer = ask(&master, "GET", "/redkite/loads", PATIENCE)
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
        "{:<16} {:>6}  {:<28} {:<8} {:>8} {:>10} {:>10} {:>8} {:>8} {:>10}\n",
        "cluster", "node", "address", "state", "clients", "memory", "fragments", "to come", "missing", "revision"
    );
    for node in nodes {
        let state = match (node["alive"].as_bool(), node["state"].as_str()) {
            (Some(true), Some("serving") | None) => "alive",
            (Some(true), Some(state)) => state,
            _ => "down",
        };
        // What a node that has never answered holds nobody knows.
        let number = |key: &str| node[key].as_u64().map_or_else(|| "-".to_owned(), |number| number.to_string());
        _ = writeln!(
            text,
            "{:<16} {:>6}  {:<28} {state:<8} {:>8} {:>7.1} MB {:>10} {:>8} {:>8} {:>10}",
            node["cluster"].as_str().unwrap_or_default(),
            node["node"],
            node["address"].as_str().unwrap_or_default(),
            node["load"],
            node["memory_bytes"].as_f64().unwrap_or_default() / 1e6,
            number("fragments"),
            number("pending"),
            number("missing"),
            number("revision"),
        );
    }
    match answer["missing_replicas"].as_u64() {
        Some(missing) if missing > 0 => _ = writeln!(text, "{missing} copies of fragments are missing."),
        _ => {}
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
            json!({
                "cluster": "c1", "node": node, "address": address, "alive": alive, "state": "serving", "load": 7,
                "memory_bytes": 12_345_678,
            })
        };
        let mut first = node(1, true);
        for (key, value) in [("fragments", 5), ("pending", 2), ("missing", 1), ("revision", 99)] {
            first[key] = json!(value);
        }
        let mut leaving = first.clone();
        leaving["state"] = json!("draining");
        let text = table(&json!({ "nodes": [first, leaving, node(12, false)], "missing_replicas": 3 }));
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[1], ["c1", "1", "10.0.0.1:19530", "alive", "7", "12.3", "MB", "5", "2", "1", "99"]);
        assert_eq!(lines[2][3], "draining");
        assert_eq!(lines[3], ["c1", "12", "10.0.0.12:19530", "down", "7", "12.3", "MB", "-", "-", "-", "-"]);
        assert_eq!(text.lines().last().unwrap(), "3 copies of fragments are missing.");
        assert_eq!(table(&json!({ "nodes": [] })), "The Master knows of no nodes.\n");
    }
}
