//! Starting and ending.

use std::fs;
use std::time::Duration;

use redkite_testkit::RedkiteOptions;

use crate::{BINARY, run, stderr};

const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn the_banner_has_two_lines_on_stdout_and_sigterm_ends_with_0() {
    let mut server = RedkiteOptions::new(BINARY).set("log", "off").start().unwrap();
    assert_eq!(server.terminate(PATIENCE).unwrap().code(), Some(0));
    let log = server.log();
    let lines: Vec<&str> = log.lines().collect();
    assert_eq!(lines.len(), 2, "{log}");
    for word in
        [server.address().to_string(), server.http_address().to_string(), server.data_dir().display().to_string()]
    {
        assert!(lines[0].contains(&word), "no {word} in {}", lines[0]);
    }
    assert!(lines[1].contains("flush()") && lines[1].contains("auto_flush"), "{}", lines[1]);
}

#[test]
fn the_log_says_how_long_the_start_took() {
    let server = RedkiteOptions::new(BINARY).arg("--log-format").arg("json").start().unwrap();
    let log = server.log();
    let line = log.lines().find(|line| line.contains("\"serving\"")).unwrap_or_else(|| panic!("{log}"));
    let line: serde_json::Value = serde_json::from_str(line).unwrap();
    assert!(line["start_ms"].as_f64().is_some_and(|ms| ms > 0.0), "{line}");
}

#[test]
fn a_port_in_use_is_one_clear_line() {
    let server = RedkiteOptions::new(BINARY).start().unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let data = scratch.path().to_str().unwrap();
    for (key, address) in [("listen", server.address()), ("http", server.http_address())] {
        let other = if key == "listen" { "--http" } else { "--listen" };
        let flag = format!("--{key}");
        let args =
            ["standalone", "--data-dir", data, &flag, &address.to_string(), other, "127.0.0.1:0", "--set", "log=off"];
        let output = run(&args);
        assert_eq!(output.status.code(), Some(1));
        let said = stderr(&output);
        assert!(said.lines().count() == 1 && said.contains(&address.to_string()) && said.contains("in use"), "{said}");
    }
}

#[test]
fn a_directory_in_use_is_refused_naming_it_and_the_process() {
    let server = RedkiteOptions::new(BINARY).start().unwrap();
    let data = server.data_dir().to_str().unwrap();
    let output = run(&["standalone", "--data-dir", data, "--listen", "127.0.0.1:0", "--http", "", "--set", "log=off"]);
    assert_eq!(output.status.code(), Some(1));
    let said = stderr(&output);
    for word in [data, "in use", &server.pid().to_string()] {
        assert!(said.contains(word), "no {word} in {said}");
    }
    assert_eq!(said.lines().count(), 1, "{said}");
}

#[test]
fn a_newer_directory_is_refused_by_name() {
    let scratch = tempfile::tempdir().unwrap();
    fs::write(scratch.path().join("redkite.json"), "{\"format\":99}").unwrap();
    let data = scratch.path().to_str().unwrap();
    for args in [vec!["standalone", "--data-dir", data], vec!["meta", "dump", "--data-dir", data]] {
        let output = run(&args);
        assert_eq!(output.status.code(), Some(1));
        let said = stderr(&output);
        assert!(said.contains(data) && said.contains("99") && said.contains("use a newer redkite"), "{said}");
    }
    assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 1, "nothing was written");
}

#[test]
fn the_lock_goes_with_the_process_however_it_ends() {
    let mut server = RedkiteOptions::new(BINARY).start().unwrap();
    server.kill9().unwrap();
    server.restart().unwrap();
    server.terminate(PATIENCE).unwrap();
    server.restart().unwrap();
}

#[test]
fn another_storage_url_under_the_same_metadata_is_refused() {
    let scratch = tempfile::tempdir().unwrap();
    let [first, second] = ["first", "second"].map(|name| format!("file://{}/{name}", scratch.path().display()));
    let mut server = RedkiteOptions::new(BINARY).set("storage.url", &first).start().unwrap();
    assert_eq!(server.terminate(PATIENCE).unwrap().code(), Some(0));
    let data = server.data_dir().to_str().unwrap().to_owned();
    let url = format!("storage.url={second}");
    let output = run(&[
        "standalone",
        "--data-dir",
        &data,
        "--listen",
        "127.0.0.1:0",
        "--http",
        "",
        "--set",
        "log=off",
        "--set",
        &url,
    ]);
    assert_eq!(output.status.code(), Some(1));
    let said = stderr(&output);
    for word in ["storage.url", &second, ".redkite-store", "set storage.url to that store again"] {
        assert!(said.contains(word), "no {word} in {said}");
    }
    assert_eq!(said.lines().count(), 1, "{said}");
    server.restart().unwrap();
}

/// The claim to the files belongs to that metadata, although there are no files yet.
#[test]
fn metadata_that_is_gone_is_missed_until_nothing_that_belongs_to_it_is_left() {
    let mut server = RedkiteOptions::new(BINARY).start().unwrap();
    server.terminate(PATIENCE).unwrap();
    let data = server.data_dir().to_owned();
    fs::remove_file(data.join("meta.redb")).unwrap();
    let output = run(&["standalone", "--data-dir", data.to_str().unwrap(), "--listen", "127.0.0.1:0", "--http", ""]);
    assert_eq!(output.status.code(), Some(1));
    let said = stderr(&output);
    for word in
        ["meta.redb is missing", "objects holds files that belong to it", "restore it", "another data directory"]
    {
        assert!(said.contains(word), "no {word} in {said}");
    }
    fs::remove_dir_all(data.join("objects")).unwrap();
    server.restart().unwrap();
}

/// Two metadata stores over one store, as if somebody had started anew over a bucket that is in use.
#[test]
fn files_of_other_metadata_are_refused() {
    let scratch = tempfile::tempdir().unwrap();
    let url = format!("file://{}/objects", scratch.path().display());
    let mut server = RedkiteOptions::new(BINARY).set("storage.url", &url).start().unwrap();
    let (other, url) = (scratch.path().join("other").to_str().unwrap().to_owned(), format!("storage.url={url}"));
    let place = ["standalone", "--data-dir", &other, "--listen", "127.0.0.1:0", "--http", ""];
    let output = run(&[&place[..], &["--set", "log=off", "--set", &url]].concat());
    assert_eq!(output.status.code(), Some(1));
    let said = stderr(&output);
    for word in ["storage.url", "user default", ".redkite-user-default", "another user"] {
        assert!(said.contains(word), "no {word} in {said}");
    }
    assert_eq!(said.lines().count(), 1, "{said}");
    server.terminate(PATIENCE).unwrap();
    server.restart().unwrap();
}
