//! The commit path, changes of collections, and what keeps a node up to date, over stores with faults.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test, in its helpers too")]

#[path = "../../../ingest/tests/it/faulty_meta.rs"]
#[allow(dead_code, reason = "shared with tests that need more of it")]
mod faulty_meta;
mod world;

mod auto_ids;
mod commits;
mod ddl;
mod following;
mod meetings;
mod restore;
mod store_identity;
mod unknown_changes;
mod user_claim;
