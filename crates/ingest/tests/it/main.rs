//! Sessions and flushes against plain models: order, atomicity, faults and every interleaving the design guards against.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test, in its helpers too")]

#[path = "../../../storage/tests/it/fake_s3.rs"]
#[allow(dead_code, reason = "shared with tests that need more of it")]
mod fake_s3;
#[allow(dead_code, reason = "shared with tests that need more of it")]
mod faulty_meta;
mod plain;
mod switch;
mod world;

mod auto_flush;
mod basics;
mod forwarding;
mod interleavings;
mod lost_replies;
mod memory;
mod model;
mod named_flushes;
mod object_store;
mod sessions;
