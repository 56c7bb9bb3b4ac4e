//! What merging costs, what it costs others, and whether very many fragments make a flush dearer.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use redkite_jobs::merge::pick;
use redkite_jobs::{Eagerness, MergeOptions, Wanted};
use redkite_table::entry::{FORMAT, FileEntry, FileType};
use redkite_table::{Collection, File, Fragment};
use redkite_types::{FieldId, FragmentId, Revision};

use super::{Bench, MANY_FRAGMENTS, keys};
use crate::client::{Client, messages};
use crate::figure::Figure;
use crate::measure::{CallSamples, Watch};
use crate::sample::{Samples, megabytes, ms, us};
use crate::server::{Ending, Server};

const FRAGMENTS: usize = 100;
const FRAGMENT_ROWS: usize = 500;
const CPU_US_A_ROW_MAX: f64 = 4.0;
const MEMORY_MB_MAX: f64 = 64.0;
const P99_RATIO_MAX: f64 = 2.0;
/// Fragments of the collection whose planning and flushes are measured.
const VERY_MANY: usize = 10_000;
const FEW: usize = 10;
const PLANNING_MS_MAX: f64 = 10.0;
const FLUSH_RATIO_MAX: f64 = 1.1;
/// Flushes of one row in one sample.
const FLUSHES: usize = 100;
const SAMPLES: usize = 5;
/// Between two looks at the memory of a server that merges.
const LOOK_PAUSE: Duration = Duration::from_millis(2);
const COLLECTION: &str = "merged";

pub(super) async fn run(bench: &mut Bench) -> Result<()> {
    merging(bench).await?;
    beside_searches(bench).await?;
    planning(bench)?;
    flushes_into_many(bench).await
}

/// A server with [`FRAGMENTS`] fragments of [`FRAGMENT_ROWS`] rows, which merges only when asked.
async fn with_fragments(bench: &Bench, name: &str) -> Result<(Server, Client)> {
    let (server, mut client) = bench.installation.start_with(name, &MANY_FRAGMENTS).await?;
    client.create(COLLECTION, bench.data.base.columns).await?;
    for fragment in 0..FRAGMENTS {
        let rows = fragment * FRAGMENT_ROWS..(fragment + 1) * FRAGMENT_ROWS;
        let from = rows.start % (bench.data.base.rows - FRAGMENT_ROWS + 1);
        let insert = messages::insert(COLLECTION, keys(rows), bench.vectors(from..from + FRAGMENT_ROWS));
        client.insert(insert).await?;
        client.flush().await?;
    }
    Ok((server, client))
}

/// `redkite admin merge`, as a process.
fn admin_merge(bench: &Bench, server: &Server) -> Result<std::process::Child> {
    redkite_admin(bench, server, "merge")
}

fn redkite_admin(bench: &Bench, server: &Server, what: &str) -> Result<std::process::Child> {
    let mut command = Command::new(&bench.installation.binary);
    command.args(["admin", what, "--json", "--address", &server.http().to_string()]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().with_context(|| format!("start redkite admin {what}"))
}

async fn merging(bench: &mut Bench) -> Result<()> {
    let rows = FRAGMENTS * FRAGMENT_ROWS;
    let (mut cpu, mut wall, mut memory) = (Samples::default(), Samples::default(), Samples::default());
    let mut written = 0;
    let mut traffic = [Traffic::default(); 3];
    for repetition in 0..3 {
        let (server, mut client) = with_fragments(bench, &format!("merge{repetition}")).await?;
        traffic[0] = Traffic::of(bench, &server)?;
        let before = server.usage.memory()?.anonymous;
        let watch = Watch::start(server.usage)?;
        let mut merge = admin_merge(bench, &server)?;
        let mut most = before;
        while merge.try_wait()?.is_none() {
            most = most.max(server.usage.memory()?.anonymous);
            std::thread::sleep(LOOK_PAUSE);
        }
        let cost = watch.stop()?;
        cpu.push(us(cost.cpu) / rows as f64);
        wall.push(ms(cost.wall));
        memory.push(megabytes(most - before));
        written = server.counter("redkite_merged_bytes_total")?;
        traffic[1] = Traffic::of(bench, &server)?;
        ensure!(client.count(COLLECTION).await? == rows, "a merge changed the number of rows");
        ensure!(redkite_admin(bench, &server, "gc")?.wait()?.success(), "nothing could be collected");
        traffic[2] = Traffic::of(bench, &server)?;
        ensure!(server.counter("redkite_merges_total")? > 0, "nothing was merged");
        server.end(Ending::Terminated).await?;
    }
    let note = format!(
        "CPU a row, median of {}; {FRAGMENTS} x {FRAGMENT_ROWS} rows, {:.0} ms on the wall, {:.0} MB written",
        cpu.count(),
        wall.median(),
        megabytes(written)
    );
    bench.add(Figure::against("merge", CPU_US_A_ROW_MAX, cpu.median(), "us", note));
    let note = format!("anonymous memory beyond what the server had, the most of {}", memory.count());
    bench.add(Figure::against("memory of a merge", MEMORY_MB_MAX, memory.largest(), "MB", note));
    report_traffic(bench, rows, traffic);
    Ok(())
}

/// What the stores have been given.
#[derive(Debug, Clone, Copy, Default)]
struct Traffic {
    puts: u64,
    bytes: u64,
    txns: u64,
    keys: u64,
}

impl Traffic {
    fn of(bench: &Bench, server: &Server) -> Result<Self> {
        Ok(Self {
            puts: server.counter("redkite_storage_puts_total")?,
            bytes: server.counter("redkite_storage_put_bytes_total")?,
            txns: server.counter(r#"redkite_meta_commits_total{backend="embedded"}"#)?,
            keys: server.keys(&bench.installation.binary)?,
        })
    }
}

/// What the flushes and then the merge of the last repetition have put into the stores, and what is left after collecting.
fn report_traffic(bench: &mut Bench, rows: usize, [flushed, merged, collected]: [Traffic; 3]) {
    let flushes = FRAGMENTS as f64;
    let note = format!(
        "and {:.0} bytes, {:.1} durable metadata commits, {:.1} keys; mean of {FRAGMENTS} flushes of {FRAGMENT_ROWS} rows, starting included",
        flushed.bytes as f64 / flushes,
        flushed.txns as f64 / flushes,
        flushed.keys as f64 / flushes
    );
    bench.add(Figure::only("files put by a flush", flushed.puts as f64 / flushes, "", note));
    let millions = rows as f64 / 1e6;
    let of_millions = |from: u64, to: u64| to.saturating_sub(from) as f64 / millions;
    let note = format!(
        "and {:.0} MB, {:.0} durable metadata commits; {} keys before, {} after, {} once collected (of {rows} rows in {FRAGMENTS} fragments)",
        of_millions(flushed.bytes, merged.bytes) / 1e6,
        of_millions(flushed.txns, merged.txns),
        flushed.keys,
        merged.keys,
        collected.keys
    );
    bench.add(Figure::only("files put by merging a million rows", of_millions(flushed.puts, merged.puts), "", note));
}

/// Searches alone, and while the same rows are being merged.
async fn beside_searches(bench: &mut Bench) -> Result<()> {
    let (mut alone, mut beside) = (Samples::default(), Samples::default());
    for repetition in 0..3 {
        let (server, mut client) = with_fragments(bench, &format!("beside{repetition}")).await?;
        let mut one = async |number: usize| -> Result<f64> {
            let query = bench.data.queries.row(number % bench.data.queries.rows);
            let started = Instant::now();
            client.search(messages::search(COLLECTION, &[query], 10)).await?;
            Ok(ms(started.elapsed()))
        };
        for number in 0..50 {
            one(number).await?;
        }
        for number in 0..300 {
            alone.push(one(number).await?);
        }
        let mut merge = admin_merge(bench, &server)?;
        let mut number = 0;
        while merge.try_wait()?.is_none() {
            beside.push(one(number).await?);
            number += 1;
        }
        server.end(Ending::Terminated).await?;
    }
    let note = format!(
        "p99 of {} searches during merges ({:.2} ms) over that of {} without ({:.2} ms); p50 {:.2} and {:.2} ms",
        beside.count(),
        beside.percentile(0.99),
        alone.count(),
        alone.percentile(0.99),
        beside.median(),
        alone.median()
    );
    let ratio = beside.percentile(0.99) / alone.percentile(0.99).max(f64::EPSILON);
    bench.add(Figure::against("p99 of searches beside a merge", P99_RATIO_MAX, ratio, "x", note));
    Ok(())
}

/// Planning alone, over fragments that only exist as metadata.
fn planning(bench: &mut Bench) -> Result<()> {
    let fragment = |at: usize| {
        let id = FragmentId::new(Revision(at as i64 + 1), 7);
        let entry = FileEntry {
            format: FORMAT,
            file_type: FileType::RawVector,
            size: 1,
            crc32: 0,
            node: 1,
            cluster: "c".into(),
            // Sizes of all tiers, and no run that is worth a merge: the planner has to look at everything.
            rows: 8_u64.pow(at as u32 % 5) + 1,
            field: Some(FieldId(101)),
            column: Some("v".into()),
            vector_file: None,
            vector_files: Vec::new(),
            delete_log: None,
            deleted: 0,
            keys: None,
            committed_ms: 0,
        };
        let path = format!("{id}/v101.arrow");
        let file = File { path: path.as_str().into(), entry, created: Revision(1), modified: Revision(1) };
        Arc::new(Fragment::new(id, vec![file]))
    };
    let collection = Collection::of_fragments(COLLECTION, (0..VERY_MANY).map(fragment).collect());
    let options = MergeOptions { fan_in: 2 * VERY_MANY, ..MergeOptions::default() };
    let wanted = Wanted::all(Eagerness::Tiered);
    let mut samples = Samples::default();
    for _ in 0..51 {
        let started = Instant::now();
        let plan = pick(&collection, Revision(i64::MAX), &options, &wanted);
        samples.push(ms(started.elapsed()));
        ensure!(plan.is_none(), "nothing there is worth a merge");
    }
    let note = format!("median of {} over {VERY_MANY} fragments", samples.count());
    bench.add(Figure::against("planning a merge", PLANNING_MS_MAX, samples.median(), "ms", note));
    Ok(())
}

/// Flushes of one row into few fragments, and into very many.
async fn flushes_into_many(bench: &mut Bench) -> Result<()> {
    let (server, mut client) = bench.installation.start_with("many", &MANY_FRAGMENTS).await?;
    client.create(COLLECTION, bench.data.base.columns).await?;
    let mut next = 0;
    let mut samples = [CallSamples::default(), CallSamples::default()];
    for (at, fragments) in [FEW, VERY_MANY].into_iter().enumerate() {
        while next < fragments {
            one_row(bench, &mut client, &mut next).await?;
        }
        for _ in 0..SAMPLES {
            samples[at].block(server.usage, FLUSHES, async |_| one_row(bench, &mut client, &mut next).await).await?;
        }
    }
    ensure!(client.count(COLLECTION).await? == next, "not all rows arrived");
    server.end(Ending::Terminated).await?;
    let [few, many] = samples;
    let ratio = many.cpu.median() / few.cpu.median().max(f64::EPSILON);
    let note = format!(
        "CPU of a flush of one row into {VERY_MANY} fragments ({:.0} us) over that into {FEW} ({:.0} us); wall {:.2} and {:.2} ms",
        many.cpu.median(),
        few.cpu.median(),
        many.wall.median() / 1e3,
        few.wall.median() / 1e3
    );
    bench.add(Figure::against("flush into many fragments", FLUSH_RATIO_MAX, ratio, "x", note));
    Ok(())
}

async fn one_row(bench: &Bench, client: &mut Client, next: &mut usize) -> Result<()> {
    let from = *next % bench.data.base.rows;
    client.insert(messages::insert(COLLECTION, keys(*next..*next + 1), bench.vectors(from..from + 1))).await?;
    client.flush().await?;
    *next += 1;
    Ok(())
}
