//! How long a search takes that must see every flush that has returned, beside one that takes what the node knows.

use std::time::Instant;

use anyhow::Result;
use redkite_api::proto::common::ConsistencyLevel;

use super::super::Bench;
use super::Cluster;
use crate::client::messages;
use crate::figure::Figure;
use crate::sample::{Samples, us};
use crate::server::Ending;

const ROWS: usize = 1_000;
const SEARCHES: usize = 2_000;
const BEYOND_US_MAX: f64 = 300.0;
const COLLECTION: &str = "fresh";

pub(super) async fn run(bench: &mut Bench) -> Result<()> {
    let cluster = Cluster::new(&bench.installation, "freshness")?;
    let (server, mut client) = cluster.start(bench, 1, &[]).await?;
    client.create(COLLECTION, bench.data.base.columns).await?;
    bench.write(&mut client, COLLECTION, 0..ROWS, ROWS).await?;
    let levels = [ConsistencyLevel::Strong, ConsistencyLevel::Eventually];
    let mut waited = [Samples::default(), Samples::default()];
    for number in 0..SEARCHES {
        for (level, waited) in levels.iter().zip(&mut waited) {
            let query = bench.data.queries.row(number % bench.data.queries.rows);
            let mut search = messages::search(COLLECTION, &[query], 10);
            (search.use_default_consistency, search.consistency_level) = (false, (*level).into());
            let began = Instant::now();
            client.search(search).await?;
            waited.push(us(began.elapsed()));
        }
    }
    server.end(Ending::Terminated).await?;
    let [strong, eventually] = waited;
    let note = format!(
        "p50 on the wall of {SEARCHES} each in turns, {ROWS} rows, k = 10: {:.0} and {:.0} us; p99 {:.0} and {:.0}",
        strong.median(),
        eventually.median(),
        strong.percentile(0.99),
        eventually.percentile(0.99)
    );
    let beyond = strong.median() - eventually.median();
    bench.add(Figure::against("a Strong search beyond one with Eventually", BEYOND_US_MAX, beyond, "us", note));
    Ok(())
}
