//! Collects what all crates count, and what the kernel says about this process, as Prometheus text.

mod process;

pub use process::anonymous_bytes;

use std::time::Duration;

use anyhow::{Context, Result};
use metrics::gauge;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::task::JoinHandle;

/// Upper bounds of the histograms of spans.
const SECONDS_BUCKETS: [f64; 16] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// How often samples are folded into histograms; until then they take memory.
const UPKEEP_PAUSE: Duration = Duration::from_secs(5);

/// From here on everything counted anywhere in the process is collected.
pub fn start() -> Result<PrometheusHandle> {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS_BUCKETS)?
        .install_recorder()
        .context("the metrics cannot be started")?;
    process::describe();
    metrics::describe_gauge!("redkite_build_info", "Always 1; the version is the label.");
    metrics::describe_gauge!("redkite_start_seconds", "From the start of the process until it served.");
    metrics::describe_gauge!("redkite_sessions", "Clients that have written something and are connected.");
    metrics::describe_gauge!(
        "redkite_session_buffered_bytes",
        "Unflushed data of all clients, and of those of other nodes as far as it is held here."
    );
    metrics::describe_gauge!("redkite_fragments", "Fragments of all collections.");
    metrics::describe_gauge!("redkite_fragments_unmerged", "Fragments that a merge could still take.");
    metrics::describe_gauge!("redkite_bytes", "Bytes of data files: live, retained for readers of the past, garbage.");
    metrics::describe_gauge!("redkite_tombstones", "What is left of dropped and replaced entries.");
    metrics::describe_gauge!("redkite_oldest_floor_revision", "The oldest revision any node reads or has pinned.");
    metrics::describe_counter!("redkite_connections_refused_total", "Connections from addresses that are not allowed.");
    metrics::describe_gauge!("redkite_oldest_floor_holder", "1 for the node that reads or has pinned that one.");
    metrics::describe_gauge!("redkite_horizon_revision", "The oldest revision that can be read.");
    metrics::describe_counter!("redkite_merges_total", "Merges that were published.");
    metrics::describe_counter!("redkite_merge_failures_total", "Merges that failed; they are tried again.");
    metrics::describe_counter!("redkite_collected_files_total", "Files removed because nobody needs them.");
    metrics::describe_counter!("redkite_flush_slowdowns_total", "Flushes slowed down because merging is behind.");
    metrics::describe_counter!(
        "redkite_subrequests_total",
        "Parts of requests that other nodes were asked for: answered, refused, failed, abandoned since others were faster."
    );
    metrics::describe_counter!(
        "redkite_subrequests_hedged_total",
        "Parts of requests for which a node took so long that others were asked, too."
    );
    metrics::describe_counter!(
        "redkite_subrequests_served_total",
        "Parts of requests that other nodes asked for here."
    );
    metrics::describe_counter!(
        "redkite_loads_asked_total",
        "Times that the loads of the other nodes were asked for, as memory was short here: of a Master or of themselves."
    );
    metrics::describe_counter!("redkite_forwarded_out_rows_total", "Rows of this node's clients that others took.");
    metrics::describe_counter!("redkite_forwarded_out_blocks_total", "Blocks of this node's clients they were in.");
    metrics::describe_counter!("redkite_forwarded_in_rows_total", "Rows of other nodes' clients taken here.");
    metrics::describe_counter!("redkite_forwarded_in_blocks_total", "Blocks of other nodes' clients they were in.");
    metrics::describe_counter!("redkite_forwarded_in_refused_total", "Inserts there was no room for here.");
    metrics::describe_counter!(
        "redkite_forward_refusals_total",
        "Inserts that stayed here as the other node had no room or was gone."
    );
    metrics::describe_counter!(
        "redkite_forward_losses_total",
        "Blocks that were lost with a node that held rows of them."
    );
    metrics::describe_histogram!("redkite_flush_seconds", "From the start of a flush to its commit.");
    gauge!("redkite_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    Ok(handle)
}

/// Folds samples into histograms until aborted. Must be called within a runtime.
pub fn keep_up(handle: PrometheusHandle) -> JoinHandle<()> {
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(UPKEEP_PAUSE).await;
            handle.run_upkeep();
        }
    })
}

/// All metrics as of now.
pub fn render(handle: &PrometheusHandle) -> String {
    process::record();
    handle.render()
}
