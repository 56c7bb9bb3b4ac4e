//! Each fault against an echo server.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::{Direction, Fault, Proxy};

async fn echo() -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut read, mut write) = stream.split();
                let _ = tokio::io::copy(&mut read, &mut write).await;
            });
        }
    });
    Ok(address)
}

async fn round_trip(stream: &mut TcpStream, text: &[u8]) -> std::io::Result<Vec<u8>> {
    stream.write_all(text).await?;
    let mut answer = vec![0; text.len()];
    stream.read_exact(&mut answer).await?;
    Ok(answer)
}

async fn start() -> Result<(Proxy, TcpStream)> {
    let proxy = Proxy::start(echo().await?).await?;
    let mut stream = TcpStream::connect(proxy.address()).await?;
    assert_eq!(round_trip(&mut stream, b"one").await?, b"one");
    Ok((proxy, stream))
}

#[tokio::test]
async fn bytes_and_the_end_pass_through() -> Result<()> {
    let (proxy, mut stream) = start().await?;
    assert_eq!(proxy.open_connections(), 1);
    stream.write_all(b"two").await?;
    stream.shutdown().await?;
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await?;
    assert_eq!(rest, b"two");
    Ok(())
}

#[tokio::test]
async fn reset_ends_open_connections_and_spares_new_ones() -> Result<()> {
    let (proxy, mut stream) = start().await?;
    proxy.reset();
    assert!(round_trip(&mut stream, b"two").await.is_err());
    let mut fresh = TcpStream::connect(proxy.address()).await?;
    assert_eq!(round_trip(&mut fresh, b"three").await?, b"three");
    Ok(())
}

#[tokio::test]
async fn cut_passes_a_prefix_and_loses_the_rest() -> Result<()> {
    let (proxy, mut stream) = start().await?;
    proxy.set(Direction::ToClient, Fault::CutAfter(2));
    stream.write_all(b"four").await?;
    let mut got = Vec::new();
    let end = stream.read_to_end(&mut got).await;
    assert!(end.is_err() && got.len() <= 2, "{end:?} after {got:?}");
    proxy.set(Direction::Both, Fault::None);
    let mut fresh = TcpStream::connect(proxy.address()).await?;
    assert_eq!(round_trip(&mut fresh, b"five").await?, b"five");
    Ok(())
}

#[tokio::test]
async fn stall_holds_until_it_is_lifted() -> Result<()> {
    let (proxy, mut stream) = start().await?;
    proxy.set(Direction::ToServer, Fault::Stall);
    let held = tokio::time::timeout(Duration::from_millis(50), round_trip(&mut stream, b"six")).await;
    assert!(held.is_err());
    proxy.set(Direction::ToServer, Fault::Delay(Duration::from_millis(1)));
    let mut answer = [0; 3];
    stream.read_exact(&mut answer).await?;
    assert_eq!(&answer, b"six");
    Ok(())
}

#[tokio::test]
async fn refuse_closes_the_port_and_opens_it_again() -> Result<()> {
    let (proxy, mut stream) = start().await?;
    proxy.refuse(true);
    assert!(round_trip(&mut stream, b"seven").await.is_err());
    let mut refused = TcpStream::connect(proxy.address()).await;
    // The port closes a moment after the call.
    while refused.is_ok() {
        tokio::task::yield_now().await;
        refused = TcpStream::connect(proxy.address()).await;
    }
    proxy.refuse(false);
    let mut fresh = TcpStream::connect(proxy.address()).await;
    while fresh.is_err() {
        tokio::task::yield_now().await;
        fresh = TcpStream::connect(proxy.address()).await;
    }
    assert_eq!(round_trip(&mut fresh?, b"eight").await?, b"eight");
    Ok(())
}
