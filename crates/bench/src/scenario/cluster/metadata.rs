//! What the data takes up in etcd: for each file, after merging, and whether it grows where small flushes go on and on.

use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use redkite_api::proto::milvus::InsertRequest;
use redkite_api::proto::schema::field_data::Field as Column;
use redkite_api::proto::schema::scalar_field::Data;
use redkite_api::proto::schema::{DataType, FieldData, LongArray, ScalarField};

use super::super::{BATCH_ROWS, Bench, pieces};
use super::Cluster;
use crate::figure::Figure;
use crate::server::Ending;

const ROWS: usize = 20_000;
const COLUMNS: [&str; 4] = ["a", "b", "c", "d"];
const FILE_BYTES_MAX: f64 = 600.0;
const MILLION_KB_MAX: f64 = 10.0;
/// What a fragment has for a million rows of 384 dimensions, if each has about 512 MB.
const FRAGMENTS_A_MILLION: f64 = 3.0;
const SMALL_FLUSHES: usize = 1_500;
const GROWTH_MAX: f64 = 1.2;
const SETTLE: Duration = Duration::from_secs(4);
const SIX: &str = "six";
const SMALL: &str = "small";

pub(super) async fn run(bench: &mut Bench) -> Result<()> {
    let cluster = Cluster::new(&bench.installation, "metadata")?;
    let settings = ["gc.retention=0s", "gc.interval=500ms"];
    let (server, mut client) = cluster.start(bench, 1, &settings).await?;
    client.create_with(SIX, bench.data.base.columns, &COLUMNS).await?;
    let rows = bench.data.base.rows.min(ROWS);
    for piece in pieces(0..rows, BATCH_ROWS) {
        let insert = bench.rows(SIX, piece.clone());
        client.insert(with_columns(insert, piece.start as i64)).await?;
        client.flush().await?;
    }
    merge(bench, server.http())?;
    tokio::time::sleep(SETTLE).await;
    let keys = dump(bench, &cluster)?;
    let files: Vec<usize> =
        keys.iter().filter(|(key, _)| key.contains(&format!("/{SIX}/data/"))).map(|(_, bytes)| *bytes).collect();
    ensure!(!files.is_empty(), "there are no files");
    let all = files.iter().sum::<usize>() as f64;
    let note = format!(
        "key and value, mean of {} of {SIX} columns; the largest {} bytes",
        files.len(),
        files.iter().max().unwrap_or(&0)
    );
    bench.add(Figure::against("etcd for a file", FILE_BYTES_MAX, all / files.len() as f64, "bytes", note));
    let fragments = files.len() as f64 / (COLUMNS.len() + 2) as f64;
    let note = format!(
        "{} bytes a fragment of 6 columns (of {fragments:.0} merged ones), times {FRAGMENTS_A_MILLION} of 512 MB",
        (all / fragments).round()
    );
    let million = all / fragments * FRAGMENTS_A_MILLION / 1e3;
    bench.add(Figure::against("etcd for a million rows", MILLION_KB_MAX, million, "KB", note));

    client.create(SMALL, bench.data.base.columns).await?;
    let mut counted = Vec::new();
    for part in 0..4 {
        for number in 0..SMALL_FLUSHES / 4 {
            let from = (part * SMALL_FLUSHES + number * 10) % (bench.data.base.rows - 10);
            client.insert(bench.rows(SMALL, from..from + 10)).await?;
            client.flush().await?;
        }
        tokio::time::sleep(SETTLE).await;
        counted.push(dump(bench, &cluster)?.len());
    }
    server.end(Ending::Terminated).await?;
    let growth = counted[3] as f64 / counted[1] as f64;
    let note = format!(
        "keys after {SMALL_FLUSHES} flushes of 10 rows against half as many, merged and collected beside: {counted:?} after each quarter"
    );
    bench.add(Figure::against("etcd's growth under small flushes", GROWTH_MAX, growth, "x", note));
    Ok(())
}

fn with_columns(mut insert: InsertRequest, from: i64) -> InsertRequest {
    let rows = i64::from(insert.num_rows);
    insert.fields_data.extend(COLUMNS.map(|name| {
        let data = LongArray { data: (from..from + rows).collect() };
        let scalars = ScalarField { data: Some(Data::LongData(data)) };
        FieldData {
            field_name: name.to_owned(),
            r#type: DataType::Int64.into(),
            field: Some(Column::Scalars(scalars)),
            ..Default::default()
        }
    }));
    insert
}

fn merge(bench: &Bench, http: std::net::SocketAddr) -> Result<()> {
    let mut merge = Command::new(&bench.installation.binary);
    merge.args(["admin", "merge", "--address", &http.to_string()]).stdin(Stdio::null()).stdout(Stdio::null());
    match merge.status().context("start redkite admin merge")?.success() {
        true => Ok(()),
        false => bail!("redkite admin merge failed"),
    }
}

/// Every key, and how many bytes it and its value have.
fn dump(bench: &Bench, cluster: &Cluster) -> Result<Vec<(String, usize)>> {
    let mut dump = Command::new(&bench.installation.binary);
    dump.args(["meta", "dump", "--set", &cluster.etcd.setting()]).stdin(Stdio::null());
    let output = dump.output().context("start redkite meta dump")?;
    if !output.status.success() {
        bail!("redkite meta dump failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    let text = String::from_utf8(output.stdout).context("the dump is no text")?;
    let line = |line: &str| -> Result<Option<(String, usize)>> {
        let line: serde_json::Value = serde_json::from_str(line).context("a line of the dump is no JSON")?;
        let Some(key) = line["key"].as_str() else { return Ok(None) };
        Ok(Some((key.to_owned(), key.len() + line["value"].to_string().len())))
    };
    text.lines().filter_map(|text| line(text).transpose()).collect()
}
