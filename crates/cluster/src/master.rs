//! What a Master does: it follows who the nodes are, hears their hearts beat, and knows whom to send a client to. It keeps
//! nothing that another one, started anywhere, would not find out with its first round (S23).

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use parking_lot::Mutex;
use redkite_meta::MetaStore;
use redkite_net::{Dialer, Stream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

use crate::changes::Changes;
use crate::internal::{channel, heartbeat};
use crate::{Member, Members, Result, Roster, Seen};

/// How a Master listens for its nodes.
#[derive(Debug, Clone, Copy)]
pub struct MasterOptions {
    /// Pause between two heartbeats.
    pub interval: Duration,
    /// Beats that a node may miss before it counts as down.
    pub missed_max: u32,
}

/// How long the members may take to be read, however short the pause between heartbeats is.
const MET_WITHIN_MIN: Duration = Duration::from_millis(500);

/// A Master of one cluster.
#[derive(Debug)]
pub struct Master {
    meta: Arc<dyn MetaStore>,
    key: String,
    options: watch::Sender<MasterOptions>,
    dialer: Dialer,
    state: Mutex<State>,
    rounds: watch::Sender<u64>,
}

#[derive(Debug)]
struct State {
    roster: Roster,
    secret: String,
    /// To each process that was met: a channel, and what ends its clients' connections.
    peers: HashMap<String, Peer>,
}

#[derive(Debug, Clone)]
struct Peer {
    channel: Channel,
    up: CancellationToken,
}

/// Where to send a client.
#[derive(Debug, Clone)]
pub struct Place {
    /// The node.
    pub member: Member,
    /// The cluster's secret.
    pub secret: String,
    /// Cancelled once the node counts as down.
    pub down: CancellationToken,
}

impl Master {
    /// A Master of the cluster whose members stand under `key`, and are reached without TLS.
    pub fn new(meta: Arc<dyn MetaStore>, key: String, options: MasterOptions) -> Self {
        let roster = Roster::new(options.missed_max);
        let state = Mutex::new(State { roster, secret: String::new(), peers: HashMap::new() });
        let (options, rounds) = (watch::Sender::new(options), watch::Sender::new(0));
        Self { meta, key, options, dialer: Dialer::plain(), state, rounds }
    }

    /// The same, by `dialer`.
    pub fn dialing(self, dialer: Dialer) -> Self {
        Self { dialer, ..self }
    }

    /// A connection to a node's port for the processes of its cluster. Who calls it bounds the time.
    pub async fn connect(&self, member: &Member) -> io::Result<Stream> {
        self.dialer.dial(&member.internal).await
    }

    /// Listens in another way from now on.
    pub fn listen(&self, options: MasterOptions) {
        self.state.lock().roster.allow(options.missed_max);
        self.options.send_replace(options);
    }

    /// Follows the nodes until dropped.
    pub async fn run(&self) {
        self.meet_in_time().await;
        let mut changes = Changes::of(&self.key);
        let mut options = self.options.subscribe();
        let mut beat = beats(options.borrow_and_update().interval);
        loop {
            // A joining node is met at once; should the watch fail, with the next beat.
            let whom = tokio::select! {
                _ = beat.tick() => Whom::All,
                // The sender lives as long as this.
                _ = options.changed() => {
                    beat = beats(options.borrow_and_update().interval);
                    continue;
                }
                () = changes.next(self.meta.as_ref()) => Whom::New,
            };
            match whom {
                // Metadata that does not answer must not keep the Master from hearing who is alive.
                Whom::All => _ = tokio::join!(self.meet_in_time(), self.hear(whom)),
                Whom::New => {
                    self.meet_in_time().await;
                    self.hear(whom).await;
                }
            }
            self.rounds.send_modify(|rounds| *rounds += 1);
        }
    }

    fn interval(&self) -> Duration {
        self.options.borrow().interval
    }

    /// What is known of the nodes is enough to go on with while the metadata cannot be read.
    async fn meet_in_time(&self) {
        match tokio::time::timeout(self.interval().max(MET_WITHIN_MIN), self.meet()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(%error, "the members of the cluster cannot be read; those known before are kept");
            }
            Err(_) => tracing::warn!("the metadata does not answer; the members known before are kept"),
        }
    }

    /// Waits until all nodes were asked once.
    pub async fn first_round(&self) {
        let mut rounds = self.rounds.subscribe();
        // The sender lives as long as this.
        _ = rounds.wait_for(|rounds| *rounds > 0).await;
    }

    /// Whom to send the next client to; none if nobody is alive.
    pub fn choose(&self) -> Option<Place> {
        let mut state = self.state.lock();
        let member = state.roster.choose()?;
        let down = state.peers.get(&member.boot)?.up.clone();
        Some(Place { member, secret: state.secret.clone(), down })
    }

    /// The same; if there is nobody for the moment, waits for `patience`: one may be about to serve.
    pub async fn choose_within(&self, patience: Duration) -> Option<Place> {
        let mut rounds = self.rounds.subscribe();
        let chosen = async {
            loop {
                rounds.mark_unchanged();
                if let Some(place) = self.choose() {
                    return Some(place);
                }
                // The sender lives as long as this.
                rounds.changed().await.ok()?;
            }
        };
        tokio::time::timeout(patience, chosen).await.ok().flatten()
    }

    /// Hears that a client could not be sent to a node. Those that are there already keep it.
    pub fn failed(&self, member: &Member) {
        self.state.lock().roster.failed(&member.boot);
    }

    /// The nodes, and whether each is alive.
    pub fn nodes(&self) -> Vec<(Seen, bool)> {
        let state = self.state.lock();
        state.roster.nodes().map(|seen| (seen.clone(), state.roster.is_alive(seen))).collect()
    }

    async fn meet(&self) -> Result<()> {
        // A cluster without nodes has no key.
        let Some(kv) = self.meta.get(&self.key).await? else { return Ok(()) };
        let members = Members::read(&self.key, &kv.value)?;
        let mut state = self.state.lock();
        state.secret.clone_from(&members.secret);
        state.roster.update(&members);
        let State { roster, peers, .. } = &mut *state;
        peers.retain(|boot, peer| {
            let stays = roster.nodes().any(|seen| seen.member.boot == *boot);
            if !stays {
                peer.up.cancel();
            }
            stays
        });
        for seen in roster.nodes() {
            if peers.contains_key(&seen.member.boot) {
                continue;
            }
            match channel(&seen.member.internal, &self.dialer) {
                Ok(channel) => {
                    let peer = Peer { channel, up: CancellationToken::new() };
                    peers.insert(seen.member.boot.clone(), peer);
                }
                Err(error) => {
                    tracing::warn!(node = %seen.member.node, internal = seen.member.internal, %error, "not an address");
                }
            }
        }
        Ok(())
    }

    /// Asks nodes, all at once.
    async fn hear(&self, whom: Whom) {
        let (secret, peers) = {
            let state = self.state.lock();
            let is_new = |boot: &str| state.roster.nodes().any(|seen| seen.member.boot == boot && seen.load.is_none());
            let mut peers = state.peers.clone();
            peers.retain(|boot, _| whom == Whom::All || is_new(boot));
            (state.secret.clone(), peers)
        };
        let interval = self.interval();
        let asked = peers.into_iter().map(|(boot, peer)| {
            let secret = secret.clone();
            async move {
                let answer = tokio::time::timeout(interval, heartbeat(peer.channel, &secret, &boot)).await;
                (boot, answer)
            }
        });
        for (boot, answer) in join_all(asked).await {
            let mut state = self.state.lock();
            match answer {
                Ok(Ok((answered, load))) if answered == boot => {
                    state.roster.heard(&boot, load);
                    state.rise(&boot);
                }
                other => {
                    tracing::debug!(boot, ?other, "a node missed a heartbeat");
                    if state.roster.missed(&boot) {
                        state.fall(&boot);
                    }
                }
            }
        }
    }
}

impl State {
    fn fall(&mut self, boot: &str) {
        let Some(peer) = self.peers.get(boot).filter(|peer| !peer.up.is_cancelled()) else { return };
        peer.up.cancel();
        let node = self.roster.nodes().find(|seen| seen.member.boot == boot).map(|seen| seen.member.node);
        tracing::warn!(?node, "a node does not answer and counts as down; its clients are sent elsewhere");
    }

    fn rise(&mut self, boot: &str) {
        if let Some(peer) = self.peers.get_mut(boot)
            && peer.up.is_cancelled()
        {
            peer.up = CancellationToken::new();
            tracing::info!(boot, "a node that was down answers again");
        }
    }
}

/// Beats at `interval`, the first one at once.
fn beats(interval: Duration) -> tokio::time::Interval {
    let mut beats = tokio::time::interval(interval);
    beats.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    beats
}

/// Which nodes are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whom {
    /// Everybody: it is time for a beat.
    All,
    /// Those that have never answered.
    New,
}
