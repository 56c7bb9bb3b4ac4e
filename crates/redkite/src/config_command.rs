//! `redkite config`: asks a Master for the configuration of its cluster (S34), or to change it.

use std::fmt::Write as _;
use std::io::Write as _;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value};

use crate::ask::{Target, ask, ask_with};
use crate::cli::{ConfigCommand, StatusArgs};

/// The Master reads or writes one key of the metadata.
const PATIENCE: Duration = Duration::from_secs(30);
/// Where.
const PATH: &str = "/redkite/config";

/// Asks and prints.
pub fn run(command: ConfigCommand) -> Result<()> {
    let text = match command {
        ConfigCommand::Get { args, key } => {
            let answer = ask(&master(&args)?, "GET", PATH, PATIENCE).with_context(|| asked(&args))?;
            shown(&answer, key.as_deref(), args.json)?
        }
        ConfigCommand::Set { args, changes } => {
            let (master, body) = (master(&args)?, serde_json::to_string(&changes)?);
            let answer = ask_with(&master, "PUT", PATH, &body, PATIENCE).with_context(|| asked(&args))?;
            shown(&answer, None, args.json)?
        }
    };
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).context("write to stdout")
}

fn master(args: &StatusArgs) -> Result<Target> {
    Target::named("--master", &args.master, &args.tls)
}

fn asked(args: &StatusArgs) -> String {
    format!("asking the Master at {} (see --master)", args.master)
}

/// For people TOML, or one value; for programs what the Master answered.
fn shown(answer: &str, key: Option<&str>, json: bool) -> Result<String> {
    let config: Map<String, Value> = serde_json::from_str(answer).context("the Master's answer is no JSON object")?;
    let Some(key) = key else {
        if json {
            return Ok(format!("{}\n", answer.trim()));
        }
        let mut text = String::new();
        for (key, value) in config.iter().filter(|(key, _)| *key != "format") {
            _ = writeln!(text, "{key} = {value}");
        }
        return Ok(text);
    };
    match config.get(key) {
        Some(Value::String(text)) if !json => Ok(format!("{text}\n")),
        Some(value) => Ok(format!("{value}\n")),
        None => bail!("{key:?} is no key of the cluster's; there are: {}", keys(&config)),
    }
}

fn keys(config: &Map<String, Value>) -> String {
    let keys: Vec<&str> = config.keys().map(String::as_str).filter(|key| *key != "format").collect();
    keys.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_force_is_printed_as_it_can_be_written() {
        let answer = r#"{"auto_flush":true,"flush_limitition":"16M","format":1,"ip_whitelist":["::1/128"]}"#;
        let all = "auto_flush = true\nflush_limitition = \"16M\"\nip_whitelist = [\"::1/128\"]\n";
        assert_eq!(shown(answer, None, false).unwrap(), all);
        assert_eq!(shown(answer, None, true).unwrap().trim(), answer);
        assert_eq!(shown(answer, Some("flush_limitition"), false).unwrap(), "16M\n");
        assert_eq!(shown(answer, Some("flush_limitition"), true).unwrap(), "\"16M\"\n");
        let said = shown(answer, Some("listen"), false).unwrap_err().to_string();
        assert!(said.contains("there are: auto_flush, flush_limitition, ip_whitelist"), "{said}");
    }
}
