//! Test support: real servers, a faulty network between them, seeded randomness.
//!
//! | need | type |
//! |---|---|
//! | a real etcd in a temporary directory | [`Etcd`] |
//! | the S3 server the test command started | [`S3`] |
//! | the real `redkite` binary as a process | [`Redkite`] |
//! | any other child process, killed when dropped | [`Process`] |
//! | delay, stall, reset, cut or refuse connections | [`Proxy`] |
//! | ports nobody listens on | [`free_port`] |
//! | certificates, and an authority that signs them | [`Authority`] |
//! | random numbers that a failing test can repeat | [`Seeded`] |
//!
//! Invariants: a dev-dependency only, and without any engine crate below it, so every crate can use it. Everything listens
//! on 127.0.0.1. Every child is killed by its own id when its handle drops, never by name. Children inherit none of the
//! `REDKITE_*` variables of the test run, which the server would read as configuration.

mod certificates;
mod etcd;
mod http;
mod port;
mod process;
mod proxy;
mod redkite;
mod s3;
mod seeded;
mod wait;

pub use certificates::{Authority, Certificate};
pub use etcd::Etcd;
pub use http::http_get;
pub use port::{free_port, free_ports};
pub use process::Process;
pub use proxy::{Direction, Fault, Proxy};
pub use redkite::{Redkite, RedkiteOptions};
pub use s3::S3;
pub use seeded::Seeded;
pub use wait::wait_until;
