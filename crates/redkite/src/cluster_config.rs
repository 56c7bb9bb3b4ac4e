//! The cluster's configuration in the metadata (S34). A standalone puts there what it is started with. Of several nodes the first
//! one does; for the others, and for Masters, what is stored overrules what they are started with, so that all of a cluster run by
//! the same rules. `redkite config set` changes it ([`change`]), and every process follows ([`follow`]).

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use redkite_cluster::Changes;
use redkite_meta::{Compare, MetaStore, Op, Txn, versioned};
use redkite_types::Revision;
use serde_json::{Map, Value, json};

use crate::config::{CLUSTER_CONFIG_FORMAT, Config, Loaded};

/// Tries before giving up; each failed one means that somebody else wrote in between.
const TRIES: u32 = 8;
/// Pause before it is looked again whether there is a configuration.
const WAIT_PAUSE: Duration = Duration::from_millis(500);
/// How often it is looked whether it has changed, should nothing have told so.
const LOOK_PAUSE: Duration = Duration::from_secs(5);

type Object = Map<String, Value>;

/// What a node is to run with: what is stored, completed by what it is started with.
pub async fn take_over(meta: &dyn MetaStore, key: &str, loaded: Loaded) -> Result<Loaded> {
    for _ in 0..TRIES {
        let kv = meta.get(key).await?;
        let since = kv.as_ref().map_or(Revision::ZERO, |kv| kv.mod_revision);
        let stored = kv.map_or_else(|| Ok(Map::new()), |kv| read(key, &kv.value))?;
        let taken = with_stored(key, &stored, &loaded)?;
        let whole = over(&stored, &taken);
        if whole.len() == stored.len() || put(meta, key, since, &whole).await? {
            return Ok(taken);
        }
    }
    bail!("the cluster's configuration {key} kept changing while it was written; start again")
}

/// What a Master is to run with: what is stored, which it waits for. It is the nodes' to say.
pub async fn wait_for(meta: &dyn MetaStore, key: &str, loaded: &Loaded) -> Result<Loaded> {
    let mut told = false;
    loop {
        if let Some(kv) = meta.get(key).await? {
            return with_stored(key, &read(key, &kv.value)?, loaded);
        }
        if !told {
            tracing::info!(key, "no node of the cluster has started yet; waiting for the first one");
            told = true;
        }
        tokio::time::sleep(WAIT_PAUSE).await;
    }
}

/// What is stored.
pub async fn get(meta: &dyn MetaStore, key: &str) -> Result<Object> {
    let kv =
        meta.get(key).await?.with_context(|| format!("no node of the cluster has started yet: {key} is missing"))?;
    read(key, &kv.value)
}

/// Changes keys, each `key=value`, of what is stored; returns what is stored then. Refused with
/// [`Problems`](crate::config::Problems) if it would not do.
pub async fn change(meta: &dyn MetaStore, key: &str, loaded: &Loaded, changes: &[String]) -> Result<Object> {
    for _ in 0..TRIES {
        let Some(kv) = meta.get(key).await? else { break };
        let stored = read(key, &kv.value)?;
        let (now, _) = loaded.with_stored(key, &stored)?;
        let changed = now.changed(changes)?;
        // Keys of a newer version stay.
        let mut whole = stored;
        whole.extend(changed.settings.of_cluster().as_object().cloned().unwrap_or_default());
        if put(meta, key, kv.mod_revision, &whole).await? {
            tracing::info!(key, to = %json!(whole), "the cluster's configuration is changed");
            return Ok(whole);
        }
    }
    bail!("the cluster's configuration {key} is missing or kept changing; try again")
}

/// Sees to it that a cluster of `nodes` is not said to have fewer.
pub async fn raise_nodes(meta: &dyn MetaStore, key: &str, nodes: u64) -> Result<()> {
    for _ in 0..TRIES {
        let Some(kv) = meta.get(key).await? else { break };
        let mut stored = read(key, &kv.value)?;
        if stored.get("num_nodes").and_then(Value::as_u64).is_some_and(|known| known >= nodes) {
            return Ok(());
        }
        stored.insert("num_nodes".to_owned(), json!(nodes));
        if put(meta, key, kv.mod_revision, &stored).await? {
            tracing::info!(key, num_nodes = nodes, "the cluster has grown");
            return Ok(());
        }
    }
    bail!("the cluster's configuration {key} is missing or kept changing; start again")
}

/// Calls `apply` with what is in force now and after every change, until dropped. What cannot be used is told and changes
/// nothing.
pub async fn follow(meta: &dyn MetaStore, key: &str, loaded: &Loaded, apply: impl Fn(&Config)) {
    let mut changes = Changes::of(key);
    let mut seen = Revision::ZERO;
    loop {
        match meta.get(key).await {
            Ok(Some(kv)) if kv.mod_revision != seen => {
                seen = kv.mod_revision;
                match read(key, &kv.value).and_then(|stored| Ok(loaded.with_stored(key, &stored)?)) {
                    Ok((now, _)) => apply(&now.config),
                    Err(error) => tracing::error!(key, "the cluster's configuration stays as it was: {error:#}"),
                }
            }
            // One that is gone is not missed: a node that starts stores it again.
            Ok(_) => {}
            Err(error) => tracing::warn!(key, %error, "the cluster's configuration cannot be read for the moment"),
        }
        _ = tokio::time::timeout(LOOK_PAUSE, changes.next(meta)).await;
    }
}

fn read(key: &str, value: &[u8]) -> Result<Object> {
    versioned::decode(value, CLUSTER_CONFIG_FORMAT).with_context(|| format!("{key} in the metadata cannot be used"))
}

fn with_stored(key: &str, stored: &Object, loaded: &Loaded) -> Result<Loaded> {
    let (taken, overruled) = loaded.with_stored(key, stored)?;
    for what in overruled {
        tracing::warn!("{what}");
    }
    Ok(taken)
}

/// What is stored, with what is in force for keys that are missing there.
fn over(stored: &Object, taken: &Loaded) -> Object {
    let mut whole = taken.settings.of_cluster().as_object().cloned().unwrap_or_default();
    whole.extend(stored.clone());
    whole
}

/// False if somebody else was faster, or that is not known: then it has to be looked again.
async fn put(meta: &dyn MetaStore, key: &str, since: Revision, value: &Object) -> Result<bool> {
    let txn = Txn {
        compares: vec![Compare::unchanged_since(key, since)],
        then: vec![Op::put(key, serde_json::to_vec(value)?)],
        otherwise: Vec::new(),
    };
    match meta.txn(txn).await {
        Ok(answer) => Ok(answer.succeeded),
        Err(redkite_meta::Error::OutcomeUnknown(_)) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Makes `wanted` the value of `key`. True if something had to be written.
pub async fn publish(meta: &dyn MetaStore, key: &str, wanted: &Value) -> Result<bool> {
    for _ in 0..TRIES {
        let stored = meta.get(key).await?;
        let revision = stored.as_ref().map_or(Revision::ZERO, |kv| kv.mod_revision);
        if let Some(kv) = &stored {
            match serde_json::from_slice::<Value>(&kv.value) {
                Ok(value) if value == *wanted => return Ok(false),
                Ok(value) => tracing::info!(key, from = %value, to = %wanted, "the cluster's configuration changes"),
                Err(error) => tracing::warn!(key, %error, "the stored configuration is damaged and is replaced"),
            }
        }
        let txn = Txn {
            compares: vec![Compare::unchanged_since(key, revision)],
            then: vec![Op::put(key, serde_json::to_vec(wanted)?)],
            otherwise: Vec::new(),
        };
        match meta.txn(txn).await {
            Ok(answer) if answer.succeeded => return Ok(true),
            // Putting the same value twice does no harm, so an unknown outcome is simply looked up again.
            Ok(_) | Err(redkite_meta::Error::OutcomeUnknown(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    bail!("the cluster's configuration {key} kept changing while it was written; start again")
}

#[cfg(test)]
mod tests {
    use redkite_meta::MemoryStore;
    use serde_json::json;

    use super::*;
    use crate::config;

    #[tokio::test]
    async fn it_is_written_once_and_again_when_it_differs() {
        let meta = MemoryStore::new();
        let key = "/default/config/standalone";
        for (wanted, written) in [(1, true), (1, false), (2, true), (2, false)] {
            let wanted = json!({ "flush_interval": wanted });
            assert_eq!(publish(&meta, key, &wanted).await.unwrap(), written, "{wanted}");
            let stored = meta.get(key).await.unwrap().unwrap();
            assert_eq!(serde_json::from_slice::<Value>(&stored.value).unwrap(), wanted);
        }
    }

    #[tokio::test]
    async fn a_damaged_value_is_replaced() {
        let meta = MemoryStore::new();
        let txn = Txn { then: vec![Op::put("/k", "no json")], ..Txn::default() };
        meta.txn(txn).await.unwrap();
        assert!(publish(&meta, "/k", &json!({})).await.unwrap());
    }

    #[tokio::test]
    async fn the_first_node_says_what_the_others_take_over() {
        let meta = MemoryStore::new();
        let key = "/default/config/c1";
        let loaded = |set: &[&str]| {
            let node = ["cluster_id=c1", "etcd.endpoints=http://x", "storage.url=s3://b/p", "node_id=1"];
            let set = [&node[..], set].concat().into_iter().map(str::to_owned).collect();
            let command_line = config::CommandLine { set, ..Default::default() };
            config::load(&config::Sources { role: config::Role::Node, command_line, ..Default::default() }).unwrap()
        };
        let first = take_over(&meta, key, loaded(&["auto_flush=true"])).await.unwrap();
        assert!(first.config.auto_flush);
        assert!(take_over(&meta, key, loaded(&[])).await.unwrap().config.auto_flush);
        assert!(wait_for(&meta, key, &loaded(&[])).await.unwrap().config.auto_flush);
        assert!(take_over(&meta, key, loaded(&["auto_flush=false"])).await.unwrap().config.auto_flush);
        let change_it = async |changes: &[&str]| {
            let changes: Vec<String> = changes.iter().map(|text| (*text).to_owned()).collect();
            change(&meta, key, &loaded(&[]), &changes).await
        };
        assert_eq!(change_it(&["flush_interval=7"]).await.unwrap()["auto_flush"], true);
        assert_eq!(get(&meta, key).await.unwrap()["flush_interval"], 7);
        assert!(change_it(&["num_replicas=1"]).await.unwrap_err().is::<config::Problems>());
        for (nodes, want) in [(3, 3), (2, 3), (4, 4)] {
            raise_nodes(&meta, key, nodes).await.unwrap();
            assert_eq!(get(&meta, key).await.unwrap()["num_nodes"], want);
        }
        // What an older version did not store is completed by the next node.
        let put = Txn { then: vec![Op::put(key, r#"{"format":1,"auto_flush":true,"later":5}"#)], ..Txn::default() };
        meta.txn(put).await.unwrap();
        assert_eq!(take_over(&meta, key, loaded(&["flush_interval=9"])).await.unwrap().config.flush_interval_ms, 9);
        let stored = change_it(&["auto_flush=false"]).await.unwrap();
        assert_eq!(
            (&stored["flush_interval"], &stored["auto_flush"], &stored["later"]),
            (&json!(9), &json!(false), &json!(5))
        );
        for (value, want) in
            [("null", "invalid type"), ("[]", "invalid"), ("{}", "format"), (r#"{"format":2}"#, "has format 2")]
        {
            let put = Txn { then: vec![Op::put(key, value)], ..Txn::default() };
            meta.txn(put).await.unwrap();
            let error = format!("{:#}", take_over(&meta, key, loaded(&[])).await.unwrap_err());
            assert!(error.contains(key) && error.contains(want), "{value}: {error}");
        }
    }
}
