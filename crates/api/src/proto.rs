//! The generated protocol types, one module per protobuf package, and the service's server and client.
//!
//! Written by the build script from `proto/`; every message and field is compared with pymilvus's own descriptors by
//! a test. `FloatArray` is the one message implemented by hand, see [`crate::float_array`].

#![allow(missing_docs, clippy::all)]

/// Types both other packages use: status, codes, key-value pairs, placeholders.
pub mod common {
    include!(concat!(env!("OUT_DIR"), "/milvus.proto.common.rs"));
}

/// Schemas, column data and results.
pub mod schema {
    pub use crate::float_array::FloatArray;

    include!(concat!(env!("OUT_DIR"), "/milvus.proto.schema.rs"));
}

/// Log positions.
pub mod msg {
    include!(concat!(env!("OUT_DIR"), "/milvus.proto.msg.rs"));
}

/// Requests, responses and the service.
pub mod milvus {
    include!(concat!(env!("OUT_DIR"), "/milvus.proto.milvus.rs"));
}

/// The serialized `FileDescriptorSet` of all files in `proto/`.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
