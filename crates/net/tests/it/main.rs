//! Connections with TLS and without, over real sockets.

#![allow(missing_docs, clippy::unwrap_used, reason = "a failed check is a panic, in the tests' helpers as well")]

mod connections;
mod files;

use redkite_net::{Identity, TlsFiles, Trust};
use redkite_testkit::{Authority, Certificate};

const HERE: &str = "DNS:localhost,IP:127.0.0.1";

fn identity(certificate: &Certificate) -> Identity {
    Identity { cert: certificate.cert.clone(), key: certificate.key.clone() }
}

/// Of a process with that certificate, which trusts the authority.
fn files(authority: &Authority, certificate: &Certificate) -> TlsFiles {
    TlsFiles { identity: identity(certificate), client_ca: None, trust: Trust::File(authority.ca()) }
}
