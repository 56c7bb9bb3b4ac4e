//! Tests of the storage crate against real and faulty stores, and of the released file formats.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test, in its helpers too")]

mod conformance;
mod fake_s3;
mod faults;
mod golden;
mod pieces;
