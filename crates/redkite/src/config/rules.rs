//! What one key alone cannot tell: the limits keys set each other.

use super::problem::Problem;
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
    if etcd.cert.is_empty() != etcd.key.is_empty() {
        let (missing, given) = if etcd.cert.is_empty() { ("etcd.cert", "etcd.key") } else { ("etcd.key", "etcd.cert") };
        refuse(given, format!("want {missing} beside it"));
    }
    problems
}
