use serde_json::{Value, json};

use super::PathTree;
use crate::ast::PathStep;

fn key(name: &str) -> PathStep {
    PathStep::Key(name.to_owned())
}

fn extract(text: &str, paths: &[Vec<PathStep>]) -> Vec<Option<Value>> {
    let mut tree = PathTree::default();
    paths.iter().for_each(|path| tree.add(path));
    let mut values = vec![Some(json!("left over")); tree.len()];
    tree.extract(text, &mut values);
    paths.iter().map(|path| values[tree.position(path).unwrap()].clone()).collect()
}

#[test]
fn one_reading_for_all_paths() {
    let text = r#"{"a": {"b": [1, {"c": "x"}], "skip": {"a": 9}}, "n": null, "a b": 2.5}"#;
    let paths = vec![
        vec![key("a"), key("b"), PathStep::Index(1), key("c")],
        vec![key("a"), key("b")],
        vec![key("n")],
        vec![key("a b")],
        vec![key("a"), key("missing")],
        vec![key("a"), PathStep::Index(0)],
        vec![key("a"), key("b"), key("0")],
        vec![key("a"), key("b"), PathStep::Index(0)],
        vec![key("a"), key("b"), PathStep::Index(0)],
    ];
    let expected = vec![
        Some(json!("x")),
        Some(json!([1, {"c": "x"}])),
        Some(Value::Null),
        Some(json!(2.5)),
        None,
        None,
        None,
        Some(json!(1)),
        Some(json!(1)),
    ];
    assert_eq!(extract(text, &paths), expected);
}

#[test]
fn scalars_and_roots() {
    assert_eq!(extract("[1, 2]", &[vec![PathStep::Index(1)], vec![]]), [Some(json!(2)), Some(json!([1, 2]))]);
    for scalar in ["1", "-1", "18446744073709551615", "1.5", "true", "null", "\"text\"", "\"esc\\n\""] {
        let whole: Value = serde_json::from_str(scalar).unwrap();
        assert_eq!(extract(scalar, &[vec![key("a")], vec![]]), [None, Some(whole)], "{scalar}");
        assert_eq!(extract(scalar, &[vec![key("a"), PathStep::Index(0)]]), [None], "{scalar}");
    }
}

#[test]
fn the_last_of_a_repeated_key_counts() {
    let paths = [vec![key("a")], vec![key("a"), key("b")]];
    assert_eq!(extract(r#"{"a": {"b": 1}, "a": 2}"#, &paths), [Some(json!(2)), None]);
    let paths = [vec![key("a"), key("b")]];
    assert_eq!(extract(r#"{"a": {"b": 1}, "a": {}}"#, &paths), [None]);
    assert_eq!(extract(r#"{"a": {"b": 1}, "a": {"b": 3}}"#, &paths), [Some(json!(3))]);
}

#[test]
fn texts_that_are_not_json_have_no_values() {
    let deep = format!("{{\"a\": 1, \"b\": {}{}}}", "[".repeat(1000), "]".repeat(1000));
    let paths = [vec![key("a")]];
    // What is skipped may be nested as deep as it likes.
    assert_eq!(extract(&deep, &paths), [Some(json!(1))]);
    assert_eq!(extract(&deep, &[vec![key("a")], vec![key("b")]]), [None, None]);
    for text in ["", "{", r#"{"a": 1"#, r#"{"a": 1}}"#, r#"{"a": 1, }"#, "nonsense", r#"{"a": 1} x"#] {
        assert_eq!(extract(text, &paths), [None], "{text}");
    }
}
