//! Removes what the horizon has made garbage: objects first, then the keys that name them.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use redkite_meta::{KeyRange, Op, Txn};
use redkite_table::entry::{self, Dropped, Tombstone};
use redkite_table::{Catalog, Collection, Database, DroppedCollection, File, Grave};
use redkite_types::Revision;

use super::{CollectReport, Scope};
use crate::Result;
use crate::failpoint::step;

/// Keys removed by one transaction.
const KEYS_PER_TXN: usize = 100;
/// Tombstones worked off together.
const GRAVES_AT_ONCE: usize = 64;

/// Objects to remove, with their sizes, and then the keys.
#[derive(Debug, Default)]
struct Garbage {
    files: Vec<(String, u64)>,
    keys: Vec<String>,
}

impl Garbage {
    async fn remove(self, database: &Database) -> Result<CollectReport> {
        let report = CollectReport {
            files: self.files.len() as u64,
            bytes: self.files.iter().map(|(_, size)| size).sum(),
            keys: self.keys.len() as u64,
            abandoned: 0,
        };
        let paths: Vec<String> = self.files.into_iter().map(|(path, _)| path).collect();
        step("collect-before-files")?;
        database.data.delete_all(&paths).await?;
        step("collect-after-files")?;
        let mut removed = Revision::ZERO;
        for keys in self.keys.chunks(KEYS_PER_TXN) {
            let then = keys.iter().map(|key| Op::Delete(KeyRange::Exact(key.clone()))).collect();
            match database.meta.txn(Txn { then, ..Txn::default() }).await {
                Ok(response) => removed = response.revision,
                // If it did not happen the next round does it.
                Err(redkite_meta::Error::OutcomeUnknown(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        step("collect-after-keys")?;
        // So that the next look does not find again what is gone.
        database.at_least(removed).await?;
        Ok(report)
    }
}

/// Removes what tombstones up to the horizon stand for, and then the tombstones.
pub(super) async fn graves(
    database: &Arc<Database>,
    catalog: &Catalog,
    horizon: Revision,
    scope: &Scope,
) -> Result<CollectReport> {
    let mut report = CollectReport::default();
    let is_due = |grave: &&Arc<Grave>| grave.dropped <= horizon && scope.has(&grave.segment);
    let due: Vec<Arc<Grave>> = catalog.graves.entries().filter(is_due).cloned().collect();
    for graves in due.chunks(GRAVES_AT_ONCE) {
        let mut garbage = Garbage::default();
        for grave in graves {
            if grave.fragment.is_some() {
                // Another collector may have been here.
                let Some(kv) = database.meta.get(&grave.key).await? else { continue };
                let tombstone: Tombstone = entry::parse(&kv.key, &kv.value)?;
                if let Dropped::Fragment(fragment) = tombstone.dropped {
                    let files = fragment.files.iter();
                    let object = |path: &String| database.object_path(&grave.segment, path);
                    garbage.files.extend(files.map(|(path, entry)| (object(path), entry.size)));
                }
            }
            garbage.keys.push(grave.key.to_string());
        }
        report.add(garbage.remove(database).await?);
    }
    let is_due =
        |dropped: &&Arc<DroppedCollection>| dropped.dropped <= horizon && scope.has(&dropped.tombstone.segment);
    let due: Vec<Arc<DroppedCollection>> = catalog.graves.collections().filter(is_due).cloned().collect();
    for dropped in due {
        report.add(collection(database, catalog, &dropped).await?);
    }
    Ok(report)
}

/// Removes all files and entries of a dropped collection, its tombstone last.
async fn collection(database: &Database, catalog: &Catalog, dropped: &DroppedCollection) -> Result<CollectReport> {
    let segment = &dropped.tombstone.segment;
    let mut report = CollectReport::default();
    // Another collector may have been here.
    if database.meta.get(&dropped.key).await?.is_none() {
        return Ok(report);
    }
    if let Some(collection) = catalog.segment(segment) {
        // No entry of another collection has ever had a key here; all the same only those from before the drop go.
        let files: Vec<Arc<File>> =
            collection.files().filter(|file| file.created <= dropped.dropped).cloned().collect();
        for files in files.chunks(KEYS_PER_TXN) {
            let mut garbage = Garbage::default();
            for file in files {
                garbage.files.push((database.object_path(segment, &file.path), file.entry.size));
                garbage.keys.push(database.keys.data(segment, &file.path));
            }
            report.add(garbage.remove(database).await?);
        }
        if collection.is_damaged() {
            tracing::warn!(segment, "a dropped collection has entries that cannot be read; they and their files stay");
            return Ok(report);
        }
    }
    let last = Garbage { files: Vec::new(), keys: vec![dropped.key.to_string()] };
    report.add(last.remove(database).await?);
    Ok(report)
}

/// Removes delete logs that no fragment and no tombstone after the horizon names.
pub(super) async fn superseded_logs(
    database: &Database,
    catalog: &Catalog,
    horizon: Revision,
    scope: &Scope,
) -> Result<CollectReport> {
    let mut retained: BTreeMap<&str, HashSet<&str>> = BTreeMap::new();
    for grave in catalog.graves.entries().filter(|grave| grave.dropped > horizon) {
        retained.entry(&grave.segment).or_default().extend(grave.delete_logs.iter().map(|log| &**log));
    }
    let mut report = CollectReport::default();
    let mut garbage = Garbage::default();
    let looked_at = |collection: &&Arc<Collection>| !collection.is_damaged() && scope.has(&collection.segment);
    for collection in catalog.segments().filter(looked_at) {
        // One that cannot be made sense of must not keep the space of the others.
        if let Err(error) = superseded_in(database, collection, retained.get(&*collection.segment), &mut garbage) {
            tracing::error!(%error, segment = &*collection.segment, "no delete log of this collection is removed");
        }
    }
    if !garbage.keys.is_empty() {
        report.add(garbage.remove(database).await?);
    }
    Ok(report)
}

fn superseded_in(
    database: &Database,
    collection: &Collection,
    retained: Option<&HashSet<&str>>,
    garbage: &mut Garbage,
) -> redkite_table::Result<()> {
    if collection.delete_logs.is_empty() {
        return Ok(());
    }
    let mut named: HashSet<&str> = HashSet::new();
    for fragment in collection.fragments.values() {
        named.extend(fragment.anchor()?.entry.delete_log.as_deref());
    }
    for (path, file) in &collection.delete_logs {
        let kept = named.contains(&**path) || retained.is_some_and(|retained| retained.contains(&**path));
        if !kept {
            garbage.files.push((database.object_path(&collection.segment, path), file.entry.size));
            garbage.keys.push(database.keys.data(&collection.segment, path));
        }
    }
    Ok(())
}
