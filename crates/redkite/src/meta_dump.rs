//! `redkite meta dump`: all metadata, as of one revision, in the form of `meta_file`.
//!
//! An embedded store belongs to one process. If a server has it, that server is asked over its HTTP port.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use redkite_meta::base::{self, Base};
use redkite_meta::keys::{USER_LIST, UserKeys};
use redkite_meta::{KeyRange, KeyValue, MetaStore, RangeRequest, dump};
use redkite_types::{Revision, UserName};

use crate::ask::{Target, ask};
use crate::config::Loaded;
use crate::data_dir::{DataDir, DataDirError, Holder};
use crate::meta_file::{self, Writer};
use crate::metadata;
use crate::transport::check_etcd;

/// How long a server may take to tell all its metadata.
const DUMP_PATIENCE: Duration = Duration::from_secs(30);
/// Tries to read all at a revision that the store then turns out to have forgotten.
const TRIES: u32 = 8;

/// Writes all metadata to `file`, or prints it.
pub fn run(loaded: &Loaded, file: Option<&Path>) -> Result<()> {
    check_etcd(loaded)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let text = runtime.block_on(read(loaded))?;
    if let Some(file) = file {
        // A store that was lost is empty when it is back: what is worth a file is not overwritten with that.
        if meta_file::is_empty(&text) {
            bail!("there is no user in the metadata, so there is nothing to keep; {} is left as it is", file.display());
        }
        return write(file, &text).with_context(|| format!("{} cannot be written", file.display()));
    }
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        // Who reads only the beginning has what he wants.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        result => result.context("write to stdout"),
    }
}

/// Writes it whole or not at all, for its owner only: clusters' secrets are in it.
fn write(path: &Path, text: &str) -> Result<()> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(dir)?;
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(std::fs::File::open(dir)?.sync_all()?)
}

async fn read(loaded: &Loaded) -> Result<String> {
    let config = &loaded.config;
    if metadata::is_remote(&config.etcd) {
        let meta = metadata::connect_bare(&config.etcd).await?;
        // Of a user that is half restored the list does not tell.
        base::of(meta.as_ref(), &UserKeys::new(&config.user)).await?;
        return lines(meta.as_ref(), true).await;
    }
    match DataDir::open_existing(Path::new(&config.data_dir)) {
        Ok(dir) => {
            if !dir.metadata().exists() {
                bail!("there is no metadata in {}: it was never started, or with etcd.endpoints", dir.root().display());
            }
            lines(metadata::embedded(&dir).await?.as_ref(), false).await
        }
        Err(DataDirError::InUse { dir, holder: Holder { http, tls, pid } }) => {
            let dir = dir.display();
            let server = pid.map_or_else(|| "a server".to_owned(), |pid| format!("process {pid}"));
            match http {
                Some(http) => {
                    let asked = || {
                        format!("{server} uses {dir} and was asked for its metadata on {http}; stop it and try again")
                    };
                    let target = Target::here(http, tls, &config.tls).with_context(asked)?;
                    ask(&target, "GET", "/meta/dump", DUMP_PATIENCE).with_context(asked)
                }
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
    for _ in 0..TRIES {
        match try_lines(meta, is_shared).await {
            Err(error) if is_compacted(&error) => {}
            result => return result,
        }
    }
    bail!("the metadata is compacted faster than it can be read; try again")
}

fn is_compacted(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(redkite_meta::Error::Compacted { .. }))
}

async fn try_lines(meta: &dyn MetaStore, is_shared: bool) -> Result<String> {
    let list = meta.range(RangeRequest::new(KeyRange::Exact(USER_LIST.to_owned()))).await?;
    let at = list.revision;
    let own = |revision: Revision| Revision(revision.0 - meta.base().0);
    let mut bases = BTreeMap::new();
    for user in users(list.kvs.first())? {
        let keys = UserKeys::new(&user);
        let found = meta.range(RangeRequest::new(KeyRange::Exact(keys.base())).at(at)).await?;
        let base = match found.kvs.first() {
            Some(kv) => Base::read(kv)?.of_whole(&kv.key)?,
            None => Revision::ZERO,
        };
        bases.insert(user, base);
    }
    let ranges: Vec<KeyRange> = match is_shared {
        true => {
            let of_users = bases.keys().map(|user| KeyRange::Prefix(UserKeys::new(user).all().to_owned()));
            of_users.chain([KeyRange::Exact(USER_LIST.to_owned())]).collect()
        }
        false => vec![KeyRange::Prefix(dump::ROOT.to_owned())],
    };
    let seen = |base: &Revision, revision: Revision| Revision(own(revision).0 + base.0);
    let revisions = bases.iter().map(|(user, base)| (user.clone(), seen(base, at))).collect();
    let prefixes: Vec<(String, Revision)> =
        bases.iter().map(|(user, base)| (UserKeys::new(user).all().to_owned(), *base)).collect();
    let mut writer = Writer::new(own(at), revisions)?;
    for range in ranges {
        for mut kv in meta.range(RangeRequest::new(range).at(at)).await?.kvs {
            let base = prefixes.iter().find(|(prefix, _)| kv.key.starts_with(prefix)).map(|(_, base)| *base);
            let base = base.unwrap_or_default();
            kv.create_revision = seen(&base, kv.create_revision);
            kv.mod_revision = seen(&base, kv.mod_revision);
            writer.add(&kv)?;
        }
    }
    writer.finish()
}

fn users(list: Option<&KeyValue>) -> Result<Vec<UserName>> {
    let Some(kv) = list else { return Ok(Vec::new()) };
    serde_json::from_slice(&kv.value).with_context(|| format!("{USER_LIST} is damaged"))
}

#[cfg(test)]
mod tests;
