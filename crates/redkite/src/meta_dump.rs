//! `redkite meta dump`: all metadata as JSON lines, for people and programs.
//!
//! One line a key, in key order: `{"key":...,"value":...,"create_revision":...,"mod_revision":...}`; the value as it is
//! where it is JSON, else as text. All lines are of one revision.
//!
//! An embedded store belongs to one process. If a server has it, that server is asked over its HTTP port.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use redkite_meta::keys::{USER_LIST, UserKeys};
use redkite_meta::{KeyRange, KeyValue, MetaStore, RangeRequest, dump};
use redkite_types::UserName;
use serde_json::Value;

use crate::ask::ask;
use crate::config::Loaded;
use crate::data_dir::{DataDir, DataDirError, Holder};
use crate::metadata;

/// How long a server may take to tell all its metadata.
const DUMP_PATIENCE: Duration = Duration::from_secs(30);

/// Prints all metadata to stdout.
pub fn run(loaded: &Loaded) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let text = runtime.block_on(read(loaded))?;
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        // Who reads only the beginning has what he wants.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        result => result.context("write to stdout"),
    }
}

async fn read(loaded: &Loaded) -> Result<String> {
    let config = &loaded.config;
    if metadata::is_remote(&config.etcd) {
        let meta = metadata::connect(&config.etcd).await?;
        return lines(meta.as_ref(), true).await;
    }
    match DataDir::open_existing(Path::new(&config.data_dir)) {
        Ok(dir) => {
            if !dir.metadata().exists() {
                bail!("there is no metadata in {}: it was never started, or with etcd.endpoints", dir.root().display());
            }
            lines(metadata::embedded(&dir).await?.as_ref(), false).await
        }
        Err(DataDirError::InUse { dir, holder: Holder { http, pid } }) => {
            let dir = dir.display();
            let server = pid.map_or_else(|| "a server".to_owned(), |pid| format!("process {pid}"));
            match http {
                Some(http) => ask(http, "GET", "/meta/dump", DUMP_PATIENCE).with_context(|| {
                    format!("{server} uses {dir} and was asked for its metadata on {http}; stop it and try again")
                }),
                None => bail!(
                    "{server} uses {dir} and cannot be asked for its metadata, because it has no --http address; stop it, or \
                     start it again with one"
                ),
            }
        }
        Err(error) => Err(error.into()),
    }
}

/// All keys of a store; where it is shared, those of our users only, since others may keep their own beside them.
pub async fn lines(meta: &dyn MetaStore, is_shared: bool) -> Result<String> {
    if is_shared {
        return lines_of_users(meta).await;
    }
    let found = dump::dump(meta, dump::ROOT).await?;
    Ok(found.kvs.iter().map(line).collect())
}

async fn lines_of_users(meta: &dyn MetaStore) -> Result<String> {
    let list = meta.range(RangeRequest::new(KeyRange::Exact(USER_LIST.to_owned()))).await?;
    let Some(kv) = list.kvs.first() else { return Ok(String::new()) };
    let mut users: Vec<UserName> =
        serde_json::from_slice(&kv.value).with_context(|| format!("{USER_LIST} is damaged"))?;
    users.sort();
    let mut text = String::new();
    for user in users {
        let range = KeyRange::Prefix(UserKeys::new(&user).all().to_owned());
        let found = meta.range(RangeRequest::new(range).at(list.revision)).await?;
        text.extend(found.kvs.iter().map(line));
    }
    text.push_str(&line(kv));
    Ok(text)
}

fn line(kv: &KeyValue) -> String {
    let value = serde_json::from_slice::<Value>(&kv.value)
        .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&kv.value).into_owned()));
    let (key, value) = (Value::String(kv.key.clone()), value);
    // Written by hand for the order: who looks at it looks for the key first.
    format!(
        "{{\"key\":{key},\"value\":{value},\"create_revision\":{},\"mod_revision\":{}}}\n",
        kv.create_revision, kv.mod_revision
    )
}

#[cfg(test)]
mod tests;
