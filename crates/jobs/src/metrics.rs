//! How things stand: what is live, what is retained for readers of the past, what is garbage, and who holds it.

use metrics::gauge;
use redkite_table::presence::Needs;
use redkite_table::{Catalog, Horizon};
use redkite_types::Revision;

use crate::merge::{MergeOptions, unmerged};

/// Figures of one user's data at one revision.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Standing {
    /// Fragments of collections that are not dropped.
    pub fragments: u64,
    /// Those a merge could still take.
    pub unmerged: u64,
    /// Bytes of files of collections that are not dropped, superseded delete logs included.
    pub bytes_live: u64,
    /// Bytes that only readers of the past need.
    pub bytes_retained: u64,
    /// Bytes that nobody needs and that are not removed yet.
    pub bytes_garbage: u64,
    /// Tombstones.
    pub tombstones: u64,
    /// The oldest revision anybody reads or has pinned.
    pub oldest_floor: Revision,
    /// Who that is: `<cluster>/<node>/<incarnation>`, of a pin with the revision behind.
    pub oldest_floor_holder: String,
    /// The oldest revision that can be read.
    pub horizon: Revision,
}

/// Works the figures out. Looks at every fragment: for now and then, not for every request.
pub fn standing(catalog: &Catalog, needs: &Needs, horizon: Horizon, options: &MergeOptions) -> Standing {
    let mut standing = Standing { horizon: horizon.revision, ..Standing::default() };
    for collection in catalog.segments() {
        let bytes: u64 = collection.files().map(|file| file.entry.size).sum();
        if collection.is_dropped() {
            continue;
        }
        standing.fragments += collection.fragments.len() as u64;
        standing.unmerged += unmerged(collection, options) as u64;
        standing.bytes_live += bytes;
    }
    let mut add = |dropped: Revision, bytes: u64| match dropped > horizon.revision {
        true => standing.bytes_retained += bytes,
        false => standing.bytes_garbage += bytes,
    };
    for grave in catalog.graves.entries() {
        add(grave.dropped, grave.bytes);
    }
    for dropped in catalog.graves.collections() {
        let files = catalog.segment(&dropped.tombstone.segment).into_iter().flat_map(|collection| collection.files());
        add(dropped.dropped, files.map(|file| file.entry.size).sum());
    }
    standing.tombstones = catalog.graves.len() as u64;
    if let Some((revision, holder)) = needs.oldest_read() {
        standing.oldest_floor = revision;
        standing.oldest_floor_holder = holder.to_owned();
    }
    standing
}

impl Standing {
    /// Shows the figures to whoever collects metrics. `holder` is which node was shown to hold the oldest floor, and is now.
    pub fn publish(&self, holder: &mut String) {
        // Without the revision of a pin: there is no end of those, and a series that was once shown stays.
        let node = match self.oldest_floor_holder.match_indices('/').nth(1) {
            Some((end, _)) => &self.oldest_floor_holder[..end],
            None => &self.oldest_floor_holder,
        };
        if holder != node {
            gauge!("redkite_oldest_floor_holder", "holder" => std::mem::take(holder)).set(0.0);
            node.clone_into(holder);
        }
        gauge!("redkite_oldest_floor_holder", "holder" => holder.clone()).set(1.0);
        gauge!("redkite_fragments").set(self.fragments as f64);
        gauge!("redkite_fragments_unmerged").set(self.unmerged as f64);
        gauge!("redkite_bytes", "state" => "live").set(self.bytes_live as f64);
        gauge!("redkite_bytes", "state" => "retained").set(self.bytes_retained as f64);
        gauge!("redkite_bytes", "state" => "garbage").set(self.bytes_garbage as f64);
        gauge!("redkite_tombstones").set(self.tombstones as f64);
        gauge!("redkite_oldest_floor_revision").set(self.oldest_floor.0 as f64);
        gauge!("redkite_horizon_revision").set(self.horizon.0 as f64);
    }
}
