//! Finds files that were uploaded and never committed, and removes them.

use std::collections::HashSet;
use std::sync::Arc;

use redkite_table::{Catalog, Database, Visibility};
use redkite_types::FragmentId;

use super::{CollectReport, Scope, safe_catalog};
use crate::failpoint::step;
use crate::{Result, floor};

/// Removes what was never committed and never can be. Lists the whole store, a collection at a time: dear on a large
/// bucket, so it is done rarely.
pub async fn sweep(database: &Arc<Database>, scope: &Scope) -> Result<CollectReport> {
    // Refused where the metadata went back to an earlier state: of what is known here nothing may be removed then.
    database.snapshot(Visibility::Strong).await?;
    let floor = floor::raise_ids(database).await?;
    step("sweep-after-floor")?;
    let catalog = safe_catalog(database).await?;
    let mut report = CollectReport::default();
    let segments = match scope {
        Scope::All => database.data.folders(database.options.user.as_str()).await?,
        Scope::Segments(segments) => segments.iter().cloned().collect(),
    };
    for segment in segments {
        if catalog.segment(&segment).is_some_and(|collection| collection.is_damaged()) {
            tracing::warn!(segment, "a collection has entries that cannot be read; no file of it is removed");
            continue;
        }
        let folder = database.object_path(&segment, "");
        let listed = database.data.list(folder.trim_end_matches('/')).await?;
        let named = Named::of(&catalog, &segment);
        let mut abandoned = Vec::new();
        for file in listed {
            let id = file.path.strip_prefix(&folder).and_then(|path| path.split_once('/')).map(|(id, _)| id);
            // What is not one of ours has no id.
            let Some(id) = id.and_then(|id| id.parse::<FragmentId>().ok()) else { continue };
            let path = file.path.strip_prefix(&folder).unwrap_or_default();
            if id.made() < floor && !named.has(&id, path) {
                report.bytes += file.size;
                abandoned.push(file.path);
            }
        }
        if !abandoned.is_empty() {
            tracing::info!(segment, files = abandoned.len(), %floor, "removing files that were never committed");
            step("sweep-before-files")?;
            database.data.delete_all(&abandoned).await?;
            report.files += abandoned.len() as u64;
            report.abandoned += abandoned.len() as u64;
        }
    }
    Ok(report)
}

/// What the metadata names of one collection.
struct Named<'c> {
    /// Paths of entries.
    paths: HashSet<&'c str>,
    /// Fragments whose files tombstones name.
    dropped: HashSet<FragmentId>,
}

impl<'c> Named<'c> {
    fn of(catalog: &'c Catalog, segment: &str) -> Self {
        let entries = catalog.segment(segment).into_iter().flat_map(|collection| collection.files());
        let graves = catalog.graves.entries().filter(|grave| &*grave.segment == segment);
        Self {
            paths: entries.map(|file| &*file.path).collect(),
            dropped: graves.filter_map(|grave| grave.fragment).collect(),
        }
    }

    fn has(&self, id: &FragmentId, path: &str) -> bool {
        self.paths.contains(path) || self.dropped.contains(id)
    }
}
