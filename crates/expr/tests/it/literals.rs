//! How numbers and texts are written.

use redkite_expr::{Templates, parse};

use crate::fixture::{check_all, schema};

#[test]
fn numbers() {
    check_all(&[
        ("i8 == 0x1", &[0]),
        ("i8 == 0X7F", &[3]),
        ("i8 == 0b101", &[5]),
        ("i8 == 05", &[5]),
        ("i8 == 0177", &[3]),
        ("i8 == 00 + 1", &[0]),
        ("d == 1.5e0", &[0]),
        ("d == 15E-1", &[0]),
        ("d == .15e+1", &[0]),
        ("d == 3.", &[3]),
        ("d == 0x1.8p0", &[0]),
        ("d == 0x3p-1", &[0]),
        ("d == 0X.8P1 + 0.5", &[0]),
        ("i64 == 0x7fffffffffffffff", &[5]),
        ("i64 == -0x8000000000000000", &[4]),
        ("i8 == - 128", &[4]),
    ]);
}

#[test]
fn texts() {
    // The constant that the filter compares with, told through the keys of a text primary key.
    let mut schema = schema();
    schema.fields[0].data_type = redkite_types::DataType::VarChar { max_length: 64 };
    let cases: &[(&str, &str)] = &[
        ("\"plain\"", "plain"),
        ("'plain'", "plain"),
        ("'it\\'s'", "it's"),
        ("\"it's\"", "it's"),
        ("'a \"quote\"'", "a \"quote\""),
        ("\"\\\"\"", "\""),
        (r"'\a\b\f\n\r\t\v\\\?'", "\u{7}\u{8}\u{c}\n\r\t\u{b}\\?"),
        (r"'\x41\102\0'", "AB\0"),
        (r"'\xc3\xa9'", "\u{e9}"),
        (r"'a\xa0b\xad'", "a\u{a0}b\u{ad}"),
        (r"'\u00e9\U0001F600'", "\u{e9}\u{1f600}"),
        (r"'\ud83d\ude00'", "\u{1f600}"),
        (r"r'\d+\n'", r"\d+\n"),
        (r"R'it\'s'", r"it\'s"),
        ("u8'x'", "x"),
        ("u'x'", "x"),
        ("U\"x\"", "x"),
        ("L'x'", "x"),
        ("'\u{4e2d}\u{6587}'", "\u{4e2d}\u{6587}"),
        (r"'50\%'", r"50\%"),
        ("'tab\there'", "tab\there"),
    ];
    for (literal, expected) in cases {
        let predicate = parse(&format!("id == {literal}"), &Templates::new(), &schema).unwrap();
        let keys = redkite_types::Keys::Text(vec![(*expected).to_owned()]);
        assert_eq!(predicate.exact_keys(), Some(&keys), "{literal}");
    }
}

#[test]
fn malformed_literals() {
    for literal in [
        "'",
        "\"abc",
        "'abc\"",
        "'a\nb'",
        "'\\",
        "'\\q'",
        "'\\x4'",
        "'\\xg0'",
        "'\\u12'",
        "'\\ud800'",
        "'\\777'",
        "r'abc",
        "0x",
        "0b",
        "0b2",
        "08",
        "0x1.8",
        "0x1p",
        "0x.p1",
        "1e999",
        "9223372036854775808",
        "-9223372036854775809",
        "99999999999999999999",
        "1abc",
        "1..2",
        "@",
        "\u{4e2d}",
    ] {
        let result = parse(&format!("id == {literal}"), &Templates::new(), &schema());
        assert!(result.is_err(), "{literal}: {result:?}");
    }
}
