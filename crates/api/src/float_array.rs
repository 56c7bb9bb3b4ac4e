//! `milvus.proto.schema.FloatArray`, implemented by hand because it carries the vectors.
//!
//! The generated decoder pushes one number at a time onto a growing vector, which leaves up to twice the memory
//! allocated that the numbers need. This one allocates once, exactly, and copies in bulk. On the wire it is the same
//! message: field 1, `repeated float`, packed when written, packed or not when read.

use bytes::{Buf, BufMut};
use prost::encoding::{
    DecodeContext, WireType, decode_varint, encode_key, encode_varint, encoded_len_varint, skip_field,
};
use prost::{DecodeError, Message};

const DATA_FIELD: u32 = 1;
const FLOAT_BYTES: usize = size_of::<f32>();
/// Numbers converted at once when writing; a stack buffer of 1 KiB.
const CHUNK: usize = 256;

/// Numbers, or the components of vectors one after the other.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct FloatArray {
    /// The numbers.
    pub data: Vec<f32>,
}

impl FloatArray {
    fn data_bytes(&self) -> usize {
        self.data.len() * FLOAT_BYTES
    }

    fn merge_packed(&mut self, buf: &mut impl Buf) -> Result<(), DecodeError> {
        let length = usize::try_from(decode_varint(buf)?).map_err(|_| error("packed floats are too long"))?;
        // The length is checked against what was received before anything is allocated for it.
        if length > buf.remaining() {
            return Err(error("packed floats are longer than their message"));
        }
        if !length.is_multiple_of(FLOAT_BYTES) {
            return Err(error("packed floats are not a multiple of 4 bytes long"));
        }
        let bytes = buf.copy_to_bytes(length);
        let (words, _) = bytes.as_chunks::<FLOAT_BYTES>();
        self.data.reserve_exact(words.len());
        self.data.extend(words.iter().map(|word| f32::from_le_bytes(*word)));
        Ok(())
    }
}

#[expect(deprecated, reason = "prost offers no other public way to make this error")]
fn error(what: &'static str) -> DecodeError {
    DecodeError::new(what)
}

impl Message for FloatArray {
    fn encode_raw(&self, buf: &mut impl BufMut) {
        if self.data.is_empty() {
            return;
        }
        encode_key(DATA_FIELD, WireType::LengthDelimited, buf);
        encode_varint(self.data_bytes() as u64, buf);
        let mut bytes = [0; CHUNK * FLOAT_BYTES];
        for chunk in self.data.chunks(CHUNK) {
            let (words, _) = bytes.as_chunks_mut::<FLOAT_BYTES>();
            for (word, value) in words.iter_mut().zip(chunk) {
                *word = value.to_le_bytes();
            }
            buf.put_slice(&bytes[..chunk.len() * FLOAT_BYTES]);
        }
    }

    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: WireType,
        buf: &mut impl Buf,
        ctx: DecodeContext,
    ) -> Result<(), DecodeError> {
        match (tag, wire_type) {
            (DATA_FIELD, WireType::LengthDelimited) => self.merge_packed(buf),
            (DATA_FIELD, WireType::ThirtyTwoBit) => {
                let value = buf.try_get_f32_le().map_err(|_| error("a float is truncated"))?;
                self.data.push(value);
                Ok(())
            }
            (DATA_FIELD, _) => Err(error("floats have a wire type that is neither packed nor 32 bit")),
            _ => skip_field(wire_type, tag, buf, ctx),
        }
    }

    fn encoded_len(&self) -> usize {
        match self.data_bytes() {
            0 => 0,
            bytes => 1 + encoded_len_varint(bytes as u64) + bytes,
        }
    }

    fn clear(&mut self) {
        self.data.clear();
    }
}

#[cfg(test)]
mod tests;
