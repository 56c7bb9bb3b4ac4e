//! The check on made-up graphs.

use serde_json::{Value, json};

use super::violations;

/// A workspace from lines like `redkite-api -> redkite-types`, `redkite-api dev-> redkite-testkit`, or a crate's name alone.
fn workspace(lines: &[&str]) -> Value {
    let packages = lines.iter().map(|line| {
        let mut words = line.split_whitespace();
        let name = words.next().unwrap();
        let kind = match words.next() {
            None => return json!({"name": name, "dependencies": []}),
            Some("dev->") => json!("dev"),
            Some("build->") => json!("build"),
            Some(_) => Value::Null,
        };
        let to = words.next().unwrap();
        json!({"name": name, "dependencies": [{"name": to, "kind": kind, "path": format!("/ws/{to}")}]})
    });
    json!({"packages": packages.collect::<Vec<_>>()})
}

fn check(lines: &[&str], expected: &[&str]) {
    let found = violations(&workspace(lines));
    let matches = found.len() == expected.len() && found.iter().zip(expected).all(|(text, want)| text.contains(want));
    assert!(matches, "{lines:?} gave {found:?}, expected {expected:?}");
}

#[test]
fn edges_down_are_fine() {
    check(&["redkite-types", "redkite-expr -> redkite-types", "redkite -> redkite-types"], &[]);
    check(
        &["redkite-table -> redkite-storage", "redkite-table -> redkite-index", "redkite-query -> redkite-table"],
        &[],
    );
    check(&["redkite-query dev-> redkite-meta"], &[]);
    check(&["redkite-query dev-> redkite-ingest"], &[]);
    check(&["redkite-bench -> redkite-api"], &[]);
    check(&["redkite-meta dev-> redkite-meta"], &[]);
}

#[test]
fn edges_up_and_sideways_are_not() {
    check(&["redkite-types -> redkite-expr"], &["lower level"]);
    check(&["redkite-storage -> redkite-meta"], &["redkite-storage (level 2) -> redkite-meta (level 2)"]);
    check(&["redkite-ingest dev-> redkite-api"], &["lower level"]);
    check(&["redkite-meta build-> redkite"], &["lower level"]);
    check(&["redkite-api -> redkite-api"], &["lower level"]);
    check(&["redkite -> redkite-bench"], &["lower level"]);
}

#[test]
fn the_testkit_stands_aside() {
    check(&["redkite-testkit -> redkite-types", "redkite-types dev-> redkite-testkit"], &[]);
    check(&["redkite-meta -> redkite-testkit"], &["dev-dependency only"]);
    check(&["redkite-meta build-> redkite-testkit"], &["dev-dependency only"]);
    check(&["redkite-testkit -> redkite-meta"], &["level 0 only"]);
    check(&["redkite-testkit dev-> redkite-table"], &["level 0 only"]);
}

#[test]
fn every_crate_has_a_level() {
    check(&["redkite-cache -> redkite-types"], &["redkite-cache has no level"]);
    check(&["xtask -> redkite-types"], &["uses no crate of the workspace"]);
}

#[test]
fn crates_of_the_registry_are_nobody_here() {
    let metadata = json!({"packages": [
        {"name": "redkite-types", "dependencies": [{"name": "serde", "kind": null}, {"name": "proptest", "kind": "dev"}]},
    ]});
    assert_eq!(violations(&metadata), Vec::<String>::new());
}
