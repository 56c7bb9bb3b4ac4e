use super::*;

#[test]
fn a_new_directory_gets_a_format_and_opens_again() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("a/b");
    assert!(matches!(DataDir::open_existing(&path), Err(DataDirError::Empty { .. })));
    assert!(!path.exists(), "asking creates nothing");
    drop(DataDir::open(&path).unwrap());
    let marker: Marker = serde_json::from_str(&fs::read_to_string(path.join(MARKER)).unwrap()).unwrap();
    assert_eq!(marker.format, FORMAT);
    assert_eq!(DataDir::open_existing(&path).unwrap().metadata(), path.join("meta.redb"));
}

#[test]
fn a_newer_format_is_refused_and_nothing_touched() {
    let scratch = tempfile::tempdir().unwrap();
    fs::write(scratch.path().join(MARKER), r#"{"format":7,"created_by":"redkite 9.0.0","new":["things"]}"#).unwrap();
    let said = DataDir::open(scratch.path()).unwrap_err().to_string();
    for word in [scratch.path().to_str().unwrap(), "format 7", "up to 1"] {
        assert!(said.contains(word), "{said}");
    }
    assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 1);
}

#[test]
fn a_damaged_marker_is_named() {
    for text in ["", "{", "{}", "{\"format\":-1}", "\0\0\0"] {
        let scratch = tempfile::tempdir().unwrap();
        fs::write(scratch.path().join(MARKER), text).unwrap();
        let error = DataDir::open(scratch.path()).unwrap_err();
        assert!(matches!(error, DataDirError::Damaged { .. }), "{text:?}: {error}");
        assert!(error.to_string().contains("redkite.json"));
    }
}

#[test]
fn one_at_a_time_and_the_other_is_told_who() {
    let scratch = tempfile::tempdir().unwrap();
    let http = "127.0.0.1:9091".parse().unwrap();
    let mut first = DataDir::open(scratch.path()).unwrap();
    first.announce(Some(http), true).unwrap();
    let error = DataDir::open(scratch.path()).unwrap_err();
    assert!(error.to_string().contains("in use by another redkite (process"), "{error}");
    let DataDirError::InUse { holder, .. } = error else { panic!("{error}") };
    assert_eq!(holder, Holder { pid: Some(std::process::id()), http: Some(http), tls: true });
    drop(first);
    DataDir::open(scratch.path()).unwrap();
}

#[test]
fn a_file_in_its_place_is_an_error() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("file");
    fs::write(&path, "x").unwrap();
    let said = DataDir::open(&path).unwrap_err().to_string();
    assert!(said.contains(path.to_str().unwrap()), "{said}");
}
