//! What has to hold at any step, and what at the end.

use std::collections::{BTreeMap, BTreeSet};

use rand::RngExt as _;
use redkite_meta::{KeyRange, RangeRequest};
use redkite_table::entry::FileType;
use redkite_table::fragment::{ReaderOptions, Readers};
use redkite_table::{Catalog, Error, Horizon, Moment, Past, Visibility};
use redkite_types::{Revision, UserName};

use super::chronicle::State;
use super::{History, NAMES};
use crate::plain::Row;
use crate::work::rows_in;
use crate::world::Node;

/// What can be told of a collection: its color and its rows.
type Told = (Option<String>, Vec<Row>);

impl History {
    /// Readers that have nothing open and nothing cached: what they read is there.
    fn fresh_readers(&self) -> Readers {
        let few = ReaderOptions { open_files_max: 64, decoded_bytes_max: 1 << 16, delete_sections_max: 64 };
        Readers::new(self.stores.data.clone(), UserName::new("u").unwrap(), few)
    }

    /// Every node sees what the newest commit left.
    pub(super) async fn check_now(&mut self) {
        for seat in &self.seats {
            let catalog = seat.node.database.snapshot(Visibility::Strong).await.unwrap();
            let mut told = told(&seat.node.database.readers, &catalog).await;
            for (_, rows) in told.values_mut() {
                self.check_order(rows);
                rows.sort_unstable();
            }
            assert_eq!(told, plainly(self.chronicle.newest()));
        }
    }

    /// Paths of all files that the metadata names.
    pub(super) async fn named(&self) -> Vec<String> {
        let database = &self.seats[0].node.database;
        let catalog = database.snapshot(Visibility::Strong).await.unwrap();
        let files = catalog.segments().flat_map(|collection| collection.files().map(move |file| (collection, file)));
        files.map(|(collection, file)| database.object_path(&collection.segment, &file.path)).collect()
    }

    /// What was committed once and is not any more is gone without a search for what never was.
    pub(super) async fn check_nothing_is_forgotten(&mut self) {
        let named = self.named().await;
        let stored = self.stores.data.list("").await.unwrap();
        let forgotten = |path: &String| self.named_before.contains(path) && !named.contains(path);
        let forgotten: Vec<String> = stored.into_iter().map(|file| file.path).filter(forgotten).collect();
        assert_eq!(forgotten, Vec::<String>::new());
    }

    /// Rows whose flush began after that of others was committed stand behind them.
    fn check_order(&self, rows: &[Row]) {
        let mut newest = Revision::ZERO;
        for (key, tag) in rows {
            let (began, committed) = self.spans[tag];
            assert!(committed > newest, "row ({key}, {tag}) stands behind newer ones in {rows:?}");
            newest = newest.max(began);
        }
    }

    /// What this node reads from now on has to stay, whether the others hear of it at once or not.
    pub(super) async fn hold(&mut self, at: usize) {
        if self.seats[at].lapsed {
            return;
        }
        let catalog = self.seats[at].node.database.snapshot(Visibility::Strong).await.unwrap();
        self.log.push(format!("{at} holds {}", catalog.revision));
        self.catalogs.push((at, catalog));
        if self.chance(0.5) {
            self.tell(at).await;
        }
    }

    /// What is held can be read, from its files, as it was. Some of it is let go then.
    pub(super) async fn check_held(&mut self) {
        self.log.push("check what is held".into());
        for (_, catalog) in std::mem::take(&mut self.catalogs) {
            let told = sorted(told(&self.fresh_readers(), &catalog).await);
            assert_eq!(told, plainly(self.chronicle.at(catalog.revision)));
            if catalog.revision < self.head().await {
                self.count("old catalogs read");
            }
        }
        for (_, name, past) in std::mem::take(&mut self.pasts) {
            let was = plainly(self.chronicle.at(past.revision));
            assert_eq!(told_of(&self.fresh_readers(), &past).await, was[name]);
            self.count("pinned pasts read");
        }
    }

    /// Reads a collection as of a random revision or time.
    pub(super) async fn read_past(&mut self, at: usize) {
        if self.seats[at].running.is_some() || self.seats[at].lapsed {
            return;
        }
        let name = if self.chance(0.75) { NAMES[0] } else { NAMES[1] };
        let horizon = self.seats[at].node.database.horizon().await.unwrap();
        let (moment, readable, was) = if self.chance(0.7) {
            // From a little before the horizon, or before anything was written, on.
            let oldest = (horizon.revision.0 - 3).max(6);
            let revision = Revision(self.random.rng.random_range(oldest..=self.head().await.0));
            (Moment::Revision(revision), revision >= horizon.revision, self.chronicle.at(revision))
        } else {
            let time_ms = self.now_ms() - self.random.rng.random_range(0..60_000);
            let Some(state) = self.chronicle.at_time(time_ms) else { return };
            (Moment::Time(time_ms), time_ms >= horizon.time_ms, state)
        };
        let was = plainly(was).remove(name);
        self.log.push(format!("{at} reads {name} as of {moment:?}, the horizon is {horizon:?}"));
        let past = self.seats[at].node.database.as_of(name, moment).await;
        let past = match past {
            Err(Error::TooOld { oldest, .. }) => {
                assert!(!readable && oldest == horizon.revision, "{moment:?}");
                return self.count("too old");
            }
            Err(Error::CollectionNotFound { .. }) => {
                assert!(readable && was.is_none(), "{moment:?}: {was:?}");
                return self.count("pasts without the collection");
            }
            past => past.unwrap(),
        };
        assert!(readable, "{moment:?} is not refused");
        assert_eq!(Some(told_of(&self.seats[at].node.database.readers, &past).await), was, "{moment:?}");
        let catalog = self.seats[at].node.database.newest();
        let now = catalog.segment(&past.collection.segment);
        let is_there = |id| now.is_some_and(|now| now.fragments.contains_key(id));
        if !past.collection.fragments.keys().all(is_there) {
            self.count("revived fragments");
        }
        if now.is_none_or(|now| now.is_dropped()) {
            self.count("revived collections");
        }
        if matches!(moment, Moment::Time(_)) {
            self.count("pasts by time");
        }
        if self.chance(0.4) {
            self.pasts.push((at, name, past));
        }
    }

    /// The horizon never sinks, and never passes what a node holds.
    pub(super) async fn check_horizon(&mut self) {
        let stored = self.stores.meta.get(&self.seats[0].node.database.keys.horizon()).await.unwrap();
        let horizon = Horizon::read(&stored.unwrap()).unwrap();
        assert!(horizon.revision >= self.horizon.revision && horizon.time_ms >= self.horizon.time_ms);
        self.horizon = horizon;
        let catalogs = self.catalogs.iter().map(|(at, catalog)| (at, catalog.revision));
        for (at, held) in catalogs.chain(self.pasts.iter().map(|(at, _, past)| (at, past.revision))) {
            assert!(horizon.revision <= held, "{horizon:?} though node {at} holds {held}");
        }
    }

    /// Counts pins that keep what nobody else reads.
    pub(super) async fn count_pins(&mut self, at: usize) {
        let database = &self.seats[at].node.database;
        let needs = database.needs().await.unwrap();
        let oldest_read = needs.nodes.iter().map(|(_, needs)| needs.read_floor).min();
        let oldest_pin = needs.pins.iter().map(|(_, revision)| *revision).min();
        if oldest_pin.is_some() && oldest_pin < oldest_read {
            self.count("pins that keep the past");
        }
    }

    /// No delete log is left that no fragment names, and no key that nobody needs.
    pub(super) async fn check_logs_and_keys(&mut self, node: &Node) {
        let (keys, catalog) = (&node.database.keys, node.database.snapshot(Visibility::Strong).await.unwrap());
        let mut wanted: BTreeSet<String> = ["/user_list".to_owned()].into();
        wanted.extend([keys.collection_list(), keys.head(), keys.id_floor(), keys.horizon()]);
        wanted.extend(self.seats.iter().map(|seat| seat.node.database.needs_key()));
        for collection in catalog.segments() {
            assert!(!collection.is_dropped(), "something is left of {}", collection.segment);
            let named: BTreeSet<&str> = collection
                .fragments
                .values()
                .filter_map(|fragment| fragment.anchor().unwrap().entry.delete_log.as_deref())
                .collect();
            let logs: BTreeSet<&str> = collection.delete_logs.keys().map(|path| &**path).collect();
            assert_eq!(logs, named);
            wanted.extend([keys.schema(&collection.segment), keys.collection_head(&collection.segment)]);
            wanted.extend(collection.files().map(|file| keys.data(&collection.segment, &file.path)));
            let index = |file: &&std::sync::Arc<redkite_table::File>| file.entry.file_type == FileType::Index;
            assert_eq!(collection.files().filter(index).count(), 0);
        }
        let stored = node.database.meta.range(RangeRequest::new(KeyRange::Prefix("/".into()))).await.unwrap();
        let forgotten_by_itself = |key: &String| key.starts_with("/u/.commit/") || *key == keys.pins_head();
        let stored: BTreeSet<String> =
            stored.kvs.into_iter().map(|kv| kv.key).filter(|key| !forgotten_by_itself(key)).collect();
        assert_eq!(stored, wanted);
    }

    /// The files alone hold what the newest commit left; what was before is refused.
    pub(super) async fn check_from_files(&mut self) {
        let node = &self.seats[0].node;
        let catalog = node.database.snapshot(Visibility::Strong).await.unwrap();
        let told = sorted(told(&self.fresh_readers(), &catalog).await);
        assert_eq!(told, plainly(self.chronicle.newest()));
        if self.horizon.revision > Revision(1) {
            let before = Moment::Revision(Revision(self.horizon.revision.0 - 1));
            let error = node.database.as_of(NAMES[0], before).await.unwrap_err();
            assert!(matches!(error, Error::TooOld { .. }), "{error}");
        }
        for name in NAMES {
            let was = plainly(self.chronicle.at(self.horizon.revision)).remove(name);
            let past = node.database.as_of(name, Moment::Revision(self.horizon.revision)).await;
            match past {
                Ok(past) => assert_eq!(Some(told_of(&node.database.readers, &past).await), was),
                Err(Error::CollectionNotFound { .. }) => assert_eq!(was, None),
                Err(error) => panic!("{error}"),
            }
        }
    }
}

/// What the model tells.
fn plainly(state: &State) -> BTreeMap<&'static str, Told> {
    state.iter().map(|(name, content)| (*name, (content.color.clone(), content.rows.sorted()))).collect()
}

fn sorted(mut told: BTreeMap<&'static str, Told>) -> BTreeMap<&'static str, Told> {
    told.values_mut().for_each(|(_, rows)| rows.sort_unstable());
    told
}

/// What a catalog tells, rows in the order they are stored in.
async fn told(readers: &Readers, catalog: &Catalog) -> BTreeMap<&'static str, Told> {
    let mut told = BTreeMap::new();
    for name in NAMES {
        let collection = match catalog.collection(name) {
            Ok(collection) => collection,
            Err(Error::CollectionNotFound { .. }) => continue,
            Err(error) => panic!("{error}"),
        };
        let rows = rows_in(readers, collection).await.unwrap();
        told.insert(name, (collection.record().unwrap().properties.get("color").cloned(), rows));
    }
    told
}

/// What a past state tells.
async fn told_of(readers: &Readers, past: &Past) -> Told {
    let mut rows = rows_in(readers, &past.collection).await.unwrap();
    rows.sort_unstable();
    (past.collection.record().unwrap().properties.get("color").cloned(), rows)
}
