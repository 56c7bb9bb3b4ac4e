use super::*;

#[test]
fn sizes_are_powers_of_1024() {
    let check = |text: &str, want: Option<u64>| assert_eq!(parse_size(text), want, "{text:?}");
    check("0", Some(0));
    check("1048576", Some(1 << 20));
    check("16M", Some(16 << 20));
    check("16m", Some(16 << 20));
    check("16 MiB", Some(16 << 20));
    check("2GB", Some(2 << 30));
    check("1T", Some(1 << 40));
    for text in ["", "M", "-1", "1.5G", "16X", "1M2", "99999999999999999999", "18446744073709551615K"] {
        check(text, None);
    }
}

#[test]
fn sizes_are_written_in_their_largest_whole_unit() {
    let check = |bytes: u64, want: &str| assert_eq!(size_text(bytes), want);
    check(0, "0");
    check(1023, "1023");
    check(16 << 20, "16M");
    check(1536 << 20, "1536M");
    check(2 << 30, "2G");
}

#[test]
fn addresses_have_a_host_and_a_port() {
    for text in ["127.0.0.1:19530", "0.0.0.0:0", "localhost:65535", "[::1]:80"] {
        assert!(is_address(text), "{text}");
    }
    for text in ["", "19530", ":19530", "localhost", "localhost:x", "127.0.0.1:65536", "::1:80", "http://a:1", "a b:1"]
    {
        assert!(!is_address(text), "{text}");
    }
}

#[test]
fn text_is_read_as_its_kind_has_it() {
    let check = |kind: Kind, text: &str, want: Value| assert_eq!(kind.read_text(text), want, "{text:?}");
    let string = |text: &str| Value::String(text.to_owned());
    let list = |parts: &[&str]| Value::Array(parts.iter().map(|part| string(part)).collect());
    check(Kind::Bool, "true", Value::Boolean(true));
    check(Kind::Bool, "perhaps", string("perhaps"));
    check(Kind::Integer { min: 0, max: 9 }, "5", Value::Integer(5));
    check(Kind::Duration, "1h", string("1h"));
    check(Kind::Duration, "\"1h\"", string("1h"));
    check(Kind::Text, "123", string("123"));
    check(Kind::Text, "true", string("true"));
    check(Kind::Text, "1\nuser = \"eve\"", string("1\nuser = \"eve\""));
    check(Kind::Size { min: 0 }, "1024", string("1024"));
    check(Kind::Endpoints, "[\"http://a:1\", \"http://b:2\"]", list(&["http://a:1", "http://b:2"]));
    check(Kind::Endpoints, "http://a:1, http://b:2", list(&["http://a:1", "http://b:2"]));
    check(Kind::Endpoints, "", list(&[]));
}

#[test]
fn values_are_checked_and_read() {
    let good = |kind: Kind, text: &str, plain: Value| {
        let reading = kind.check(kind.read_text(text)).unwrap_or_else(|reason| panic!("{text:?}: {reason}"));
        assert_eq!(reading.plain, plain, "{text:?}");
    };
    good(Kind::Integer { min: 0, max: 9 }, "9", Value::Integer(9));
    good(Kind::Size { min: 1 }, "16M", Value::Integer(16 << 20));
    good(Kind::Duration, "0s", Value::Integer(0));
    good(Kind::Duration, "1h 30m", Value::Integer(5_400_000));
    good(Kind::OneOf(&["text", "json"]), "json", Value::String("json".into()));
    good(Kind::Address { optional: true }, "", Value::String(String::new()));
    good(Kind::Checked(storage_url), "s3://bucket/prefix", Value::String("s3://bucket/prefix".into()));
    for filter in ["off", "INFO", "warn,redkite_table=debug", "redkite_meta[txn]=trace, error", "[{path}]=debug", ""] {
        good(Kind::Checked(log_filter), filter, Value::String(filter.into()));
    }
}

#[test]
fn what_is_refused_says_what_would_be_valid() {
    let bad = |kind: Kind, text: &str, want: &str| {
        let reason = kind.check(kind.read_text(text)).expect_err(text);
        assert!(reason.contains(want), "{text:?}: {reason}");
    };
    bad(Kind::Bool, "1", "true or false");
    bad(Kind::Integer { min: 0, max: 9 }, "10", "from 0 to 9");
    bad(Kind::Integer { min: 0, max: 9 }, "1.0", "from 0 to 9");
    bad(Kind::Size { min: 1 }, "0", "\"16M\"");
    bad(Kind::Size { min: 1 << 20 }, "1K", "at least 1M");
    bad(Kind::Duration, "3600", "\"1h\"");
    bad(Kind::OneOf(&["text", "json"]), "xml", "\"text\" or \"json\"");
    bad(Kind::Address { optional: false }, "", "127.0.0.1:19530");
    bad(Kind::Endpoints, "127.0.0.1:2379", "http://127.0.0.1:2379");
    bad(Kind::Checked(storage_url), "gs://bucket", "s3://");
    bad(Kind::Checked(user_name), "a/b", "letters");
    bad(Kind::Checked(log_filter), "=;", "log filter");
    bad(Kind::Checked(log_filter), "blah", "\"blah\" is none of off, error, warn, info, debug and trace");
    bad(Kind::Checked(log_filter), "redkite_table=debug,wran", "\"wran\" is none of");
    bad(Kind::Checked(log_filter), "redkite_table=debgu", "log filter");
}
