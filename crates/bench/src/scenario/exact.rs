//! That what was measured also found the right rows.

use anyhow::{Context as _, Result};

use super::Bench;
use crate::dataset::inner_product;
use crate::figure::Figure;
use crate::server::Ending;

const QUERIES: usize = 100;
const NEAREST: usize = 10;
/// Scores closer than this are ties: single precision over a few hundred products.
const TIE: f64 = 1e-5;

pub(super) async fn run(bench: &mut Bench) -> Result<()> {
    let (server, mut client) = bench.loaded().await?;
    let queries = QUERIES.min(bench.data.queries.rows);
    let (mut wrong, mut found) = (0, 0);
    for number in 0..queries {
        let hits = client.search(bench.query(number)).await?;
        let truth = &bench.data.nearest.row(number)[..NEAREST];
        found += hits.keys.iter().filter(|key| truth.iter().any(|row| i64::from(*row) == **key)).count();
        let score = |row: i64| -> Result<f64> {
            let row = usize::try_from(row).ok().filter(|row| *row < bench.data.base.rows).context("an unknown key")?;
            Ok(inner_product(bench.data.base.row(row), bench.data.queries.row(number)))
        };
        for (at, row) in truth.iter().enumerate() {
            let hit = hits.keys.get(at).map(|key| score(*key)).transpose()?;
            let best = score(i64::from(*row))?;
            wrong += usize::from(hit.is_none_or(|hit| (hit - best).abs() > TIE));
        }
    }
    server.end(Ending::Terminated).await?;
    let recall = found as f64 / (queries * NEAREST) as f64;
    let note = format!(
        "of {} in {queries} searches, by their scores in double precision; recall@{NEAREST} {recall:.3}",
        queries * NEAREST
    );
    bench.add(Figure::against("wrong hits", 0.0, wrong as f64, "", note));
    Ok(())
}
