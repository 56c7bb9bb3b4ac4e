use std::fs;
use std::time::Duration;

use super::machine::Machine;
use super::*;

const MACHINE: Machine = Machine { memory_bytes: 64 << 30, host: String::new() };

/// Sources with some variables and `--set` arguments.
fn sources(environment: &[(&str, &str)], set: &[&str]) -> Sources {
    let environment = environment.iter().map(|(name, value)| (name.into(), value.into())).collect();
    let set = set.iter().map(|text| (*text).to_owned()).collect();
    Sources { environment, command_line: CommandLine { set, ..CommandLine::default() }, ..Sources::default() }
}

fn load(sources: &Sources) -> Result<Loaded, Problems> {
    load_on(sources, &MACHINE)
}

fn with_set(set: &[&str]) -> Loaded {
    load(&sources(&[], set)).unwrap()
}

fn refusal(sources: &Sources) -> String {
    load(sources).expect_err("it should have been refused").to_string()
}

#[test]
fn every_default_is_valid() {
    let settings = Settings::defaults(&MACHINE);
    for setting in settings.iter() {
        let checked = setting.key.kind.check(setting.reading.shown.clone());
        assert_eq!(checked.as_ref(), Ok(&setting.reading), "{}", setting.key.name);
    }
}

#[test]
fn the_defaults_are_those_of_the_design() {
    let config = with_set(&[]).config;
    assert!(!config.auto_flush);
    assert_eq!((config.flush_interval_ms, config.flush_limit_bytes), (1000, 16 << 20));
    assert_eq!((config.num_nodes, config.num_replicas, config.sync_level), (1, 0, 0));
    assert_eq!((config.high_water_level, config.master_address.as_str()), (0.6, ""));
    assert_eq!(config.memory_budget_bytes, MACHINE.memory_bytes);
    assert_eq!((config.listen.as_str(), config.http.as_str()), ("127.0.0.1:19530", "127.0.0.1:9091"));
    assert_eq!((config.user.as_str(), config.cluster_id.as_str()), ("default", "standalone"));
    assert_eq!(config.session.memory_soft_bytes, 256 << 20);
    assert_eq!(config.session.memory_hard_bytes, 2 << 30);
    assert_eq!(config.session.idle_timeout, Duration::from_secs(3600));
    assert_eq!(config.server.message_bytes_max, 256 << 20);
    assert!(config.etcd.endpoints.is_empty());
}

#[test]
fn on_a_small_machine_sessions_get_less() {
    let config = load_on(&Sources::default(), &Machine { memory_bytes: 2 << 30, ..MACHINE }).unwrap().config;
    assert_eq!(config.session.memory_hard_bytes, 512 << 20);
}

#[test]
fn the_dump_of_the_defaults() {
    let dump = with_set(&[]).settings.dump();
    let golden = include_str!("tests/default.toml");
    assert_eq!(dump, golden, "if this change is meant, this is the new tests/default.toml:\n{dump}");
}

#[test]
fn a_dump_is_a_configuration_of_the_same_meaning() {
    let first =
        with_set(&["auto_flush=true", "log=debug", "etcd.endpoints=http://a:1,http://b:2", "flush_limitation=1K"]);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("redkite.toml");
    fs::write(&path, first.settings.dump()).unwrap();
    let again = load(&Sources {
        command_line: CommandLine { file: Some(path), ..CommandLine::default() },
        ..Sources::default()
    });
    assert_eq!(again.unwrap().config, first.config);
}

#[test]
fn later_sources_win_and_the_dump_says_which() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("redkite.toml");
    fs::write(&path, "user = 'file'\ncluster_id = 'file'\nlog = 'debug'\nauto_flush = false\n").unwrap();
    let flag = Flag { flag: "--listen", key: "listen", value: "127.0.0.1:3".to_owned() };
    let sources = Sources {
        role: Role::Standalone,
        command: Some(CommandDefaults {
            command: "redkite demo",
            values: vec![("user", "x".into()), ("auto_flush", "true".into()), ("flush_interval", "0".into())],
        }),
        environment: vec![("REDKITE_CLUSTER_ID".into(), "variable".into()), ("REDKITE_LOG".into(), "trace".into())],
        command_line: CommandLine {
            file: Some(path.clone()),
            set: vec!["log=error".into(), "log = warn".into(), "listen=127.0.0.1:2".into()],
            flags: vec![flag],
        },
    };
    let Loaded { config, settings, .. } = load(&sources).unwrap();
    assert_eq!((config.user.as_str(), config.cluster_id.as_str(), config.log.as_str()), ("file", "variable", "warn"));
    assert_eq!((config.listen.as_str(), config.auto_flush, config.flush_interval_ms), ("127.0.0.1:3", false, 0));
    let origin = |key: &str| settings.get(key).unwrap().origin.to_string();
    assert_eq!(origin("user"), format!("from file {}", path.display()));
    assert_eq!(origin("cluster_id"), "from environment variable REDKITE_CLUSTER_ID");
    assert_eq!(origin("log"), "from --set");
    assert_eq!(origin("listen"), "from --listen");
    assert_eq!(origin("flush_interval"), "default of redkite demo");
    assert_eq!(origin("num_nodes"), "default");
    assert!(settings.dump().contains("[from --listen]\nlisten = \"127.0.0.1:3\"\n"));
}

#[test]
fn both_spellings_are_one_key() {
    let check = |sources: &Sources| assert_eq!(load(sources).unwrap().config.flush_limit_bytes, 4 << 20);
    check(&sources(&[], &["flush_limitation=4M"]));
    check(&sources(&[], &["flush_limitation=5M", "flush_limitition=4M"]));
    check(&sources(&[("REDKITE_FLUSH_LIMITATION", "4M")], &[]));
    let both = [("REDKITE_FLUSH_LIMITATION", "4M"), ("REDKITE_FLUSH_LIMITITION", "4M")];
    assert!(refusal(&sources(&both, &[])).contains("set twice"));
}

#[test]
fn sections_are_reached_from_everywhere() {
    let timeout = |sources: &Sources| load(sources).unwrap().config.session.idle_timeout;
    assert_eq!(timeout(&sources(&[], &["session.idle_timeout=5s"])), Duration::from_secs(5));
    assert_eq!(timeout(&sources(&[("REDKITE_SESSION_IDLE_TIMEOUT", "5s")], &[])), Duration::from_secs(5));
    assert_eq!(timeout(&sources(&[("REDKITE_SESSION__IDLE_TIMEOUT", "5s")], &[])), Duration::from_secs(5));
}

#[test]
fn what_is_refused_names_key_value_origin_and_what_would_do() {
    let check = |set: &str, want: &str| {
        let said = refusal(&sources(&[], &[set]));
        assert!(said.contains(want), "{set}: {said}");
    };
    check("flush_intervall=1", "unknown key \"flush_intervall\" (from --set); did you mean flush_interval?");
    check("colour=red", "unknown key \"colour\" (from --set); `redkite standalone --dump-config` lists all keys");
    check("session.idle=1h", "unknown key \"session.idle\"");
    check("auto_flush=perhaps", "auto_flush = \"perhaps\" (from --set) is not valid: want true or false");
    check(
        "flush_interval=-1",
        "flush_interval = -1 (from --set) is not valid: want a whole number from 0 to 2147483647",
    );
    check("flush_interval=3000000000", "flush_interval = 3000000000");
    check("flush_limitition=0", "flush_limitition = \"0\"");
    check("num_replicas=1", "num_replicas = 1 (from --set) is not valid: want at most num_nodes - 1 = 0");
    check("sync_level=1", "sync_level = 1 (from --set) is not valid: want at most num_replicas = 0");
    check("session.memory_soft=4G", "want at most session.memory_hard = \"2G\"");
    check("http=127.0.0.1:19530", "another port than that of listen");
    check("etcd.cert=a.pem", "want etcd.key beside it");
    check("tls.cert=a.pem", "tls.cert = \"a.pem\" (from --set) is not valid: want tls.key beside it");
    check("tls.key=a.pem", "want tls.cert beside it");
    check("tls.client_ca=a.pem", "want tls.cert and tls.key beside it");
    check("user=a/b", "user = \"a/b\"");
    check("cluster_id=data", "cluster_id = \"data\"");
    check("log=blah", "log = \"blah\" (from --set) is not valid: want a log filter such as \"info\"");
    check("nonsense", "\"nonsense\" (from --set) is not valid: want key=value");
}

#[test]
fn all_problems_are_told_at_once() {
    let said = refusal(&sources(&[("REDKITE_AUTO_FLSH", "1")], &["colour=red", "log_format=xml"]));
    assert_eq!(said.lines().count(), 3, "{said}");
    assert!(said.contains("REDKITE_AUTO_FLSH") && said.contains("did you mean auto_flush?"), "{said}");
}

#[test]
fn limits_follow_what_they_depend_on() {
    let config = with_set(&["num_nodes=3", "num_replicas=2", "sync_level=2"]).config;
    assert_eq!((config.num_nodes, config.num_replicas, config.sync_level), (3, 2, 2));
}

#[test]
fn secrets_are_not_printed() {
    let loaded = with_set(&["etcd.username=root", "etcd.password=hush"]);
    assert_eq!(loaded.config.etcd.user, "root");
    assert_eq!(loaded.config.etcd.password, "hush");
    assert!(!loaded.settings.dump().contains("hush"));
    assert!(!format!("{loaded:?}").contains("hush"));
    assert!(!refusal(&sources(&[], &["etcd.password=hush"])).contains("hush"));
}

#[test]
fn files_that_cannot_be_used_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("redkite.toml");
    let check = |text: Option<&str>, want: &str| {
        match text {
            Some(text) => fs::write(&path, text).unwrap(),
            None => _ = fs::remove_file(&path),
        }
        let said = refusal(&Sources {
            command_line: CommandLine { file: Some(path.clone()), ..CommandLine::default() },
            ..Sources::default()
        });
        assert!(said.contains("redkite.toml") && said.contains(want), "{text:?}: {said}");
    };
    check(None, "cannot be read");
    check(Some("auto_flush = = true"), "not valid TOML");
    check(Some("[session]\nidle = '1h'"), "unknown key \"session.idle\"");
    check(Some("[nothing]\n"), "unknown key \"nothing\"");
    check(Some("storage = 's3://bucket'"), "unknown key \"storage\"");
    check(Some("session = { idle_timeout = 5 }"), "session.idle_timeout = 5");
    check(Some("flush_limitition = '1M'\nflush_limitation = '1M'"), "set twice");
}

#[test]
fn variables_of_others_are_left_alone() {
    let foreign = [
        ("REDKITE_SERVICE_HOST", "10.0.0.1"),
        ("REDKITE_SERVICE_PORT", "19530"),
        ("REDKITE_PORT", "tcp://10.0.0.1:19530"),
        ("REDKITE_PORT_19530_TCP_ADDR", "10.0.0.1"),
        ("REDKITE_ETCD_SERVICE_HOST", "10.0.0.2"),
        ("REDKITE_TEST_BINARY", "/bin/redkite"),
        ("AUTO_FLUSH", "perhaps"),
    ];
    assert!(load(&sources(&foreign, &[])).is_ok());
    assert!(refusal(&sources(&[("REDKITE_PORT", "19530")], &[])).contains("REDKITE_PORT"));
}

#[test]
fn the_clusters_configuration_has_the_names_of_the_design() {
    let stored = with_set(&["flush_limitation=8M", "flush_interval=1234", "log=debug"]).settings.of_cluster();
    let want = serde_json::json!({
        "format": 1, "auto_flush": false, "flush_interval": 1234, "flush_limitition": "8M",
        "num_nodes": 1, "num_replicas": 0, "sync_level": 0, "master_address": "", "high_water_level": 0.6, "ip_whitelist": [],
        "master_heart_beat_interval": 1000, "time_out_on_heart_beat": 3,
    });
    assert_eq!(stored, want);
}

/// What a node cannot do without.
const NODE: [&str; 4] =
    ["cluster_id=c1", "etcd.endpoints=http://127.0.0.1:2379", "storage.url=s3://bucket/prefix", "node_id=3"];

fn node(set: &[&str]) -> Sources {
    Sources { role: Role::Node, ..sources(&[], set) }
}

#[test]
fn a_node_has_to_be_told_of_its_cluster() {
    let loaded = load(&node(&NODE)).unwrap();
    assert_eq!((loaded.role, loaded.node), (Role::Node, Some(NodeId(3))));
    for missing in NODE {
        let rest: Vec<&str> = NODE.into_iter().filter(|other| *other != missing).collect();
        let said = refusal(&node(&rest));
        let key = missing.split_once('=').unwrap().0;
        assert!(said.starts_with(&format!("{key} = ")) && !said.contains('\n'), "{said}");
    }
    let anywhere = [&NODE[..], &["listen=0.0.0.0:19530"]].concat();
    assert!(refusal(&node(&anywhere)).starts_with("advertise = "));
    assert!(load(&node(&[&anywhere[..], &["advertise=db-1:19530"]].concat())).is_ok());
}

#[test]
fn a_node_may_get_its_number_from_the_hosts_name() {
    let machine = Machine { host: "redkite-7.redkite".to_owned(), ..MACHINE };
    for set in [&NODE[..3], &[&NODE[..3], &["node_id=auto"]].concat()] {
        assert_eq!(load_on(&node(set), &machine).unwrap().node, Some(NodeId(7)));
    }
    for value in ["-1", "4294967296", "one", "1.5", ""] {
        let said = refusal(&node(&[&NODE[..3], &[&format!("node_id={value}")]].concat()));
        assert!(said.contains("want a number from 0 to 4294967295, or \"auto\""), "{said}");
    }
}

#[test]
fn what_the_cluster_has_stored_is_in_force_whatever_is_set_here() {
    let key = "/default/config/c1";
    let stored =
        load(&node(&[&NODE[..], &["auto_flush=true", "flush_limitition=1024K", "num_nodes=3"]].concat())).unwrap();
    let stored = stored.settings.of_cluster().as_object().unwrap().clone();
    let (taken, overruled) = load(&node(&NODE)).unwrap().with_stored(key, &stored).unwrap();
    assert!(taken.config.auto_flush && overruled.is_empty(), "{overruled:?}");
    assert_eq!((taken.config.num_nodes, taken.config.flush_limit_bytes), (3, 1 << 20));
    assert_eq!(taken.settings.get("num_nodes").unwrap().origin, Origin::Stored(key.to_owned()));
    // The same in other words is no contradiction.
    let same = load(&node(&[&NODE[..], &["flush_limitition=1M", "num_nodes=3"]].concat())).unwrap();
    assert!(same.with_stored(key, &stored).unwrap().1.is_empty());
    let other = load(&node(&[&NODE[..], &["num_nodes=4", "num_replicas=1"]].concat())).unwrap();
    let (taken, overruled) = other.with_stored(key, &stored).unwrap();
    assert_eq!((taken.config.num_nodes, taken.config.num_replicas), (3, 0));
    for words in [
        "num_nodes = 4 (from --set) is not in force",
        "the cluster has 3 (/default/config/c1)",
        "redkite config set num_nodes=4",
        "num_replicas = 1",
    ] {
        assert!(overruled.join("\n").contains(words), "no {words} in {overruled:?}");
    }
    let damaged = serde_json::json!({ "format": 1, "num_nodes": 0 }).as_object().unwrap().clone();
    let said = load(&node(&NODE)).unwrap().with_stored(key, &damaged).unwrap_err().to_string();
    assert!(said.contains("num_nodes = 0 (from the metadata, /default/config/c1)"), "{said}");
}

#[test]
fn keys_of_the_cluster_can_be_changed_and_others_cannot() {
    let loaded = load(&node(&NODE)).unwrap();
    let change = |changes: &[&str]| {
        let changes: Vec<String> = changes.iter().map(|text| (*text).to_owned()).collect();
        loaded.changed(&changes).map(|loaded| loaded.settings).map_err(|problems| problems.to_string())
    };
    let changed = change(&["num_nodes=3", "num_replicas=2", "flush_limitation=1M", "ip_whitelist=::1"]).unwrap();
    let stored = changed.of_cluster();
    assert_eq!((&stored["num_nodes"], &stored["flush_limitition"]), (&3.into(), &"1M".into()));
    for (changes, want) in [
        (&["num_replicas=1"][..], "want at most num_nodes - 1"),
        (&["listen=127.0.0.1:1"], "listen is not the cluster's but each process's own"),
        (&["memory_budget=1G"], "memory_budget is not the cluster's but each process's own"),
        (&["auto_flsh=true"], "did you mean auto_flush?"),
        (&["auto_flush"], "want key=value"),
        (&["auto_flush=maybe"], "(from redkite config set)"),
    ] {
        let said = change(changes).unwrap_err();
        assert!(said.contains(want), "{changes:?}: {said}");
    }
}

#[test]
fn the_high_water_level_is_a_share_and_masters_are_addresses() {
    for (value, want) in [("0", 0.0), ("1", 1.0), ("0.75", 0.75), ("1e-3", 0.001)] {
        assert_eq!(with_set(&[&format!("high_water_level={value}")]).config.high_water_level, want);
    }
    for value in ["-0.1", "1.1", "60", "60%", "nan", "", "true"] {
        let said = refusal(&sources(&[], &[&format!("high_water_level={value}")]));
        assert!(said.contains("high_water_level = ") && said.contains("want a number from 0 to 1"), "{said}");
    }
    for value in ["", "master:19530", "master-1:19530, [::1]:19531"] {
        assert_eq!(with_set(&[&format!("master_address={value}")]).config.master_address, value);
    }
    for value in ["master", "master:19530,", "http://master:19530"] {
        let said = refusal(&sources(&[], &[&format!("master_address={value}")]));
        assert!(said.contains("want addresses with ports"), "{said}");
    }
    // Both are the cluster's.
    let changed = load(&node(&NODE)).unwrap().changed(&["high_water_level=0.8".into(), "master_address=m:1".into()]);
    let stored = changed.unwrap().settings.of_cluster();
    assert_eq!((&stored["high_water_level"], &stored["master_address"]), (&0.8.into(), &"m:1".into()));
}

#[test]
fn networks_are_understood_as_people_write_them() {
    let networks = |value: &str| -> Vec<String> {
        let config = with_set(&[&format!("ip_whitelist={value}")]).config;
        config.ip_whitelist.iter().map(ToString::to_string).collect()
    };
    assert_eq!(
        networks(r#"["10.1.2.3/8", "192.168.1.7", "fd00::1/8", "::1"]"#),
        ["10.0.0.0/8", "192.168.1.7/32", "fd00::/8", "::1/128"]
    );
    assert_eq!(networks("10.0.0.0/8, ::1"), ["10.0.0.0/8", "::1/128"]);
    // One of IPv4, whichever way it is written.
    assert_eq!(networks("::ffff:10.0.0.0/104,::ffff:10.0.0.1"), ["10.0.0.0/8", "10.0.0.1/32"]);
    assert_eq!(networks("[]"), Vec::<String>::new());
    for value in ["10.0.0.0/33", "10.0.0", "localhost", "10.0.0.0/8;::1", "[1]", "::1/129"] {
        let said = refusal(&sources(&[], &[&format!("ip_whitelist={value}")]));
        assert!(said.contains("ip_whitelist = ") && said.contains("want a list such as [\"10.0.0.0/8\""), "{said}");
    }
}
