//! Joins what the query engine asks other nodes for with how the processes of a cluster talk to each other. The engine knows no
//! network, and the network does not know what it carries.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use redkite_cluster::Neighbours;
use redkite_cluster::internal::{Execute, Undone, WORK_BYTES_MAX};
use redkite_query::{AskError, Holder, Peer, Peers, SUBANSWER_BYTES_MAX, SUBREQUEST_BYTES_MAX};

// What the engine makes fits into what is carried.
const _: () = assert!(SUBREQUEST_BYTES_MAX < WORK_BYTES_MAX && SUBANSWER_BYTES_MAX < WORK_BYTES_MAX);

/// The other nodes, as the query engine sees them.
#[derive(Debug)]
pub struct Others(pub Arc<Neighbours>);

#[async_trait]
impl Peers for Others {
    fn known(&self) -> Arc<[Peer]> {
        self.0.nodes().iter().map(|(node, run)| Peer { node: *node, run: *run }).collect()
    }

    async fn ask(&self, peer: Peer, request: Bytes) -> Result<Bytes, AskError> {
        self.0.execute((peer.node, peer.run), request).await.map_err(|undone| match undone {
            Undone::Refused(reason) => AskError::Refused(reason),
            Undone::Failed(reason) => AskError::Failed(reason),
        })
    }
}

/// This node, as the others see it.
#[derive(Debug)]
pub struct Own(pub Holder);

#[async_trait]
impl Execute for Own {
    async fn execute(&self, work: Bytes) -> Result<Bytes, String> {
        self.0.answer(work).await.map_err(|error| error.to_string())
    }
}
