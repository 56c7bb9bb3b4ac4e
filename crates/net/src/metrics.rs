//! What is counted here.

/// A connection to a port with TLS that came to nothing.
pub(crate) fn handshake_failed(port: &'static str) {
    metrics::counter!("redkite_tls_handshakes_failed_total", "port" => port).increment(1);
}
