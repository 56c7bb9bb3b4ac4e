//! Fragments, catalog, snapshots and the one commit path.
//!
//! - [`Catalog`] is all that is known at one revision; [`Follower`] keeps the newest; [`HeadReader`] tells which one a
//!   reader has to have seen.
//! - [`Database`] ties them to a metadata store and an object store; [`ddl`] creates, changes and drops collections.
//! - [`fragment`] writes and reads the files of a fragment.
//! - [`store_identity`] and [`user_claim`] keep metadata and object store together.
//! - [`restore`] puts metadata from a dump into a store that has lost it.
//! - [`change`] says what a commit puts, and leaves the tombstones of what it drops or replaces; [`commit`] is the only
//!   place that publishes anything.
//!
//! Nothing here knows a wire format or a session.

pub mod ambient;
mod as_of;
pub mod auto_id;
pub mod catalog;
pub mod change;
pub mod commit;
mod database;
pub mod ddl;
pub mod entry;
mod error;
mod follower;
pub mod fragment;
mod graves;
mod heads;
mod horizon;
pub mod intent;
mod mark;
mod outcome_lease;
mod past;
pub mod presence;
pub mod replication;
pub mod restore;
mod slowdown;
pub mod store_identity;
mod unfinished;
pub mod user_claim;

pub use ambient::Ambient;
pub use as_of::{Moment, Past};
pub use catalog::{Catalog, Collection, File, Fragment};
pub use database::{Database, DatabaseOptions, Visibility};
pub use error::{Error, Result};
pub use follower::Follower;
pub use graves::{DroppedCollection, Grave, Graves};
pub use heads::HeadReader;
pub use horizon::Horizon;
pub use slowdown::Slowdowns;
pub use unfinished::IdGuard;
