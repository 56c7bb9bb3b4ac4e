//! Integration tests of the wire: the protocol against pymilvus, the listener against real sockets, the handlers against an
//! engine in memory.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking, too")]

#[path = "../../../ingest/tests/it/faulty_meta.rs"]
#[allow(dead_code, reason = "shared with tests that need more of it")]
mod faulty_meta;
#[path = "../../../ingest/tests/it/plain.rs"]
#[allow(dead_code, reason = "shared with tests that need more of it")]
mod plain;
#[path = "../../../ingest/tests/it/world.rs"]
#[allow(dead_code, reason = "shared with tests that need more of it")]
mod world;

mod changes;
mod descriptors;
mod fake_service;
mod handlers;
mod pipelining;
mod transport;
mod wire_bytes;
