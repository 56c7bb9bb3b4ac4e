//! Everything on the wire: the protocol, the listener, the errors clients see, and conversion to and from the
//! engine's own types. The only crate that knows tonic, axum and protobuf; it translates and validates, and holds no
//! logic.
//!
//! - [`proto`]: the protocol types, a subset of Milvus's;
//! - [`codec`], [`server`]: one port for gRPC and HTTP/1, connections and their end;
//! - [`status`]: the error table;
//! - [`service`]: the RPCs;
//! - [`convert`]: messages to schemas, batches, parameters, and back.

pub mod codec;
pub mod convert;
pub mod float_array;
mod metrics;
pub mod proto;
pub mod server;
pub mod service;
pub mod status;
