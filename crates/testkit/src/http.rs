//! The smallest HTTP/1 client that can read a health endpoint.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result};

const TIMEOUT: Duration = Duration::from_secs(5);

/// `GET path` from `address`: status code and body. One connection per call.
pub fn http_get(address: SocketAddr, path: &str) -> Result<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT).with_context(|| format!("connect to {address}"))?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    // HTTP/1.0 keeps the body unchunked and ends it with the connection.
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    parse(&answer).with_context(|| format!("http://{address}{path} answered no HTTP"))
}

fn parse(answer: &[u8]) -> Option<(u16, String)> {
    let text = String::from_utf8_lossy(answer);
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.lines().next()?.split(' ').nth(1)?.parse().ok()?;
    Some((status, body.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn answers_are_split_into_status_and_body() {
        let ok = |text: &str, status, body: &str| assert_eq!(parse(text.as_bytes()), Some((status, body.to_owned())));
        ok("HTTP/1.0 200 OK\r\nA: b\r\n\r\nfine", 200, "fine");
        ok("HTTP/1.1 503 Service Unavailable\r\n\r\n", 503, "");
        assert_eq!(parse(b"\0\0\x12\x04"), None);
        assert_eq!(parse(b"HTTP/1.1 soon\r\n\r\n"), None);
    }
}
