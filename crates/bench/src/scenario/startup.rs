//! Starting and memory.

use anyhow::Result;

use super::{Bench, SETTLE};
use crate::figure::Figure;
use crate::sample::{Samples, megabytes, ms};
use crate::server::Ending;
use crate::usage::Memory;

const RESTARTS: usize = 5;
const RESTART_MS_MAX: f64 = 150.0;
const IDLE_MEGABYTES_MAX: f64 = 40.0;
/// Anonymous memory as a share of the vectors' bytes.
const MEMORY_SHARE_MAX: f64 = 0.3;

pub(super) async fn run(bench: &mut Bench) -> Result<()> {
    idle(bench).await?;
    let after_inserting = bench.load().await?.memory;
    restarts(bench).await?;
    let (server, mut client) = bench.loaded().await?;
    bench.search_all(&mut client).await?;
    tokio::time::sleep(SETTLE).await;
    let after_restart = server.usage.memory()?;
    server.end(Ending::Terminated).await?;
    memory(bench, "memory after restart and 100 searches", after_restart);
    memory(bench, "memory after inserting all rows and 100 searches", after_inserting);
    Ok(())
}

async fn idle(bench: &mut Bench) -> Result<()> {
    let (server, mut client) = bench.installation.start("idle").await?;
    client.version().await?;
    tokio::time::sleep(SETTLE).await;
    let Memory { anonymous, private_dirty } = server.usage.memory()?;
    let note = format!("anonymous; private dirty {:.1} MB", megabytes(private_dirty));
    bench.add(Figure::against("memory, idle and empty", IDLE_MEGABYTES_MAX, megabytes(anonymous), "MB", note));
    server.end(Ending::Terminated).await
}

async fn restarts(bench: &mut Bench) -> Result<()> {
    for (ending, how) in [(Ending::Terminated, "SIGTERM"), (Ending::Killed, "kill -9")] {
        let (mut wall, mut cpu) = (Samples::default(), Samples::default());
        // The first start after the data was written is not one of them: it ended otherwise.
        bench.loaded().await?.0.end(ending).await?;
        for number in 0..RESTARTS {
            let query = bench.query(number);
            let mut server = bench.spawn_loaded()?;
            let mut client = server.connect().await?;
            client.search(query).await?;
            wall.push(ms(server.age()));
            cpu.push(ms(server.usage.cpu()?));
            server.end(ending).await?;
        }
        let note = format!(
            "wall, median of {RESTARTS} ({:.1} to {:.1}); {:.1} ms CPU",
            wall.least(),
            wall.largest(),
            cpu.median()
        );
        let name = format!("restart after {how} to the first search answered");
        bench.add(Figure::against(name, RESTART_MS_MAX, wall.median(), "ms", note));
    }
    Ok(())
}

fn memory(bench: &mut Bench, name: &str, memory: Memory) {
    let raw = bench.data.vector_bytes() as f64;
    let note = format!(
        "anonymous {:.1} MB, private dirty {:.1} MB, vectors {:.1} MB",
        megabytes(memory.anonymous),
        megabytes(memory.private_dirty),
        raw / 1e6
    );
    bench.add(Figure::against(name, MEMORY_SHARE_MAX, memory.anonymous as f64 / raw, "x vectors", note));
}
