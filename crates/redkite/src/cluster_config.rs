//! The cluster's configuration in the metadata (S34): put there on the first start, brought up to date on later ones.

use anyhow::{Result, bail};
use redkite_meta::{Compare, MetaStore, Op, Txn};
use redkite_types::Revision;
use serde_json::Value;

/// Tries before giving up; each failed one means that somebody else wrote in between.
const TRIES: u32 = 8;

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
}
