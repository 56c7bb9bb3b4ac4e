//! Integration tests of the wire: the protocol against pymilvus and the listener against real
//! sockets.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking, too")]

mod descriptors;
mod fake_service;
mod transport;
mod wire_bytes;
