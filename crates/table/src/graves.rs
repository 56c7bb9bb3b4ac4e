//! What is left of entries that commits dropped or replaced, as far as it has to be at hand: enough to tell what is
//! retained, what may be removed, and what a past revision needs. The dropped entries themselves stay in the metadata.

use std::sync::Arc;

use imbl::{HashMap, OrdMap};
use redkite_meta::KeyValue;
use redkite_types::{FragmentId, Revision};

use crate::Error;
use crate::entry::{self, CollectionTombstone, Dropped, Tombstone};

/// The tombstones of one user at one revision.
#[derive(Debug, Clone, Default)]
pub struct Graves {
    /// Of dropped and replaced entries, by key.
    entries: OrdMap<Arc<str>, Arc<Grave>>,
    /// Of dropped collections, by key.
    collections: OrdMap<Arc<str>, Arc<DroppedCollection>>,
    /// How many of both there are of a segment.
    by_segment: HashMap<Arc<str>, usize>,
    /// Those that could not be read, by key.
    damage: OrdMap<Arc<str>, Arc<Error>>,
}

/// A tombstone of entries of one collection, without the entries.
#[derive(Debug, Clone, PartialEq)]
pub struct Grave {
    /// Its key.
    pub key: Arc<str>,
    /// The segment of the collection.
    pub segment: Arc<str>,
    /// The revision of the commit that left it: readers of older revisions may need what it stands for.
    pub dropped: Revision,
    /// When that was, milliseconds since 1970.
    pub dropped_ms: u64,
    /// The fragment whose files it stands for; none if it stands for states of entries alone.
    pub fragment: Option<FragmentId>,
    /// Bytes of those files.
    pub bytes: u64,
    /// Delete logs that were in force for what it stands for.
    pub delete_logs: Vec<Arc<str>>,
    /// If it stands for a record: what the collection was called.
    pub name: Option<Arc<str>>,
}

/// A dropped collection.
#[derive(Debug, Clone, PartialEq)]
pub struct DroppedCollection {
    /// The tombstone's key.
    pub key: Arc<str>,
    /// What it was.
    pub tombstone: CollectionTombstone,
    /// The revision it was dropped at.
    pub dropped: Revision,
}

impl Graves {
    pub(crate) fn put(&mut self, segment: &str, kv: &KeyValue) {
        self.remove(&kv.key);
        let key: Arc<str> = kv.key.as_str().into();
        match entry::parse::<Tombstone>(&kv.key, &kv.value) {
            Ok(tombstone) => {
                let grave = Grave::new(key.clone(), segment.into(), kv.create_revision, &tombstone);
                *self.by_segment.entry(grave.segment.clone()).or_default() += 1;
                self.entries.insert(key, Arc::new(grave));
            }
            Err(error) => {
                self.damage.insert(key, Arc::new(error));
            }
        }
    }

    pub(crate) fn put_collection(&mut self, kv: &KeyValue) {
        self.remove(&kv.key);
        let key: Arc<str> = kv.key.as_str().into();
        match entry::parse::<CollectionTombstone>(&kv.key, &kv.value) {
            Ok(tombstone) => {
                *self.by_segment.entry(tombstone.segment.as_str().into()).or_default() += 1;
                let dropped = DroppedCollection { key: key.clone(), tombstone, dropped: kv.create_revision };
                self.collections.insert(key, Arc::new(dropped));
            }
            Err(error) => {
                self.damage.insert(key, Arc::new(error));
            }
        }
    }

    pub(crate) fn remove(&mut self, key: &str) {
        self.damage.remove(key);
        let entry = self.entries.remove(key).map(|grave| grave.segment.clone());
        let collection = self.collections.remove(key).map(|dropped| Arc::from(dropped.tombstone.segment.as_str()));
        for segment in entry.into_iter().chain(collection) {
            match self.by_segment.get_mut(&segment) {
                Some(count) if *count > 1 => *count -= 1,
                _ => {
                    self.by_segment.remove(&segment);
                }
            }
        }
    }

    /// Those of dropped and replaced entries, by segment and then about in the order they were left.
    pub fn entries(&self) -> impl Iterator<Item = &Arc<Grave>> {
        self.entries.values()
    }

    /// Dropped collections.
    pub fn collections(&self) -> impl Iterator<Item = &Arc<DroppedCollection>> {
        self.collections.values()
    }

    /// What a tombstone that could not be read is about is not known.
    pub fn damage(&self) -> impl Iterator<Item = &Error> {
        self.damage.values().map(Arc::as_ref)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.entries.len() + self.collections.len() + self.damage.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn segment_in_use(&self, segment: &str) -> bool {
        self.by_segment.contains_key(segment)
    }
}

impl Grave {
    fn new(key: Arc<str>, segment: Arc<str>, dropped: Revision, tombstone: &Tombstone) -> Self {
        let mut grave = Self {
            key,
            segment,
            dropped,
            dropped_ms: tombstone.dropped_ms,
            fragment: None,
            bytes: 0,
            delete_logs: Vec::new(),
            name: None,
        };
        match &tombstone.dropped {
            Dropped::Fragment(fragment) => {
                grave.fragment = Some(fragment.id);
                grave.bytes = fragment.files.values().map(|file| file.size).sum();
                let logs = fragment.files.values().filter_map(|file| file.delete_log.as_deref());
                grave.delete_logs = logs.map(Arc::from).collect();
            }
            Dropped::Anchors(anchors) => {
                let mut logs: Vec<Arc<str>> =
                    anchors.iter().filter_map(|anchor| anchor.delete_log.as_deref()).map(Arc::from).collect();
                logs.sort_unstable();
                logs.dedup();
                grave.delete_logs = logs;
            }
            Dropped::Record { record, .. } => grave.name = Some(record.name_in(&grave.segment).into()),
        }
        grave
    }
}
