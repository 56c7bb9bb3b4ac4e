//! What it costs each process that three nodes answer a search together, where there is next to nothing to scan.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::super::Bench;
use super::Cluster;
use crate::client::messages;
use crate::figure::Figure;
use crate::measure::CallSamples;
use crate::sample::{Samples, us};
use crate::server::Ending;

const NODES: usize = 3;
const ROWS: usize = 10;
const ROUNDS: usize = 31;
const CALLS: usize = 200;
const CPU_US_MAX: f64 = 100.0;
const COLLECTION: &str = "spread";
/// Until every node knows every other one, and that it has its share.
const MEET: Duration = Duration::from_secs(2);

pub(super) async fn run(bench: &mut Bench) -> Result<()> {
    let cluster = Cluster::new(&bench.installation, "fan-out")?;
    let mut nodes = Vec::new();
    for number in 1..=NODES {
        nodes.push(cluster.start(bench, number, &["num_nodes=3", "merge.enabled=false"]).await?);
    }
    nodes[0].1.create(COLLECTION, bench.data.base.columns).await?;
    for (number, (_, client)) in nodes.iter_mut().enumerate() {
        bench.write(client, COLLECTION, number * ROWS..(number + 1) * ROWS, ROWS).await?;
    }
    tokio::time::sleep(MEET).await;
    let usages: Vec<_> = nodes.iter().map(|(server, _)| server.usage).collect();
    let served = nodes[1].0.counter("redkite_subrequests_served_total")?;
    let client = &mut nodes[0].1;
    let search = messages::search(COLLECTION, &[bench.data.queries.row(0)], ROWS);
    ensure!(client.search(search.clone()).await?.keys.len() == ROWS, "the search did not find {ROWS} rows");
    let (mut empty, mut searches, mut beyond, mut held) = <(CallSamples, CallSamples, Samples, Samples)>::default();
    // The first round warms up and does not count.
    for round in 0..=ROUNDS {
        if round == 1 {
            (empty, searches, beyond, held) = Default::default();
        }
        empty.block(usages[0], CALLS, async |_| client.version().await).await?;
        let before: Duration = usages[1].cpu()? + usages[2].cpu()?;
        searches.block(usages[0], CALLS, async |_| client.search(search.clone()).await.map(drop)).await?;
        let spent = (usages[1].cpu()? + usages[2].cpu()?).saturating_sub(before);
        held.push(us(spent) / CALLS as f64 / (NODES - 1) as f64);
        beyond.push(searches.cpu.last() - empty.cpu.last());
    }
    ensure!(nodes[1].0.counter("redkite_subrequests_served_total")? > served, "the other nodes were not asked");
    for (server, _) in nodes {
        server.end(Ending::Terminated).await?;
    }
    let note = format!(
        "CPU of the node that is asked beyond an empty call, median of {ROUNDS} differences, {CALLS} calls each in turns; {ROWS} \
         rows on each of {NODES} nodes; on the wall {:.0} and {:.0} us",
        searches.wall.median(),
        empty.wall.median()
    );
    bench.add(Figure::against("search over 3 nodes, the asked one", CPU_US_MAX, beyond.median(), "us", note));
    let note = format!(
        "CPU a search of each of the others, all they do in that time included ({:.0} to {:.0})",
        held.least(),
        held.largest()
    );
    bench.add(Figure::against("search over 3 nodes, another one", CPU_US_MAX, held.median(), "us", note));
    Ok(())
}
