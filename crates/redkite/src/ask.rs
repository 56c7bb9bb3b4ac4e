//! Asks a server on its HTTP port: the smallest HTTP/1 client that can.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// The server is on this machine; a connection that takes longer than this will not come.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The body of the answer to `method` on `path` from the server at `http`, which may think about it for `patience`.
pub fn ask(http: SocketAddr, method: &str, path: &str, patience: Duration) -> Result<String> {
    ask_with(http, method, path, "", patience)
}

/// The same for a request with a body.
pub fn ask_with(http: SocketAddr, method: &str, path: &str, body: &str, patience: Duration) -> Result<String> {
    let address = reachable(http);
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    // HTTP/1.0 keeps the body unchunked and ends it with the connection.
    let length = body.len();
    write!(stream, "{method} {path} HTTP/1.0\r\nHost: {address}\r\nContent-Length: {length}\r\n\r\n{body}")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    parse(&answer)
}

/// A server that listens everywhere is reached here.
fn reachable(http: SocketAddr) -> SocketAddr {
    match http {
        SocketAddr::V4(address) if address.ip().is_unspecified() => (Ipv4Addr::LOCALHOST, address.port()).into(),
        SocketAddr::V6(address) if address.ip().is_unspecified() => (Ipv6Addr::LOCALHOST, address.port()).into(),
        other => other,
    }
}

/// The body, if the answer is 200 and whole.
fn parse(answer: &[u8]) -> Result<String> {
    let text = std::str::from_utf8(answer).context("the answer is no text")?;
    let (head, body) = text.split_once("\r\n\r\n").context("the answer is no HTTP")?;
    let mut head = head.lines();
    let status = head.next().and_then(|line| line.split(' ').nth(1)).unwrap_or_default();
    if status != "200" {
        let told: Option<serde_json::Value> = serde_json::from_str(body).ok();
        let reason = told.as_ref().and_then(|told| told["error"].as_str()).unwrap_or(body.trim());
        bail!("it answered {status}: {reason}");
    }
    let length = head.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    if length.is_some_and(|length| length != body.len()) {
        bail!("the answer was cut off");
    }
    Ok(body.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_answers_are_taken_and_others_are_not() {
        let check = |answer: &str, want: Result<&str, &str>| match (parse(answer.as_bytes()), want) {
            (Ok(body), Ok(want)) => assert_eq!(body, want),
            (Err(error), Err(want)) => assert!(error.to_string().contains(want), "{error}"),
            (got, want) => panic!("{answer:?}: {got:?}, not {want:?}"),
        };
        check("HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\n{}\n", Ok("{}\n"));
        check("HTTP/1.0 200 OK\r\ncontent-length: 3\r\n\r\n{}", Err("cut off"));
        check("HTTP/1.0 403 Forbidden\r\n\r\n{\"error\":\"no\"}", Err("403: no"));
        check("SSH-2.0", Err("no HTTP"));
    }

    #[test]
    fn a_server_on_all_addresses_is_asked_on_this_machine() {
        let check = |http: &str, want: &str| assert_eq!(reachable(http.parse().unwrap()).to_string(), want);
        check("0.0.0.0:9091", "127.0.0.1:9091");
        check("[::]:9091", "[::1]:9091");
        check("10.0.0.1:9091", "10.0.0.1:9091");
    }
}
