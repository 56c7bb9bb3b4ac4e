//! Splits a request by data over the nodes that hold it, and sees to it that every part is answered once.
//!
//! Each fragment goes to the first of its holders ([`Placement`]); all that go to one node are one *share*, asked for with one
//! sub-request. A share is answered as a whole by who has it, or split anew over the next holders of its fragments, in the end
//! this node, which can read anything:
//! - at once, where a node fails, cannot read a file, or answers what it was not asked;
//! - beside the first one, where that takes longer than it usually does; then the first good answer counts and the other is
//!   dropped;
//! - by this node, where a node refuses: what is wrong with the request is wrong everywhere.
//!
//! What this node cannot read either, all others are asked for that have not been. If none of them can, the error that a client
//! gets is the one that reading here gave.
//!
//! Whoever asks puts the parts together as if they had been worked out side by side here: rows carry the numbers that they have
//! in the whole request. So no part is left out or counted twice, and the answer does not depend on how it was split.

use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::FutureExt;
use futures::future::{BoxFuture, select_ok, try_join_all};
use parking_lot::Mutex;
use redkite_table::{Database, Fragment};
use redkite_types::{ClusterId, NodeId};
use tokio::time::{Instant, timeout};

use crate::health::Health;
use crate::layout::{Layout, Peer};
use crate::source::Source;
use crate::{Error, Result, cpu, metrics};

/// Longest that the answer to a sub-request is waited for. Others are asked long before; this ends what nobody would end.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// Why another node has not answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AskError {
    /// It did, and will not do what it was asked. Others would not either, but for this node itself.
    Refused(String),
    /// It did, and cannot do this; others may.
    Unable(String),
    /// It is not there, or not well.
    Failed(String),
}

/// The nodes of this node's cluster. Whoever implements it carries bytes and knows nothing of what they mean; the other end is
/// a [`Holder`](crate::Holder).
#[async_trait]
pub trait Peers: Send + Sync + fmt::Debug {
    /// All nodes of the cluster, this one included. Cheap: every request asks.
    fn layout(&self) -> Arc<Layout>;

    /// What another node answers to a sub-request. Dropped when the answer is of no more use.
    async fn ask(&self, peer: Peer, request: Bytes) -> std::result::Result<Bytes, AskError>;
}

/// Splits requests over the nodes of a cluster.
#[derive(Debug)]
pub(crate) struct Fanout {
    database: Arc<Database>,
    peers: Arc<dyn Peers>,
    own: NodeId,
    cluster: ClusterId,
    health: Health,
}

/// Who holds what of one request, as of its beginning.
#[derive(Debug)]
pub(crate) struct Holders {
    own: NodeId,
    /// Those of each fragment, best first.
    of: Vec<Vec<Peer>>,
    /// All nodes.
    everyone: Arc<[Peer]>,
    /// Those that others had to step in for in this request: its further steps do not wait for them again.
    left_out: Mutex<Vec<NodeId>>,
}

/// Fragments that are read by one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Share {
    /// Which; none for this one.
    pub(crate) by: Option<Peer>,
    /// Their places in the request's list, ascending.
    pub(crate) places: Vec<usize>,
}

/// What came of a share.
#[derive(Debug)]
pub(crate) struct Done<T> {
    pub(crate) share: Share,
    pub(crate) part: T,
}

/// Makes of an answer what it tells.
pub(crate) type Reader<T> = Box<dyn FnOnce(&Bytes) -> Result<T> + Send>;

/// Something that every fragment has a part in.
pub(crate) trait Work: Sync {
    /// What comes of some fragments.
    type Part: Send + 'static;

    /// About how many bytes it reads.
    fn cost(&self, places: &[usize]) -> u64;

    /// The sub-request for it, and how to read the answer. Fails if it cannot be asked for.
    fn request(&self, places: &[usize]) -> Result<(Bytes, Reader<Self::Part>)>;

    /// Does it here.
    fn here<'w>(&'w self, places: &'w [usize]) -> BoxFuture<'w, Result<Self::Part>>;
}

/// Where a request is answered: with which data, and with whose help.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asking<'a> {
    pub(crate) database: &'a Database,
    pub(crate) fanout: Option<&'a Fanout>,
}

impl<'a> Asking<'a> {
    /// Without anybody's help.
    pub(crate) fn alone(database: &'a Database) -> Self {
        Self { database, fanout: None }
    }

    /// Who holds what of a request; none if there are no others.
    pub(crate) fn plan(&self, source: &Source) -> Option<Holders> {
        Some(self.fanout?.plan(source))
    }

    /// Does `work` on all fragments of `source`.
    pub(crate) async fn spread<W: Work>(
        &self,
        plan: Option<&Holders>,
        source: &Source,
        work: &W,
    ) -> Result<Vec<Done<W::Part>>> {
        let all = source.all();
        match (self.fanout, plan) {
            (Some(fanout), Some(plan)) => fanout.all(plan, work, plan.shares(&all, &[]), Vec::new()).await,
            _ => {
                let share = Share { by: None, places: all };
                let part = work.here(&share.places).await?;
                Ok(vec![Done { share, part }])
            }
        }
    }

    /// Does `work` on these shares, by those they name if they can.
    pub(crate) async fn spread_over<W: Work>(
        &self,
        plan: &Holders,
        shares: Vec<Share>,
        work: &W,
    ) -> Result<Vec<Done<W::Part>>> {
        match self.fanout {
            Some(fanout) => fanout.all(plan, work, shares, Vec::new()).await,
            None => Ok(Vec::new()),
        }
    }
}

impl Holders {
    /// Who is to read these fragments, others than those tried and those left out; this node last.
    fn shares(&self, places: &[usize], tried: &[NodeId]) -> Vec<Share> {
        let mut shares: BTreeMap<NodeId, Share> = BTreeMap::new();
        let left_out = self.left_out.lock();
        let tried = |node: &NodeId| tried.contains(node) || left_out.contains(node);
        for place in places {
            let holders = self.of.get(*place).into_iter().flatten();
            let next = holders.copied().find(|holder| !tried(&holder.node));
            let by = next.filter(|holder| holder.node != self.own);
            let of = by.map_or(self.own, |holder| holder.node);
            shares.entry(of).or_insert_with(|| Share { by, places: Vec::new() }).places.push(*place);
        }
        let mut shares: Vec<Share> = shares.into_values().collect();
        // What others do begins before this node is busy with its own.
        shares.sort_by_key(|share| share.by.is_none());
        shares
    }

    fn leave_out(&self, peer: Peer) {
        self.left_out.lock().push(peer.node);
    }
}

impl Fanout {
    pub(crate) fn new(database: Arc<Database>, peers: Arc<dyn Peers>) -> Self {
        let (own, cluster) = (database.options.node, database.options.cluster.clone());
        Self { database, peers, own, cluster, health: Health::default() }
    }

    /// Whether there are other nodes in the cluster.
    pub(crate) fn has_others(&self) -> bool {
        self.peers.layout().nodes.iter().any(|(peer, _)| peer.node != self.own)
    }

    /// Other nodes that are better not asked now.
    fn avoided(&self, layout: &Layout) -> Vec<NodeId> {
        let mut avoided = self.health.avoided(&layout.everyone(), Instant::now());
        avoided.retain(|node| *node != self.own);
        avoided
    }

    /// The nodes that may hold a fragment that is about to be published, but for the one that has it already: those that shall
    /// first, those that are better not asked now last.
    pub(crate) fn candidates(&self, fragment: &Fragment) -> Vec<Peer> {
        // Rows may have been forwarded, and then another node has them. Of a fragment that is there already only the delete log
        // is new, and that is this node's.
        let rows_of = fragment.anchor().ok().filter(|_| fragment.files.len() > 1).map(|anchor| &anchor.entry);
        let of_cluster = rows_of.filter(|entry| entry.cluster == self.cluster.as_str());
        let has_it = of_cluster.map_or(self.own, |entry| NodeId(entry.node));
        let layout = self.peers.layout();
        let avoided = self.avoided(&layout);
        let ranked = layout.ranked(&self.cluster).holders(fragment);
        let (last, first): (Vec<_>, Vec<_>) = ranked.into_iter().partition(|node| avoided.contains(node));
        let others = first.into_iter().chain(last).filter(|node| *node != has_it);
        others.filter_map(|node| layout.peer(node)).collect()
    }

    /// What another node answers, whatever that is.
    pub(crate) async fn ask_bare(&self, peer: Peer, request: Bytes) -> std::result::Result<Bytes, AskError> {
        self.peers.ask(peer, request).await
    }

    /// Another node has not answered.
    pub(crate) fn failed(&self, peer: Peer, now: Instant) {
        self.health.failed(peer, now);
    }

    fn plan(&self, source: &Source) -> Holders {
        let layout = self.peers.layout();
        let placement = layout.asked(&self.cluster, &self.avoided(&layout));
        let holders = source.fragments.iter().map(|fragment| placement.holders(fragment));
        let of = holders.map(|nodes| nodes.into_iter().filter_map(|node| layout.peer(node)).collect()).collect();
        Holders { own: self.own, of, everyone: layout.everyone(), left_out: Mutex::default() }
    }

    /// All shares, side by side.
    async fn all<W: Work>(
        &self,
        plan: &Holders,
        work: &W,
        shares: Vec<Share>,
        tried: Vec<NodeId>,
    ) -> Result<Vec<Done<W::Part>>> {
        let done = try_join_all(shares.into_iter().map(|share| self.share(plan, work, share, tried.clone()))).await?;
        Ok(done.into_iter().flatten().collect())
    }

    /// One share, by whoever can.
    fn share<'a, W: Work>(
        &'a self,
        plan: &'a Holders,
        work: &'a W,
        share: Share,
        mut tried: Vec<NodeId>,
    ) -> BoxFuture<'a, Result<Vec<Done<W::Part>>>> {
        let sharing = async move {
            let Some(peer) = share.by else { return self.here(plan, work, share, &tried).await };
            let (request, reader) = match work.request(&share.places) {
                Ok(made) => made,
                Err(error) => {
                    tracing::debug!(%error, "a part of a request cannot be asked for, and is worked out here");
                    return self.here(plan, work, share, &tried).await;
                }
            };
            tried.push(peer.node);
            let began = Instant::now();
            let asked = self.ask(peer, request, reader);
            tokio::pin!(asked);
            let patience = self.health.patience(peer, work.cost(&share.places));
            let mut answer = timeout(patience, &mut asked).await;
            if answer.is_err() {
                let more = self.health.more_patience(peer);
                answer = timeout(more, &mut asked).await;
            }
            match answer {
                Ok(Ok(part)) => return Ok(vec![Done { share, part }]),
                Ok(Err(AskError::Refused(_))) => return self.here(plan, work, share, &tried).await,
                Ok(Err(failure @ (AskError::Unable(_) | AskError::Failed(_)))) => {
                    if matches!(failure, AskError::Failed(_)) {
                        plan.leave_out(peer);
                    }
                    return self.all(plan, work, plan.shares(&share.places, &tried), tried).await;
                }
                Err(_) => metrics::hedged(),
            }
            let others = self.all(plan, work, plan.shares(&share.places, &tried), tried);
            tokio::pin!(others);
            tokio::select! {
                biased;
                answer = &mut asked => match answer {
                    Ok(part) => Ok(vec![Done { share, part }]),
                    Err(_) => others.await,
                },
                done = &mut others => match done {
                    Ok(done) => {
                        plan.leave_out(peer);
                        self.health.outrun(peer, began.elapsed(), Instant::now());
                        Ok(done)
                    }
                    // Not even this node can; the one that was asked first may still.
                    Err(error) => match asked.await {
                        Ok(part) => Ok(vec![Done { share, part }]),
                        Err(_) => Err(error),
                    },
                },
            }
        };
        sharing.boxed()
    }

    /// One share by this node; if it cannot read the data by any other one that was not tried.
    async fn here<W: Work>(
        &self,
        plan: &Holders,
        work: &W,
        share: Share,
        tried: &[NodeId],
    ) -> Result<Vec<Done<W::Part>>> {
        let error = match work.here(&share.places).await {
            Ok(part) => return Ok(vec![Done { share: Share { by: None, ..share }, part }]),
            Err(error) => error,
        };
        let untried = |peer: &&Peer| peer.node != self.own && !tried.contains(&peer.node);
        let mut asked = Vec::new();
        for peer in plan.everyone.iter().filter(untried).filter(|_| error.may_be_this_nodes()) {
            let Ok((request, reader)) = work.request(&share.places) else { break };
            asked.push(async move { Ok::<_, AskError>((*peer, self.ask(*peer, request, reader).await?)) }.boxed());
        }
        if asked.is_empty() {
            return Err(error);
        }
        tracing::warn!(%error, "a part of a request cannot be read here; all other nodes are asked for it");
        let answer = select_ok(asked).await;
        if let Error::Table(error) = &error {
            // The request may not fail, so nobody else will.
            self.database.readers.forget_damaged(error).await;
        }
        match answer {
            Ok(((peer, part), _)) => Ok(vec![Done { share: Share { by: Some(peer), ..share }, part }]),
            Err(_) => Err(error),
        }
    }

    /// Asks another node.
    async fn ask<T: Send + 'static>(
        &self,
        peer: Peer,
        request: Bytes,
        reader: Reader<T>,
    ) -> std::result::Result<T, AskError> {
        let (sent, began) = (metrics::Sent::new(), Instant::now());
        self.health.sent();
        let answered = async {
            let answer = match timeout(ANSWER_MAX, self.peers.ask(peer, request)).await {
                Ok(answer) => answer?,
                Err(_) => return Err(AskError::Failed(format!("no answer within {ANSWER_MAX:?}"))),
            };
            let read = cpu::run(answer.len() as u64, move || checked(reader, &answer)).await;
            read.map_err(|error| AskError::Failed(error.to_string()))
        };
        let answer = answered.await;
        match &answer {
            Ok(_) => {
                sent.answered();
                self.health.answered(peer, began.elapsed());
            }
            Err(AskError::Refused(reason)) => {
                sent.refused();
                tracing::debug!(node = %peer.node, reason, "a node refuses its part of a request");
            }
            Err(AskError::Unable(reason)) => {
                sent.failed();
                tracing::debug!(node = %peer.node, reason, "a node cannot do its part of a request; others are asked");
            }
            Err(AskError::Failed(reason)) => {
                sent.failed();
                let node = peer.node;
                // One that stays away is told of once.
                if self.health.failed(peer, Instant::now()) {
                    tracing::warn!(%node, reason, "a node fails to answer its part of a request; others are asked");
                } else {
                    tracing::debug!(%node, reason, "a node still fails to answer its part of a request");
                }
            }
        }
        answer
    }
}

/// Reads an answer. Whatever another node sends, this one's own reading still has to follow.
fn checked<T>(reader: Reader<T>, answer: &Bytes) -> Result<T> {
    let read = catch_unwind(AssertUnwindSafe(|| reader(answer)));
    read.unwrap_or_else(|_| Err(Error::SubRequest { detail: "reading the answer met a defect".to_owned() }))
}
