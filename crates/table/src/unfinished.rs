//! Ids under which this node writes files that are not committed yet.
//!
//! The floor under ids may rise to the oldest of them, no further: what has an id below the floor can no longer commit.
//! Raising it too far loses nothing that was acknowledged, but costs a flush its uploads.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use redkite_types::Revision;

/// The revisions of unfinished ids, with how many there are of each.
#[derive(Debug, Default)]
pub(crate) struct Unfinished(Mutex<BTreeMap<Revision, usize>>);

/// Keeps the floor under ids from rising above ids made while it is held.
#[derive(Debug)]
pub struct IdGuard {
    ids: Arc<Unfinished>,
    from: Revision,
}

impl Unfinished {
    /// Holds ids made from now on; `newest` tells the least revision they can have and is asked under the lock.
    pub(crate) fn hold(self: &Arc<Self>, newest: impl FnOnce() -> Revision) -> Arc<IdGuard> {
        let mut held = self.0.lock();
        let from = newest();
        *held.entry(from).or_default() += 1;
        Arc::new(IdGuard { ids: self.clone(), from })
    }

    /// The least revision an id can have that is unfinished now or made later.
    pub(crate) fn oldest(&self, newest: impl FnOnce() -> Revision) -> Revision {
        let held = self.0.lock();
        let newest = newest();
        held.keys().next().copied().map_or(newest, |oldest| oldest.min(newest))
    }
}

impl IdGuard {
    /// A guard of nothing, for files that are not stored.
    pub fn of_nothing() -> Arc<Self> {
        Arc::<Unfinished>::default().hold(|| Revision::ZERO)
    }
}

impl Drop for IdGuard {
    fn drop(&mut self) {
        let mut held = self.ids.0.lock();
        if let Some(count) = held.get_mut(&self.from) {
            *count -= 1;
            if *count == 0 {
                held.remove(&self.from);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_id_held_counts() {
        let ids = Arc::new(Unfinished::default());
        assert_eq!(ids.oldest(|| Revision(9)), Revision(9));
        let first = ids.hold(|| Revision(3));
        let second = ids.hold(|| Revision(3));
        let third = ids.hold(|| Revision(5));
        drop(first);
        assert_eq!(ids.oldest(|| Revision(9)), Revision(3));
        drop(second);
        assert_eq!(ids.oldest(|| Revision(9)), Revision(5));
        drop(third);
        assert_eq!(ids.oldest(|| Revision(9)), Revision(9));
    }
}
