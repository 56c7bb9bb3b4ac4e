//! The cluster's configuration in the metadata (S34). A standalone puts there what it is started with. Of several nodes the first
//! one does; the others, and Masters, take it over and refuse to start with anything else. A key that an older version did not
//! store is each process's own.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use redkite_meta::{Compare, MetaStore, Op, Txn, versioned};
use redkite_types::Revision;
use serde_json::{Map, Value};

use crate::config::{CLUSTER_CONFIG_FORMAT, Loaded};

/// Tries before giving up; each failed one means that somebody else wrote in between.
const TRIES: u32 = 8;
/// Pause before it is looked again whether there is a configuration.
const WAIT_PAUSE: Duration = Duration::from_millis(500);

/// What a node is to run with: the stored configuration where there is one, else its own, which is stored then.
pub async fn take_over(meta: &dyn MetaStore, key: &str, loaded: Loaded) -> Result<Loaded> {
    for _ in 0..TRIES {
        if let Some(kv) = meta.get(key).await? {
            return with_stored(key, &kv.value, &loaded);
        }
        let txn = Txn {
            compares: vec![Compare::absent(key)],
            then: vec![Op::put(key, serde_json::to_vec(&loaded.settings.of_cluster())?)],
            otherwise: Vec::new(),
        };
        match meta.txn(txn).await {
            // Whoever put it: what is stored is what counts.
            Ok(_) | Err(redkite_meta::Error::OutcomeUnknown(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    bail!("the cluster's configuration {key} could not be stored; start again")
}

/// What a Master is to run with: the stored configuration, which it waits for. It is the nodes' to say.
pub async fn wait_for(meta: &dyn MetaStore, key: &str, loaded: &Loaded) -> Result<Loaded> {
    let mut told = false;
    loop {
        if let Some(kv) = meta.get(key).await? {
            return with_stored(key, &kv.value, loaded);
        }
        if !told {
            tracing::info!(key, "no node of the cluster has started yet; waiting for the first one");
            told = true;
        }
        tokio::time::sleep(WAIT_PAUSE).await;
    }
}

fn with_stored(key: &str, value: &[u8], loaded: &Loaded) -> Result<Loaded> {
    let stored: Map<String, Value> = versioned::decode(value, CLUSTER_CONFIG_FORMAT)
        .with_context(|| format!("{key} in the metadata cannot be used"))?;
    Ok(loaded.with_stored(key, &stored)?)
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
        let error = take_over(&meta, key, loaded(&["auto_flush=false"])).await.unwrap_err();
        assert!(error.is::<config::Problems>() && error.to_string().contains("leave it out here"), "{error}");
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
