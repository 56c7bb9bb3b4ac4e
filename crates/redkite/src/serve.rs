//! `redkite standalone` and `redkite node`: a process that serves until a signal ends it.

use std::time::Instant;

use anyhow::{Context, Result};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::runtime::Runtime;

use crate::config::Loaded;
use crate::server::Server;
use crate::shutdown::Signals;
use crate::transport::Transport;
use crate::{failpoints, limits, metrics, telemetry};

/// Serves until a signal ends it.
pub fn run(loaded: Loaded, started: Instant) -> Result<()> {
    let transport = Transport::open(&loaded)?;
    let (runtime, metrics) = prepare(&loaded)?;
    runtime.block_on(async {
        let mut signals = Signals::listen()?;
        let server = tokio::select! {
            server = Server::open(loaded, transport, metrics, started) => server?,
            // Nothing has been promised to anybody yet.
            _ = signals.next() => return Ok(()),
        };
        server.greet();
        server
            .serve(async move {
                let signal = signals.next().await;
                tracing::info!(signal, "shutting down");
                signals.end_at_once();
            })
            .await
    })
}

/// What every serving process does first: log, metrics, limits, threads.
pub fn prepare(loaded: &Loaded) -> Result<(Runtime, PrometheusHandle)> {
    telemetry::start(&loaded.config.log, loaded.config.log_format)?;
    let metrics = metrics::start()?;
    failpoints::arm();
    limits::raise_open_files();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("start threads")?;
    Ok((runtime, metrics))
}
