//! Sessions and flushes against plain models: order, atomicity, faults and every interleaving the design guards against.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test, in its helpers too")]

mod faulty_meta;
mod plain;
mod world;

mod basics;
