//! Integration tests of the wire: the protocol against pymilvus, the listener against real sockets, the RPCs against each
//! other.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking, too")]

mod changes;
mod descriptors;
mod fake_service;
#[path = "../../../ingest/tests/it/faulty_meta.rs"]
#[allow(dead_code, reason = "shared with tests that need more of it")]
mod faulty_meta;
mod transport;
mod wire_bytes;
