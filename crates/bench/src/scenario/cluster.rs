//! What several nodes over etcd cost: one file a question.

mod arrivals;
mod collections;
mod fan_out;
mod freshness;
mod metadata;
mod s3;

use anyhow::Result;

use super::Bench;
use crate::client::Client;
use crate::etcd::Etcd;
use crate::server::{Installation, Server};

pub(super) async fn run(bench: &mut Bench) -> Result<()> {
    fan_out::run(bench).await?;
    freshness::run(bench).await?;
    arrivals::run(bench).await?;
    collections::run(bench).await?;
    metadata::run(bench).await?;
    s3::run(bench).await
}

/// An etcd and what the nodes over it have in common.
#[derive(Debug)]
struct Cluster {
    etcd: Etcd,
    name: &'static str,
    storage: String,
    env: Vec<(&'static str, String)>,
}

impl Cluster {
    /// One that shares a directory.
    fn new(installation: &Installation, name: &'static str) -> Result<Self> {
        let storage = format!("storage.url=file://{}", installation.scratch.join(format!("{name}-shared")).display());
        Ok(Self {
            etcd: Etcd::start(&installation.scratch.join(format!("{name}-etcd")))?,
            name,
            storage,
            env: Vec::new(),
        })
    }

    /// Starts a node, with further settings.
    fn spawn(&self, bench: &Bench, number: usize, settings: &[&str]) -> Result<Server> {
        let (etcd, node) = (self.etcd.setting(), format!("node_id={number}"));
        let own = ["cluster_id=bench", &etcd, &self.storage, &node];
        let settings = [&own[..], settings].concat();
        bench.installation.spawn_as("node", &format!("{}-{number}", self.name), &settings, &self.env)
    }

    /// Starts a node and waits until it answers.
    async fn start(&self, bench: &Bench, number: usize, settings: &[&str]) -> Result<(Server, Client)> {
        let mut server = self.spawn(bench, number, settings)?;
        let client = server.connect().await?;
        Ok((server, client))
    }
}
