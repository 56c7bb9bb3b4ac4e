//! Background work of a node, a step at a time.

use std::time::Duration;

use redkite_jobs::collect::{collect, sweep};
use redkite_jobs::merge::merge_next;
use redkite_jobs::{CollectOptions, CollectReport, Eagerness, MergeOptions, MergeReport, Pool, Result, Scope, Wanted};
use redkite_table::fragment::Readers;
use redkite_table::{Collection, Moment, Past};
use redkite_types::{CollectionId, Revision};

use crate::plain::Row;
use crate::world::{ID, Node, TAG};

/// Options under which a few rows are worth a merge.
pub fn small() -> MergeOptions {
    MergeOptions { target_rows: 1_000, fan_in: 2, ..MergeOptions::default() }
}

/// Nothing is retained for readers of the past.
pub fn no_retention() -> CollectOptions {
    CollectOptions { enabled: true, retention: Duration::ZERO }
}

/// The id of a collection, if there is one of the name.
pub async fn id_of(node: &Node, name: &str) -> Option<CollectionId> {
    let catalog = node.database.snapshot(redkite_table::Visibility::Strong).await.unwrap();
    Some(catalog.collection(name).ok()?.record().unwrap().id)
}

/// One merge of all that can be merged.
pub async fn merge(node: &Node, name: &str) -> Result<Option<MergeReport>> {
    let pool = Pool::new(1).unwrap();
    let Some(id) = id_of(node, name).await else { return Ok(None) };
    Ok(merge_next(&node.database, id, &small(), &Wanted::all(Eagerness::All), &pool).await?.merged())
}

/// Collects until nothing is left to collect, files that were never committed included.
pub async fn collect_all(node: &Node) -> CollectReport {
    let mut report = CollectReport::default();
    loop {
        let round = collect(&node.database, &no_retention(), &Scope::All).await.unwrap();
        if round == CollectReport::default() {
            break;
        }
        report.add(round);
    }
    report.add(sweep(&node.database, &Scope::All).await.unwrap());
    report
}

/// The rows of a collection as of a revision.
pub async fn rows_as_of(node: &Node, name: &str, revision: Revision) -> redkite_table::Result<Vec<Row>> {
    rows_of(node, &node.database.as_of(name, Moment::Revision(revision)).await?).await
}

/// The rows of a past state, in order.
pub async fn rows_of(node: &Node, past: &Past) -> redkite_table::Result<Vec<Row>> {
    let mut rows = rows_in(&node.database.readers, &past.collection).await?;
    rows.sort_unstable();
    Ok(rows)
}

/// The rows of a collection as readers find them, in the order they are stored in.
pub async fn rows_in(readers: &Readers, collection: &Collection) -> redkite_table::Result<Vec<Row>> {
    use arrow_array::cast::AsArray;
    use arrow_array::types::Int64Type;
    let mut rows = Vec::new();
    for fragment in collection.fragments.values() {
        let reader = readers.open(collection, fragment, [ID, TAG]).await?;
        let live = reader.live().to_rows();
        let (keys, tags) = (reader.take(ID, &live)?, reader.take(TAG, &live)?);
        let (keys, tags) = (keys.as_primitive::<Int64Type>(), tags.as_primitive::<Int64Type>());
        rows.extend((0..live.len()).map(|row| (keys.value(row), tags.value(row))));
    }
    Ok(rows)
}

/// Checks that the store holds exactly the files that the metadata names.
pub async fn check_files(node: &Node) {
    let catalog = node.database.snapshot(redkite_table::Visibility::Strong).await.unwrap();
    assert!(catalog.graves.is_empty(), "{:?}", catalog.graves);
    let mut named: Vec<String> = catalog
        .segments()
        .flat_map(|collection| {
            collection.files().map(|file| node.database.object_path(&collection.segment, &file.path))
        })
        .collect();
    named.sort_unstable();
    let stored = node.database.data.list("").await.unwrap();
    let stored: Vec<String> = stored.into_iter().map(|file| file.path).collect();
    assert_eq!(stored, named);
}
