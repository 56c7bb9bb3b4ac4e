//! Template variables.

use redkite_expr::{TemplateValue, Templates, parse};

use crate::fixture::{schema, select, sent};

fn templates() -> Templates {
    let list = |values: Vec<TemplateValue>| TemplateValue::Array(values);
    [
        ("one", TemplateValue::Int(1)),
        ("five", TemplateValue::Int(5)),
        ("half", TemplateValue::Float(0.5)),
        ("nan", TemplateValue::Float(f64::NAN)),
        ("yes", TemplateValue::Bool(true)),
        ("apple", TemplateValue::Text("apple".into())),
        ("pattern", TemplateValue::Text("%an%".into())),
        ("keys", list(vec![TemplateValue::Int(1), TemplateValue::Int(5)])),
        ("texts", list(vec![TemplateValue::Text("apple".into()), TemplateValue::Text("".into())])),
        ("mixed", TemplateValue::from_json(br#"[1, "text", 2.5, true]"#).unwrap()),
        ("none", list(vec![])),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect()
}

#[test]
fn values() {
    let cases: &[(&str, &[usize])] = &[
        ("i8 == {one}", &[0]),
        ("{one} == i8", &[0]),
        ("{ one } < i8", &[3, 5]),
        ("{one} <= i8 < {five}", &[0]),
        ("i8 in {keys}", &[0, 5]),
        ("i8 not in {keys}", &[1, 3, 4]),
        ("i8 in {none}", &[]),
        ("i8 in [{one}, 127]", &[0, 3]),
        ("name == {apple}", &[0]),
        ("name in {texts}", &[0, 5]),
        ("name like {pattern}", &[1]),
        ("flag == {yes}", &[0, 3, 5]),
        ("i8 + {one} == {one}", &[]),
        ("i8 + {half} == 1.5", &[0]),
        ("d == {nan}", &[]),
        ("d != {nan}", &[0, 1, 2, 3, 4, 5]),
        ("i8 == {nan}", &[]),
        ("i8 != {nan}", &[0, 1, 3, 4, 5]),
        ("j['a'] in {mixed}", &[0, 1, 2]),
        ("json_contains(j['arr'], {one})", &[0, 1]),
        ("array_contains_any(nums, {keys})", &[0, 5]),
        ("nums == {keys}", &[]),
        ("color == {apple} or i8 == {five}", &[5]),
    ];
    for (filter, expected) in cases {
        let predicate = parse(filter, &templates(), &schema()).unwrap_or_else(|error| panic!("{filter}: {error}"));
        assert_eq!(select(&predicate), *expected, "{filter}");
        assert_eq!(select(&sent(predicate, filter, &templates())), *expected, "{filter}, sent");
    }
}

#[test]
fn errors() {
    let cases = [
        ("i8 == {x}", "the value of expression template variable name {x} is not found"),
        ("true or i8 == {x}", "the value of expression template variable name {x} is not found"),
        ("i8 in {one}", "the value of term expression template variable is not array"),
        ("i8 == {apple}", "comparisons between Int8 and VarChar are not supported"),
        ("i8 in {texts}", "value 'apple' in list cannot be casted to Int8"),
        ("{one} == 1", "placeholder was not supported between two constants with operator: =="),
        ("i8 == {one} + 1", "placeholder was not supported between two constants with operator: add"),
        ("{five} < i8 < {one}", "lowerbound is greater than upperbound"),
        ("i8 == {one", "expected '}'"),
        ("i8 == {1}", "expected the name of a template variable"),
    ];
    for (filter, expected) in cases {
        let error = parse(filter, &templates(), &schema()).unwrap_err().to_string();
        assert!(error.contains(expected), "{filter}: {error}");
    }
}

#[test]
fn json_values() {
    use redkite_expr::Constant::{Array, Bool, Float, Int, Text};
    let cases = [
        ("1", Int(1)),
        ("1.5", Float(1.5)),
        ("18446744073709551615", Float(18446744073709551615.0)),
        ("true", Bool(true)),
        ("\"a\"", Text("a".into())),
        ("[1, [\"a\"]]", Array(vec![Int(1), Array(vec![Text("a".into())])])),
    ];
    for (text, expected) in cases {
        assert_eq!(TemplateValue::from_json(text.as_bytes()).unwrap(), expected, "{text}");
    }
    let deep = "[".repeat(10_000);
    for bad in ["null", "{}", "[null]", "", "[1", deep.as_str()] {
        assert!(TemplateValue::from_json(bad.as_bytes()).is_err(), "{}", &bad[..bad.len().min(20)]);
    }
}
