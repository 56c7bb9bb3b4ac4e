//! Opens the metadata store the configuration names.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use redkite_meta::keys::UserKeys;
use redkite_meta::{EmbeddedOptions, EmbeddedStore, EtcdOptions, EtcdStore, EtcdTls, MetaStore, base};
use redkite_types::UserName;

use crate::config::EtcdConfig;
use crate::data_dir::DataDir;

/// Whether the metadata is across a network.
pub fn is_remote(config: &EtcdConfig) -> bool {
    !config.endpoints.is_empty()
}

/// Where the metadata is, for a person.
pub fn describe(config: &EtcdConfig, dir: &DataDir) -> String {
    match is_remote(config) {
        true => format!("etcd at {}", config.endpoints.join(", ")),
        false => dir.metadata().display().to_string(),
    }
}

/// The embedded store of the data directory, or etcd, as `user` sees it.
pub async fn open(config: &EtcdConfig, dir: &DataDir, user: &UserName) -> Result<Arc<dyn MetaStore>> {
    match is_remote(config) {
        true => connect(config, user).await,
        false => as_seen_by(user, embedded(dir).await?).await,
    }
}

/// The store in etcd, as `user` sees it.
pub async fn connect(config: &EtcdConfig, user: &UserName) -> Result<Arc<dyn MetaStore>> {
    as_seen_by(user, connect_bare(config).await?).await
}

/// With the revisions that the user's metadata has; refused if that is only half restored.
async fn as_seen_by(user: &UserName, meta: Arc<dyn MetaStore>) -> Result<Arc<dyn MetaStore>> {
    let seen = base::open(meta, &UserKeys::new(user)).await;
    seen.with_context(|| format!("the metadata of user {user} cannot be used"))
}

/// The store in the data directory's file.
pub async fn embedded(dir: &DataDir) -> Result<Arc<dyn MetaStore>> {
    let path = dir.metadata();
    // Files without the metadata they belong to are a loss to be told, not an empty database to start on.
    if !path.exists() && dir.has_objects() {
        bail!(
            "{} is missing although {} holds files that belong to it: restore it (redkite meta restore), set etcd.endpoints if the metadata is in etcd, or \
             use another data directory",
            path.display(),
            dir.objects().display()
        );
    }
    embedded_or_new(dir).await
}

/// The same, whether it is there or not.
pub async fn embedded_or_new(dir: &DataDir) -> Result<Arc<dyn MetaStore>> {
    let path = dir.metadata();
    let shown = path.display().to_string();
    let opening = tokio::task::spawn_blocking(move || EmbeddedStore::open(&path, EmbeddedOptions::default()));
    let store = opening.await?.with_context(|| format!("the metadata in {shown} cannot be opened"))?;
    Ok(Arc::new(store))
}

/// The store in etcd, without a base.
pub async fn connect_bare(config: &EtcdConfig) -> Result<Arc<dyn MetaStore>> {
    let mut options = EtcdOptions::new(config.endpoints.clone());
    if !config.user.is_empty() {
        options.user = Some((config.user.clone(), config.password.clone()));
    }
    let is_tls = config.endpoints.iter().any(|endpoint| endpoint.starts_with("https://"));
    if is_tls || !config.ca.is_empty() || !config.cert.is_empty() {
        let ca = pem("etcd.ca", &config.ca)?;
        let identity = pem("etcd.cert", &config.cert)?.zip(pem("etcd.key", &config.key)?);
        options.tls = Some(EtcdTls { ca, identity, domain: None });
    }
    let store = EtcdStore::connect(options)
        .await
        .with_context(|| format!("etcd.endpoints = {:?}: etcd cannot be used", config.endpoints))?;
    Ok(Arc::new(store))
}

fn pem(key: &str, path: &str) -> Result<Option<String>> {
    if path.is_empty() {
        return Ok(None);
    }
    fs::read_to_string(Path::new(path)).map(Some).with_context(|| format!("{key} = {path:?} cannot be read"))
}
