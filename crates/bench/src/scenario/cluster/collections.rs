//! How long a node takes to start where there are a thousand collections.

use anyhow::Result;

use super::super::Bench;
use super::Cluster;
use crate::client::messages;
use crate::figure::Figure;
use crate::sample::{Samples, ms};
use crate::server::Ending;

const COLLECTIONS: usize = 1_000;
const RESTARTS: usize = 5;
const START_MS_MAX: f64 = 2_000.0;

pub(super) async fn run(bench: &mut Bench) -> Result<()> {
    let cluster = Cluster::new(&bench.installation, "collections")?;
    let (server, mut client) = cluster.start(bench, 1, &[]).await?;
    let name = |number: usize| format!("of_many_{number}");
    for number in 0..COLLECTIONS {
        client.create(&name(number), bench.data.base.columns).await?;
        client.insert(bench.rows(&name(number), number % 100..number % 100 + 1)).await?;
        if number % 100 == 99 {
            client.flush().await?;
        }
    }
    server.end(Ending::Terminated).await?;
    let (mut wall, mut cpu) = (Samples::default(), Samples::default());
    for number in 0..RESTARTS {
        let mut server = cluster.spawn(bench, 1, &[])?;
        let mut client = server.connect().await?;
        client.search(messages::search(&name(number * 7), &[bench.data.queries.row(0)], 1)).await?;
        wall.push(ms(server.age()));
        cpu.push(ms(server.usage.cpu()?));
        server.end(Ending::Terminated).await?;
    }
    let note = format!(
        "wall to the first search answered, etcd and a directory, a row in each; median of {RESTARTS} ({:.0} to {:.0}); {:.0} ms CPU",
        wall.least(),
        wall.largest(),
        cpu.median()
    );
    bench.add(Figure::against("start with 1000 collections", START_MS_MAX, wall.median(), "ms", note));
    Ok(())
}
