//! Where a node's rows go when it is short of memory (S26, S27): it asks a Master for the loads of the others, or, where none
//! answers, them; and holds rows for them in turn.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use redkite_cluster::internal::{Undone, WORK_BYTES_MAX};
use redkite_cluster::{Conversation, Converse, Fill, Load, Neighbour, Neighbours, Partner, Seated, State, lightest};
use redkite_ingest::forward::{Guest, Guests, Line, Outlets, QUESTION_BYTES_MAX};
use redkite_types::NodeId;
use serde::Deserialize;
use tokio::time::Instant;

use crate::ask::{Target, ask};
use crate::config::{Config, TlsConfig};
use crate::metrics as telemetry;

const _: () = assert!(QUESTION_BYTES_MAX < WORK_BYTES_MAX);

/// How long what is known of the loads of others is good enough: a burst of inserts asks once.
const LOADS_AGE_MAX: Duration = Duration::from_secs(1);
/// How long the memory in use here is taken for what it was.
const OWN_AGE_MAX: Duration = Duration::from_millis(100);
/// How long a Master may take to tell the loads.
const MASTER_WITHIN: Duration = Duration::from_secs(1);
/// How long a Master that has not answered is not asked again.
const MASTER_AVOIDED: Duration = Duration::from_secs(10);
/// By how much of the budget memory in use has to be below the mark before that is told: it may go up and down around it.
const TOLD_MARGIN: f64 = 0.05;
/// How long a node that has not taken rows comes last.
const NODE_AVOIDED: Duration = Duration::from_secs(5);

/// What decides whether rows go elsewhere, and whom is asked where to.
#[derive(Debug, Clone, PartialEq)]
struct Rules {
    high_water_level: f64,
    /// Masters, in the order in which they are asked.
    masters: Vec<String>,
}

impl Rules {
    fn of(config: &Config) -> Self {
        let masters = config.master_address.split(',').map(str::trim).filter(|master| !master.is_empty());
        Self { high_water_level: config.high_water_level, masters: masters.map(str::to_owned).collect() }
    }
}

/// The other nodes of this one's cluster, as places for rows.
pub struct Relief {
    node: NodeId,
    budget_bytes: u64,
    tls: TlsConfig,
    neighbours: Arc<Neighbours>,
    used_bytes: fn() -> Option<u64>,
    rules: Mutex<Rules>,
    own: Mutex<Option<(Instant, u64)>>,
    /// Whether the log says that memory is short.
    told_short: AtomicBool,
    /// Held while others are asked, so that a burst asks once.
    loads: tokio::sync::Mutex<Option<(Instant, Arc<[Fill]>)>>,
    avoided: Mutex<Avoided>,
}

/// Who is not asked for a while.
#[derive(Debug, Default)]
struct Avoided {
    nodes: Vec<(NodeId, Instant)>,
    masters: Vec<(String, Instant)>,
}

impl fmt::Debug for Relief {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Relief").field("node", &self.node).field("rules", &*self.rules.lock()).finish_non_exhaustive()
    }
}

impl Relief {
    /// For node `node`, among `neighbours`.
    pub fn new(config: &Config, node: NodeId, neighbours: Arc<Neighbours>) -> Self {
        Self {
            node,
            budget_bytes: config.memory_budget_bytes,
            tls: config.tls.clone(),
            neighbours,
            used_bytes: telemetry::anonymous_bytes,
            rules: Mutex::new(Rules::of(config)),
            own: Mutex::default(),
            told_short: AtomicBool::default(),
            loads: tokio::sync::Mutex::default(),
            avoided: Mutex::default(),
        }
    }

    /// The cluster's configuration has changed.
    pub fn follow(&self, config: &Config) {
        *self.rules.lock() = Rules::of(config);
    }

    /// This node's own memory.
    fn own(&self) -> Fill {
        let mut own = self.own.lock();
        let used_bytes = match *own {
            Some((at, used_bytes)) if at.elapsed() < OWN_AGE_MAX => used_bytes,
            // Where the kernel does not tell, nothing is ever short.
            _ => (self.used_bytes)().unwrap_or(0),
        };
        if own.is_none_or(|(at, _)| at.elapsed() >= OWN_AGE_MAX) {
            *own = Some((Instant::now(), used_bytes));
        }
        Fill { node: self.node, used_bytes, budget_bytes: self.budget_bytes }
    }

    /// The loads of the other nodes, at most [`LOADS_AGE_MAX`] old.
    async fn loads(&self) -> Arc<[Fill]> {
        let mut known = self.loads.lock().await;
        if let Some((at, fills)) = &*known
            && at.elapsed() < LOADS_AGE_MAX
        {
            return fills.clone();
        }
        let (of, fills) = match self.ask_masters().await {
            Some(fills) => ("master", fills),
            None => ("nodes", fills_of(self.neighbours.loads().await)),
        };
        metrics::counter!("redkite_loads_asked_total", "of" => of).increment(1);
        let fills: Arc<[Fill]> = fills.into();
        *known = Some((Instant::now(), fills.clone()));
        fills
    }

    async fn ask_masters(&self) -> Option<Vec<Fill>> {
        let masters = self.rules.lock().masters.clone();
        for master in masters {
            if is_avoided(&mut self.avoided.lock().masters, &master) {
                continue;
            }
            let (address, tls, own) = (master.clone(), self.tls.clone(), self.node);
            let asked = tokio::task::spawn_blocking(move || {
                let master = Target::of_cluster(&address, &tls)?;
                told(&ask(&master, "GET", "/redkite/loads", MASTER_WITHIN)?)
            });
            match tokio::time::timeout(MASTER_WITHIN, asked).await {
                // One that knows of nobody else is no help.
                Ok(Ok(Ok(fills))) if fills.iter().any(|fill| fill.node != own) => return Some(fills),
                Ok(Ok(Err(error))) => tracing::debug!(master, "a Master was asked for the loads in vain: {error:#}"),
                other => tracing::debug!(master, ?other, "a Master does not tell the loads"),
            }
            avoid_for(&mut self.avoided.lock().masters, master, MASTER_AVOIDED);
        }
        None
    }

    fn may_take(&self, node: NodeId) -> bool {
        !is_avoided(&mut self.avoided.lock().nodes, &node) && self.seat(node).is_some()
    }

    /// A node that is not about to leave.
    fn seat(&self, node: NodeId) -> Option<Seated> {
        let now = self.neighbours.now();
        let stays = |known: &&Neighbour| matches!(known.state, State::Joining | State::Serving);
        now.nodes.iter().filter(stays).map(|known| known.seat).find(|(known, _)| *known == node)
    }
}

/// The nodes that may take rows, by what they told themselves.
fn fills_of(loads: Vec<(NodeId, Load)>) -> Vec<Fill> {
    let taking = loads.into_iter().filter(|(_, load)| load.takes_clients);
    let fill = |(node, load): (NodeId, Load)| Fill {
        node,
        used_bytes: load.memory_bytes,
        budget_bytes: load.memory_budget_bytes,
    };
    taking.map(fill).collect()
}

/// What a Master answers, as far as it matters here.
#[derive(Debug, Deserialize)]
struct Told {
    nodes: Vec<ToldNode>,
}

#[derive(Debug, Deserialize)]
struct ToldNode {
    node: NodeId,
    alive: bool,
    takes_clients: bool,
    memory_bytes: u64,
    #[serde(default)]
    memory_budget_bytes: u64,
}

/// The nodes that may take rows, by a Master's answer.
fn told(answer: &str) -> anyhow::Result<Vec<Fill>> {
    let told: Told = serde_json::from_str(answer)?;
    let taking = told.nodes.into_iter().filter(|node| node.alive && node.takes_clients);
    let fill = |told: ToldNode| Fill {
        node: told.node,
        used_bytes: told.memory_bytes,
        budget_bytes: told.memory_budget_bytes,
    };
    Ok(taking.map(fill).collect())
}

fn avoid_for<T: PartialEq>(avoided: &mut Vec<(T, Instant)>, one: T, span: Duration) {
    avoided.retain(|(known, _)| *known != one);
    avoided.push((one, Instant::now() + span));
}

/// Whether one is to be avoided still; forgets those that are not.
fn is_avoided<T: PartialEq>(avoided: &mut Vec<(T, Instant)>, one: &T) -> bool {
    let now = Instant::now();
    avoided.retain(|(_, until)| *until > now);
    avoided.iter().any(|(known, _)| known == one)
}

#[async_trait]
impl Outlets for Relief {
    fn are_needed(&self) -> bool {
        let own = self.own();
        let level = self.rules.lock().high_water_level;
        let short = own.is_above(level);
        let told = self.told_short.load(Ordering::Relaxed);
        let Fill { used_bytes, budget_bytes, .. } = own;
        if short && !told {
            tracing::info!(
                used_bytes,
                budget_bytes,
                high_water_level = level,
                "memory in use is above high_water_level; inserts go to nodes that have more left"
            );
            self.told_short.store(true, Ordering::Relaxed);
        } else if told && !own.is_above(level - TOLD_MARGIN) {
            tracing::info!(
                used_bytes,
                budget_bytes,
                "memory in use is below high_water_level again; inserts stay here"
            );
            self.told_short.store(false, Ordering::Relaxed);
        }
        short
    }

    async fn line(&self) -> Option<(NodeId, Box<dyn Line>)> {
        let level = self.rules.lock().high_water_level;
        let mut others = self.loads().await.to_vec();
        others.retain(|fill| self.may_take(fill.node));
        while let Some(node) = lightest(self.own(), &others, level) {
            match self.neighbours.converse(self.seat(node)?).await {
                Ok(conversation) => return Some((node, Box::new(Wire(conversation)))),
                Err(undone) => {
                    tracing::debug!(%node, ?undone, "rows cannot be forwarded to a node");
                    self.avoid(node);
                    others.retain(|fill| fill.node != node);
                }
            }
        }
        None
    }

    fn avoid(&self, node: NodeId) {
        avoid_for(&mut self.avoided.lock().nodes, node, NODE_AVOIDED);
    }
}

/// A conversation as a line.
#[derive(Debug)]
struct Wire(Conversation);

#[async_trait]
impl Line for Wire {
    async fn ask(&mut self, question: Bytes) -> Result<Bytes, String> {
        self.0.ask(question).await.map_err(|undone| match undone {
            Undone::Refused(reason) | Undone::Unable(reason) | Undone::Failed(reason) => reason,
        })
    }
}

/// Holds rows for the other nodes.
#[derive(Debug)]
pub struct Host(pub Guests);

impl Converse for Host {
    fn begin(&self) -> Box<dyn Partner> {
        Box::new(Room(self.0.begin()))
    }
}

/// What is held for one block.
struct Room(Guest);

#[async_trait]
impl Partner for Room {
    async fn answer(&mut self, question: Bytes) -> Result<Bytes, String> {
        self.0.answer(question).await
    }

    fn patience(&self) -> Duration {
        self.0.patience()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_masters_answer_names_the_nodes_that_may_take_rows() {
        let answer = r#"{"nodes":[
            {"cluster":"c1","node":1,"alive":true,"takes_clients":true,"memory_bytes":5,"memory_budget_bytes":10},
            {"node":2,"alive":false,"takes_clients":true,"memory_bytes":5,"memory_budget_bytes":10},
            {"node":3,"alive":true,"takes_clients":false,"memory_bytes":5,"memory_budget_bytes":10},
            {"node":4,"alive":true,"takes_clients":true,"memory_bytes":7}
        ]}"#;
        let fill = |node: u32, used_bytes, budget_bytes| Fill { node: NodeId(node), used_bytes, budget_bytes };
        assert_eq!(told(answer).unwrap(), [fill(1, 5, 10), fill(4, 7, 0)]);
        for other in ["", "{}", "[]", r#"{"nodes":[{"node":1}]}"#, r#"{"nodes":[{"node":-1}]}"#] {
            assert!(told(other).is_err(), "{other}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_failed_is_avoided_for_a_while() {
        let mut avoided = Vec::new();
        (0..3).for_each(|_| avoid_for(&mut avoided, 1, NODE_AVOIDED));
        assert_eq!(avoided.len(), 1);
        assert!(is_avoided(&mut avoided, &1) && !is_avoided(&mut avoided, &2));
        tokio::time::sleep(NODE_AVOIDED).await;
        assert!(!is_avoided(&mut avoided, &1));
        assert!(avoided.is_empty());
    }
}
