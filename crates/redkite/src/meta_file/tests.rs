use super::*;

fn kv(key: &str, value: &[u8], revision: i64) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Bytes::copy_from_slice(value),
        create_revision: Revision(2),
        mod_revision: Revision(revision),
        version: 1,
        lease: None,
    }
}

fn alice() -> BTreeMap<UserName, Revision> {
    BTreeMap::from([(UserName::new("alice").unwrap(), Revision(9))])
}

fn written(entries: &[(&str, &[u8])]) -> String {
    let mut writer = Writer::new(Revision(9), alice()).unwrap();
    for (key, value) in entries {
        writer.add(&kv(key, value, 7)).unwrap();
    }
    writer.finish().unwrap()
}

/// With another checksum, so that only what is said is wrong.
fn sealed(text: &str) -> String {
    let body = &text[..=text[..text.len() - 1].rfind('\n').unwrap()];
    let keys = body.lines().count() - 1;
    format!("{body}{{\"keys\":{keys},\"sha256\":\"{}\"}}\n", checksum(body.as_bytes()))
}

#[test]
fn values_come_back_to_the_byte() {
    let values: [&[u8]; 9] = [
        br#"{"z":1,"a":[1.50,18446744073709551615]}"#,
        b"{\n  \"by\": \"hand\"\n}",
        b"0000000000000000012",
        b"12",
        br#""quoted""#,
        b"no json",
        b" 7 ",
        b"",
        "ä\u{2028}\0".as_bytes(),
    ];
    let keys: Vec<String> = (0..values.len()).map(|number| format!("/alice/{number}")).collect();
    let entries: Vec<(&str, &[u8])> = keys.iter().map(String::as_str).zip(values).collect();
    let text = written(&entries);
    assert_eq!(text.lines().count(), values.len() + 2);
    let dump = parse(&text).unwrap();
    assert_eq!((dump.users.len(), dump.users[0].user.as_str(), dump.users[0].revision), (1, "alice", Revision(9)));
    let read: Vec<(&str, &[u8])> =
        dump.users[0].entries.iter().map(|(key, value)| (key.as_str(), &value[..])).collect();
    assert_eq!(read, entries);
}

#[test]
fn every_line_reads_as_it_is_told() {
    let text = written(&[("/alice/a", b"{\"b\":1}"), ("/alice/b", b"x")]);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], r#"{"redkite_dump":1,"revision":9,"users":{"alice":9}}"#);
    assert_eq!(lines[1], r#"{"key":"/alice/a","value":{"b":1},"create_revision":2,"mod_revision":7}"#);
    assert_eq!(lines[2], r#"{"key":"/alice/b","value":"x","text":true,"create_revision":2,"mod_revision":7}"#);
    assert!(lines[3].starts_with(r#"{"keys":2,"sha256":""#));
}

#[test]
fn a_dump_that_is_not_as_it_was_written_is_refused() {
    let text = written(&[("/alice/a", b"{}"), ("/alice/b", b"x")]);
    let check = |text: String, want: &str| {
        let error = format!("{:#}", parse(&text).unwrap_err());
        assert!(error.contains(want), "{want}: {error}");
    };
    for end in 0..text.len() {
        assert!(parse(&text[..end]).is_err(), "cut off at {end}");
    }
    check(text.lines().take(3).map(|line| format!("{line}\n")).collect(), "cut off");
    for (from, to) in [("{}", "[]"), ("mod_revision\":7", "mod_revision\":8"), ("\"alice\":9", "\"alice\":7")] {
        check(text.replacen(from, to, 1), "checksum");
    }
    check(text.replace("redkite_dump\":1", "redkite_dump\":2"), "format 2");
    check("{\"key\":\"/a\",\"value\":1,\"create_revision\":2,\"mod_revision\":2}\n".to_owned(), "no format");
    check(sealed(&text.replace("/alice/b", "/bob/b")), "none of its users");
    check(sealed(&text.replace("mod_revision\":7", "mod_revision\":10")), "after the dump");
    check(sealed(&text.replace("\"text\":true", "\"text\":true,\"more\":1")), "line 3");
    check(sealed(&written(&[("/alice/a", &[0xff])])), "no text");
    check(text.replace("\"keys\":2", "\"keys\":3"), "says that it has 3");
}
