//! From insert to search and query, within one process: what is found, in which order, and what damage does.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test, in its helpers too")]

#[path = "../../../storage/tests/it/fake_s3.rs"]
#[allow(dead_code, reason = "shared with tests that need more of it")]
mod fake_s3;
#[path = "../../../ingest/tests/it/faulty_meta.rs"]
#[allow(dead_code, reason = "shared with tests that need more of it")]
mod faulty_meta;
#[path = "../../../ingest/tests/it/plain.rs"]
#[allow(dead_code, reason = "shared with tests that need more of it")]
mod plain;
#[path = "../../../ingest/tests/it/world.rs"]
#[allow(dead_code, reason = "shared with tests that need more of it")]
mod world;

mod asking;
mod damage;
mod fanout;
mod lookups;
mod other_schemas;
mod reopening;
mod replicas;
mod searches;
mod too_large;
