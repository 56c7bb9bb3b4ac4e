//! The exact scan of all rows against a plain read of as much memory.

use anyhow::{Result, ensure};

use super::{Bench, COLLECTION};
use crate::client::messages;
use crate::figure::Figure;
use crate::measure::CallSamples;
use crate::sample::{Samples, us};
use crate::server::Ending;
use crate::yardstick::PlainRead;

const ROUNDS: usize = 7;
const EMPTY_CALLS: usize = 500;
const SINGLE_CALLS: usize = 30;
const BATCHED_CALLS: usize = 2;
const BATCH_QUERIES: usize = 100;
const READS: usize = 5;
const SHARE_MAX: f64 = 1.5;

pub(super) async fn run(bench: &mut Bench) -> Result<()> {
    let (server, mut client) = bench.loaded().await?;
    let queries: Vec<&[f32]> =
        (0..BATCH_QUERIES).map(|number| bench.data.queries.row(number % bench.data.queries.rows)).collect();
    let batched = messages::search(COLLECTION, &queries, 10);
    let single: Vec<_> = (0..SINGLE_CALLS).map(|number| bench.query(number)).collect();
    let plain = PlainRead::of(bench.data.vector_bytes());
    let (mut empty, mut one, mut many) = (CallSamples::default(), CallSamples::default(), CallSamples::default());
    let (mut reads, mut ratios) = (Samples::default(), Samples::default());
    for round in 0..=ROUNDS {
        // The first round maps the files' pages and does not count.
        if round == 1 {
            (empty, one, many, reads, ratios) = Default::default();
        }
        empty.block(server.usage, EMPTY_CALLS, async |_| client.version().await).await?;
        one.block(server.usage, SINGLE_CALLS, async |number| client.search(single[number].clone()).await.map(drop))
            .await?;
        many.block(server.usage, BATCHED_CALLS, async |_| {
            let hits = client.search(batched.clone()).await?;
            ensure!(hits.counts == [10; BATCH_QUERIES], "a query of the batch did not find 10 rows");
            Ok(())
        })
        .await?;
        let mut best = Samples::default();
        for _ in 0..READS {
            best.push(us(plain.once()?));
        }
        reads.push(best.least());
        ratios.push((one.cpu.last() - empty.cpu.last()) / best.least());
    }
    server.end(Ending::Terminated).await?;
    figures(bench, &empty, (&one, &many), (&reads, &ratios));
    Ok(())
}

fn figures(
    bench: &mut Bench,
    empty: &CallSamples,
    (one, many): (&CallSamples, &CallSamples),
    (reads, ratios): (&Samples, &Samples),
) {
    let scan = one.cpu.median() - empty.cpu.median();
    let bytes = bench.data.vector_bytes() as f64;
    let note = format!(
        "server CPU {scan:.0} us a query beyond an empty call ({:.1} GB/s), {ROUNDS} x {SINGLE_CALLS}; ratios in turns, \
         median ({:.2} to {:.2}); on the wall {:.0} us",
        bytes / scan / 1e3,
        ratios.least(),
        ratios.largest(),
        one.wall.median()
    );
    let name = "exact scan of all rows against a plain memory read";
    bench.add(Figure::against(name, SHARE_MAX, ratios.median(), "x", note));
    let note = format!(
        "CPU of one thread ({:.1} GB/s), best of {READS}, median of {ROUNDS} ({:.0} to {:.0})",
        bytes / reads.median() / 1e3,
        reads.least(),
        reads.largest()
    );
    bench.add(Figure::only("  the plain read of the same bytes", reads.median(), "us", note));
    let queries = BATCH_QUERIES as f64;
    let note =
        format!("server CPU, median of {ROUNDS} x {BATCHED_CALLS}; on the wall {:.0}", many.wall.median() / queries);
    let per_query = (many.cpu.median() - empty.cpu.median()) / queries;
    bench.add(Figure::only(format!("  a query among {BATCH_QUERIES} of one search"), per_query, "us", note));
}
