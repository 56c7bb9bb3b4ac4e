//! The processes of a cluster: who they are, and what they say to each other.
//!
//! - [`Members`]: the nodes of a cluster as they stand in the metadata (S28), and how joining changes them. Pure.
//! - [`join`]: a process becomes a node of its cluster, unless another one is it.
//! - [`internal`]: the port for the other processes of the cluster; [`handover`]: clients' connections that come through it.
//! - [`Roster`]: what a Master knows of the nodes, and whom it sends a client to. Pure. [`Master`] keeps it up to date.
//! - [`Neighbours`]: the nodes of a cluster as one of them knows them, to have work done by.
//! - [`Conversation`]: questions and answers between two nodes, for as long as they need each other.
//! - [`lightest`]: whom a node that is short of memory passes inserts on to. Pure.
//! - [`Changes`]: when a key of the metadata changes, for whoever follows one.
//!
//! Nothing here decides who may write, or what is true: that is up to the compares of the commit. Two processes that take
//! themselves for the same node are a nuisance and no danger, as each commits, reads and says what it needs by itself.

mod call;
mod changes;
mod conversation;
mod error;
pub mod handover;
pub mod internal;
mod join;
mod lightest;
mod master;
mod members;
mod neighbours;
mod roster;
mod secret;

pub use changes::Changes;
pub use conversation::{Conversation, Converse, Partner};
pub use error::{Error, Result};
pub use join::{Ask, Joining, change, join};
pub use lightest::{Fill, lightest};
pub use master::{Master, MasterOptions, Place};
pub use members::{Member, Members, Rearrangement, State};
pub use neighbours::{Neighbour, Neighbourhood, Neighbours, Seated};
pub use roster::{Holding, Load, Roster, Seen};
