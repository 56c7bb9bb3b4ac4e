//! `redkite demo`: a server with real data in it, shown through the port clients use.
//!
//! The server is the one of `redkite standalone`, with three other defaults: every write is visible at once, the data is in a
//! temporary directory, and only warnings are logged so that they do not stand between what is shown.

mod client;
mod dataset;
mod page;
mod tour;

use std::time::Instant;

use anyhow::{Context, Result};
use metrics_exporter_prometheus::PrometheusHandle;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::cli::ConfigArgs;
use crate::config::{self, CommandDefaults, Loaded, Origin, Problems};
use crate::serve;
use crate::server::Server;
use crate::shutdown::Signals;
use crate::transport::Transport;
use page::Page;

/// Shows the searches, then serves until a signal unless `exit`.
pub fn run(args: ConfigArgs, exit: bool, started: Instant) -> Result<()> {
    let (loaded, scratch) = configure(args)?;
    let (runtime, metrics) = serve::prepare(&loaded)?;
    let result = runtime.block_on(show(loaded, metrics, exit, started));
    // The directory goes after everything that writes to it.
    drop(runtime);
    drop(scratch);
    result
}

/// The configuration, and the temporary directory where none is named.
fn configure(args: ConfigArgs) -> Result<(Loaded, Option<TempDir>)> {
    let mut sources = args.sources();
    let mut values =
        vec![("auto_flush", "true".to_owned()), ("flush_interval", "0".to_owned()), ("log", "warn".to_owned())];
    let defaults = |values: &Vec<_>| Some(CommandDefaults { command: "redkite demo", values: values.clone() });
    sources.command = defaults(&values);
    let loaded = config::load(&sources)?;
    if !loaded.config.tls.cert.is_empty() {
        let reason = "redkite demo has no TLS: leave it out, or run redkite standalone".to_owned();
        return Err(Problems(vec![loaded.settings.problem("tls.cert", reason)]).into());
    }
    if loaded.settings.get("data_dir").is_some_and(|setting| setting.origin != Origin::Default) {
        return Ok((loaded, None));
    }
    let scratch =
        TempDir::with_prefix("redkite-demo-").context("a temporary directory cannot be made; use --data-dir")?;
    values.push(("data_dir", scratch.path().display().to_string()));
    sources.command = defaults(&values);
    Ok((config::load(&sources)?, Some(scratch)))
}

async fn show(loaded: Loaded, metrics: PrometheusHandle, exit: bool, started: Instant) -> Result<()> {
    let mut signals = Signals::listen()?;
    let server = Server::open(loaded, Transport::default(), metrics, started).await?;
    let mut page = Page::stdout();
    let address = server.listen();
    page.line(&format!("A Redkite server on {address}, its data in {}", server.data()));
    let stop = CancellationToken::new();
    let mut serving = tokio::spawn(server.serve(stop.clone().cancelled_owned()));
    let shown = tokio::select! {
        shown = tour::run(address, &mut page) => shown.map(|()| true),
        _ = signals.next() => Ok(false),
        ended = &mut serving => return ended?,
    };
    if !exit && matches!(shown, Ok(true)) {
        tour::invite(address, &mut page);
        tokio::select! {
            _ = signals.next() => {}
            ended = &mut serving => return ended?,
        }
    }
    signals.end_at_once();
    stop.cancel();
    serving.await??;
    shown.map(|_| ())
}
