//! Counting and finding rows by key, and that neither reads vectors.

use anyhow::{Result, ensure};
use redkite_api::proto::milvus::QueryRequest;

use super::{Bench, COLLECTION};
use crate::client::Client;
use crate::client::messages::{KEY, VECTOR, count_query, query};
use crate::figure::Figure;
use crate::measure::CallSamples;
use crate::sample::megabytes;
use crate::server::{Ending, Server};

const ROUNDS: usize = 7;
const CALLS: usize = 1_000;
const KEYS_AT_ONCE: usize = 10;
const LOOKUP_US_MAX: f64 = 100.0;
/// Spreads consecutive numbers over the rows; a prime.
const STRIDE: usize = 7_919;

pub(super) async fn run(bench: &mut Bench) -> Result<()> {
    let (server, mut client) = bench.loaded().await?;
    let rows = bench.data.base.rows;
    for number in 0..CALLS {
        ensure!(client.count(COLLECTION).await? == rows, "not all rows are there");
        ensure!(client.query_rows(by_key(rows, number)).await? == 1, "a key was not found");
        ensure!(client.query_rows(by_keys(rows, number)).await? == KEYS_AT_ONCE, "some keys were not found");
    }
    untouched(bench, &server, &mut client).await?;
    costs(bench, &server, &mut client).await?;
    server.end(Ending::Terminated).await
}

fn by_key(rows: usize, number: usize) -> QueryRequest {
    query(COLLECTION, &format!("{KEY} == {}", number * STRIDE % rows), &[KEY])
}

fn by_keys(rows: usize, number: usize) -> QueryRequest {
    let keys: Vec<String> =
        (0..KEYS_AT_ONCE).map(|at| ((number * KEYS_AT_ONCE + at) * STRIDE % rows).to_string()).collect();
    query(COLLECTION, &format!("{KEY} in [{}]", keys.join(",")), &[KEY])
}

/// How much of the vector files a fresh process has touched by now; and that a search would have shown.
async fn untouched(bench: &mut Bench, server: &Server, client: &mut Client) -> Result<()> {
    let touched = vector_bytes_touched(server)?;
    let read = server.usage.bytes_read()?;
    client.search(bench.query(0)).await?;
    let control = vector_bytes_touched(server)?;
    ensure!(control >= bench.data.vector_bytes() as u64, "a search does not show in the mapped files");
    let note = format!(
        "of their files in a fresh process's memory after {CALLS} of each; {:.1} MB after a search; read calls of the process: {:.2} MB",
        megabytes(control),
        megabytes(read)
    );
    let name = "vectors read by count(*) and lookups by key";
    bench.add(Figure::against(name, 0.0, megabytes(touched), "MB", note));
    Ok(())
}

/// Files of vectors are called `v<field>.arrow`.
fn vector_bytes_touched(server: &Server) -> Result<u64> {
    let is_vector =
        |file: &str| file.rsplit('/').next().is_some_and(|name| name.starts_with('v') && name.ends_with(".arrow"));
    Ok(server.usage.mapped_files()?.iter().filter(|(file, _)| is_vector(file)).map(|(_, size)| size).sum())
}

async fn costs(bench: &mut Bench, server: &Server, client: &mut Client) -> Result<()> {
    let rows = bench.data.base.rows;
    let mut empty = CallSamples::default();
    let mut kinds = [
        ("count(*)", None, CallSamples::default()),
        ("lookup of one key", Some(LOOKUP_US_MAX), CallSamples::default()),
        ("lookup of 10 keys", None, CallSamples::default()),
        ("lookup of one key with its vector", None, CallSamples::default()),
    ];
    for _ in 0..ROUNDS {
        empty.block(server.usage, CALLS, async |_| client.version().await).await?;
        for (at, (_, _, samples)) in kinds.iter_mut().enumerate() {
            let message = |number: usize| match at {
                0 => count_query(COLLECTION),
                1 => by_key(rows, number),
                2 => by_keys(rows, number),
                _ => QueryRequest { output_fields: vec![VECTOR.to_owned()], ..by_key(rows, number) },
            };
            samples.block(server.usage, CALLS, async |number| client.query(message(number)).await.map(drop)).await?;
        }
    }
    for (name, target, samples) in kinds {
        let total = samples.cpu.median();
        let note = format!(
            "server CPU of the whole call, median of {ROUNDS} x {CALLS}; {:.1} beyond an empty call; on the wall {:.0}",
            total - empty.cpu.median(),
            samples.wall.median()
        );
        bench.add(Figure { name: name.to_owned(), target, measured: total, unit: "us", note });
    }
    Ok(())
}
