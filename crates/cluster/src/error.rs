//! What can go wrong between the processes of a cluster.

use redkite_types::{ClusterId, NodeId};

/// A failure.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another live process is this node.
    #[error(
        "node {node} of cluster {cluster} runs already, at {address}: stop it first, or start this one under another number \
         (--node-id)"
    )]
    Runs {
        /// Its number.
        node: NodeId,
        /// Its cluster.
        cluster: ClusterId,
        /// Where clients reach it.
        address: String,
    },
    /// The members of the cluster cannot be read.
    #[error("{key} is damaged: {detail}")]
    Damaged {
        /// The key.
        key: String,
        /// What is wrong.
        detail: String,
    },
    /// No node of the cluster has ever started.
    #[error("no node of the cluster has started yet: {key} is missing")]
    NoMembers {
        /// The key.
        key: String,
    },
    /// The members of the cluster were written by a newer version.
    #[error("{key} has format {found}, this version knows {supported}: use a newer redkite")]
    NewerFormat {
        /// The key.
        key: String,
        /// What it has.
        found: u32,
        /// The newest that is known.
        supported: u32,
    },
    /// Others kept changing the members.
    #[error("the nodes of the cluster kept changing meanwhile; try again")]
    Contended,
    /// The metadata store failed.
    #[error(transparent)]
    Meta(#[from] redkite_meta::Error),
}

/// A result of what is done between the processes of a cluster.
pub type Result<T> = std::result::Result<T, Error>;
