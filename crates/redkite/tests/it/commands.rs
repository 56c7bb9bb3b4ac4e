//! Commands that end by themselves.

use crate::{run, stderr, stdout};

#[test]
fn help_has_examples_and_version_a_number() {
    let check = |args: &[&str], words: &[&str]| {
        let output = run(args);
        assert_eq!(output.status.code(), Some(0), "{args:?}");
        for word in words {
            assert!(stdout(&output).contains(word), "{args:?}: no {word:?} in {}", stdout(&output));
        }
    };
    check(&["--help"], &["standalone", "demo", "Examples:"]);
    check(&["standalone", "--help"], &["[default: ./redkite-data]", "--set", "REDKITE_", "Examples:"]);
    check(&["demo", "--help"], &["--exit", "[default: a temporary one]", "Examples:"]);
    check(&["meta", "dump", "--help"], &["etcd.endpoints", "Examples:"]);
    assert!(!stdout(&run(&["demo", "--help"])).contains("./redkite-data"));
    let version = concat!("redkite ", env!("CARGO_PKG_VERSION"), "\n");
    check(&["--version"], &[version]);
    check(&["version"], &[version]);
}

#[test]
fn wrong_arguments_and_settings_exit_with_2() {
    let check = |args: &[&str], word: &str| {
        let output = run(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(stderr(&output).contains(word), "{args:?}: {}", stderr(&output));
    };
    check(&[], "Usage");
    check(&["nonsense"], "nonsense");
    check(&["standalone", "--set", "flush_intervall=1"], "did you mean flush_interval?");
    check(&["standalone", "--listen", "localhost:x"], "\"localhost:x\" (from --listen)");
    check(&["demo", "--set", "num_replicas=1"], "num_nodes - 1");
    check(&["meta", "dump", "--config", "/nowhere.toml"], "/nowhere.toml");
}

#[test]
fn a_wrong_setting_touches_nothing() {
    let scratch = tempfile::tempdir().unwrap();
    let data = scratch.path().join("data");
    run(&["standalone", "--data-dir", data.to_str().unwrap(), "--set", "sync_level=1"]);
    assert!(!data.exists());
}

#[test]
fn the_demonstration_shows_searches_and_leaves_nothing_behind() {
    let output = run(&["demo", "--listen", "127.0.0.1:0", "--http", "", "--exit"]);
    let text = stdout(&output);
    assert_eq!(output.status.code(), Some(0), "{text}{}", stderr(&output));
    for word in ["Inserted 5,000 of 5,000", "\"ski downhill\"", "ski race, noun", "where lemma like", " ms"] {
        assert!(text.contains(word), "no {word:?} in {text}");
    }
    assert!(!text.contains("nothing found"), "{text}");
    let directory = text.lines().next().and_then(|line| line.rsplit(' ').next()).unwrap();
    assert!(directory.contains("redkite-demo-") && !std::path::Path::new(directory).exists(), "{directory}");
}

#[test]
fn the_demonstration_finds_its_data_again() {
    let scratch = tempfile::tempdir().unwrap();
    let data = scratch.path().to_str().unwrap();
    let demo = ["demo", "--listen", "127.0.0.1:0", "--http", "", "--exit", "--data-dir", data];
    assert!(stdout(&run(&demo)).contains("Inserted 5,000"));
    let again = stdout(&run(&demo));
    assert!(again.contains("there already and has 5,000 rows") && again.contains("ski race"), "{again}");
}
