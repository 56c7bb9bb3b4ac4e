//! Upserts and deletes in a collection of very many fragments.

use anyhow::{Result, ensure};

use super::{Bench, MANY_FRAGMENTS};
use crate::client::messages;
use crate::figure::Figure;
use crate::measure::Watch;
use crate::sample::{Samples, ms};
use crate::server::Ending;

const FRAGMENTS: usize = 1_000;
const FRAGMENT_ROWS: usize = 10;
const UPSERTS: usize = 11;
const DELETES: usize = 11;
const FILES_MAX: f64 = 3.0;
const COLLECTION: &str = "fragments";
/// Data files opened by the server since it started.
const OPENED: &str = "redkite_storage_gets_total";

pub(super) async fn run(bench: &mut Bench) -> Result<()> {
    let (server, mut client) = bench.installation.start_with("upsert", &MANY_FRAGMENTS).await?;
    client.create(COLLECTION, bench.data.base.columns).await?;
    for fragment in 0..FRAGMENTS {
        // Even keys: between any two of a fragment there is one that it might have and has not.
        let keys = (0..FRAGMENT_ROWS).map(|row| key_of(fragment, row)).collect();
        let from = fragment * FRAGMENT_ROWS % (bench.data.base.rows - FRAGMENT_ROWS);
        client.insert(messages::insert(COLLECTION, keys, bench.vectors(from..from + FRAGMENT_ROWS))).await?;
        client.flush().await?;
    }
    server.end(Ending::Terminated).await?;
    for (what, offset) in [("an existing key", 0), ("a new key", 1)] {
        upserts(bench, what, offset).await?;
    }
    deletes(bench).await
}

/// Deletes by key, and by a filter that matches one row of each fragment (S13).
async fn deletes(bench: &mut Bench) -> Result<()> {
    let (server, mut client) = bench.installation.start_with("upsert", &MANY_FRAGMENTS).await?;
    let mut rows = client.count(COLLECTION).await?;
    let (mut files, mut cpu, mut wall) = (Samples::default(), Samples::default(), Samples::default());
    for number in 0..DELETES {
        let key = key_of(number * FRAGMENTS / DELETES, 0);
        let before = server.counter(OPENED)?;
        let watch = Watch::start(server.usage)?;
        client.delete(COLLECTION, format!("id == {key}")).await?;
        client.flush().await?;
        let cost = watch.stop()?;
        files.push((server.counter(OPENED)? - before) as f64);
        cpu.push(ms(cost.cpu));
        wall.push(ms(cost.wall));
        rows -= 1;
        ensure!(client.count(COLLECTION).await? == rows, "a delete left a wrong number of rows");
    }
    let note = format!(
        "server CPU with flush, median of {DELETES}; {:.1} ms on the wall, {:.0} data files opened of {FRAGMENTS} fragments",
        wall.median(),
        files.largest()
    );
    bench.add(Figure::only("delete of one key", cpu.median(), "ms", note));
    let watch = Watch::start(server.usage)?;
    client.delete(COLLECTION, format!("id % {} == {}", 2 * FRAGMENT_ROWS, 2 * (FRAGMENT_ROWS - 1))).await?;
    client.flush().await?;
    let cost = watch.stop()?;
    ensure!(client.count(COLLECTION).await? == rows - FRAGMENTS, "a delete by filter left a wrong number of rows");
    server.end(Ending::Terminated).await?;
    let note = format!(
        "server CPU with flush; one of the {FRAGMENT_ROWS} rows of each of {FRAGMENTS} fragments, {:.0} ms on the wall",
        ms(cost.wall)
    );
    bench.add(Figure::only("delete of a row of each fragment by a filter", ms(cost.cpu), "ms", note));
    Ok(())
}

fn key_of(fragment: usize, row: usize) -> i64 {
    ((fragment * FRAGMENT_ROWS + row) * 2) as i64
}

/// Upserts keys of different fragments with a server that has opened none of them yet.
async fn upserts(bench: &mut Bench, what: &str, offset: i64) -> Result<()> {
    let (server, mut client) = bench.installation.start_with("upsert", &MANY_FRAGMENTS).await?;
    let mut rows = client.count(COLLECTION).await?;
    let (mut files, mut cpu, mut wall) = (Samples::default(), Samples::default(), Samples::default());
    for number in 0..UPSERTS {
        // The new keys are not in the fragments the existing ones were in.
        let fragment = (number * 2 + 1 - offset as usize) * FRAGMENTS / (2 * UPSERTS);
        let key = key_of(fragment, FRAGMENT_ROWS / 2) + offset;
        let upsert = messages::upsert(COLLECTION, vec![key], bench.vectors(number..number + 1));
        let before = server.counter(OPENED)?;
        let watch = Watch::start(server.usage)?;
        client.upsert(upsert).await?;
        client.flush().await?;
        let cost = watch.stop()?;
        files.push((server.counter(OPENED)? - before) as f64);
        cpu.push(ms(cost.cpu));
        wall.push(ms(cost.wall));
        rows += offset as usize;
        ensure!(client.count(COLLECTION).await? == rows, "an upsert of {what} left a wrong number of rows");
    }
    ensure!(server.counter(OPENED)? > 0, "the server does not count the files it opens");
    server.end(Ending::Terminated).await?;
    let note = format!(
        "data files, the most of {UPSERTS} (median {:.0}), {FRAGMENTS} fragments not opened before; with flush {:.1} ms on the wall, {:.2} ms CPU",
        files.median(),
        wall.median(),
        cpu.median()
    );
    bench.add(Figure::against(format!("files opened by an upsert of {what}"), FILES_MAX, files.largest(), "", note));
    Ok(())
}
