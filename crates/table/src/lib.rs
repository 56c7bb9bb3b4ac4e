//! Fragments, catalog, snapshots and the one commit path.
//!
//! - [`Catalog`] is all that is known at one revision; [`Follower`] keeps the newest; [`HeadReader`] tells which one a
//!   reader has to have seen.
//! - [`Database`] ties them to a metadata store and an object store; [`ddl`] creates, changes and drops collections.
//! - [`fragment`] writes and reads the files of a fragment.
//! - [`commit`] is the only place that publishes anything.
//!
//! Nothing here knows a wire format or a session.

pub mod ambient;
pub mod auto_id;
pub mod catalog;
pub mod commit;
mod database;
pub mod ddl;
pub mod entry;
mod error;
mod follower;
pub mod fragment;
mod heads;
mod outcome_lease;

pub use ambient::Ambient;
pub use catalog::{Catalog, Collection, File, Fragment};
pub use database::{Database, DatabaseOptions, Visibility};
pub use error::{Error, Result};
pub use follower::Follower;
pub use heads::HeadReader;
