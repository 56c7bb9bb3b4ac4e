//! What one key alone cannot tell: the limits keys set each other.

use redkite_types::NodeId;

use super::problem::{Origin, Problem};
use super::{Config, Settings};

/// Everything that does not fit together.
pub fn check(config: &Config, settings: &Settings) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut refuse = |name: &str, reason: String| problems.push(settings.problem(name, reason));
    let replicas_max = config.num_nodes - 1;
    if config.num_replicas > replicas_max {
        refuse(
            "num_replicas",
            format!(
                "want at most num_nodes - 1 = {replicas_max}: copies lie on different nodes (num_nodes = {})",
                config.num_nodes
            ),
        );
    } else if config.sync_level > config.num_replicas {
        refuse(
            "sync_level",
            format!("want at most num_replicas = {}: there are no more copies to wait for", config.num_replicas),
        );
    }
    if config.session.memory_soft_bytes > config.session.memory_hard_bytes {
        refuse(
            "session.memory_soft",
            format!("want at most session.memory_hard = {}", settings.shown("session.memory_hard")),
        );
    }
    if config.listen == config.http && !config.listen.ends_with(":0") {
        refuse("http", "want another port than that of listen".to_owned());
    }
    let etcd = &config.etcd;
    if etcd.user.is_empty() && !etcd.password.is_empty() {
        refuse("etcd.password", "want etcd.user beside it".to_owned());
    }
    let tls = &config.tls;
    for (cert, key, names) in
        [(&etcd.cert, &etcd.key, ["etcd.cert", "etcd.key"]), (&tls.cert, &tls.key, ["tls.cert", "tls.key"])]
    {
        match (cert.is_empty(), key.is_empty()) {
            (false, true) => refuse(names[0], format!("want {} beside it", names[1])),
            (true, false) => refuse(names[1], format!("want {} beside it", names[0])),
            _ => {}
        }
    }
    if tls.cert.is_empty() && tls.key.is_empty() && !tls.client_ca.is_empty() {
        refuse("tls.client_ca", "want tls.cert and tls.key beside it".to_owned());
    }
    problems
}

/// What does not do for any process of a cluster.
pub fn check_member(config: &Config, settings: &Settings) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut refuse = |name: &str, reason: &str| problems.push(settings.problem(name, reason.to_owned()));
    if settings.get("cluster_id").is_some_and(|setting| setting.origin == Origin::Default) {
        refuse("cluster_id", "want the id of the cluster that this process belongs to");
    }
    if config.tls.cert.is_empty() && !config.tls.ca.is_empty() {
        refuse(
            "tls.ca",
            "want tls.cert and tls.key beside it: the processes of a cluster have TLS among them if their ports do",
        );
    }
    if config.etcd.endpoints.is_empty() {
        refuse("etcd.endpoints", "want the etcd of the cluster, such as [\"http://127.0.0.1:2379\"]");
    }
    problems
}

/// What does not do for a node of a cluster. `node`: its number, if it has one.
pub fn check_node(config: &Config, settings: &Settings, node: Option<NodeId>) -> Vec<Problem> {
    let mut problems = check_member(config, settings);
    let mut refuse = |name: &str, reason: &str| problems.push(settings.problem(name, reason.to_owned()));
    if node.is_none() {
        refuse("node_id", "want a number: this host's name does not end in one (--node-id N)");
    }
    if config.storage.url.is_empty() {
        refuse("storage.url", "want the storage that all nodes share, such as \"s3://bucket/prefix\"");
    }
    if config.advertise.is_empty() && is_wildcard(&config.listen) {
        refuse("advertise", "want the address at which clients reach this node, as listen names none");
    }
    problems
}

/// Whether an address stands for all of the machine.
fn is_wildcard(address: &str) -> bool {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    matches!(host, "0.0.0.0" | "[::]")
}
