//! What a search costs beyond an empty call, where there is next to nothing to search.

use anyhow::{Result, ensure};

use super::Bench;
use crate::client::messages;
use crate::figure::Figure;
use crate::measure::CallSamples;
use crate::sample::Samples;
use crate::server::Ending;

/// Many short rounds: whether the client's thread shares a core with the server's changes what a call costs, and changes
/// slowly, so it is the same on both sides of most rounds.
const ROUNDS: usize = 31;
const CALLS: usize = 500;
const ROWS: usize = 10;
const COLLECTION: &str = "ten";
const CPU_US_MAX: f64 = 30.0;

pub(super) async fn run(bench: &mut Bench) -> Result<()> {
    let (server, mut client) = bench.installation.start("overhead").await?;
    client.create(COLLECTION, bench.data.base.columns).await?;
    bench.write(&mut client, COLLECTION, 0..ROWS, ROWS).await?;
    let search = messages::search(COLLECTION, &[bench.data.queries.row(0)], ROWS);
    ensure!(client.search(search.clone()).await?.keys.len() == ROWS, "the search did not find all {ROWS} rows");
    let (mut empty, mut searches, mut beyond) = <(CallSamples, CallSamples, Samples)>::default();
    // The first round warms up and does not count.
    for round in 0..=ROUNDS {
        if round == 1 {
            (empty, searches, beyond) = Default::default();
        }
        empty.block(server.usage, CALLS, async |_| client.version().await).await?;
        searches.block(server.usage, CALLS, async |_| client.search(search.clone()).await.map(drop)).await?;
        beyond.push(searches.cpu.last() - empty.cpu.last());
    }
    server.end(Ending::Terminated).await?;
    let note = format!(
        "server CPU, median of {ROUNDS} differences, {CALLS} calls each in turns; medians {:.1} and {:.1}; on the wall \
         {:.0} and {:.0}",
        searches.cpu.median(),
        empty.cpu.median(),
        searches.wall.median(),
        empty.wall.median()
    );
    bench.add(Figure::against("search of 10 rows beyond an empty call", CPU_US_MAX, beyond.median(), "us", note));
    let note = format!("server CPU of GetVersion ({:.1} to {:.1})", empty.cpu.least(), empty.cpu.largest());
    bench.add(Figure::only("  the empty call", empty.cpu.median(), "us", note));
    Ok(())
}
