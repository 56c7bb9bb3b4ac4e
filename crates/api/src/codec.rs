//! How messages are read from and written to a gRPC body.
//!
//! Like tonic's own protobuf codec but for two things: a message that cannot be decoded is the sender's fault and
//! answers INVALID_ARGUMENT (INTERNAL would make pymilvus retry it 75 times), and a message is decoded from one
//! contiguous reference-counted buffer, so that byte fields are slices of it and not copies.

use std::marker::PhantomData;

use bytes::Buf;
use prost::Message;
use tonic::Status;
use tonic::codec::{DecodeBuf, Decoder, EncodeBuf, Encoder};

/// The codec of all generated services: encodes `T`, decodes `U`.
#[derive(Debug)]
pub struct Codec<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for Codec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> tonic::codec::Codec for Codec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = ProtobufEncoder<T>;
    type Decoder = ProtobufDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        ProtobufEncoder(PhantomData)
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProtobufDecoder(PhantomData)
    }
}

/// Writes messages.
#[derive(Debug)]
pub struct ProtobufEncoder<T>(PhantomData<T>);

impl<T: Message> Encoder for ProtobufEncoder<T> {
    type Item = T;
    type Error = Status;

    fn encode(&mut self, item: T, buf: &mut EncodeBuf<'_>) -> Result<(), Status> {
        // One growth instead of a doubling series: answers can hold many megabytes of vectors.
        buf.reserve(item.encoded_len());
        item.encode(buf).map_err(|error| Status::internal(format!("the answer could not be encoded: {error}")))
    }
}

/// Reads messages.
#[derive(Debug)]
pub struct ProtobufDecoder<U>(PhantomData<U>);

impl<U: Message + Default> Decoder for ProtobufDecoder<U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, buf: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        let bytes = buf.copy_to_bytes(buf.remaining());
        let length = bytes.len();
        U::decode(bytes).map(Some).map_err(|error| {
            Status::invalid_argument(format!("the request ({length} bytes) is not a valid protobuf message: {error}"))
        })
    }
}
