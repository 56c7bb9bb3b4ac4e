//! Having other nodes hold what a flush is about to publish (S21).

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use redkite_types::{FragmentId, Revision};

use crate::entry::{FileEntry, FileType};
use crate::{Collection, Error, File, Fragment, Result};

/// What keeps files from lying on enough nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Short {
    /// On how many other nodes they lie, at least.
    pub had: usize,
    /// Why not on more: what each node that was asked said.
    pub reasons: String,
}

/// The other nodes of a cluster, as holders of what is not published yet.
#[async_trait]
pub trait Replicas: Send + Sync + fmt::Debug {
    /// Has each fragment of each collection, with the delete log in force, fetched by `level` other nodes. What is uploaded
    /// already has to be in the store.
    async fn hold(&self, level: usize, collections: Vec<Arc<Collection>>) -> std::result::Result<(), Short>;
}

/// How many replicas a flush waits for, and who has them.
#[derive(Debug, Default)]
pub struct Replication {
    level: AtomicUsize,
    replicas: OnceLock<Arc<dyn Replicas>>,
}

impl Replication {
    /// Flushes wait for as many replicas from now on.
    pub fn set_level(&self, level: usize) {
        self.level.store(level, Ordering::Relaxed);
    }

    /// Who has them. To be called once, before the first flush.
    pub fn held_by(&self, replicas: Arc<dyn Replicas>) {
        // A second one would be a defect; the first one stays.
        _ = self.replicas.set(replicas);
    }

    /// How many replicas a flush has to wait for.
    pub fn level(&self) -> usize {
        self.level.load(Ordering::Relaxed)
    }

    /// Waits until what `unpublished` tells of lies on as many other nodes as it has to.
    pub async fn ensure(&self, unpublished: Vec<Arc<Collection>>) -> Result<()> {
        let wanted = self.level();
        let unpublished: Vec<_> =
            unpublished.into_iter().filter(|collection| !collection.fragments.is_empty()).collect();
        if wanted == 0 || unpublished.is_empty() {
            return Ok(());
        }
        let held = match self.replicas.get() {
            Some(replicas) => replicas.hold(wanted, unpublished).await,
            None => Err(Short { had: 0, reasons: "this process is not a node of a cluster".to_owned() }),
        };
        held.map_err(|Short { had, reasons }| Error::ReplicasMissing { had, wanted, reasons })
    }
}

/// A collection that consists of what a commit would change: `entries` by path, data files and delete logs.
pub fn unpublished<'e>(
    collection: &Collection,
    entries: impl IntoIterator<Item = (&'e str, &'e FileEntry)>,
) -> Result<Collection> {
    let mut of_fragment: BTreeMap<FragmentId, Vec<File>> = BTreeMap::new();
    let mut logs = Vec::new();
    for (path, entry) in entries {
        let file = File { path: path.into(), entry: entry.clone(), created: Revision::ZERO, modified: Revision::ZERO };
        if entry.file_type == FileType::DeleteLog {
            logs.push(file);
            continue;
        }
        let folder = path.split_once('/').and_then(|(folder, _)| folder.parse().ok());
        let id = folder.ok_or_else(|| Error::Internal { detail: format!("{path} lies in no fragment's folder") })?;
        of_fragment.entry(id).or_default().push(file);
    }
    let fragments = of_fragment.into_iter().map(|(id, files)| Arc::new(Fragment::new(id, files))).collect();
    let mut changed = Collection::of_fragments(&collection.segment, fragments);
    changed.record.clone_from(&collection.record);
    for log in logs {
        changed.delete_logs.insert(log.path.clone(), Arc::new(log));
    }
    Ok(changed)
}
