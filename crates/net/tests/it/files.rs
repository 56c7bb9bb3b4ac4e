//! What is said of files that will not do.

use std::fs;

use redkite_net::{About, Client, Tls, TlsFiles, Trust};
use redkite_testkit::{Authority, Certificate};

use crate::{HERE, files, identity};

fn refused(files: TlsFiles) -> (About, String) {
    let error = Tls::open(files).unwrap_err();
    (error.about, error.reason)
}

#[test]
fn a_file_that_cannot_be_used_is_told_with_what_is_wrong() {
    let authority = Authority::new().unwrap();
    let good = authority.issue("good", HERE).unwrap();
    let other = authority.issue("other", HERE).unwrap();
    let text = authority.path("text");
    fs::write(&text, "no PEM at all").unwrap();
    let check = |files: TlsFiles, about: About, words: &str| {
        let (found, reason) = refused(files);
        assert_eq!(found, about, "{reason}");
        assert!(reason.contains(words), "{reason}");
    };
    let whole = || files(&authority, &good);
    let with = |cert: &std::path::Path, key: &std::path::Path| TlsFiles {
        identity: identity(&Certificate { cert: cert.to_owned(), key: key.to_owned() }),
        ..whole()
    };
    assert!(Tls::open(whole()).is_ok());
    check(with(&authority.path("none"), &good.key), About::Cert, "cannot be read: No such file");
    check(with(&good.cert, &authority.path("none")), About::Key, "cannot be read: No such file");
    check(with(&text, &good.key), About::Cert, "want a PEM file with a certificate");
    check(with(&good.cert, &text), About::Key, "want a PEM file with a private key");
    // A key where the certificate should be, and the other way round.
    check(with(&good.key, &good.key), About::Cert, "want a PEM file with a certificate");
    check(with(&good.cert, &good.cert), About::Key, "want a PEM file with a private key");
    check(with(&good.cert, &other.key), About::Key, "not the key of the certificate");
    check(TlsFiles { client_ca: Some(text.clone()), ..whole() }, About::ClientCa, "want a PEM file with a certificate");
    check(TlsFiles { trust: Trust::File(text.clone()), ..whole() }, About::Ca, "want a PEM file with a certificate");
    let told =
        Client::open(&Trust::File(authority.ca()), Some(&identity(&Certificate { cert: good.cert, key: other.key })));
    assert_eq!(told.unwrap_err().about, About::Key);
}

#[test]
fn half_of_a_change_changes_nothing() {
    let authority = Authority::new().unwrap();
    let used = authority.issue("used", HERE).unwrap();
    let next = authority.issue("next", HERE).unwrap();
    let tls = Tls::open(files(&authority, &used)).unwrap();
    assert_eq!(tls.look(), Ok(false));
    fs::copy(&next.cert, &used.cert).unwrap();
    assert_eq!(tls.look().unwrap_err().about, About::Key);
    fs::copy(&next.key, &used.key).unwrap();
    assert_eq!(tls.look(), Ok(true));
    assert_eq!(tls.look(), Ok(false));
    fs::remove_file(&used.cert).unwrap();
    assert_eq!(tls.look().unwrap_err().about, About::Cert);
}
