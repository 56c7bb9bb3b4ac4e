//! Clients that say anything: a gRPC codec of raw bytes, HTTP/1 requests and HTTP/2 frames by hand.

use std::net::SocketAddr;

use bytes::{Buf, BufMut, Bytes};
use http::uri::PathAndQuery;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::Channel;

#[derive(Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Raw;
    type Decoder = Raw;

    fn encoder(&mut self) -> Raw {
        Raw
    }

    fn decoder(&mut self) -> Raw {
        Raw
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, buf: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buf.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buf: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buf.copy_to_bytes(buf.remaining())))
    }
}

/// Calls `path` with `message` as the request's bytes.
pub async fn call(channel: Channel, path: &'static str, message: impl Into<Bytes>) -> Result<Bytes, Status> {
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await.unwrap();
    let request = tonic::Request::new(message.into());
    client.unary(request, PathAndQuery::from_static(path), Raw).await.map(tonic::Response::into_inner)
}

/// Sends `text` and reads until the server closes.
pub async fn http1(address: SocketAddr, text: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

/// An HTTP/2 connection without a client library.
pub struct Frames(TcpStream);

pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;

impl Frames {
    /// Connects and sends preface and empty settings.
    pub async fn connect(address: SocketAddr) -> Self {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
        let mut frames = Self(stream);
        frames.send(SETTINGS, 0, &[]).await;
        frames
    }

    pub async fn send(&mut self, kind: u8, flags: u8, payload: &[u8]) {
        let mut frame = Vec::with_capacity(9 + payload.len());
        frame.put_uint(payload.len() as u64, 3);
        frame.put_slice(&[kind, flags, 0, 0, 0, 0]);
        frame.put_slice(payload);
        self.0.write_all(&frame).await.unwrap();
    }

    /// The next frame's kind, flags and payload.
    pub async fn receive(&mut self) -> (u8, u8, Vec<u8>) {
        let mut header = [0; 9];
        self.0.read_exact(&mut header).await.unwrap();
        let mut length = &header[..3];
        let mut payload = vec![0; length.get_uint(3) as usize];
        self.0.read_exact(&mut payload).await.unwrap();
        (header[3], header[4], payload)
    }
}
