//! The configuration: what can be set, from where, and what is in force.
//!
//! Flow: `keys` lists every key with its kind, default and doc line. `sources` reads the file, the environment and the
//! command line as plain assignments; `settings` applies them in order (default < file < environment < command line),
//! each checked by its `kind`; `rules` checks what one key alone cannot tell. The result is a typed [`Config`].
//!
//! Invariants: nothing outside `keys` can be set; every problem is reported with key, value, origin and what would be
//! valid, all those of single values at once, and once there are none all those of values that do not fit each other; nothing
//! here opens a port or touches the data directory.

mod dump;
mod keys;
mod kind;
mod machine;
mod problem;
mod rules;
mod settings;
mod sources;

use std::time::Duration;

use ipnet::IpNet;
use redkite_types::{ClusterId, NodeId, UserName};
use serde::{Deserialize, Deserializer};

use problem::Problem;
pub use problem::{Origin, Problems};
use settings::Adopted;
pub use settings::{CLUSTER_CONFIG_FORMAT, Settings};
use sources::Assignment;
pub use sources::{CommandDefaults, CommandLine, Flag, Role, Sources};

/// Everything that can be set, checked. Names and docs of the keys are in `keys`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Whose collections.
    pub user: UserName,
    /// The cluster of this process.
    pub cluster_id: ClusterId,
    /// S15.
    pub auto_flush: bool,
    /// S16.
    #[serde(rename = "flush_interval")]
    pub flush_interval_ms: u32,
    /// S17.
    #[serde(rename = "flush_limitition")]
    pub flush_limit_bytes: u64,
    /// S19.
    pub num_nodes: u32,
    /// S20.
    pub num_replicas: u32,
    /// S21.
    pub sync_level: u32,
    /// S22: the Masters, separated by commas; empty: nobody knows.
    pub master_address: String,
    /// S22, S27.
    pub high_water_level: f64,
    /// S14: who may connect; empty: everybody.
    #[serde(deserialize_with = "networks")]
    pub ip_whitelist: Vec<IpNet>,
    /// S22, S25.
    #[serde(rename = "master_heart_beat_interval", deserialize_with = "from_ms")]
    pub heart_beat_interval: Duration,
    /// S22, S25.
    #[serde(rename = "time_out_on_heart_beat")]
    pub heart_beats_missed_max: u32,
    /// Who may connect to `http`; empty: whoever may connect to `listen`.
    #[serde(deserialize_with = "networks")]
    pub http_ip_whitelist: Vec<IpNet>,
    /// A number, or [`kind::AUTO`]; see [`Loaded::node`].
    pub node_id: String,
    /// What `high_water_level` is a share of.
    #[serde(rename = "memory_budget")]
    pub memory_budget_bytes: u64,
    /// Where clients connect.
    pub listen: String,
    /// Where clients elsewhere connect; empty: as `listen` says.
    pub advertise: String,
    /// Where the other nodes connect; empty: any free port.
    pub internal: String,
    /// Where health and metrics are; empty: nowhere.
    pub http: String,
    /// Everything this process keeps on disk.
    pub data_dir: String,
    /// A filter of log lines.
    pub log: String,
    /// How log lines look.
    pub log_format: LogFormat,
    /// Searches and queries that take longer are logged; zero: none.
    #[serde(deserialize_with = "from_ms")]
    pub log_slow: Duration,
    /// Where data files are.
    pub storage: StorageConfig,
    /// The shared metadata store.
    pub etcd: EtcdConfig,
    /// Certificates and keys.
    pub tls: TlsConfig,
    /// What clients may buffer.
    pub session: SessionConfig,
    /// The port clients connect to.
    pub server: ServerConfig,
    /// Merging in the background.
    pub merge: MergeConfig,
    /// Giving space back.
    pub gc: GcConfig,
    /// What is kept in memory.
    pub cache: CacheConfig,
}

impl Config {
    /// Who may connect to `http`; nobody named: everybody.
    pub fn http_networks(&self) -> &[IpNet] {
        match self.http_ip_whitelist.is_empty() {
            true => &self.ip_whitelist,
            false => &self.http_ip_whitelist,
        }
    }
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// For programs: one object a line.
    Json,
}

/// Section `storage`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StorageConfig {
    /// Empty: the folder `objects` of the data directory.
    pub url: String,
    /// Empty: Amazon's.
    pub endpoint: String,
    /// Empty: the environment's.
    pub region: String,
    /// Empty: the folder `cache` of the data directory.
    pub cache_dir: String,
    /// Most bytes in it.
    #[serde(rename = "cache_size")]
    pub cache_bytes_max: u64,
}

/// Section `etcd`.
#[derive(Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EtcdConfig {
    /// Empty: the embedded store.
    pub endpoints: Vec<String>,
    /// Empty: no authentication.
    pub user: String,
    /// With the user.
    pub password: String,
    /// File of the certificates to trust.
    pub ca: String,
    /// File of our own certificate.
    pub cert: String,
    /// File of its key.
    pub key: String,
    /// Whether the metadata's history is forgotten after a while.
    pub compact: bool,
}

// Never the password.
impl std::fmt::Debug for EtcdConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EtcdConfig")
            .field("endpoints", &self.endpoints)
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

/// Section `tls`: files, all in PEM.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsConfig {
    /// Our certificate; empty: no port has TLS.
    pub cert: String,
    /// Its key.
    pub key: String,
    /// Whom clients' certificates are signed by; empty: clients need none.
    pub client_ca: String,
    /// Whom we trust when we connect to other processes of the cluster; empty: whom the system trusts.
    pub ca: String,
}

/// Section `session`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SessionConfig {
    /// Beyond it a client's finished rows are uploaded early.
    #[serde(rename = "memory_soft")]
    pub memory_soft_bytes: u64,
    /// Beyond it writes are refused.
    #[serde(rename = "memory_hard")]
    pub memory_hard_bytes: u64,
    /// After it a silent client is taken for gone.
    #[serde(deserialize_with = "from_ms")]
    pub idle_timeout: Duration,
}

/// Section `server`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerConfig {
    /// Largest request and answer.
    #[serde(rename = "message_limit")]
    pub message_bytes_max: u64,
}

/// Section `merge`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MergeConfig {
    /// Whether to merge without being asked.
    pub enabled: bool,
    /// Rows up to which fragments are merged.
    pub target_rows: u64,
    /// Neighbours that become one.
    pub fan_in: usize,
    /// Share of deleted rows from which a fragment is rewritten.
    pub deleted_percent: u32,
    /// Merges at the same time.
    pub threads: usize,
    /// Memory of one merge.
    #[serde(rename = "memory")]
    pub memory_bytes: u64,
}

/// Section `gc`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GcConfig {
    /// Whether to remove garbage without being asked.
    pub enabled: bool,
    /// How long past states can be read.
    #[serde(deserialize_with = "from_ms")]
    pub retention: Duration,
    /// Pause between two rounds.
    #[serde(deserialize_with = "from_ms")]
    pub interval: Duration,
    /// Pause between two searches for files that were never committed.
    #[serde(deserialize_with = "from_ms")]
    pub sweep_interval: Duration,
}

/// Section `cache`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CacheConfig {
    /// Most bytes of decoded scalar columns.
    #[serde(rename = "columns")]
    pub column_bytes_max: u64,
}

fn networks<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<IpNet>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    texts.iter().map(|text| text.parse().map_err(serde::de::Error::custom)).collect()
}

fn from_ms<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    u64::deserialize(deserializer).map(Duration::from_millis)
}

/// A checked configuration, and where each of its values comes from.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// What is in force.
    pub config: Config,
    /// The same, key by key.
    pub settings: Settings,
    /// For which kind of process it was checked.
    pub role: Role,
    /// The number of this node, if it has one.
    pub node: Option<NodeId>,
}

impl Loaded {
    /// The same with what the cluster's stored configuration says, which overrules what was set here; and, for people, what
    /// that was. `key` is where it is stored.
    pub fn with_stored(
        &self,
        key: &str,
        stored: &serde_json::Map<String, serde_json::Value>,
    ) -> Result<(Self, Vec<String>), Problems> {
        let mut settings = self.settings.clone();
        let Adopted { problems, overruled } = settings.adopt(key, stored);
        if !problems.is_empty() {
            return Err(Problems(problems));
        }
        Ok((checked(settings, self.role, self.node)?, overruled))
    }

    /// The same with changes of keys of the cluster, each `key=value`.
    pub fn changed(&self, changes: &[String]) -> Result<Self, Problems> {
        let mut problems = Vec::new();
        let mut assignments = Vec::new();
        for text in changes {
            match Assignment::parse(text, Origin::Change) {
                Ok(Assignment { key: Some(key), .. }) if !key.of_cluster => {
                    problems.push(Problem::NotOfCluster { key: key.name });
                }
                Ok(assignment) => assignments.push(assignment),
                Err(problem) => problems.push(problem),
            }
        }
        let mut settings = self.settings.clone();
        problems.extend(settings.apply(assignments));
        if !problems.is_empty() {
            return Err(Problems(problems));
        }
        checked(settings, self.role, self.node)
    }
}

/// Reads all sources and checks everything that can be checked without opening a port or the data directory.
pub fn load(sources: &Sources) -> Result<Loaded, Problems> {
    load_on(sources, &machine::Machine::this())
}

fn load_on(sources: &Sources, machine: &machine::Machine) -> Result<Loaded, Problems> {
    let (assignments, mut problems) = sources.read();
    let mut settings = Settings::defaults(machine);
    problems.extend(settings.apply(assignments));
    if !problems.is_empty() {
        return Err(Problems(problems));
    }
    let node = match settings.plain_text("node_id") {
        Some(kind::AUTO) => machine.ordinal(),
        number => number.and_then(|number| number.parse().ok()).map(NodeId),
    };
    checked(settings, sources.role, node)
}

fn checked(settings: Settings, role: Role, node: Option<NodeId>) -> Result<Loaded, Problems> {
    let config = settings.typed().map_err(|problem| Problems(vec![problem]))?;
    let mut problems = rules::check(&config, &settings);
    match role {
        Role::Standalone => {}
        Role::Node => problems.extend(rules::check_node(&config, &settings, node)),
        Role::Master => problems.extend(rules::check_member(&config, &settings)),
    }
    if problems.is_empty() { Ok(Loaded { config, settings, role, node }) } else { Err(Problems(problems)) }
}

#[cfg(test)]
mod tests;
