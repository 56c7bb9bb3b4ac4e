//! Merging and collecting against a plain model that remembers every revision: alone, interleaved at every step with
//! everything else that changes a collection, cut off anywhere, and late.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test, in its helpers too")]

#[path = "../../../ingest/tests/it/faulty_meta.rs"]
#[allow(dead_code, reason = "shared with tests that need more of it")]
mod faulty_meta;
#[path = "../../../ingest/tests/it/plain.rs"]
#[allow(dead_code, reason = "shared with tests that need more of it")]
mod plain;
#[path = "../../../ingest/tests/it/switch.rs"]
#[allow(dead_code, reason = "shared with tests that need more of it")]
mod switch;
#[path = "../../../ingest/tests/it/world.rs"]
#[allow(dead_code, reason = "shared with tests that need more of it")]
mod world;

mod collecting;
mod forwarded;
mod merging;
mod model;
mod work;
