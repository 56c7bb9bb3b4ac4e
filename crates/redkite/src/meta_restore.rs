//! `redkite meta restore`: a dump into an etcd, or a data directory, that has lost its metadata. `redkite_table::restore` says
//! what that means.

use std::path::Path;

use anyhow::{Context, Result};
use redkite_storage::DataStore;
use redkite_table::Ambient;
use redkite_table::restore::{Plan, Restore};

use crate::config::Loaded;
use crate::data_dir::DataDir;
use crate::transport::check_etcd;
use crate::{engine, failpoints, meta_file, metadata, telemetry};

/// Restores what is in `file`. With `accept_missing` although files are missing.
pub fn run(loaded: &Loaded, file: &Path, accept_missing: bool) -> Result<()> {
    check_etcd(loaded)?;
    let dump = meta_file::read(file)?;
    telemetry::start(&loaded.config.log, loaded.config.log_format)?;
    failpoints::arm();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let told = runtime.block_on(restore(loaded, dump, accept_missing));
    println!("{}", told.with_context(|| format!("{} is not restored", file.display()))?);
    Ok(())
}

async fn restore(loaded: &Loaded, dump: meta_file::Dump, accept_missing: bool) -> Result<String> {
    let config = &loaded.config;
    let mut plan = Plan::of(dump.users)?;
    let is_remote = metadata::is_remote(&config.etcd);
    let scratch = tempfile::tempdir()?;
    let place = match is_remote && !config.storage.url.is_empty() {
        // Nothing is on this machine.
        true => scratch.path(),
        false => Path::new(&config.data_dir),
    };
    // As a server would, it locks the directory: nobody uses the store in it meanwhile.
    let dir = DataDir::open(place)?;
    let mut options = engine::storage_options(config, &dir);
    options.cache_dir = Some(scratch.path().join("cache"));
    let data = DataStore::connect(options).await.context("the object store cannot be used")?;
    let meta = match is_remote {
        true => metadata::connect_bare(&config.etcd).await?,
        false => metadata::embedded_or_new(&dir).await?,
    };
    let ambient = Ambient::system();
    let restore = Restore { meta: meta.as_ref(), data: &data, ambient: &ambient, dump: dump.sha256 };
    let missing = restore.check(&plan, accept_missing).await?;
    restore.run(&mut plan).await?;
    let users: Vec<String> = plan.users.iter().map(|user| user.user.to_string()).collect();
    let base = plan.users.iter().map(|user| user.base).max().unwrap_or_default();
    let mut told = format!("restored {} keys of {}; revisions go on above {base}", plan.keys(), users.join(", "));
    if missing > 0 {
        told += &format!("; {missing} files are missing, and reads that need them will fail");
    }
    Ok(told)
}
