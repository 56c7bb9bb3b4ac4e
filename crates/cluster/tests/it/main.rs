//! Tests of the processes of a cluster over a metadata store in memory and real sockets.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod conversing;
mod joining;
mod working;
