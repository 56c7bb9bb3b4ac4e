//! Searches by many clients, with nothing else going on and while a thousand rows a second arrive.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::super::{BATCH_ROWS, Bench, pieces};
use super::Cluster;
use crate::client::{Client, messages};
use crate::figure::Figure;
use crate::sample::{Samples, ms};
use crate::server::{Ending, Server};

const ROWS: usize = 20_000;
/// Rows of one insert; ten of them a second.
const ARRIVING: usize = 100;
const ARRIVAL_PAUSE: Duration = Duration::from_millis(100);
const CLIENTS: [usize; 2] = [16, 64];
const LASTING: Duration = Duration::from_secs(4);
const COLLECTION: &str = "busy";

pub(super) async fn run(bench: &mut Bench) -> Result<()> {
    let cluster = Cluster::new(&bench.installation, "arrivals")?;
    let (mut server, mut client) = cluster.start(bench, 1, &["auto_flush=true", "flush_interval=1000"]).await?;
    client.create(COLLECTION, bench.data.base.columns).await?;
    let rows = bench.data.base.rows.min(ROWS);
    for piece in pieces(0..rows, BATCH_ROWS) {
        client.insert(bench.rows(COLLECTION, piece)).await?;
    }
    client.flush().await?;
    for clients in CLIENTS {
        let (idle, rate) = searches(bench, &mut server, clients).await?;
        let stop = Arc::new(AtomicBool::new(false));
        let arriving = tokio::task::LocalSet::new();
        let batch = bench.rows(COLLECTION, 0..ARRIVING);
        let mut writer = server.connect().await?;
        let inserted = arriving.spawn_local({
            let stop = stop.clone();
            async move {
                let mut ticks = tokio::time::interval(ARRIVAL_PAUSE);
                while !stop.load(Ordering::Relaxed) {
                    ticks.tick().await;
                    writer.insert(batch.clone()).await?;
                }
                Ok::<_, anyhow::Error>(())
            }
        });
        let (busy, busy_rate) = arriving.run_until(searches(bench, &mut server, clients)).await?;
        stop.store(true, Ordering::Relaxed);
        arriving.run_until(inserted).await.context("the client that inserts")??;
        let note = format!(
            "p99 of {clients} clients over {rows} rows while 1,000 rows a second arrive, flushed every second; idle {:.1} ms; p50 {:.1} \
             and {:.1} ms; the clients share the cores with the server",
            idle.percentile(0.99),
            busy.median(),
            idle.median()
        );
        bench.add(Figure::only(format!("p99 of searches by {clients} clients"), busy.percentile(0.99), "ms", note));
        let note = format!("the same; idle {rate:.0}");
        bench.add(Figure::only("  searches a second", busy_rate, "", note));
    }
    server.end(Ending::Terminated).await
}

/// Has so many clients search for a while; how long each search took, and how many there were a second.
async fn searches(bench: &Bench, server: &mut Server, clients: usize) -> Result<(Samples, f64)> {
    let mut connected: Vec<Client> = Vec::new();
    for _ in 0..clients {
        connected.push(server.connect().await?);
    }
    let began = Instant::now();
    let one = async |(number, mut client): (usize, Client)| -> Result<Vec<f64>> {
        let mut waited = Vec::new();
        while began.elapsed() < LASTING {
            let query = bench.data.queries.row((number * 31 + waited.len()) % bench.data.queries.rows);
            let sent = Instant::now();
            client.search(messages::search(COLLECTION, &[query], 10)).await?;
            waited.push(ms(sent.elapsed()));
        }
        Ok(waited)
    };
    let all = futures::future::try_join_all(connected.into_iter().enumerate().map(one)).await?;
    let took = began.elapsed().as_secs_f64();
    let mut samples = Samples::default();
    all.into_iter().flatten().for_each(|waited| samples.push(waited));
    let rate = samples.count() as f64 / took;
    Ok((samples, rate))
}
