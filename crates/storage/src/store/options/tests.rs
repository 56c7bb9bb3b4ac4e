use super::*;

#[test]
fn urls_name_locations() {
    let s3 = |bucket: &str, prefix: &str| Location::S3 { bucket: bucket.to_owned(), prefix: prefix.to_owned() };
    let cases = [
        ("file:///var/lib/redkite", Location::Local("/var/lib/redkite".into())),
        ("./redkite-data", Location::Local("./redkite-data".into())),
        ("memory://", Location::Memory),
        ("s3://bucket", s3("bucket", "")),
        ("s3://bucket/", s3("bucket", "")),
        ("s3://bucket/a/b/", s3("bucket", "a/b")),
    ];
    for (url, want) in cases {
        assert_eq!(StorageOptions::new(url).location(), Ok(want), "{url}");
    }
}

#[test]
fn other_urls_are_refused_with_the_setting_and_the_value() {
    for url in ["", "file://relative", "memory://x", "s3://", "s3:///x", "s3://b/../c", "gs://bucket", "http://host/"] {
        let error = StorageOptions::new(url).validate().unwrap_err();
        assert!(error.to_string().starts_with(&format!("storage.url = {url:?} is not valid")), "{error}");
    }
}

#[test]
fn secrets_are_not_printed() {
    let credentials = S3Credentials { access_key_id: "id".to_owned(), secret_access_key: "hush".to_owned() };
    assert!(!format!("{credentials:?}").contains("hush"));
}
