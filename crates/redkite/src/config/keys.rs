//! Every key there is: the one table from which defaults, checks, names in the environment, the dump and the messages
//! come. Top-level keys are named as in the design they come from.

use super::kind::{self, Kind};
use super::machine::Machine;

/// A key.
#[derive(Debug)]
pub struct Key {
    /// Dotted for a section: `storage.url`.
    pub name: &'static str,
    /// Another spelling that is understood everywhere.
    pub alias: Option<&'static str>,
    /// What its values are.
    pub kind: Kind,
    /// Its value where nobody sets it.
    pub default: Default,
    /// Whether it belongs to the cluster's stored configuration (S34).
    pub of_cluster: bool,
    /// For people, one line.
    pub doc: &'static str,
}

/// A default, written as on the command line.
#[derive(Debug, Clone, Copy)]
pub enum Default {
    /// The same everywhere.
    Text(&'static str),
    /// Depends on the machine.
    Of(fn(&Machine) -> String),
}

/// Largest number of nodes that makes sense to ask for.
const NODES_MAX: i64 = 10_000;
/// A Master that asks less often finds out too late to be of use.
const HEART_BEAT_MS_MAX: i64 = 600_000;
/// A message must at least hold one vector of the largest dimension and what surrounds it.
const MESSAGE_BYTES_MIN: u64 = 1 << 20;
/// Row offsets within a fragment are 32 bits.
const MERGE_ROWS_MAX: i64 = u32::MAX as i64;
/// One batch of vectors of the largest dimension.
const MERGE_MEMORY_MIN: u64 = 16 << 20;
/// tonic counts message lengths in 32 bits.
const INT32_MAX: i64 = i32::MAX as i64;

const fn key(name: &'static str, kind: Kind, default: &'static str, doc: &'static str) -> Key {
    Key { name, alias: None, kind, default: Default::Text(default), of_cluster: false, doc }
}

const fn cluster_key(name: &'static str, kind: Kind, default: &'static str, doc: &'static str) -> Key {
    Key { name, alias: None, kind, default: Default::Text(default), of_cluster: true, doc }
}

/// All keys in the order of the dump: top-level ones, then section by section.
pub static KEYS: &[Key] = &[
    key(
        "user",
        Kind::Checked(kind::user_name),
        "default",
        "Whose collections: the first part of every metadata key and of every object's path.",
    ),
    key("cluster_id", Kind::Checked(kind::cluster_id), "standalone", "The cluster this process belongs to."),
    cluster_key(
        "auto_flush",
        Kind::Bool,
        "false",
        "true: data becomes visible by itself; false: when the client calls flush().",
    ),
    cluster_key(
        "flush_interval",
        Kind::Integer { min: 0, max: INT32_MAX },
        "1000",
        "With auto_flush: milliseconds until data becomes visible; 0 commits every write before it is answered.",
    ),
    Key {
        alias: Some("flush_limitation"),
        ..cluster_key(
            "flush_limitition",
            Kind::Size { min: 1 },
            "16M",
            "With auto_flush: a client's data becomes visible as soon as it is more than this.",
        )
    },
    cluster_key(
        "num_nodes",
        Kind::Integer { min: 1, max: NODES_MAX },
        "1",
        "Nodes of the cluster that serve inserts and queries.",
    ),
    cluster_key(
        "num_replicas",
        Kind::Integer { min: 0, max: NODES_MAX },
        "0",
        "Further nodes that hold a copy of each piece of data; at most num_nodes - 1.",
    ),
    cluster_key(
        "sync_level",
        Kind::Integer { min: 0, max: NODES_MAX },
        "0",
        "Replicas that must hold a write before its flush succeeds; at most num_replicas.",
    ),
    cluster_key(
        "master_address",
        Kind::Checked(kind::addresses),
        "",
        "Masters that nodes short of memory ask for the loads of the others, as \"master-1:19530,master-2:19530\".",
    ),
    cluster_key(
        "high_water_level",
        Kind::Share,
        "0.6",
        "Share of its memory_budget from which on a node passes inserts on to one that has more memory left.",
    ),
    cluster_key(
        "ip_whitelist",
        Kind::Networks,
        "[]",
        "Networks that may connect to listen and http, as [\"10.0.0.0/8\", \"::1\"]; [] lets everybody.",
    ),
    cluster_key(
        "master_heart_beat_interval",
        Kind::Integer { min: 10, max: HEART_BEAT_MS_MAX },
        "1000",
        "Milliseconds between two times that a Master asks the nodes whether they are alive.",
    ),
    cluster_key(
        "time_out_on_heart_beat",
        Kind::Integer { min: 1, max: 1_000 },
        "3",
        "Answers in a row that a node may owe before a Master sends its clients elsewhere.",
    ),
    key(
        "http_ip_whitelist",
        Kind::Networks,
        "[]",
        "Networks that may connect to http instead of those of ip_whitelist, for health probes; [] for the same.",
    ),
    key(
        "node_id",
        Kind::Node,
        "\"auto\"",
        "The number of this node in its cluster; \"auto\" is that at the end of the host's name. For redkite node.",
    ),
    Key {
        default: Default::Of(Machine::memory_budget),
        ..key(
            "memory_budget",
            Kind::Size { min: 1 },
            "",
            "Memory that high_water_level is a share of. Default: that of the machine or of the control group.",
        )
    },
    key("listen", Kind::Address { optional: false }, "127.0.0.1:19530", "Address and port for clients."),
    key(
        "advertise",
        Kind::Address { optional: true },
        "",
        "Address and port at which clients reach this node from elsewhere; \"\" is that of listen. For redkite node.",
    ),
    key(
        "internal",
        Kind::Address { optional: true },
        "",
        "Address and port for the other nodes; \"\" is any free port at the host of listen. For redkite node.",
    ),
    key(
        "http",
        Kind::Address { optional: true },
        "127.0.0.1:9091",
        "Address and port of /healthz, /readyz and /metrics; \"\" for none.",
    ),
    key(
        "data_dir",
        Kind::Checked(kind::directory),
        "./redkite-data",
        "Directory of everything this process keeps on disk; one process at a time.",
    ),
    key(
        "log",
        Kind::Checked(kind::log_filter),
        "info",
        "Which log lines are written to stderr: a level, or target=level,...",
    ),
    key("log_format", Kind::OneOf(&["text", "json"]), "text", "How log lines look: \"text\" or \"json\"."),
    key("log_slow", Kind::Duration, "1s", "Searches and queries that take longer are logged; \"0s\" for none."),
    key(
        "storage.url",
        Kind::Checked(kind::storage_url),
        "",
        "Where data files are: a path, file:///path or s3://bucket/prefix; \"\" is the folder objects of data_dir.",
    ),
    key(
        "storage.endpoint",
        Kind::Checked(kind::http_url),
        "",
        "Address of an S3 server other than Amazon's; http:// means without TLS. Credentials: AWS_ACCESS_KEY_ID etc.",
    ),
    key("storage.region", Kind::Text, "", "Region of S3; \"\" is that of AWS_REGION, else us-east-1."),
    key(
        "storage.cache_dir",
        Kind::Text,
        "",
        "Where copies of files from S3 are kept; \"\" is the folder cache of data_dir.",
    ),
    key("storage.cache_size", Kind::Size { min: 1 }, "10G", "Most bytes of such copies."),
    key(
        "etcd.endpoints",
        Kind::Endpoints,
        "[]",
        "Members of an etcd for the metadata; [] keeps the metadata in data_dir.",
    ),
    Key { alias: Some("etcd.username"), ..key("etcd.user", Kind::Text, "", "User name, where etcd wants one.") },
    key("etcd.password", Kind::Secret, "", "The user's password."),
    key("etcd.ca", Kind::Text, "", "PEM file of the certificates to trust; \"\" trusts what the system trusts."),
    key("etcd.cert", Kind::Text, "", "PEM file of this process's certificate, where etcd wants one."),
    key("etcd.key", Kind::Text, "", "PEM file of that certificate's key."),
    key(
        "etcd.compact",
        Kind::Bool,
        "true",
        "Forget the metadata's history after some minutes; false where etcd is shared with programs that need it.",
    ),
    key(
        "tls.cert",
        Kind::Text,
        "",
        "PEM file of this process's certificate; with it all its ports take TLS and nothing else.",
    ),
    key("tls.key", Kind::Text, "", "PEM file of that certificate's key."),
    key(
        "tls.client_ca",
        Kind::Text,
        "",
        "PEM file of the authorities that clients' certificates are signed by; \"\" asks clients for none.",
    ),
    key(
        "tls.ca",
        Kind::Text,
        "",
        "PEM file of the authorities to trust in other processes of the cluster; \"\" trusts what the system trusts.",
    ),
    key(
        "session.memory_soft",
        Kind::Size { min: 1 },
        "256M",
        "A client's unflushed data beyond this is written to storage early, still invisible.",
    ),
    Key {
        default: Default::Of(Machine::session_memory_hard),
        ..key(
            "session.memory_hard",
            Kind::Size { min: 1 },
            "",
            "Unflushed data of all clients; beyond it writes are refused. Default: 2G or a quarter of memory.",
        )
    },
    key(
        "session.idle_timeout",
        Kind::Duration,
        "1h",
        "A client silent for so long is taken for gone, and what it did not flush is dropped.",
    ),
    key("server.message_limit", Kind::Size { min: MESSAGE_BYTES_MIN }, "256M", "Largest request and answer."),
    key("merge.enabled", Kind::Bool, "true", "Merge small fragments in the background."),
    key(
        "merge.target_rows",
        Kind::Integer { min: 2, max: MERGE_ROWS_MAX },
        "1000000",
        "Rows up to which fragments are merged; those of half as many and more are left alone.",
    ),
    key(
        "merge.fan_in",
        Kind::Integer { min: 2, max: 64 },
        "8",
        "Neighbouring fragments of about one size that become one.",
    ),
    key(
        "merge.deleted_percent",
        Kind::Integer { min: 1, max: 100 },
        "20",
        "Share of deleted rows from which on a fragment is rewritten.",
    ),
    key(
        "merge.threads",
        Kind::Integer { min: 1, max: 256 },
        "1",
        "Merges at the same time, each on a thread of low priority.",
    ),
    key(
        "merge.memory",
        Kind::Size { min: MERGE_MEMORY_MIN },
        "64M",
        "Memory of one merge besides mapped files; bounds the rows of a fragment by their keys.",
    ),
    key("gc.enabled", Kind::Bool, "true", "Remove files and metadata that nobody can need any more in the background."),
    key(
        "gc.retention",
        Kind::Duration,
        "1h",
        "How long past states can be read (films@<revision or time>) and what was dropped is kept for that.",
    ),
    key("gc.interval", Kind::Duration, "10s", "Pause between two rounds of removing what nobody needs."),
    key(
        "gc.sweep_interval",
        Kind::Duration,
        "1h",
        "Pause between two searches for files that were uploaded and never committed; each lists the whole store.",
    ),
    key("cache.columns", Kind::Size { min: 0 }, "64M", "Most memory for decoded scalar columns."),
];

/// The key of that name or alias.
pub fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name || key.alias == Some(name))
}

/// The key that `suffix` of a variable `REDKITE_<suffix>` names; sections end in `_` or `__`.
pub fn find_variable(suffix: &str) -> Option<&'static Key> {
    let wanted = suffix.to_ascii_lowercase().replace("__", "_");
    let is_wanted = |name: &str| name.replace('.', "_") == wanted;
    KEYS.iter().find(|key| is_wanted(key.name) || key.alias.is_some_and(is_wanted))
}

/// The key that was probably meant by `name`.
pub fn nearest(name: &str) -> Option<&'static Key> {
    let name = name.to_ascii_lowercase();
    let last = |key: &Key| key.name.rsplit('.').next() == Some(name.as_str());
    if let Some(key) = KEYS.iter().find(|key| last(key)) {
        return Some(key);
    }
    let flat = |text: &str| text.replace(['.', '-'], "_");
    let distance = |key: &&Key| {
        let names = [Some(key.name), key.alias].into_iter().flatten();
        names.map(|known| strsim::osa_distance(&flat(known), &flat(&name))).min().unwrap_or(usize::MAX)
    };
    KEYS.iter().min_by_key(distance).filter(|key| distance(key) <= (name.len() / 4).max(2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_in_the_environment_too() {
        let names = || KEYS.iter().flat_map(|key| [Some(key.name), key.alias]).flatten();
        let mut variables: Vec<String> = names().map(|name| name.replace('.', "_")).collect();
        let all = variables.len();
        variables.sort();
        variables.dedup();
        assert_eq!(variables.len(), all);
        assert!(names().all(|name| !name.contains("__")), "a double underscore stands for the dot");
    }

    #[test]
    fn top_level_keys_come_before_sections_and_sections_are_whole() {
        let mut sections: Vec<&str> = KEYS.iter().map(|key| key.name.split_once('.').map_or("", |(s, _)| s)).collect();
        sections.dedup();
        assert_eq!(sections, ["", "storage", "etcd", "tls", "session", "server", "merge", "gc", "cache"]);
    }

    #[test]
    fn variables_name_keys_with_one_underscore_or_two() {
        let check = |variable: &str, want: Option<&str>| {
            assert_eq!(find_variable(variable).map(|key| key.name), want, "{variable}");
        };
        check("AUTO_FLUSH", Some("auto_flush"));
        check("STORAGE_URL", Some("storage.url"));
        check("STORAGE__URL", Some("storage.url"));
        check("SESSION_IDLE_TIMEOUT", Some("session.idle_timeout"));
        check("SESSION__IDLE_TIMEOUT", Some("session.idle_timeout"));
        check("FLUSH_LIMITATION", Some("flush_limitition"));
        check("AUTO_FLSH", None);
        check("", None);
    }

    #[test]
    fn near_misses_are_recognised() {
        let check = |name: &str, want: Option<&str>| assert_eq!(nearest(name).map(|key| key.name), want, "{name}");
        check("flush_intervall", Some("flush_interval"));
        check("auto_flsh", Some("auto_flush"));
        check("idle_timeout", Some("session.idle_timeout"));
        check("storage_url", Some("storage.url"));
        check("data-dir", Some("data_dir"));
        check("flush_limit", None);
        check("colour", None);
    }
}
