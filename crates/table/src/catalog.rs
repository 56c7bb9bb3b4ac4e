//! The catalog: all that is known of one user's collections at one revision. In memory, immutable.
//!
//! Derived from the metadata entries alone: [`Catalog::load`] folds a range, [`Catalog::apply`] one revision of a watch.
//! Structure is shared between revisions, so that a commit costs its own keys. A catalog moves only at whole
//! revisions; as a fragment's entries are put by one transaction, a reader sees all of a fragment or nothing.
//!
//! A value that cannot be read damages its collection, not the catalog: reads of that collection fail and name the key,
//! instead of silently missing rows.

use std::sync::Arc;

use imbl::{HashMap, OrdMap};
use redkite_meta::keys::{UserKey, UserKeys};
use redkite_meta::{Event, KeyValue, WatchBatch};
use redkite_types::{CollectionId, FieldId, FragmentId, Revision};

use crate::entry::{self, CollectionRecord, FileEntry, FileType, KeyBounds, NameRecord};
use crate::graves::Graves;
use crate::{Error, Result};

/// All that is known at one revision.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    /// The newest revision this catalog holds all changes of.
    pub revision: Revision,
    /// The name records (S33), newest first.
    pub names: Arc<Vec<NameRecord>>,
    /// Mod revision of the name records' key; zero while it does not exist.
    pub names_revision: Revision,
    names_damage: Option<Arc<str>>,
    /// By segment, dropped ones included while entries of them remain.
    segments: HashMap<Arc<str>, Arc<Collection>>,
    /// What is left of dropped and replaced entries and of dropped collections.
    pub graves: Graves,
}

/// A collection at one revision.
#[derive(Debug, Clone)]
pub struct Collection {
    /// The segment its keys and files lie under.
    pub segment: Arc<str>,
    /// What it is; absent once dropped.
    pub record: Option<Arc<CollectionRecord>>,
    /// Create revision of the schema key: the collection's identity.
    pub created: Revision,
    /// Mod revision of the schema key.
    pub schema_revision: Revision,
    /// Mod revision of the head key: the newest commit.
    pub head: Revision,
    /// All fragments, oldest first.
    pub fragments: OrdMap<FragmentId, Arc<Fragment>>,
    /// Delete logs, by path.
    pub delete_logs: OrdMap<Arc<str>, Arc<File>>,
    /// What could not be read, by key.
    damage: OrdMap<Arc<str>, Arc<Error>>,
}

/// One data file.
#[derive(Debug, Clone)]
pub struct File {
    /// Relative to the collection's data folder.
    pub path: Arc<str>,
    /// Its entry.
    pub entry: FileEntry,
    /// When the entry was created.
    pub created: Revision,
    /// When the entry was last put.
    pub modified: Revision,
}

/// A fragment: row-aligned immutable files, plus the delete log in force.
#[derive(Debug, Clone)]
pub struct Fragment {
    /// Its id, the folder its files lie in.
    pub id: FragmentId,
    /// All its files, by path.
    pub files: Vec<Arc<File>>,
    /// Which of `files` is the anchor.
    anchor: Option<usize>,
}

impl Catalog {
    /// Folds everything a range over the user's prefix gave at `revision`.
    pub fn load(keys: &UserKeys, kvs: Vec<KeyValue>, revision: Revision) -> Self {
        let events = kvs.into_iter().map(Event::Put).collect();
        Self::default().apply(keys, WatchBatch { revision, events })
    }

    /// The catalog after one more revision.
    #[must_use]
    pub fn apply(&self, keys: &UserKeys, batch: WatchBatch) -> Self {
        let mut next = self.clone();
        next.revision = next.revision.max(batch.revision);
        for event in batch.events {
            match event {
                Event::Put(kv) => next.put(keys, kv),
                Event::Delete { key, .. } => next.delete(keys, &key),
            }
        }
        next
    }

    fn put(&mut self, keys: &UserKeys, kv: KeyValue) {
        match keys.parse(&kv.key) {
            Some(UserKey::CollectionList) => self.put_names(&kv),
            Some(UserKey::Schema { segment }) => self.change(segment, |collection| collection.put_schema(&kv)),
            Some(UserKey::CollectionHead { segment }) => {
                self.change(segment, |collection| collection.head = kv.mod_revision);
            }
            Some(UserKey::Data { segment, path }) => {
                self.change(segment, |collection| collection.put_file(path, &kv));
            }
            Some(UserKey::Tombstone { segment }) => self.graves.put(segment, &kv),
            Some(UserKey::CollectionTombstone) => self.graves.put_collection(&kv),
            Some(UserKey::Head | UserKey::Cluster | UserKey::Bookkeeping) | None => {}
        }
    }

    fn delete(&mut self, keys: &UserKeys, key: &str) {
        match keys.parse(key) {
            Some(UserKey::CollectionList) => {
                self.names = Arc::default();
                self.names_revision = Revision::ZERO;
                self.names_damage = None;
            }
            Some(UserKey::Schema { segment }) => self.change(segment, |collection| {
                collection.record = None;
                collection.created = Revision::ZERO;
                collection.schema_revision = Revision::ZERO;
                collection.damage.remove(key);
            }),
            Some(UserKey::CollectionHead { segment }) => {
                self.change(segment, |collection| collection.head = Revision::ZERO);
            }
            Some(UserKey::Data { segment, path }) => {
                self.change(segment, |collection| collection.delete_file(key, path));
            }
            Some(UserKey::Tombstone { .. } | UserKey::CollectionTombstone) => self.graves.remove(key),
            Some(UserKey::Head | UserKey::Cluster | UserKey::Bookkeeping) | None => {}
        }
    }

    fn put_names(&mut self, kv: &KeyValue) {
        self.names_revision = kv.mod_revision;
        match serde_json::from_slice::<Vec<NameRecord>>(&kv.value) {
            Ok(names) => {
                self.names = Arc::new(names);
                self.names_damage = None;
            }
            Err(error) => self.names_damage = Some(format!("{}: {error}", kv.key).into()),
        }
    }

    fn change(&mut self, segment: &str, change: impl FnOnce(&mut Collection)) {
        let mut collection = match self.segments.get(segment) {
            Some(collection) => Collection::clone(collection),
            None => Collection::empty(segment),
        };
        change(&mut collection);
        if collection.is_gone() {
            self.segments.remove(segment);
        } else {
            self.segments.insert(collection.segment.clone(), Arc::new(collection));
        }
    }

    /// The collection of that name.
    pub fn collection(&self, name: &str) -> Result<&Arc<Collection>> {
        let not_found = || Error::CollectionNotFound { name: name.to_owned() };
        let record = self.name_record(name)?.ok_or_else(not_found)?;
        self.live(record.segment(), record.id).ok_or_else(not_found)
    }

    /// The collection of that id, whatever it is called now.
    pub fn collection_by_id(&self, id: CollectionId) -> Result<Option<&Arc<Collection>>> {
        self.check_names()?;
        let record = self.names.iter().find(|record| record.id == id);
        Ok(record.and_then(|record| self.live(record.segment(), id)))
    }

    /// What the collection of that id is called now.
    pub fn name_of(&self, id: CollectionId) -> Option<&str> {
        self.names.iter().find(|record| record.id == id).map(|record| record.name.as_str())
    }

    fn live(&self, segment: &str, id: CollectionId) -> Option<&Arc<Collection>> {
        let collection = self.segments.get(segment)?;
        // A schema that cannot be read still is a collection: its damage is what the reader has to hear.
        let same = collection.record.as_ref().map_or(!collection.damage.is_empty(), |record| record.id == id);
        same.then_some(collection)
    }

    /// The name record of that name.
    pub fn name_record(&self, name: &str) -> Result<Option<&NameRecord>> {
        self.check_names()?;
        Ok(self.names.iter().find(|record| record.name == name))
    }

    /// A list that cannot be read must not pass for an empty one.
    fn check_names(&self) -> Result<()> {
        match &self.names_damage {
            Some(damage) => Err(Error::Damaged { what: "the list of collections".into(), detail: damage.to_string() }),
            None => Ok(()),
        }
    }

    /// Whether keys of that segment exist, of a live or a dropped collection.
    pub fn segment_in_use(&self, segment: &str) -> bool {
        self.segments.contains_key(segment)
            || self.names.iter().any(|record| record.segment() == segment)
            || self.graves.segment_in_use(segment)
    }

    /// The collection under a segment, live or dropped.
    pub fn segment(&self, segment: &str) -> Option<&Arc<Collection>> {
        self.segments.get(segment)
    }

    /// The collections that are not dropped, with their names.
    pub fn live_collections(&self) -> Result<Vec<(&str, &Arc<Collection>)>> {
        self.check_names()?;
        let live = |record: &'_ NameRecord| self.live(record.segment(), record.id);
        Ok(self.names.iter().filter_map(|record| Some((record.name.as_str(), live(record)?))).collect())
    }

    /// Something here was written by a newer version: what is not understood must neither be merged nor removed.
    pub fn newer_format(&self) -> Option<&Error> {
        let damage = self.segments.values().flat_map(|collection| collection.damage.values().map(Arc::as_ref));
        damage.chain(self.graves.damage()).find(|error| matches!(error, Error::NewerFormat { .. }))
    }

    /// Every segment with its collection, dropped ones included.
    pub fn segments(&self) -> impl Iterator<Item = &Arc<Collection>> {
        self.segments.values()
    }
}

impl Collection {
    pub(crate) fn empty(segment: &str) -> Self {
        Self {
            segment: segment.into(),
            record: None,
            created: Revision::ZERO,
            schema_revision: Revision::ZERO,
            head: Revision::ZERO,
            fragments: OrdMap::new(),
            delete_logs: OrdMap::new(),
            damage: OrdMap::new(),
        }
    }

    /// A collection that has these fragments and nothing else.
    pub fn of_fragments(segment: &str, fragments: Vec<Arc<Fragment>>) -> Self {
        let fragments = fragments.into_iter().map(|fragment| (fragment.id, fragment)).collect();
        Self { fragments, ..Self::empty(segment) }
    }

    fn is_gone(&self) -> bool {
        self.created == Revision::ZERO
            && self.head == Revision::ZERO
            && self.fragments.is_empty()
            && self.delete_logs.is_empty()
            && self.damage.is_empty()
    }

    fn put_schema(&mut self, kv: &KeyValue) {
        self.created = kv.create_revision;
        self.schema_revision = kv.mod_revision;
        match entry::parse::<CollectionRecord>(&kv.key, &kv.value) {
            Ok(record) => {
                self.damage.remove(kv.key.as_str());
                self.record = Some(Arc::new(record));
            }
            Err(error) => {
                self.record = None;
                self.damage.insert(kv.key.as_str().into(), Arc::new(error));
            }
        }
    }

    fn put_file(&mut self, path: &str, kv: &KeyValue) {
        let file = entry::parse::<FileEntry>(&kv.key, &kv.value).and_then(|entry| {
            let file = File { path: path.into(), entry, created: kv.create_revision, modified: kv.mod_revision };
            self.place_file(&kv.key, file)
        });
        match file {
            Ok(()) => {
                self.damage.remove(kv.key.as_str());
            }
            Err(error) => {
                self.damage.insert(kv.key.as_str().into(), Arc::new(error));
            }
        }
    }

    pub(crate) fn place_file(&mut self, key: &str, file: File) -> Result<()> {
        if file.entry.file_type == FileType::DeleteLog {
            self.delete_logs.insert(file.path.clone(), Arc::new(file));
            return Ok(());
        }
        let id = fragment_of(key, &file.path)?;
        let mut fragment = match self.fragments.get(&id) {
            Some(fragment) => Fragment::clone(fragment),
            None => Fragment { id, files: Vec::new(), anchor: None },
        };
        fragment.put(file);
        self.fragments.insert(id, Arc::new(fragment));
        Ok(())
    }

    fn delete_file(&mut self, key: &str, path: &str) {
        self.damage.remove(key);
        self.delete_logs.remove(path);
        let Ok(id) = fragment_of(key, path) else { return };
        let Some(fragment) = self.fragments.get(&id) else { return };
        let mut fragment = Fragment::clone(fragment);
        fragment.remove(path);
        if fragment.files.is_empty() {
            self.fragments.remove(&id);
        } else {
            self.fragments.insert(id, Arc::new(fragment));
        }
    }

    /// What the collection is, or why that cannot be read.
    pub fn record(&self) -> Result<&Arc<CollectionRecord>> {
        self.check()?;
        self.record.as_ref().ok_or_else(|| Error::CollectionNotFound { name: self.segment.to_string() })
    }

    /// Fails if anything of the collection could not be read, naming the key.
    pub fn check(&self) -> Result<()> {
        let Some((key, error)) = self.damage.iter().next() else {
            return Ok(());
        };
        Err(match error.as_ref() {
            Error::NewerFormat { what, found, supported } => {
                Error::NewerFormat { what: what.clone(), found: *found, supported: *supported }
            }
            other => Error::Damaged { what: key.to_string(), detail: other.to_string() },
        })
    }

    /// Whether it was dropped and only entries for readers of the past are left.
    pub fn is_dropped(&self) -> bool {
        self.created == Revision::ZERO
    }

    /// Whether anything of it could not be read.
    pub fn is_damaged(&self) -> bool {
        !self.damage.is_empty()
    }

    /// All its files: those of its fragments and its delete logs.
    pub fn files(&self) -> impl Iterator<Item = &Arc<File>> {
        self.fragments.values().flat_map(|fragment| &fragment.files).chain(self.delete_logs.values())
    }

    /// Rows that are neither deleted nor replaced.
    pub fn live_rows(&self) -> u64 {
        self.fragments.values().map(|fragment| fragment.live_rows()).sum()
    }
}

/// The fragment a file of that path belongs to: its folder's name.
fn fragment_of(key: &str, path: &str) -> Result<FragmentId> {
    let folder = path.split_once('/').map_or(path, |(folder, _)| folder);
    folder
        .parse()
        .map_err(|error: redkite_types::IdError| Error::Damaged { what: key.to_owned(), detail: error.to_string() })
}

impl Fragment {
    /// A fragment of the given files, for one that is not committed yet.
    pub fn new(id: FragmentId, files: Vec<File>) -> Self {
        let mut fragment = Self { id, files: Vec::new(), anchor: None };
        for file in files {
            fragment.put(file);
        }
        fragment
    }

    fn put(&mut self, file: File) {
        match self.files.binary_search_by(|known| known.path.cmp(&file.path)) {
            Ok(at) => self.files[at] = Arc::new(file),
            Err(at) => self.files.insert(at, Arc::new(file)),
        }
        self.find_anchor();
    }

    fn remove(&mut self, path: &str) {
        self.files.retain(|file| &*file.path != path);
        self.find_anchor();
    }

    fn find_anchor(&mut self) {
        self.anchor = self
            .files
            .iter()
            .enumerate()
            .filter(|(_, file)| file.entry.file_type == FileType::RawVector)
            .min_by_key(|(_, file)| file.entry.field)
            .map(|(at, _)| at);
    }

    /// The raw vector file that speaks for the fragment.
    pub fn anchor(&self) -> Result<&Arc<File>> {
        self.anchor.and_then(|at| self.files.get(at)).ok_or_else(|| Error::Damaged {
            what: format!("fragment {}", self.id),
            detail: "it has no raw vector file".into(),
        })
    }

    /// Bytes of its files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.entry.size).sum()
    }

    /// Rows in its files, deleted ones included.
    pub fn rows(&self) -> u64 {
        self.anchor().map_or(0, |anchor| anchor.entry.rows)
    }

    /// Rows not deleted.
    pub fn live_rows(&self) -> u64 {
        self.anchor().map_or(0, |anchor| anchor.entry.rows.saturating_sub(anchor.entry.deleted))
    }

    /// The file of a field, if the field existed when the fragment was written.
    pub fn file(&self, field: FieldId) -> Option<&Arc<File>> {
        self.files.iter().find(|file| file.entry.field == Some(field) && file.entry.file_type != FileType::Index)
    }

    /// Bounds of the fragment's primary keys.
    pub fn key_bounds(&self) -> Option<&KeyBounds> {
        self.files.iter().find_map(|file| file.entry.keys.as_ref())
    }
}

#[cfg(test)]
mod tests;
