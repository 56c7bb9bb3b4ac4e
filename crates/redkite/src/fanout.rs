//! Joins what the query engine asks other nodes for with how the processes of a cluster talk to each other. The engine knows no
//! network, and the network does not know what it carries.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use redkite_cluster::internal::{Execute, Undone, WORK_BYTES_MAX};
use redkite_cluster::{Neighbour, Neighbourhood, Neighbours, State};
use redkite_query::{AskError, Duty, Holder, Layout, Peer, Peers, SUBANSWER_BYTES_MAX, SUBREQUEST_BYTES_MAX};

// What the engine makes fits into what is carried.
const _: () = assert!(SUBREQUEST_BYTES_MAX < WORK_BYTES_MAX && SUBANSWER_BYTES_MAX < WORK_BYTES_MAX);

/// The other nodes, as the query engine sees them.
#[derive(Debug)]
pub struct Others {
    neighbours: Arc<Neighbours>,
    known: Mutex<Known>,
}

#[derive(Debug)]
struct Known {
    copies: usize,
    /// What the layout was made from.
    nodes: Arc<Neighbourhood>,
    layout: Arc<Layout>,
}

impl Others {
    /// Those that `neighbours` knows, each fragment on `copies` of them.
    pub fn new(neighbours: Arc<Neighbours>, copies: usize) -> Self {
        let nodes = neighbours.now();
        let layout = Arc::new(layout(&nodes, copies));
        Self { neighbours, known: Mutex::new(Known { copies, nodes, layout }) }
    }

    /// From now on each fragment is to lie on as many nodes.
    pub fn hold_copies(&self, copies: usize) {
        let mut known = self.known.lock();
        if known.copies != copies {
            let layout = Arc::new(layout(&known.nodes, copies));
            (known.copies, known.layout) = (copies, layout);
        }
    }
}

fn layout(nodes: &Neighbourhood, copies: usize) -> Layout {
    let node = |node: &Neighbour| {
        let duty = match (node.is_present, node.state) {
            (false, _) | (true, State::Drained) => Duty::Away,
            (true, State::Joining) => Duty::Coming,
            (true, State::Serving) => Duty::Serving,
            (true, State::Draining) => Duty::Going,
        };
        (Peer { node: node.seat.0, run: node.seat.1 }, duty)
    };
    let Neighbourhood { nodes, balanced, balancing, revision } = nodes;
    Layout {
        nodes: nodes.iter().map(node).collect(),
        copies,
        balanced: *balanced,
        balancing: *balancing,
        revision: *revision,
    }
}

#[async_trait]
impl Peers for Others {
    fn layout(&self) -> Arc<Layout> {
        let nodes = self.neighbours.now();
        let mut known = self.known.lock();
        if !Arc::ptr_eq(&known.nodes, &nodes) {
            let layout = Arc::new(layout(&nodes, known.copies));
            (known.nodes, known.layout) = (nodes, layout);
        }
        known.layout.clone()
    }

    async fn ask(&self, peer: Peer, request: Bytes) -> Result<Bytes, AskError> {
        self.neighbours.execute((peer.node, peer.run), request).await.map_err(|undone| match undone {
            Undone::Refused(reason) => AskError::Refused(reason),
            Undone::Unable(reason) => AskError::Unable(reason),
            Undone::Failed(reason) => AskError::Failed(reason),
        })
    }
}

/// This node, as the others see it.
#[derive(Debug)]
pub struct Answers(pub Holder);

#[async_trait]
impl Execute for Answers {
    async fn execute(&self, work: Bytes) -> Result<Bytes, Undone> {
        self.0.answer(work).await.map_err(|error| match error.may_be_this_nodes() {
            true => Undone::Unable(error.to_string()),
            false => Undone::Refused(error.to_string()),
        })
    }
}
