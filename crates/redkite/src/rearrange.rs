//! `redkite drain` and `redkite rebalance`: ask a Master to change who holds what, and wait until the nodes have what they get
//! by it. Whoever ends the command meanwhile ends the waiting; called again, it goes on.

use std::io::Write as _;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use redkite_types::{NodeId, Revision};
use serde_json::{Value, json};

use crate::ask::{Target, ask, ask_with};
use crate::cli::{DrainArgs, StatusArgs};
use crate::master::Wish;

/// The Master reads or writes one key of the metadata.
const PATIENCE: Duration = Duration::from_secs(30);
/// Pause between two looks at how far it is.
const LOOK_PAUSE: Duration = Duration::from_millis(500);

/// Takes a node out of the cluster, or lets it stay after all.
pub fn drain(args: &DrainArgs) -> Result<()> {
    let master = Master::of(&args.master)?;
    let node = NodeId(args.node);
    if args.keep {
        master.wish(Wish::Keep(node))?;
        return told(&args.master, &json!({ "node": node, "kept": true }), &format!("Node {node} stays."));
    }
    let (since, _) = master.wish(Wish::Drain(node))?;
    let loads = master.wait_for(since, Some(node), args.master.json)?;
    master.wish(Wish::Drained(node))?;
    let clients = node_of(&loads, node).filter(|load| load["alive"] == true).and_then(|load| load["load"].as_u64());
    let text = match clients {
        None => format!("Node {node} is no node of the cluster any more; others hold what it held."),
        Some(0) => format!("Others hold what node {node} held, and it has no clients: it can be stopped."),
        Some(clients) => format!(
            "Others hold what node {node} held. It still has {clients} clients, which are sent elsewhere when it is stopped; what \
             they have not flushed until then is lost."
        ),
    };
    told(&args.master, &json!({ "node": node, "drained": true, "clients": clients }), &text)
}

/// Spreads what was inserted until now over all nodes.
pub fn rebalance(args: &StatusArgs) -> Result<()> {
    let master = Master::of(args)?;
    let (since, balancing) = master.wish(Wish::Balance {})?;
    let loads = master.wait_for(since, None, args.json)?;
    master.wish(Wish::Balanced(balancing))?;
    let held: Vec<String> = each(&loads).map(|load| format!("node {}: {}", load["node"], load["fragments"])).collect();
    let text = format!("The data is spread. Fragments held: {}.", held.join(", "));
    told(args, &json!({ "balanced": balancing }), &text)
}

/// For people a sentence, for programs JSON.
fn told(args: &StatusArgs, told: &Value, text: &str) -> Result<()> {
    let text = if args.json { told.to_string() } else { text.to_owned() };
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}").and_then(|()| out.flush()).context("write to stdout")
}

/// The Master that is asked.
struct Master {
    server: Target,
    name: String,
}

impl Master {
    fn of(args: &StatusArgs) -> Result<Self> {
        Ok(Self { server: Target::named("--master", &args.master, &args.tls)?, name: args.master.clone() })
    }

    fn asked(&self) -> String {
        format!("asking the Master at {} (see --master)", self.name)
    }

    /// Asks for a change; the revision at which it holds, and up to which data is to be spread.
    fn wish(&self, wish: Wish) -> Result<(Revision, Revision)> {
        let body = serde_json::to_string(&wish)?;
        let answer = ask_with(&self.server, "PUT", "/redkite/nodes", &body, PATIENCE).with_context(|| self.asked())?;
        let answer: Value = serde_json::from_str(&answer).context("the Master's answer is no JSON")?;
        let number =
            |key: &str| answer[key].as_i64().map(Revision).with_context(|| format!("the Master told no {key}"));
        Ok((number("revision")?, number("balancing")?))
    }

    /// Waits until all living nodes, but for the one that `leaves`, have what they are to hold since that revision.
    fn wait_for(&self, since: Revision, leaves: Option<NodeId>, quiet: bool) -> Result<Value> {
        let mut shown = String::new();
        loop {
            let loads = ask(&self.server, "GET", "/redkite/loads", PATIENCE).with_context(|| self.asked())?;
            let loads: Value = serde_json::from_str(&loads).context("the Master's answer is no JSON")?;
            let (told, missing) = match progress(&loads, since, leaves) {
                Progress::Done { missing } => (None, missing),
                Progress::Fetching { fragments, nodes } => {
                    (Some(format!("{fragments} fragments are still to be fetched, by {nodes} nodes")), 0)
                }
                Progress::Nobody => bail!("no node is alive that could take over"),
            };
            if missing > 0 {
                eprintln!(
                    "warning: {missing} fragments do not fit on the nodes or cannot be fetched: they will be read slower"
                );
            }
            let Some(told) = told else { return Ok(loads) };
            if !quiet && told != shown {
                eprintln!("{told}");
            }
            shown = told;
            sleep(LOOK_PAUSE);
        }
    }
}

/// How far the nodes are.
#[derive(Debug, PartialEq, Eq)]
enum Progress {
    /// They have all they can have.
    Done { missing: u64 },
    /// So many still have to fetch so much, or to find out.
    Fetching { fragments: u64, nodes: usize },
    /// There are none.
    Nobody,
}

fn progress(loads: &Value, since: Revision, leaves: Option<NodeId>) -> Progress {
    let leaves = |load: &Value| leaves.is_some_and(|node| load["node"] == json!(node));
    let stays = |load: &&Value| {
        load["alive"] == true && !leaves(load) && matches!(load["state"].as_str(), Some("joining" | "serving"))
    };
    let (mut all, mut nodes, mut fragments, mut missing) = (0, 0, 0, 0);
    for load in each(loads).filter(stays) {
        all += 1;
        let pending = load["pending"].as_u64();
        let knows = load["members_revision"].as_i64().is_some_and(|known| known >= since.0);
        missing += load["missing"].as_u64().unwrap_or_default();
        if pending != Some(0) || !knows {
            nodes += 1;
            fragments += pending.unwrap_or_default();
        }
    }
    match (all, nodes) {
        (0, _) => Progress::Nobody,
        (_, 0) => Progress::Done { missing },
        _ => Progress::Fetching { fragments, nodes },
    }
}

fn each(loads: &Value) -> impl Iterator<Item = &Value> {
    loads["nodes"].as_array().map(Vec::as_slice).unwrap_or_default().iter()
}

fn node_of(loads: &Value, node: NodeId) -> Option<&Value> {
    each(loads).find(|load| load["node"] == json!(node))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_done_when_all_that_live_and_stay_have_their_share() {
        let node = |node: u32, alive: bool, pending: Value, revision: i64| json!({ "node": node, "alive": alive, "state": "serving", "pending": pending, "missing": node, "members_revision": revision });
        let check = |nodes: &[Value], want| {
            assert_eq!(progress(&json!({ "nodes": nodes }), Revision(7), Some(NodeId(1))), want);
        };
        let leaving = node(1, true, json!(5), 3);
        let dead = node(2, false, json!(5), 3);
        check(&[leaving.clone(), dead.clone()], Progress::Nobody);
        check(&[leaving.clone(), dead.clone(), node(3, true, json!(0), 7)], Progress::Done { missing: 3 });
        check(
            &[leaving, node(3, true, json!(0), 6), node(4, true, json!(9), 8)],
            Progress::Fetching { fragments: 9, nodes: 2 },
        );
        check(&[node(3, true, Value::Null, 9)], Progress::Fetching { fragments: 0, nodes: 1 });
    }
}
