//! What is measured, one file a subject, and what the subjects share.

mod cluster;
mod exact;
mod flush;
mod insert;
mod lookup;
mod merge;
mod overhead;
mod scan;
mod startup;
mod upsert;

use std::ops::Range;
use std::time::Duration;

use anyhow::{Result, bail, ensure};

use crate::client::{Client, messages};
use crate::dataset::Dataset;
use crate::figure::Figure;
use crate::server::{Ending, Installation, Server};
use crate::usage::Memory;

/// Rows of a flush block where nothing else is said.
pub const BLOCK_ROWS: usize = 10_000;
/// Rows of an insert where nothing else is said.
pub const BATCH_ROWS: usize = 1_000;
/// The collection with all rows.
pub const COLLECTION: &str = "glosses";
/// Before memory is read: what a server does after its last answer, giving memory back included, is over by then.
pub const SETTLE: Duration = Duration::from_secs(1);
/// Settings under which fragments stay as they were flushed.
pub const MANY_FRAGMENTS: [&str; 1] = ["merge.enabled=false"];
/// The data of the server that holds it.
const LOADED: &str = "loaded";

/// A subject: several figures that are measured together.
#[derive(Debug)]
pub struct Scenario {
    /// For `--only`.
    pub name: &'static str,
    kind: Kind,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Startup,
    Insert,
    Flush,
    Overhead,
    Scan,
    Lookup,
    Upsert,
    Exact,
    Merge,
    Cluster,
}

/// All subjects, in the order they run.
pub const SCENARIOS: [Scenario; 10] = [
    Scenario { name: "startup", kind: Kind::Startup },
    Scenario { name: "insert", kind: Kind::Insert },
    Scenario { name: "flush", kind: Kind::Flush },
    Scenario { name: "overhead", kind: Kind::Overhead },
    Scenario { name: "scan", kind: Kind::Scan },
    Scenario { name: "lookup", kind: Kind::Lookup },
    Scenario { name: "upsert", kind: Kind::Upsert },
    Scenario { name: "exact", kind: Kind::Exact },
    Scenario { name: "merge", kind: Kind::Merge },
    Scenario { name: "cluster", kind: Kind::Cluster },
];

impl Scenario {
    /// Measures and adds the figures to `bench`.
    pub async fn run(&self, bench: &mut Bench) -> Result<()> {
        match self.kind {
            Kind::Startup => startup::run(bench).await,
            Kind::Insert => insert::run(bench).await,
            Kind::Flush => flush::run(bench).await,
            Kind::Overhead => overhead::run(bench).await,
            Kind::Scan => scan::run(bench).await,
            Kind::Lookup => lookup::run(bench).await,
            Kind::Upsert => upsert::run(bench).await,
            Kind::Exact => exact::run(bench).await,
            Kind::Merge => merge::run(bench).await,
            Kind::Cluster => cluster::run(bench).await,
        }
    }
}

/// The names in `only`, or all.
pub fn choose(only: &[String]) -> Result<Vec<&'static str>> {
    let names = SCENARIOS.map(|scenario| scenario.name);
    if let Some(unknown) = only.iter().find(|name| !names.contains(&name.as_str())) {
        bail!("there is no measurement {unknown:?}; there are {}", names.join(", "));
    }
    Ok(names.into_iter().filter(|name| only.is_empty() || only.iter().any(|wanted| wanted == name)).collect())
}

/// The run so far.
#[derive(Debug)]
pub struct Bench {
    /// What is loaded.
    pub data: Dataset,
    /// What is measured.
    pub installation: Installation,
    /// What was found.
    pub figures: Vec<Figure>,
    loaded: Option<Loaded>,
}

/// What loading all rows left behind.
#[derive(Debug, Clone, Copy)]
pub struct Loaded {
    /// Memory of the server that loaded them and then searched.
    pub memory: Memory,
}

impl Bench {
    /// A run over `data`.
    pub fn new(data: Dataset, installation: Installation) -> Self {
        Self { data, installation, figures: Vec::new(), loaded: None }
    }

    /// Adds a figure.
    pub fn add(&mut self, figure: Figure) {
        self.figures.push(figure);
    }

    /// Loads all rows into [`COLLECTION`], the first time it is asked for.
    pub async fn load(&mut self) -> Result<Loaded> {
        if let Some(loaded) = self.loaded {
            return Ok(loaded);
        }
        let (server, mut client) = self.installation.start(LOADED).await?;
        client.create(COLLECTION, self.data.base.columns).await?;
        for block in pieces(0..self.data.base.rows, BLOCK_ROWS) {
            self.write(&mut client, COLLECTION, block, BATCH_ROWS).await?;
        }
        self.search_all(&mut client).await?;
        tokio::time::sleep(SETTLE).await;
        let memory = server.usage.memory()?;
        ensure!(client.count(COLLECTION).await? == self.data.base.rows, "not all rows arrived");
        server.end(Ending::Terminated).await?;
        let loaded = Loaded { memory };
        self.loaded = Some(loaded);
        Ok(loaded)
    }

    /// A fresh server process on the data with all rows.
    pub async fn loaded(&mut self) -> Result<(Server, Client)> {
        self.load().await?;
        self.installation.start(LOADED).await
    }

    /// As [`Bench::loaded`], without waiting for it to answer.
    pub fn spawn_loaded(&self) -> Result<Server> {
        self.installation.spawn(LOADED)
    }

    /// Inserts rows in batches, their numbers being their keys, and flushes once.
    pub async fn write(&self, client: &mut Client, collection: &str, rows: Range<usize>, batch: usize) -> Result<()> {
        for piece in pieces(rows, batch) {
            client.insert(self.rows(collection, piece)).await?;
        }
        client.flush().await
    }

    /// The message that inserts these rows.
    pub fn rows(&self, collection: &str, rows: Range<usize>) -> redkite_api::proto::milvus::InsertRequest {
        messages::insert(collection, keys(rows.clone()), self.vectors(rows))
    }

    /// Vectors of these rows.
    pub fn vectors(&self, rows: Range<usize>) -> &[f32] {
        let dim = self.data.base.columns;
        &self.data.base.values[rows.start * dim..rows.end * dim]
    }

    /// One search a query, for up to 100 queries.
    pub async fn search_all(&self, client: &mut Client) -> Result<()> {
        for query in 0..self.data.queries.rows.min(100) {
            client.search(self.query(query)).await?;
        }
        Ok(())
    }

    /// The search for query `number`, counted around.
    pub fn query(&self, number: usize) -> redkite_api::proto::milvus::SearchRequest {
        messages::search(COLLECTION, &[self.data.queries.row(number % self.data.queries.rows)], 10)
    }
}

/// The primary keys of rows.
pub fn keys(rows: Range<usize>) -> Vec<i64> {
    rows.map(|row| row as i64).collect()
}

/// Cuts a range into pieces of `size`, the last one perhaps shorter.
pub fn pieces(range: Range<usize>, size: usize) -> impl Iterator<Item = Range<usize>> {
    let end = range.end;
    range.step_by(size).map(move |start| start..end.min(start + size))
}

#[cfg(test)]
mod tests {
    use super::{SCENARIOS, choose, pieces};

    #[test]
    fn ranges_are_cut() {
        assert_eq!(pieces(3..10, 3).collect::<Vec<_>>(), [3..6, 6..9, 9..10]);
        assert_eq!(pieces(0..0, 3).count(), 0);
    }

    #[test]
    fn names_are_checked() {
        assert_eq!(choose(&[]).unwrap().len(), SCENARIOS.len());
        assert_eq!(choose(&["scan".into(), "insert".into()]).unwrap(), ["insert", "scan"]);
        let error = choose(&["scann".into()]).unwrap_err().to_string();
        assert!(error.contains("scann") && error.contains("startup, insert"), "{error}");
    }
}
