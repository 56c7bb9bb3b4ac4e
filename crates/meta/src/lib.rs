//! The metadata store: one small trait with etcd's model exactly, three implementations, and the names of all keys.
//!
//! What lives here is the only mutable truth of Redkite. Everything safe rests on the compares of [`Txn`]; a watch is a
//! hint that something changed, a lease says who is probably alive, and neither decides who may write.
//!
//! - [`MetaStore`]: the trait; [`Txn`], [`Compare`], [`Op`] and friends are its plain data.
//! - [`MemoryStore`]: for tests. [`EmbeddedStore`]: one process, one local file. [`EtcdStore`]: a shared etcd.
//! - [`base`]: revisions that go on where those of a lost store ended, where that was restored from a dump.
//! - [`keys`]: the one place that knows key names (S29..S34). [`versioned`]: values with a format number.

pub mod base;
mod clock;
#[cfg(feature = "contract")]
pub mod contract;
pub mod dump;
mod embedded;
mod error;
mod etcd;
mod failpoint;
pub mod keys;
mod memory;
mod metrics;
mod pack;
mod published;
mod rebased;
pub mod state;
mod store;
mod validate;
pub mod versioned;

pub use clock::{Clock, ManualClock, MonotonicClock};
pub use embedded::{EmbeddedOptions, EmbeddedStore};
pub use error::{Error, Result};
pub use etcd::{EtcdOptions, EtcdStore, EtcdTls};
pub use memory::MemoryStore;
pub use rebased::Rebased;
pub use store::{
    Compare, CompareOp, CompareTarget, Event, KeyRange, KeyValue, LeaseId, MetaStore, Op, OpResult, RangeRequest,
    RangeResponse, TXN_BYTES_MAX, TXN_OPS_MAX, Txn, TxnResponse, WatchBatch, WatchStream,
};
