//! Who gets through to whom.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use redkite_net::{Acceptor, Client, Dialer, Stream, Tls, TlsFiles, Trust};
use redkite_testkit::Authority;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::{HERE, files};

/// Nothing a test waits for takes this long unless it never comes.
const PATIENCE: Duration = Duration::from_secs(60);

/// Sends back what comes, but for its first byte changed to `!` if the connection begins with `ping`.
async fn echo(acceptor: Acceptor) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            let mut stream = acceptor.accept(socket).unwrap();
            tokio::spawn(async move {
                let is_ping = stream.begins_with(b"ping").await?;
                let mut bytes = Vec::new();
                stream.read_to_end(&mut bytes).await?;
                if is_ping {
                    bytes[0] = b'!';
                }
                stream.write_all(&bytes).await?;
                stream.shutdown().await
            });
        }
    });
    address
}

async fn exchange(mut stream: Stream, text: &[u8]) -> io::Result<Vec<u8>> {
    stream.write_all(text).await?;
    stream.flush().await?;
    // The other side reads to the end: one that has no more to send still gets its answer.
    stream.shutdown().await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(answer)
}

async fn through(dialer: &Dialer, address: &str) -> io::Result<Vec<u8>> {
    let exchanged = async { exchange(dialer.dial(address).await?, b"ping pong").await };
    tokio::time::timeout(PATIENCE, exchanged).await.unwrap()
}

fn open(files: TlsFiles) -> Arc<Tls> {
    Tls::open(files).unwrap()
}

#[tokio::test]
async fn bytes_pass_as_they_are_with_tls_and_without() {
    let authority = Authority::new().unwrap();
    let tls = open(files(&authority, &authority.issue("a", HERE).unwrap()));
    for (acceptor, dialer) in [(Acceptor::plain(), Dialer::plain()), (tls.acceptor("listen"), tls.dialer())] {
        let address = echo(acceptor).await.to_string();
        assert_eq!(through(&dialer, &address).await.unwrap(), b"!ing pong");
        let large: Vec<u8> = (0..1_000_000_u32).map(|number| (number % 251) as u8).collect();
        let stream = dialer.dial(&address).await.unwrap();
        assert_eq!(exchange(stream, &large).await.unwrap(), large);
    }
}

#[tokio::test]
async fn what_a_connection_begins_with_is_told_however_it_comes() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut sender = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let mut stream = Stream::plain(listener.accept().await.unwrap().0);
    sender.set_nodelay(true).unwrap();
    sender.write_all(b"pi").await.unwrap();
    assert!(!stream.begins_with(b"pong").await.unwrap());
    let (begins, sent) = tokio::join!(stream.begins_with(b"ping!"), sender.write_all(b"ng! and more"));
    assert!(begins.unwrap());
    sent.unwrap();
    assert!(stream.begins_with(b"pin").await.unwrap());
    let mut all = [0; 14];
    stream.read_exact(&mut all[..1]).await.unwrap();
    assert!(stream.begins_with(b"ing!").await.unwrap());
    stream.read_exact(&mut all[1..]).await.unwrap();
    assert_eq!(&all, b"ping! and more");
    drop(sender);
    assert_eq!(stream.begins_with(b"x").await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
}

#[tokio::test]
async fn a_certificate_has_to_be_of_the_host_and_from_whom_is_trusted() {
    let (authority, stranger) = (Authority::new().unwrap(), Authority::new().unwrap());
    let check = async |hosts: &str, host: &str, trusted: &Authority, want: Option<&str>| {
        let server = open(files(&authority, &authority.issue("server", hosts).unwrap()));
        let client = open(files(trusted, &trusted.issue("client", HERE).unwrap()));
        let port = echo(server.acceptor("listen")).await.port();
        let answer = through(&client.dialer(), &format!("{host}:{port}")).await;
        match want {
            None => assert_eq!(answer.unwrap(), b"!ing pong", "{hosts} {host}"),
            Some(words) => {
                let error = answer.unwrap_err().to_string();
                assert!(error.contains(words), "{hosts} {host}: {error}");
            }
        }
    };
    check("IP:127.0.0.1", "127.0.0.1", &authority, None).await;
    check("DNS:localhost", "localhost", &authority, None).await;
    check("DNS:localhost", "127.0.0.1", &authority, Some("certificate")).await;
    check("IP:127.0.0.1", "localhost", &authority, Some("certificate")).await;
    check(HERE, "127.0.0.1", &stranger, Some("UnknownIssuer")).await;
}

#[tokio::test]
async fn clients_show_a_certificate_where_one_is_wanted() {
    let (authority, clients) = (Authority::new().unwrap(), Authority::new().unwrap());
    let server =
        TlsFiles { client_ca: Some(clients.ca()), ..files(&authority, &authority.issue("server", HERE).unwrap()) };
    let address = echo(open(server).acceptor("listen")).await.to_string();
    let trusting =
        |certificate| open(TlsFiles { trust: Trust::File(authority.ca()), ..files(&authority, certificate) });
    let known = clients.issue("known", HERE).unwrap();
    let stranger = authority.issue("stranger", HERE).unwrap();
    assert_eq!(through(&trusting(&known).dialer(), &address).await.unwrap(), b"!ing pong");
    // It learns that with its first read, since with TLS 1.3 it is the first to be ready.
    assert!(through(&trusting(&stranger).dialer(), &address).await.is_err());
    let ask = |identity| {
        let client = Client::open(&Trust::File(authority.ca()), identity).unwrap();
        let address = address.clone();
        tokio::task::spawn_blocking(move || {
            let mut stream = client.over(std::net::TcpStream::connect(&address)?, &address)?;
            stream.write_all(b"ping").and_then(|()| stream.flush())?;
            let mut byte = [0];
            stream.read_exact(&mut byte)
        })
    };
    assert!(ask(None).await.unwrap().is_err());
}

#[tokio::test]
async fn new_connections_have_the_new_certificate_and_old_ones_go_on() {
    let (authority, next) = (Authority::new().unwrap(), Authority::new().unwrap());
    let certificate = authority.issue("server", HERE).unwrap();
    let server = open(files(&authority, &certificate));
    let address = echo(server.acceptor("listen")).await.to_string();
    let [before, after] = [&authority, &next].map(|of| open(files(of, &of.issue("client", HERE).unwrap())).dialer());
    let kept = before.dial(&address).await.unwrap();
    assert!(through(&after, &address).await.is_err());
    certificate.replace(&next.issue("server", HERE).unwrap()).unwrap();
    assert_eq!(server.look(), Ok(true));
    assert_eq!(through(&after, &address).await.unwrap(), b"!ing pong");
    assert!(through(&before, &address).await.is_err());
    assert_eq!(exchange(kept, b"ping pong").await.unwrap(), b"!ing pong");
}

#[tokio::test]
async fn a_port_with_tls_takes_nothing_else() {
    let authority = Authority::new().unwrap();
    let tls = open(files(&authority, &authority.issue("server", HERE).unwrap()));
    let address = echo(tls.acceptor("listen")).await;
    let mut plain = TcpStream::connect(address).await.unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    // It hears an alert at most, and is cut off.
    _ = tokio::time::timeout(PATIENCE, plain.read_to_end(&mut answer)).await.unwrap();
    assert!(answer.len() < 16 && !answer.starts_with(b"HTTP"), "{answer:?}");
}

#[tokio::test]
async fn a_dialer_with_tls_takes_nothing_else() {
    let authority = Authority::new().unwrap();
    let dialer = open(files(&authority, &authority.issue("client", HERE).unwrap())).dialer();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let answering = async { listener.accept().await.unwrap().0.write_all(b"220 hello\r\n").await.unwrap() };
    let (dialed, ()) = tokio::join!(through(&dialer, &address), answering);
    assert!(dialed.is_err());
}

/// Time passes by itself here wherever nothing else does.
#[tokio::test(start_paused = true)]
async fn a_handshake_that_does_not_end_is_ended() {
    let authority = Authority::new().unwrap();
    let tls = open(files(&authority, &authority.issue("server", HERE).unwrap()));
    let address = echo(tls.acceptor("listen")).await;
    // The beginning of a handshake, and no more.
    let mut silent = TcpStream::connect(address).await.unwrap();
    silent.write_all(&[0x16, 3, 1]).await.unwrap();
    let mut answer = Vec::new();
    _ = silent.read_to_end(&mut answer).await;
    assert!(answer.is_empty());
}

#[tokio::test]
async fn handshakes_that_hang_keep_nobody_out() {
    let authority = Authority::new().unwrap();
    let tls = open(files(&authority, &authority.issue("server", HERE).unwrap()));
    let address = echo(tls.acceptor("listen")).await;
    let mut hanging = Vec::new();
    for _ in 0..100 {
        let mut silent = TcpStream::connect(address).await.unwrap();
        silent.write_all(&[0x16, 3, 1]).await.unwrap();
        hanging.push(silent);
    }
    assert_eq!(through(&tls.dialer(), &address.to_string()).await.unwrap(), b"!ing pong");
    assert_eq!(hanging.len(), 100);
}
