//! `redkite meta dump`.

use std::collections::BTreeMap;
use std::time::Duration;

use redkite_testkit::RedkiteOptions;
use serde_json::{Value, json};

use crate::{BINARY, run, stderr, stdout};

const PATIENCE: Duration = Duration::from_secs(20);

/// Key to value.
fn dump(data_dir: &str) -> BTreeMap<String, Value> {
    let output = run(&["meta", "dump", "--data-dir", data_dir]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let parse = |line: &str| {
        let mut line: Value = serde_json::from_str(line).expect("each line is JSON");
        assert!(line["create_revision"].is_i64() && line["mod_revision"].is_i64(), "{line}");
        (line["key"].as_str().expect("a key is text").to_owned(), line["value"].take())
    };
    let text = stdout(&output);
    let lines: Vec<&str> = text.lines().collect();
    // The first and the last are about all of them.
    let [first, keys @ .., last] = &lines[..] else { panic!("{text}") };
    assert!(first.starts_with("{\"redkite_dump\":1,") && last.contains("sha256"), "{text}");
    keys.iter().map(|line| parse(line)).collect()
}

#[test]
fn s34_the_clusters_configuration_is_stored_and_kept_up_to_date() {
    let options = RedkiteOptions::new(BINARY).set("cluster_id", "c1").set("flush_limitation", "8M");
    let mut server = options.start().unwrap();
    let data = server.data_dir().to_str().unwrap().to_owned();
    let stored = dump(&data);
    assert_eq!(stored["/user_list"], json!(["default"]));
    let want = |auto_flush: bool, limit: &str| {
        json!({
            "format": 1, "auto_flush": auto_flush, "flush_interval": 1000, "flush_limitition": limit,
            "num_nodes": 1, "num_replicas": 0, "sync_level": 0, "master_address": "", "high_water_level": 0.6, "ip_whitelist": [],
        "master_heart_beat_interval": 1000, "time_out_on_heart_beat": 3,
        })
    };
    assert_eq!(stored["/default/config/c1"], want(false, "8M"));
    server.restart_with(RedkiteOptions::new(BINARY).set("cluster_id", "c1").set("auto_flush", "true")).unwrap();
    assert_eq!(dump(&data)["/default/config/c1"], want(true, "16M"));
}

#[test]
fn a_running_server_and_a_stopped_one_tell_the_same() {
    let mut server = RedkiteOptions::new(BINARY).start().unwrap();
    let data = server.data_dir().to_str().unwrap().to_owned();
    let mut running = dump(&data);
    assert!(running.len() >= 3, "{running:?}");
    // What it still needs it tells while it runs, and no longer.
    assert!(running.remove("/default/.node/standalone/1/0").is_some());
    server.terminate(PATIENCE).unwrap();
    assert_eq!(dump(&data), running);
}

#[test]
fn where_there_is_nothing_it_says_so_and_makes_nothing() {
    let scratch = tempfile::tempdir().unwrap();
    let output = run(&["meta", "dump", "--data-dir", scratch.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("no redkite data"), "{}", stderr(&output));
    assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 0);
}

#[test]
fn of_a_server_without_http_it_says_one_thing_to_do() {
    let scratch = tempfile::tempdir().unwrap();
    let data = scratch.path().join("data");
    let log = scratch.path().join("log");
    let mut command = std::process::Command::new(BINARY);
    command.args(["standalone", "--listen", "127.0.0.1:0", "--http", "", "--data-dir"]).arg(&data);
    let mut server = redkite_testkit::Process::spawn("redkite", command, &log).unwrap();
    let serves = || std::fs::read_to_string(&log).is_ok_and(|text| text.contains("serving"));
    server.wait_ready(PATIENCE, serves).unwrap();
    let output = run(&["meta", "dump", "--data-dir", data.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    let said = stderr(&output);
    for word in [data.to_str().unwrap(), &server.pid().to_string(), "no --http address", "stop it, or start it again"] {
        assert!(said.contains(word), "no {word} in {said}");
    }
    assert!(!said.contains("another directory"), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
}
