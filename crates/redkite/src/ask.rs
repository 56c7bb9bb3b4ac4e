//! Asks a server over HTTP: the smallest HTTP/1 client that can, with TLS or without.

use std::ffi::OsString;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use redkite_net::{Client, Identity, TlsError, Trust};

use crate::cli::TlsArgs;
use crate::config::TlsConfig;

/// The server is on this machine, or near; a connection that takes longer than this will not come.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A server to ask.
#[derive(Debug)]
pub struct Target {
    /// Host and port, as the server's certificate bears the host.
    address: String,
    tls: Option<Client>,
}

impl Target {
    /// The one at the address that `flag` gives, with TLS if that begins with `https://`.
    pub fn named(flag: &str, address: &str, args: &TlsArgs) -> Result<Self> {
        let given = [("--tls-ca", &args.tls_ca), ("--tls-cert", &args.tls_cert), ("--tls-key", &args.tls_key)];
        let Some(host) = address.strip_prefix("https://") else {
            if let Some((given, _)) = given.iter().find(|(_, path)| path.is_some()) {
                bail!("{given} is for servers with TLS: write {flag} https://{address}");
            }
            return Ok(Self { address: address.strip_prefix("http://").unwrap_or(address).to_owned(), tls: None });
        };
        let variable =
            |name: &str| std::env::var_os(name).filter(|path: &OsString| !path.is_empty()).map(PathBuf::from);
        let either = |path: &Option<PathBuf>, name: &str| path.clone().or_else(|| variable(name));
        let identity = match (either(&args.tls_cert, "REDKITE_TLS_CERT"), either(&args.tls_key, "REDKITE_TLS_KEY")) {
            (Some(cert), Some(key)) => Some(Identity { cert, key }),
            (None, None) => None,
            (Some(_), None) => bail!("--tls-cert wants --tls-key beside it"),
            (None, Some(_)) => bail!("--tls-key wants --tls-cert beside it"),
        };
        let trust = either(&args.tls_ca, "REDKITE_TLS_CA").map_or(Trust::System, Trust::File);
        let client = Client::open(&trust, identity.as_ref()).map_err(|error| anyhow!("--tls-{}", describe(&error)))?;
        Ok(Self { address: host.trim_end_matches('/').to_owned(), tls: Some(client) })
    }

    /// The one on this machine that listens at `http`, with TLS as it is configured itself.
    pub fn here(http: SocketAddr, is_tls: bool, config: &TlsConfig) -> Result<Self> {
        Self::configured(reachable(http).to_string(), is_tls, config)
    }

    /// Another process of the cluster: with TLS if this one has it.
    pub fn of_cluster(address: &str, config: &TlsConfig) -> Result<Self> {
        Self::configured(address.to_owned(), !config.cert.is_empty(), config)
    }

    fn configured(address: String, is_tls: bool, config: &TlsConfig) -> Result<Self> {
        let some = |path: &str| (!path.is_empty()).then(|| PathBuf::from(path));
        let tls = match is_tls {
            false => None,
            true => {
                let trust = some(&config.ca).map_or(Trust::System, Trust::File);
                let identity = some(&config.cert).zip(some(&config.key)).map(|(cert, key)| Identity { cert, key });
                let client = Client::open(&trust, identity.as_ref());
                Some(client.map_err(|error| anyhow!("tls.{}", describe(&error)))?)
            }
        };
        Ok(Self { address, tls })
    }

    fn connect(&self) -> Result<TcpStream> {
        let address = &self.address;
        let found = address.to_socket_addrs().with_context(|| format!("{address:?} is no ADDR:PORT"))?;
        let mut failed = anyhow!("{address:?} stands for no address");
        for address in found {
            match TcpStream::connect_timeout(&reachable(address), TIMEOUT) {
                Ok(stream) => return Ok(stream),
                Err(error) => failed = error.into(),
            }
        }
        Err(failed)
    }
}

/// `ca: the file cannot be read`.
fn describe(error: &TlsError) -> String {
    format!("{}: {error}", error.about.name())
}

/// The body of the answer to `method` on `path` from `server`, which may think about it for `patience`.
pub fn ask(server: &Target, method: &str, path: &str, patience: Duration) -> Result<String> {
    ask_with(server, method, path, "", patience)
}

/// The same for a request with a body.
pub fn ask_with(server: &Target, method: &str, path: &str, body: &str, patience: Duration) -> Result<String> {
    let stream = server.connect()?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    // HTTP/1.0 keeps the body unchunked and ends it with the connection.
    let (address, length) = (&server.address, body.len());
    let request = format!("{method} {path} HTTP/1.0\r\nHost: {address}\r\nContent-Length: {length}\r\n\r\n{body}");
    match &server.tls {
        Some(tls) => {
            let (answer, ended) = exchange(tls.over(stream, address)?, &request);
            ended?;
            parse(&answer)
        }
        None => {
            let (answer, ended) = exchange(stream, &request);
            let is_late =
                matches!(&ended, Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut));
            if !answer.starts_with(b"HTTP/") && !is_late {
                // It may have closed the connection before it had read all of the request.
                let why = ended.err().map_or_else(|| "the answer is no HTTP".to_owned(), |error| error.to_string());
                bail!("{why}; if the server has TLS, write https://{address}");
            }
            ended?;
            parse(&answer)
        }
    }
}

/// What is heard until the end, and how that came.
fn exchange(mut stream: impl Read + Write, request: &str) -> (Vec<u8>, io::Result<()>) {
    let mut answer = Vec::new();
    let sent = stream.write_all(request.as_bytes()).and_then(|()| stream.flush());
    let ended = sent.and_then(|()| stream.read_to_end(&mut answer).map(drop));
    (answer, ended)
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
