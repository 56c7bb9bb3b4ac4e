//! A collection as it was: the state of a past revision, from entries and tombstones alone.
//!
//! Pure: plain data in, a [`Collection`] out. What was created later is left out, what was dropped later comes back, and
//! an anchor that changed later gets back the delete log that was in force.

use std::collections::HashMap;
use std::sync::Arc;

use redkite_types::Revision;

use crate::catalog::{Collection, File, Fragment};
use crate::entry::{
    AnchorState, CollectionRecord, CollectionTombstone, Dropped, DroppedFragment, FileEntry, Tombstone,
};
use crate::horizon::Horizon;
use crate::{Error, Result};

/// All that is known of one collection at one revision, its past included.
#[derive(Debug)]
pub(crate) struct History {
    /// The entries now; none if there are none (any more).
    pub(crate) now: Option<Arc<Collection>>,
    /// What was dropped or replaced, with the revision at which.
    pub(crate) tombstones: Vec<(Revision, Tombstone)>,
    /// Of a dropped collection.
    pub(crate) dropped: Option<CollectionTombstone>,
}

impl History {
    /// The last change of the collection that was planned at `time_ms` or before, or the horizon if that is later: the
    /// revision whose state was in force then. None if the collection did not exist yet.
    ///
    /// [`Error::TooOld`] if that is before the horizon.
    pub(crate) fn revision_at(&self, time_ms: u64, horizon: Horizon) -> Result<Option<Revision>> {
        if time_ms < horizon.time_ms {
            let asked =
                humantime::format_rfc3339_millis(std::time::UNIX_EPOCH + std::time::Duration::from_millis(time_ms));
            return Err(Error::TooOld { asked: asked.to_string(), oldest: horizon.revision });
        }
        let mut last = None;
        let mut event = |revision: Revision, at_ms: u64| {
            if at_ms <= time_ms {
                last = last.max(Some(revision));
            }
        };
        let put_ms = |record: &CollectionRecord| record.committed_ms.max(record.created_ms);
        if let Some(now) = &self.now {
            if let Some(record) = &now.record {
                event(now.schema_revision, put_ms(record));
            }
            for fragment in now.fragments.values() {
                let anchor = fragment.anchor()?;
                event(anchor.modified, anchor.entry.committed_ms);
            }
        }
        if let Some(dropped) = &self.dropped
            && let Some(record) = &dropped.record
        {
            event(dropped.since, put_ms(record));
        }
        for (dropped, tombstone) in &self.tombstones {
            event(*dropped, tombstone.dropped_ms);
            match &tombstone.dropped {
                Dropped::Fragment(fragment) => {
                    let anchors = fragment.files.values().map(|file| file.committed_ms);
                    event(fragment.since, anchors.max().unwrap_or_default());
                }
                Dropped::Anchors(anchors) => {
                    anchors.iter().for_each(|anchor| event(anchor.since, anchor.committed_ms));
                }
                Dropped::Record { since, record } => event(*since, put_ms(record)),
            }
        }
        Ok(last.map(|last| last.max(horizon.revision)))
    }

    /// The collection as of `revision`; none if it did not exist then.
    pub(crate) fn at(&self, segment: &str, revision: Revision) -> Result<Option<Collection>> {
        let Some((since, record)) = self.record_at(revision) else {
            return Ok(None);
        };
        let mut past = Collection::empty(segment);
        past.record = Some(record);
        past.schema_revision = since;
        past.created = match (&self.dropped, &self.now) {
            (Some(dropped), _) => dropped.created,
            (None, Some(now)) => now.created,
            (None, None) => since,
        };
        let anchors = self.anchors_at(revision);
        let mut place = |fragment: &Fragment| -> Result<()> {
            for file in fragment.files.iter().filter(|file| file.created <= revision) {
                let mut file = File::clone(file);
                if file.modified > revision {
                    let state = anchors.get(&*file.path).ok_or_else(|| Error::Damaged {
                        what: format!("the history of {}", file.path),
                        detail: format!("what it was at revision {revision} is not known"),
                    })?;
                    file.modified = state.since;
                    file.entry.delete_log = state.delete_log.clone();
                    file.entry.deleted = state.deleted;
                    file.entry.committed_ms = state.committed_ms;
                }
                past.place_file(&file.path.clone(), file)?;
            }
            Ok(())
        };
        if let Some(now) = &self.now {
            now.check()?;
            now.fragments.values().try_for_each(|fragment| place(fragment))?;
        }
        for (dropped, tombstone) in &self.tombstones {
            if let Dropped::Fragment(fragment) = &tombstone.dropped
                && fragment.created <= revision
                && revision < *dropped
            {
                place(&revived(fragment))?;
            }
        }
        if let Some(now) = &self.now {
            past.delete_logs = now.delete_logs.clone();
        }
        Ok(Some(past))
    }

    fn record_at(&self, revision: Revision) -> Option<(Revision, Arc<CollectionRecord>)> {
        let replaced = self.tombstones.iter().find_map(|(dropped, tombstone)| match &tombstone.dropped {
            Dropped::Record { since, record } if *since <= revision && revision < *dropped => {
                Some((*since, Arc::new(CollectionRecord::clone(record))))
            }
            _ => None,
        });
        let last = || match &self.dropped {
            Some(dropped) => Some((dropped.since, Arc::new(dropped.record.clone()?))),
            None => self.now.as_ref().and_then(|now| Some((now.schema_revision, now.record.clone()?))),
        };
        replaced.or_else(|| last().filter(|(since, _)| *since <= revision))
    }

    /// The states of anchors that were in force at `revision` and have been replaced since, by path.
    fn anchors_at(&self, revision: Revision) -> HashMap<&str, &AnchorState> {
        let mut found = HashMap::new();
        for (dropped, tombstone) in &self.tombstones {
            if let Dropped::Anchors(anchors) = &tombstone.dropped
                && revision < *dropped
            {
                let in_force = anchors.iter().filter(|anchor| anchor.since <= revision);
                found.extend(in_force.map(|anchor| (anchor.path.as_str(), anchor)));
            }
        }
        found
    }
}

/// A dropped fragment with the entries it last had.
fn revived(dropped: &DroppedFragment) -> Fragment {
    let file = |(path, entry): (&String, &FileEntry)| File {
        path: path.as_str().into(),
        entry: entry.clone(),
        created: dropped.created,
        modified: dropped.created,
    };
    let mut files: Vec<File> = dropped.files.iter().map(file).collect();
    let fragment = Fragment::new(dropped.id, files.clone());
    // Only the anchor is ever put again.
    if let Ok(anchor) = fragment.anchor() {
        files.iter_mut().filter(|file| file.path == anchor.path).for_each(|file| file.modified = dropped.since);
    }
    Fragment::new(dropped.id, files)
}
