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
    let (mut read_cpu, mut read_wall) = (Samples::default(), Samples::default());
    for round in 0..=ROUNDS {
        // The first round maps the files' pages and does not count.
        if round == 1 {
            (empty, one, many, read_cpu, read_wall) = Default::default();
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
        for _ in 0..READS {
            let (cpu, wall) = plain.once()?;
            read_cpu.push(us(cpu));
            read_wall.push(us(wall));
        }
    }
    server.end(Ending::Terminated).await?;
    figures(bench, &empty, (&one, &many), (&read_cpu, &read_wall));
    Ok(())
}

fn figures(
    bench: &mut Bench,
    empty: &CallSamples,
    (one, many): (&CallSamples, &CallSamples),
    (read_cpu, read_wall): (&Samples, &Samples),
) {
    let scan = one.cpu.median() - empty.cpu.median();
    let gigabytes_a_second = |us: f64| bench.data.vector_bytes() as f64 / us / 1e3;
    let note = format!(
        "server CPU {scan:.0} us a query beyond an empty call ({:.1} GB/s), median of {ROUNDS} x {SINGLE_CALLS}; on the wall {:.0} us",
        gigabytes_a_second(scan),
        one.wall.median()
    );
    let read = format!(
        "{:.1} GB/s, one thread, best of {}; median {:.0}; on the wall {:.0}",
        gigabytes_a_second(read_cpu.least()),
        read_cpu.count(),
        read_cpu.median(),
        read_wall.least()
    );
    let per_query = (many.cpu.median() - empty.cpu.median()) / BATCH_QUERIES as f64;
    let batched = format!(
        "server CPU, median of {ROUNDS} x {BATCHED_CALLS}; on the wall {:.0}",
        many.wall.median() / BATCH_QUERIES as f64
    );
    let name = "exact scan of all rows against a plain memory read";
    bench.add(Figure::against(name, SHARE_MAX, scan / read_cpu.least(), "x", note));
    bench.add(Figure::only("  the plain read of the same bytes", read_cpu.least(), "us", read));
    bench.add(Figure::only(format!("  a query among {BATCH_QUERIES} of one search"), per_query, "us", batched));
}
