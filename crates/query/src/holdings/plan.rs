//! Which fragments a node is to hold. Pure: what it plans from is passed in. Only what changed is worked out anew.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use redkite_table::catalog::File;
use redkite_table::{Collection, Fragment};
use redkite_types::{ClusterId, FragmentId, NodeId, Revision};

use super::Standing;
use crate::layout::Layout;

/// A fragment that a node is to hold.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) segment: Arc<str>,
    pub(super) fragment: Arc<Fragment>,
    /// The delete log in force.
    log: Option<Arc<File>>,
    pub(super) bytes: u64,
    /// How many nodes come before this one.
    rank: usize,
    /// Whether the node is to hold it from now on, not only until others do.
    pub(super) is_due: bool,
}

impl Piece {
    fn new(collection: &Collection, fragment: &Arc<Fragment>, rank: usize, is_due: bool) -> Self {
        let log = fragment.anchor().ok().and_then(|anchor| anchor.entry.delete_log.as_deref());
        let log = log.and_then(|log| collection.delete_logs.get(log)).cloned();
        let bytes = fragment.bytes() + log.as_ref().map_or(0, |log| log.entry.size);
        Self { segment: collection.segment.clone(), fragment: fragment.clone(), log, bytes, rank, is_due }
    }

    pub(super) fn id(&self) -> FragmentId {
        self.fragment.id
    }

    /// Its files, and the delete log in force.
    pub(super) fn files(&self) -> impl Iterator<Item = &Arc<File>> {
        self.fragment.files.iter().chain(&self.log)
    }

    /// What is wanted first comes first.
    fn order(&self) -> impl Ord + use<> {
        (self.rank, std::cmp::Reverse(self.fragment.id))
    }
}

/// What of a collection is wanted, by fragment; none where another node holds it.
type Pieces = HashMap<FragmentId, Option<Arc<Piece>>>;

/// Which fragments those are now.
#[derive(Debug, Default)]
pub(super) struct Plan {
    layout: Layout,
    catalog: Revision,
    total: u64,
    /// By segment: the collection as it was, and what of it is wanted.
    collections: HashMap<Arc<str>, (Arc<Collection>, Pieces)>,
    /// What fits, in the order it is wanted in.
    chosen: Vec<Arc<Piece>>,
    /// How many are due that do not fit.
    without_room: u64,
}

/// What is chosen now and was not, and the other way round.
#[derive(Debug, Default)]
pub(super) struct Difference {
    pub(super) new: Vec<Arc<Piece>>,
    pub(super) gone: Vec<Arc<Piece>>,
}

impl Plan {
    /// What is wanted, as far as it fits; in the order it is wanted in.
    pub(super) fn chosen(&self) -> &[Arc<Piece>] {
        &self.chosen
    }

    /// The files of what is gone, by segment, but for delete logs that are in force for what is chosen, too: one log may be that
    /// of many fragments.
    pub(super) fn released<'g>(&self, gone: &'g [Arc<Piece>]) -> Vec<(&'g str, &'g str)> {
        let log = |piece: &'g Piece| piece.log.as_ref().map(|log| (&*piece.segment, &*log.path));
        let mut logs: HashSet<(&str, &str)> = gone.iter().filter_map(|piece| log(piece)).collect();
        if !logs.is_empty() {
            let chosen = self.chosen.iter().filter_map(|piece| Some((&*piece.segment, &*piece.log.as_ref()?.path)));
            let shared: HashSet<(&str, &str)> = chosen.collect();
            logs.retain(|log| !shared.contains(log));
        }
        let files = |piece: &'g Arc<Piece>| piece.fragment.files.iter().map(|file| (&*piece.segment, &*file.path));
        gone.iter().flat_map(files).chain(logs).collect()
    }

    /// How things stand, but for what is fetched.
    pub(super) fn standing(&self) -> Standing {
        Standing {
            total: self.total,
            missing: self.without_room,
            layout: self.layout.revision,
            catalog: self.catalog,
            ..Standing::default()
        }
    }

    /// Takes over the collections of a newer catalog, and a layout. `own` is the cluster and the number of the node, `room` how
    /// many bytes it may hold, if there is a limit.
    pub(super) fn follow<'c>(
        &mut self,
        (catalog, collections): (Revision, impl Iterator<Item = &'c Arc<Collection>>),
        layout: &Layout,
        own: (&ClusterId, NodeId),
        room: Option<u64>,
    ) -> Difference {
        let mut changed = false;
        if self.layout != *layout {
            let same_placement = Layout { revision: self.layout.revision, ..layout.clone() } == self.layout;
            self.layout = layout.clone();
            if !same_placement {
                self.collections.clear();
                changed = true;
            }
        }
        self.catalog = catalog;
        let mut before = std::mem::take(&mut self.collections);
        for collection in collections {
            let known = before.remove(&collection.segment);
            let known = match known {
                Some((same, pieces)) if Arc::ptr_eq(&same, collection) => (same, pieces),
                known => {
                    changed = true;
                    let pieces = known.map(|(_, pieces)| pieces).unwrap_or_default();
                    (collection.clone(), self.pieces(collection, pieces, own))
                }
            };
            self.collections.insert(collection.segment.clone(), known);
        }
        match changed || !before.is_empty() {
            true => self.choose(room),
            false => Difference::default(),
        }
    }

    /// What of a collection is wanted; what was known of fragments that have not changed stays.
    fn pieces(&self, collection: &Arc<Collection>, mut known: Pieces, (cluster, node): (&ClusterId, NodeId)) -> Pieces {
        let (asked, due) = (self.layout.asked(cluster, &[]), self.layout.due(cluster));
        let mut pieces = HashMap::with_capacity(collection.fragments.len());
        for fragment in collection.fragments.values() {
            let piece = match known.remove(&fragment.id) {
                Some(None) => None,
                Some(Some(piece)) if Arc::ptr_eq(&piece.fragment, fragment) => Some(piece),
                _ => {
                    let rank = |holders: Vec<NodeId>| holders.iter().position(|holder| *holder == node);
                    let (asked, due) = (rank(asked.holders(fragment)), rank(due.holders(fragment)));
                    let rank = asked.into_iter().chain(due).min();
                    rank.map(|rank| Arc::new(Piece::new(collection, fragment, rank, due.is_some())))
                }
            };
            pieces.insert(fragment.id, piece);
        }
        pieces
    }

    fn choose(&mut self, room: Option<u64>) -> Difference {
        self.total = self.collections.values().map(|(_, pieces)| pieces.len() as u64).sum();
        let pieces = self.collections.values().flat_map(|(_, pieces)| pieces.values().flatten());
        let mut wanted: Vec<Arc<Piece>> = pieces.cloned().collect();
        wanted.sort_by_key(|piece| piece.order());
        let (mut left, mut without_room) = (room.unwrap_or(u64::MAX), 0);
        // One log takes its room once, of however many fragments it is.
        let mut logs: HashSet<(Arc<str>, Arc<str>)> = HashSet::new();
        wanted.retain(|piece| {
            let log = piece.log.as_ref().map(|log| ((piece.segment.clone(), log.path.clone()), log.entry.size));
            let log = log.filter(|(log, _)| !logs.contains(log));
            let bytes = piece.fragment.bytes() + log.as_ref().map_or(0, |(_, size)| *size);
            let Some(rest) = left.checked_sub(bytes) else {
                without_room += u64::from(piece.is_due);
                return false;
            };
            left = rest;
            logs.extend(log.map(|(log, _)| log));
            true
        });
        self.without_room = without_room;
        let before = std::mem::replace(&mut self.chosen, wanted);
        let by_id = |pieces: &[Arc<Piece>]| -> HashMap<FragmentId, Arc<Piece>> {
            pieces.iter().map(|piece| (piece.id(), piece.clone())).collect()
        };
        let (old, new) = (by_id(&before), by_id(&self.chosen));
        let differs = |known: &HashMap<FragmentId, Arc<Piece>>, piece: &Arc<Piece>| {
            known.get(&piece.id()).is_none_or(|other| !Arc::ptr_eq(other, piece))
        };
        Difference {
            new: self.chosen.iter().filter(|piece| differs(&old, piece)).cloned().collect(),
            gone: before.iter().filter(|piece| differs(&new, piece)).cloned().collect(),
        }
    }
}
