//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::config::{CommandDefaults, CommandLine, Flag, Role, Sources};

const ABOUT: &str = "A vector database whose truth lies on object storage. It speaks Milvus's wire protocol.";

const EXAMPLES: &str = "\
Examples:
  redkite demo                            a server with real data in it, and some searches
  redkite standalone                      a server on 127.0.0.1:19530, its data in ./redkite-data
  redkite node --config redkite.toml      a node of a cluster
  redkite meta dump                       what the metadata of ./redkite-data says, as JSON lines
  redkite admin merge                     merge all small fragments of the server on this machine";

const STANDALONE_EXAMPLES: &str = "\
Examples:
  redkite standalone --data-dir /var/lib/redkite --listen 0.0.0.0:19530
  redkite standalone --set auto_flush=true --set flush_interval=0
  redkite standalone --config redkite.toml --set session.memory_hard=4G
  redkite standalone --set storage.url=s3://bucket/prefix --set storage.endpoint=http://127.0.0.1:8333
  redkite standalone --dump-config > redkite.toml

Every key can be set in the file, as REDKITE_<KEY> in the environment (REDKITE_AUTO_FLUSH, REDKITE_STORAGE_URL) and
with --set; the command line wins over the environment, that over the file, that over the defaults. --dump-config
prints all keys, what they are for and where their values come from.";

const NODE_EXAMPLES: &str = "\
Examples:
  redkite node --config redkite.toml --node-id 1
  redkite node --node-id 1 --set cluster_id=c1 --set etcd.endpoints=http://10.0.0.5:2379 \\
      --set storage.url=s3://bucket/prefix --listen 0.0.0.0:19530 --advertise 10.0.0.11:19530

All nodes of all clusters of one user serve the same data. A client may connect to any of them. What is stored for the
cluster (auto_flush and the like) is the same for all its nodes: the first one to start says it.";

const MASTER_EXAMPLES: &str = "\
Clients connect to it as they would to a node: what they send is passed on to one, chosen by load. Clients that rather go
there themselves ask for one: http://MASTER/redkite/route answers {\"node\":2,\"address\":\"10.0.0.12\",\"port\":19530}, and
/redkite/loads tells of all of them. A Master keeps nothing: there may be several, and any may be killed at any time.

Examples:
  redkite master --listen 0.0.0.0:19530 --set cluster_id=c1 --set etcd.endpoints=http://10.0.0.5:2379";

const DEMO_EXAMPLES: &str = "\
Loads 5,000 WordNet glosses with their embeddings through the port clients use, searches them with and without a
filter, and keeps serving until Ctrl-C. The data is in a temporary directory unless --data-dir is given.

Examples:
  redkite demo
  redkite demo --listen 127.0.0.1:19531 --http ''
  redkite demo --data-dir ./wordnet       and later: redkite standalone --data-dir ./wordnet";

const DEMO_DATA_DIR: &str = "Directory of everything kept on disk [default: a temporary one]";

const NODE_DATA_DIR: &str =
    "Directory of what this node keeps on disk, its lock and copies of files [default: ./redkite-node]";
const NODE_HTTP: &str = "Where /healthz, /readyz and /metrics are [default: nowhere]";

const CONFIG_EXAMPLES: &str = "\
What is stored for the cluster overrules what its processes are started with.

Examples:
  redkite config set auto_flush=true flush_interval=200 --master db-master:19530
  redkite config set ip_whitelist=10.0.0.0/8,::1";

const DRAIN_EXAMPLES: &str = "\
No more clients are sent to the node meanwhile; those it has stay until it is stopped. It can be stopped once the command has
ended, and is no node of the cluster any more then. A node that is gone already is taken out by the command itself. If it is
interrupted, call it again.

Examples:
  redkite drain --node 3 --master db-master:19530
  redkite drain --node 3 --keep           it stays after all";

const REBALANCE_HELP: &str = "\
What a node inserts it holds itself until it is merged; where most was inserted through few nodes, or nodes have joined since,
this spreads it. Nobody is asked for what it has not fetched yet. If it is interrupted, call it again.";

const DUMP_EXAMPLES: &str = "\
One line a key: {\"key\":...,\"value\":...,\"create_revision\":...,\"mod_revision\":...}, all as of one revision; the first line and
the last are for `redkite meta restore`. It holds the clusters' secrets: keep it as you keep the metadata. If a server is
using the data directory, that server is asked over its --http port.

Examples:
  redkite meta dump --data-dir /var/lib/redkite | jq -r 'select(.key).key'
  redkite meta dump /backup/redkite.dump --set etcd.endpoints=http://127.0.0.1:2379";

const RESTORE_EXAMPLES: &str = "\
For metadata that is lost: an etcd, or the metadata in a data directory. Stop all nodes and Masters, restore into a new store,
and start them again. What was flushed after the dump is lost, and its files are removed by and by. The store must not have
the users of the dump already. If a restore is interrupted, nobody serves what is there; run it again.

Examples:
  redkite meta restore /backup/redkite.dump --config redkite.toml
  redkite meta restore redkite.dump --set etcd.endpoints=http://127.0.0.1:2379 --set storage.url=s3://bucket/prefix
  redkite meta restore redkite.dump --data-dir /var/lib/redkite";

/// The program's arguments.
#[derive(Debug, Parser)]
#[command(name = "redkite", version, about = ABOUT, after_help = EXAMPLES, arg_required_else_help = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a server that needs no other
    #[command(after_help = STANDALONE_EXAMPLES)]
    Standalone {
        /// What is configured.
        #[command(flatten)]
        config: ConfigArgs,
        /// Print the configuration in force as TOML and end
        #[arg(long)]
        dump_config: bool,
    },
    /// Run a node of a cluster over etcd and shared storage
    #[command(after_help = NODE_EXAMPLES)]
    Node {
        /// What is configured.
        #[command(flatten)]
        args: NodeArgs,
        /// Print the configuration in force as TOML and end
        #[arg(long)]
        dump_config: bool,
    },
    /// Run a Master, which sends the clients of a cluster to its nodes
    #[command(after_help = MASTER_EXAMPLES, mut_arg("data_dir", |arg| arg.hide(true)), mut_arg("http", |arg| arg.help(NODE_HTTP)))]
    Master {
        /// What is configured.
        #[command(flatten)]
        config: ConfigArgs,
        /// Print the configuration in force as TOML and end
        #[arg(long)]
        dump_config: bool,
    },
    /// Run a server with real data in it and show some searches
    #[command(after_help = DEMO_EXAMPLES, mut_arg("data_dir", |arg| arg.help(DEMO_DATA_DIR)))]
    Demo {
        /// What is configured.
        #[command(flatten)]
        config: ConfigArgs,
        /// End after the searches instead of serving until Ctrl-C
        #[arg(long)]
        exit: bool,
    },
    /// Look at the metadata, keep a copy of it, put that back
    #[command(subcommand)]
    Meta(MetaCommand),
    /// Ask a running server to merge, to give space back, or what fragments it has
    #[command(subcommand)]
    Admin(AdminCommand),
    /// Look at the configuration of a cluster, or change it while it runs
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Ask a Master which nodes there are, which are alive, and how busy
    Status(StatusArgs),
    /// Take a node out of its cluster: wait until others hold what it holds
    #[command(after_help = DRAIN_EXAMPLES)]
    Drain(DrainArgs),
    /// Spread the data over all nodes of a cluster, wherever it was inserted
    #[command(after_help = REBALANCE_HELP)]
    Rebalance(StatusArgs),
    /// Print the version
    Version,
}

/// What to do with the metadata.
#[derive(Debug, Subcommand)]
pub enum MetaCommand {
    /// Print all metadata as JSON lines
    #[command(after_help = DUMP_EXAMPLES)]
    Dump {
        /// Where to write it [default: to the standard output]
        file: Option<PathBuf>,
        /// What is configured.
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// Put a dump into a metadata store that has lost what is in it
    #[command(after_help = RESTORE_EXAMPLES)]
    Restore {
        /// What `redkite meta dump` wrote
        file: PathBuf,
        /// Restore although files that the dump names are missing; reads that need them will fail
        #[arg(long)]
        accept_missing_files: bool,
        /// What is configured.
        #[command(flatten)]
        config: ConfigArgs,
    },
}

/// What to ask a running server for.
#[derive(Debug, Subcommand)]
pub enum AdminCommand {
    /// Merge all small fragments now
    Merge {
        /// Of which server, and how to print.
        #[command(flatten)]
        args: AdminArgs,
        /// Only of this collection
        #[arg(long, value_name = "C")]
        collection: Option<String>,
    },
    /// Remove all files and metadata that nobody can need any more
    Gc {
        /// Of which server, and how to print.
        #[command(flatten)]
        args: AdminArgs,
        /// Only of this collection, and of dropped ones that were called so
        #[arg(long, value_name = "C")]
        collection: Option<String>,
    },
    /// List fragments
    Fragments {
        /// Of which server, and how to print.
        #[command(flatten)]
        args: AdminArgs,
        /// Only of this collection
        #[arg(long, value_name = "C")]
        collection: Option<String>,
    },
}

/// What to do with the configuration of a cluster.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print what is in force, as TOML
    Get {
        /// Of which cluster, and how to print.
        #[command(flatten)]
        args: StatusArgs,
        /// Only the value of this key
        key: Option<String>,
    },
    /// Change it in all processes of the cluster, which go on running
    #[command(after_help = CONFIG_EXAMPLES)]
    Set {
        /// Of which cluster, and how to print.
        #[command(flatten)]
        args: StatusArgs,
        /// What to change; all of it or, if something is wrong with it, nothing
        #[arg(required = true, value_name = "KEY=VALUE")]
        changes: Vec<String>,
    },
}

/// Which Master to ask, and how to print what it answers.
#[derive(Debug, Clone, Args)]
pub struct StatusArgs {
    /// The Master's --listen address, after https:// if it has TLS
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:19530")]
    pub master: String,
    /// For a Master with TLS.
    #[command(flatten)]
    pub tls: TlsArgs,
    /// Print what the Master answered, as JSON
    #[arg(long)]
    pub json: bool,
}

/// Which node is to leave.
#[derive(Debug, Clone, Args)]
pub struct DrainArgs {
    /// Which Master to ask, and how to print what comes of it.
    #[command(flatten)]
    pub master: StatusArgs,
    /// The number of the node
    #[arg(long, value_name = "N")]
    pub node: u32,
    /// Let it stay, if it is not stopped yet
    #[arg(long)]
    pub keep: bool,
}

/// Which server to ask, and how to print what it answers.
#[derive(Debug, Clone, Args)]
pub struct AdminArgs {
    /// The server's --http address, after https:// if it has TLS
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:9091")]
    pub address: String,
    /// For a server with TLS.
    #[command(flatten)]
    pub tls: TlsArgs,
    /// Print what the server answered, as JSON
    #[arg(long)]
    pub json: bool,
}

/// How to ask a server with TLS.
#[derive(Debug, Clone, Default, Args)]
pub struct TlsArgs {
    /// PEM file of the authorities to trust [default: REDKITE_TLS_CA, or what the system trusts]
    #[arg(long, value_name = "FILE")]
    pub tls_ca: Option<PathBuf>,
    /// PEM file of a certificate, where the server wants one [default: REDKITE_TLS_CERT]
    #[arg(long, value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,
    /// PEM file of that certificate's key [default: REDKITE_TLS_KEY]
    #[arg(long, value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
}

/// The arguments that say what is configured.
#[derive(Debug, Clone, Args)]
pub struct ConfigArgs {
    /// Configuration file (TOML)
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Directory of everything kept on disk [default: ./redkite-data]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,
    /// Where clients connect [default: 127.0.0.1:19530]
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Option<String>,
    /// Where /healthz, /readyz and /metrics are, '' for nowhere [default: 127.0.0.1:9091]
    #[arg(long, value_name = "ADDR:PORT")]
    http: Option<String>,
    /// How log lines look [default: text]
    #[arg(long, value_name = "text|json")]
    log_format: Option<String>,
    /// Set any key, dotted for a section; repeatable, the last one wins
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

impl ConfigArgs {
    /// These arguments of a Master and the environment.
    pub fn sources_of_master(self) -> Sources {
        let mut sources = self.sources();
        sources.role = Role::Master;
        sources.command = Some(CommandDefaults { command: "redkite master", values: vec![("http", String::new())] });
        sources
    }
}

/// The arguments of a node.
#[derive(Debug, Clone, Args)]
#[command(mut_arg("data_dir", |arg| arg.help(NODE_DATA_DIR)), mut_arg("http", |arg| arg.help(NODE_HTTP)))]
pub struct NodeArgs {
    /// What is configured.
    #[command(flatten)]
    config: ConfigArgs,
    /// The number of this node in its cluster [default: the one at the end of the host's name]
    #[arg(long, value_name = "N|auto")]
    node_id: Option<String>,
    /// Where clients elsewhere connect [default: as --listen says]
    #[arg(long, value_name = "ADDR:PORT")]
    advertise: Option<String>,
    /// Where the other nodes connect [default: any free port]
    #[arg(long, value_name = "ADDR:PORT")]
    internal: Option<String>,
    /// Where copies of shared files are kept [default: in the data directory]
    #[arg(long, value_name = "DIR")]
    cache_dir: Option<String>,
}

impl NodeArgs {
    /// These arguments and the environment.
    pub fn sources(self) -> Sources {
        let mut sources = self.config.sources();
        sources.role = Role::Node;
        let values = vec![("data_dir", "./redkite-node".to_owned()), ("http", String::new())];
        sources.command = Some(CommandDefaults { command: "redkite node", values });
        sources.command_line.flags.extend(given([
            ("--node-id", "node_id", self.node_id),
            ("--advertise", "advertise", self.advertise),
            ("--internal", "internal", self.internal),
            ("--cache-dir", "storage.cache_dir", self.cache_dir),
        ]));
        sources
    }
}

/// The flags that were given.
fn given<const N: usize>(flags: [(&'static str, &'static str, Option<String>); N]) -> Vec<Flag> {
    flags.into_iter().filter_map(|(flag, key, value)| Some(Flag { flag, key, value: value? })).collect()
}

impl ConfigArgs {
    /// These arguments and the environment.
    pub fn sources(self) -> Sources {
        let flags = given([
            ("--data-dir", "data_dir", self.data_dir),
            ("--listen", "listen", self.listen),
            ("--http", "http", self.http),
            ("--log-format", "log_format", self.log_format),
        ]);
        Sources {
            role: Role::Standalone,
            command: None,
            environment: std::env::vars_os().collect(),
            command_line: CommandLine { file: self.config, set: self.set, flags },
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn flags_stand_for_keys() {
        let cli =
            Cli::parse_from(["redkite", "standalone", "--http", "", "--set", "a=1", "--data-dir", "d", "--set", "b=2"]);
        let Command::Standalone { config, dump_config: false } = cli.command else { panic!("{cli:?}") };
        let line = config.sources().command_line;
        assert_eq!(line.set, ["a=1", "b=2"]);
        let flags: Vec<_> = line.flags.iter().map(|flag| (flag.flag, flag.key, flag.value.as_str())).collect();
        assert_eq!(flags, [("--data-dir", "data_dir", "d"), ("--http", "http", "")]);
    }
}
