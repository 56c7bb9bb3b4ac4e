use super::Pattern;

#[test]
fn shapes() {
    let shape = |pattern: &str| match Pattern::new(pattern).unwrap() {
        Pattern::Exact(_) => "exact",
        Pattern::Prefix(_) => "prefix",
        Pattern::Suffix(_) => "suffix",
        Pattern::Infix(_) => "infix",
        Pattern::Segments(_) => "segments",
        Pattern::Whole(_) => "whole",
    };
    for (pattern, expected) in [
        ("abc", "exact"),
        ("", "exact"),
        ("a\\%", "exact"),
        ("abc%", "prefix"),
        ("abc%%", "prefix"),
        ("%", "prefix"),
        ("%%%", "prefix"),
        ("%abc", "suffix"),
        ("%abc%", "infix"),
        ("%%abc%%", "infix"),
        ("a%b", "segments"),
        ("%a%b%", "segments"),
        ("_%", "segments"),
        ("%a_b%", "segments"),
        ("a_c", "whole"),
    ] {
        assert_eq!(shape(pattern), expected, "{pattern}");
    }
}

#[test]
fn matches() {
    // Pattern, texts that fit, texts that do not.
    let cases: &[(&str, &[&str], &[&str])] = &[
        ("abc", &["abc"], &["ab", "abcd", "ABC", ""]),
        ("", &[""], &["a"]),
        ("a%", &["a", "abc"], &["", "ba"]),
        ("%a", &["a", "cba"], &["", "ab"]),
        ("%a%", &["a", "bab"], &["", "b"]),
        ("%", &["", "a", "\u{4e2d}"], &[]),
        ("a%a", &["aa", "aba"], &["a", "ab"]),
        ("ab%ba", &["abba", "abxba"], &["aba", "ab"]),
        ("%ab%ab%", &["abab", "xabyabz"], &["ab", "aab"]),
        ("%aab%", &["aaab", "aab"], &["abab"]),
        ("_", &["a", "\u{4e2d}", "\u{1f600}"], &["", "ab"]),
        ("a_c", &["abc", "a\u{e9}c"], &["ac", "abbc"]),
        ("%a_c%", &["xxabcxx", "aac", "aaac"], &["ac", "a"]),
        ("%_b%_b%", &["abab", "abbb"], &["bab", "ab"]),
        ("_%_", &["ab", "abc"], &["a", ""]),
        ("a\\%b", &["a%b"], &["axb"]),
        ("a\\_b", &["a_b"], &["axb"]),
        ("a\\\\b", &["a\\b"], &["a\\\\b"]),
        ("a\\b", &["ab"], &["a\\b"]),
        ("a\\", &["a\\"], &["a"]),
        ("%\u{e9}_\u{e9}%", &["x\u{e9}y\u{e9}z"], &["x\u{e9}\u{e9}z"]),
    ];
    for (pattern, fitting, other) in cases {
        let compiled = Pattern::new(pattern).unwrap();
        fitting.iter().for_each(|text| assert!(compiled.matches(text), "{pattern} fits {text}"));
        other.iter().for_each(|text| assert!(!compiled.matches(text), "{pattern} does not fit {text}"));
    }
}

#[test]
fn segments_longer_than_a_machine_word() {
    let pattern = format!("%{}_x%", "ab".repeat(70));
    let compiled = Pattern::new(&pattern).unwrap();
    assert!(compiled.matches(&format!("zab{}qx", "ab".repeat(70))));
    assert!(!compiled.matches(&format!("z{}qx", "ab".repeat(69))));
}

#[test]
fn the_longest_pattern() {
    assert!(Pattern::new(&"\\a".repeat(65_535)).is_ok());
    assert!(Pattern::new(&"a".repeat(200_000)).is_err());
}
