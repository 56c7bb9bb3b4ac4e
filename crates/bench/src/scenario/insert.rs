//! Inserting all rows, from the first request to the last flush's answer.

use anyhow::{Result, ensure};

use super::{BLOCK_ROWS, Bench, pieces};
use crate::figure::Figure;
use crate::measure::Watch;
use crate::sample::{Samples, us};
use crate::server::Ending;

const REPETITIONS: usize = 3;
const CPU_US_A_ROW_MAX: f64 = 12.0;
const BATCHES: [usize; 2] = [1_000, 10_000];

pub(super) async fn run(bench: &mut Bench) -> Result<()> {
    let (server, mut client) = bench.installation.start("insert").await?;
    let rows = bench.data.base.rows;
    let mut samples = BATCHES.map(|batch| (batch, Samples::default(), Samples::default()));
    for repetition in 0..REPETITIONS {
        for (batch, cpu, wall) in &mut samples {
            let collection = format!("insert_{batch}_{repetition}");
            client.create(&collection, bench.data.base.columns).await?;
            let watch = Watch::start(server.usage)?;
            for block in pieces(0..rows, BLOCK_ROWS) {
                bench.write(&mut client, &collection, block, *batch).await?;
            }
            let cost = watch.stop()?;
            ensure!(client.count(&collection).await? == rows, "not all rows arrived");
            cpu.push(us(cost.cpu) / rows as f64);
            wall.push(rows as f64 / cost.wall.as_secs_f64());
        }
    }
    server.end(Ending::Terminated).await?;
    for (batch, cpu, wall) in samples {
        let note = format!(
            "server CPU, median of {REPETITIONS} x {rows} rows ({:.2} to {:.2}), a flush every {BLOCK_ROWS}; {:.0} rows/s on the wall",
            cpu.least(),
            cpu.largest(),
            wall.median()
        );
        let name = format!("insert and flush, batches of {batch}");
        bench.add(Figure::against(name, CPU_US_A_ROW_MAX, cpu.median(), "us/row", note));
    }
    Ok(())
}
