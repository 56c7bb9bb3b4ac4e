//! How long a flush takes until its rows are visible, beside what the disk alone asks for.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::Path;

use anyhow::{Result, ensure};

use super::{BATCH_ROWS, BLOCK_ROWS, Bench, pieces};
use crate::client::Client;
use crate::figure::Figure;
use crate::measure::{Cost, Watch};
use crate::sample::{Samples, ms};
use crate::server::{Ending, Server};
use crate::yardstick::{WrittenFile, files_below, write_and_sync};

const BLOCKS: usize = 7;
const SINGLE_ROWS: usize = 21;
const BLOCK_MS_MAX: f64 = 120.0;
const ROW_MS_MAX: f64 = 15.0;
const COLLECTION: &str = "flushed";

pub(super) async fn run(bench: &mut Bench) -> Result<()> {
    let (mut server, mut client) = bench.installation.start("flush").await?;
    let mut reader = server.connect().await?;
    client.create(COLLECTION, bench.data.base.columns).await?;
    let mut written = 0;
    for (rows, repetitions, target) in [(BLOCK_ROWS, BLOCKS, BLOCK_MS_MAX), (1, SINGLE_ROWS, ROW_MS_MAX)] {
        let mut samples = Flushes::default();
        for _ in 0..repetitions {
            // Rows are used again where the data is short; their keys do not matter here.
            let start = written % (bench.data.base.rows - rows + 1);
            let block = start..start + rows;
            written += block.len();
            samples.add(one(bench, &server, (&mut client, &mut reader), block, written).await?);
        }
        figures(bench, rows, target, &samples);
    }
    server.end(Ending::Terminated).await
}

/// Flushes of one size.
#[derive(Debug, Default)]
struct Flushes {
    wall: Samples,
    cpu: Samples,
    disk: Samples,
    files: usize,
}

impl Flushes {
    fn add(&mut self, (cost, disk, files): (Cost, f64, usize)) {
        self.wall.push(ms(cost.wall));
        self.cpu.push(ms(cost.cpu));
        self.disk.push(disk);
        self.files = files;
    }
}

/// Flushes one block; then writes and syncs the same files without a database.
async fn one(
    bench: &Bench,
    server: &Server,
    (client, reader): (&mut Client, &mut Client),
    block: Range<usize>,
    visible: usize,
) -> Result<(Cost, f64, usize)> {
    for piece in pieces(block, BATCH_ROWS) {
        client.insert(bench.rows(COLLECTION, piece)).await?;
    }
    let before: BTreeSet<WrittenFile> = arrow_files(server.data())?.into_iter().collect();
    let watch = Watch::start(server.usage)?;
    client.flush().await?;
    let counted = reader.count(COLLECTION).await?;
    let cost = watch.stop()?;
    ensure!(counted == visible, "{counted} rows are visible after the flush instead of {visible}");
    let new: Vec<WrittenFile> = arrow_files(server.data())?.into_iter().filter(|file| !before.contains(file)).collect();
    let folder = tempfile::tempdir_in(&bench.installation.scratch)?;
    let disk = write_and_sync(folder.path(), &new)?;
    Ok((cost, ms(disk), new.len()))
}

fn arrow_files(data: &Path) -> Result<Vec<WrittenFile>> {
    Ok(files_below(data)?.into_iter().filter(|file| file.path.ends_with(".arrow")).collect())
}

fn figures(bench: &mut Bench, rows: usize, target: f64, flushes: &Flushes) {
    let Flushes { wall, cpu, disk, files } = flushes;
    let what = if rows == 1 { "one row".to_owned() } else { format!("{rows} rows") };
    let note = format!(
        "wall with fsync, to another client's count(*), median of {} ({:.1} to {:.1}); {:.2} ms CPU",
        wall.count(),
        wall.least(),
        wall.largest(),
        cpu.median()
    );
    bench.add(Figure::against(format!("flush of {what}"), target, wall.median(), "ms", note));
    let note = format!(
        "write and fsync of the same {files} files, their directories and 4 KiB of a log, one after the other; median of {} ({:.1} to {:.1})",
        disk.count(),
        disk.least(),
        disk.largest()
    );
    bench.add(Figure::only("  the bare disk for that", disk.median(), "ms", note));
}
