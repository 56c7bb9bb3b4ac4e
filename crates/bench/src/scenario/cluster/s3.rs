//! Flushes to S3 and cold searches from it, if a server is given (`cargo xtask bench --s3`).

use std::fs;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};

use super::super::{BATCH_ROWS, BLOCK_ROWS, Bench, pieces};
use super::Cluster;
use crate::client::messages;
use crate::figure::Figure;
use crate::measure::Watch;
use crate::sample::{Samples, ms};
use crate::server::Ending;

const FLUSHES: usize = 7;
const FLUSH_MS_MAX: f64 = 250.0;
const COLLECTION: &str = "on_s3";
const PUTS: &str = "redkite_storage_puts_total";
const GETS: &str = "redkite_storage_gets_total";

pub(super) async fn run(bench: &mut Bench) -> Result<()> {
    let variable = |name: &str| std::env::var(format!("REDKITE_TEST_S3_{name}"));
    let Ok(endpoint) = variable("ENDPOINT") else {
        eprintln!("  no S3 server is given (--s3); its figures are left out");
        return Ok(());
    };
    let mut cluster = Cluster::new(&bench.installation, "s3")?;
    cluster.storage = format!("storage.url=s3://{}/bench-{}", variable("BUCKET")?, std::process::id());
    cluster.env = vec![
        ("AWS_ACCESS_KEY_ID", variable("ACCESS_KEY")?),
        ("AWS_SECRET_ACCESS_KEY", variable("SECRET_KEY")?),
        ("AWS_REGION", "us-east-1".to_owned()),
    ];
    let endpoint = format!("storage.endpoint={endpoint}");
    let settings = [endpoint.as_str(), "merge.enabled=false"];
    let (server, mut client) = cluster.start(bench, 1, &settings).await?;
    client.create(COLLECTION, bench.data.base.columns).await?;
    let (mut wall, mut cpu, mut written) = (Samples::default(), Samples::default(), 0);
    let before = server.counter(PUTS)?;
    for _ in 0..FLUSHES {
        let start = written % (bench.data.base.rows - BLOCK_ROWS + 1);
        for piece in pieces(start..start + BLOCK_ROWS, BATCH_ROWS) {
            client.insert(bench.rows(COLLECTION, piece)).await?;
        }
        written += BLOCK_ROWS;
        let watch = Watch::start(server.usage)?;
        client.flush().await?;
        let cost = watch.stop()?;
        wall.push(ms(cost.wall));
        cpu.push(ms(cost.cpu));
    }
    let puts = (server.counter(PUTS)? - before) as f64 / FLUSHES as f64;
    ensure!(client.count(COLLECTION).await? == written, "not all rows arrived");
    let note = format!(
        "wall, median of {FLUSHES} ({:.0} to {:.0}), {puts:.1} PUTs each; {:.1} ms CPU; sync_level 0",
        wall.least(),
        wall.largest(),
        cpu.median()
    );
    bench.add(Figure::against(format!("flush of {BLOCK_ROWS} rows to S3"), FLUSH_MS_MAX, wall.median(), "ms", note));
    let data = server.data().to_owned();
    server.end(Ending::Terminated).await?;

    // As on a machine that has nothing of it.
    fs::remove_dir_all(data.join("cache")).context("remove the node's copies")?;
    let began = Instant::now();
    let (server, mut client) = cluster.start(bench, 1, &settings).await?;
    client.search(messages::search(COLLECTION, &[bench.data.queries.row(0)], 10)).await?;
    let took = ms(began.elapsed());
    let gets = server.counter(GETS)?;
    let note = format!(
        "a node with no copies, started and asked: {took:.0} ms on the wall over {FLUSHES} fragments of {BLOCK_ROWS} rows"
    );
    bench.add(Figure::only("files fetched by a cold search", gets as f64, "", note));
    let before = server.counter(GETS)?;
    client.search(messages::search(COLLECTION, &[bench.data.queries.row(1)], 10)).await?;
    ensure!(server.counter(GETS)? == before, "a warm search fetched something");
    server.end(Ending::Terminated).await
}
