//! Reading the past: a collection as of a revision or a time, kept readable while it is read.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use redkite_meta::keys::UserKeys;
use redkite_meta::{KeyRange, RangeRequest};
use redkite_types::{CollectionId, Revision};

use crate::catalog::{Catalog, Collection};
use crate::entry::{self, CollectionRecord, CollectionTombstone, Tombstone};
use crate::horizon::Horizon;
use crate::past::History;
use crate::presence::Pin;
use crate::{Database, Error, Result, Visibility};

/// How far a time may lie ahead of this node's clock: that of the client may be ahead.
const CLOCK_SLACK_MS: u64 = 60_000;
/// Tries to read tombstones at a revision that the metadata store then turns out to have forgotten.
const TRIES: u32 = 8;

/// A moment in the past.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Just after the commit of that revision.
    Revision(Revision),
    /// Milliseconds since 1970: after the last commit planned then or before, by the clocks of the nodes that planned.
    Time(u64),
}

/// A collection as it was. What it names can be read while this is held.
#[derive(Debug, Clone)]
pub struct Past {
    /// The collection.
    pub collection: Arc<Collection>,
    /// The revision it is as of.
    pub revision: Revision,
    _pin: Pin,
}

/// A collection that is or was called by some name, and where it is to be found.
struct Found {
    segment: String,
    id: CollectionId,
    /// When it was created: the revision, and milliseconds since 1970.
    created: (Revision, u64),
    /// If it was dropped: what is left, and the revision of that.
    dropped: Option<(CollectionTombstone, Revision)>,
}

impl Found {
    fn existed_at(&self, revision: Revision) -> bool {
        self.created.0 <= revision && self.dropped.as_ref().is_none_or(|(_, dropped)| revision < *dropped)
    }

    fn existed_then(&self, time_ms: u64) -> bool {
        self.created.1 <= time_ms && self.dropped.as_ref().is_none_or(|(tombstone, _)| time_ms < tombstone.dropped_ms)
    }
}

impl Database {
    /// The collection that was called `name` at `moment`, as it was then.
    ///
    /// [`Error::TooOld`] if that moment cannot be read any more, [`Error::NotYet`] if it has not been. Costs a read of the
    /// collection's tombstones, and a transaction for the first read of a revision.
    pub async fn as_of(&self, name: &str, moment: Moment) -> Result<Past> {
        for _ in 0..TRIES {
            match self.try_as_of(name, moment).await {
                Err(Error::Meta(redkite_meta::Error::Compacted { .. })) => {}
                result => return result,
            }
        }
        Err(redkite_meta::Error::Unavailable("the metadata is compacted faster than it can be read".into()).into())
    }

    async fn try_as_of(&self, name: &str, moment: Moment) -> Result<Past> {
        let catalog = self.snapshot(Visibility::Strong).await?;
        let not_found = || Error::CollectionNotFound { name: format!("{name}@{}", describe(moment)) };
        match moment {
            Moment::Revision(revision) => {
                if revision > catalog.revision {
                    return Err(Error::NotYet { asked: describe(moment), newest: catalog.revision });
                }
                // First of all: from here on nothing this revision needs goes away.
                let pin = self.pin(revision).await?;
                for found in find(&catalog, name)?.into_iter().filter(|found| found.existed_at(revision)) {
                    let history = self.history(&catalog, &found).await?;
                    self.still_readable(revision).await?;
                    if let Some(past) = self.past(&found, name, &history, revision, &pin)? {
                        return Ok(past);
                    }
                }
                Err(not_found())
            }
            Moment::Time(time_ms) => {
                if time_ms > self.ambient.now_ms().saturating_add(CLOCK_SLACK_MS) {
                    return Err(Error::NotYet { asked: describe(moment), newest: catalog.revision });
                }
                let horizon = self.horizon().await?;
                for found in find(&catalog, name)?.into_iter().filter(|found| found.existed_then(time_ms)) {
                    let history = self.history(&catalog, &found).await?;
                    let Some(revision) = history.revision_at(time_ms, horizon)? else { continue };
                    let pin = self.pin(revision).await?;
                    self.still_readable(revision).await?;
                    if let Some(past) = self.past(&found, name, &history, revision, &pin)? {
                        return Ok(past);
                    }
                }
                // What else may have been called so then is not known any more.
                match time_ms < horizon.time_ms {
                    true => Err(Error::TooOld { asked: describe(moment), oldest: horizon.revision }),
                    false => Err(not_found()),
                }
            }
        }
    }

    /// Whether all was there that the state at `revision` follows from, now that it has been read. A pin is a courtesy: if
    /// the lease it hung on has ended, the tombstones may have been gone already, and with them rows.
    async fn still_readable(&self, revision: Revision) -> Result<()> {
        let horizon = self.horizon().await?;
        match horizon.revision <= revision {
            true => Ok(()),
            false => Err(Error::TooOld { asked: revision.to_string(), oldest: horizon.revision }),
        }
    }

    /// The oldest revision that can be read.
    pub async fn horizon(&self) -> Result<Horizon> {
        let stored = self.meta.get(&self.keys.horizon()).await?;
        stored.map_or(Ok(Horizon::default()), |kv| Horizon::read(&kv))
    }

    fn past(
        &self,
        found: &Found,
        name: &str,
        history: &History,
        revision: Revision,
        pin: &Pin,
    ) -> Result<Option<Past>> {
        let Some(collection) = history.at(&found.segment, revision)? else {
            return Ok(None);
        };
        let is_meant = |record: &Arc<CollectionRecord>| record.id == found.id && record.name_in(&found.segment) == name;
        let meant = collection.record.as_ref().is_some_and(is_meant);
        Ok(meant.then(|| Past { collection: Arc::new(collection), revision, _pin: pin.clone() }))
    }

    async fn history(&self, catalog: &Catalog, found: &Found) -> Result<History> {
        let tombstones = tombstones(self, &self.keys, &found.segment, catalog.revision).await?;
        Ok(History {
            now: catalog.segment(&found.segment).cloned(),
            tombstones,
            dropped: found.dropped.as_ref().map(|(tombstone, _)| tombstone.clone()),
        })
    }
}

async fn tombstones(
    database: &Database,
    keys: &UserKeys,
    segment: &str,
    revision: Revision,
) -> Result<Vec<(Revision, Tombstone)>> {
    let range = RangeRequest::new(KeyRange::Prefix(keys.tombstones(segment))).at(revision);
    let stored = database.meta.range(range).await?;
    stored.kvs.into_iter().map(|kv| Ok((kv.create_revision, entry::parse(&kv.key, &kv.value)?))).collect()
}

/// The collections, live or dropped, that are called `name` or ever were, as far as that is known.
fn find(catalog: &Catalog, name: &str) -> Result<Vec<Found>> {
    // Of those that were renamed the name is in what their renaming replaced.
    let renamed = catalog.graves.entries().filter(|grave| grave.name.as_deref() == Some(name));
    let renamed: HashSet<&str> = renamed.map(|grave| &*grave.segment).collect();
    // A list that cannot be read must not pass for an empty one.
    catalog.name_record(name)?;
    let mut found = Vec::new();
    for record in catalog.names.iter().filter(|record| record.name == name || renamed.contains(record.segment())) {
        if let Some(collection) = catalog.collection_by_id(record.id)? {
            let created = (collection.created, collection.record()?.created_ms);
            found.push(Found { segment: collection.segment.to_string(), id: record.id, created, dropped: None });
        }
    }
    for dropped in catalog.graves.collections() {
        let tombstone = &dropped.tombstone;
        let Some(record) = &tombstone.record else { continue };
        if tombstone.name == name || renamed.contains(tombstone.segment.as_str()) {
            let created = (tombstone.created, record.created_ms);
            let dropped = Some((tombstone.clone(), dropped.dropped));
            found.push(Found { segment: tombstone.segment.clone(), id: record.id, created, dropped });
        }
    }
    Ok(found)
}

/// The moment as the user wrote it, or as good as.
fn describe(moment: Moment) -> String {
    match moment {
        Moment::Revision(revision) => revision.to_string(),
        Moment::Time(time_ms) => {
            humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_millis(time_ms)).to_string()
        }
    }
}
