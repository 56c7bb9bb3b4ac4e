//! Where pages begin and how large they are.

use super::*;

#[test]
fn a_prefix_ends_before_the_next_text() {
    for (prefix, end) in [("/a", "/b"), ("/a/", "/a0"), ("ä", "å"), ("a\u{d7ff}", "a\u{e000}"), ("a\u{10ffff}", "b")]
    {
        assert_eq!(end_of(prefix), end);
        assert!(format!("{prefix}\u{10ffff}\u{10ffff}").as_str() < end);
    }
    assert_eq!(end_of("\u{10ffff}"), "\0");
}

#[test]
fn the_next_page_starts_after_the_last_key() {
    let next = |range| {
        let mut page = Page { range, revision: None, keys: 1, keys_only: false };
        page.start_after("/a/5");
        page.range
    };
    let after = |end: &str| KeyRange::Between("/a/5\0".to_owned(), end.to_owned());
    assert_eq!(next(KeyRange::Prefix("/a/".to_owned())), after("/a0"));
    assert_eq!(next(KeyRange::Between("/a".to_owned(), "/z".to_owned())), after("/z"));
    assert_eq!(next(after("/a0")), after("/a0"));
}

#[test]
fn pages_follow_the_size_of_the_keys() {
    let mut page = Page { range: KeyRange::Prefix("/".to_owned()), revision: None, keys: 1, keys_only: false };
    for (keys, bytes, want) in
        [(100, 100 * 1024, 1024), (4, 4_000_000, 1), (1_000, 1_000, PAGE_KEYS_MAX), (0, 0, PAGE_KEYS_MAX)]
    {
        page.resize(keys, bytes);
        assert_eq!(page.keys, want, "{keys} keys of {bytes} bytes");
    }
}
