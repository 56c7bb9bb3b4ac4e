//! What the demonstration does and says.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::client::{Client, Hit};
use super::dataset;
use super::page::{Page, thousands};

const COLLECTION: &str = "wordnet";
/// Hits shown for each search.
const HITS: usize = 4;

/// The searches: one of the texts in the data, and a filter.
const SEARCHES: [(&str, &str); 5] = [
    ("ski downhill", ""),
    ("a rope for raising or lowering a sail or flag", ""),
    ("trees of chiefly South America", ""),
    ("trees of chiefly South America", "lemma like \"%tree%\""),
    (
        "a medicinal powder made essentially of ipecac and opium; formerly used to relieve pain and induce perspiration",
        "pos in [\"verb\", \"adj\"]",
    ),
];

/// Loads the data where it is missing and searches it, as a client of the server at `address`.
pub async fn run(address: SocketAddr, page: &mut Page) -> Result<()> {
    let mut client = Client::connect(address).await.context("the demonstration cannot connect to its server")?;
    load(&mut client, page).await?;
    let queries = dataset::queries()?;
    for (text, filter) in SEARCHES {
        let query =
            queries.iter().find(|query| query.text == text).context("a query of the demonstration is missing")?;
        let (took, hits) = search(&mut client, &query.embedding, filter).await?;
        page.search(text, filter, took, &hits);
    }
    Ok(())
}

async fn load(client: &mut Client, page: &mut Page) -> Result<()> {
    let count = client.count(COLLECTION).await?;
    if let Some(count) = count.filter(|count| *count > 0) {
        page.line(&format!("The collection \"{COLLECTION}\" is there already and has {} rows.", thousands(count)));
        return Ok(());
    }
    let glosses = dataset::glosses()?;
    let (rows, dim) = (glosses.ids.len() as i64, glosses.dim);
    let started = Instant::now();
    if count.is_none() {
        client.create(COLLECTION, dim).await?;
    }
    client.insert(COLLECTION, glosses).await?;
    client.flush(COLLECTION).await?;
    let visible = client.count(COLLECTION).await?.unwrap_or_default();
    page.line(&format!(
        "Inserted {} of {} WordNet glosses with their {dim}-dimensional embeddings into \"{COLLECTION}\": visible and \
         on disk after {:.0} ms",
        thousands(visible),
        thousands(rows),
        started.elapsed().as_secs_f64() * 1e3
    ));
    page.line("Searching for texts by meaning; the score is the cosine, 1 is the same.");
    Ok(())
}

/// The time is that of a warm search: the first one opens the files.
async fn search(client: &mut Client, vector: &[f32], filter: &str) -> Result<(Duration, Vec<Hit>)> {
    client.search(COLLECTION, vector, filter, HITS).await?;
    let started = Instant::now();
    let hits = client.search(COLLECTION, vector, filter, HITS).await?;
    Ok((started.elapsed(), hits))
}

/// Says how to go on from here.
pub fn invite(address: SocketAddr, page: &mut Page) {
    page.line("");
    page.line("The server keeps running until Ctrl-C. To talk to it from Python (pip install pymilvus):");
    page.line("");
    for line in python(address).lines() {
        page.line(&format!("    {line}"));
    }
    page.line("");
}

fn python(address: SocketAddr) -> String {
    format!(
        "\
from pymilvus import MilvusClient

client = MilvusClient(\"http://{address}\")
hawk = client.query(\"{COLLECTION}\", filter='lemma == \"red-shouldered hawk\"', output_fields=[\"embedding\"])[0]
found = client.search(\"{COLLECTION}\", data=[hawk[\"embedding\"]], filter='pos == \"noun\"', limit=5,
                      output_fields=[\"lemma\", \"gloss\"])
for hit in found[0]:
    print(round(hit[\"distance\"], 3), hit[\"entity\"][\"lemma\"], \"-\", hit[\"entity\"][\"gloss\"])"
    )
}
