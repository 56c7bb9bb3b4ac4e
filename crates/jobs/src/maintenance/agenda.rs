//! Which collections to look at for merges, and when. Pure: the time is passed in.
//!
//! A collection is looked at when it changed, by one look at a time. One whose merge failed, or has to wait for a flush that is
//! not committed yet, is looked at again after a pause that doubles each time, and not before, however often it changes.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use redkite_types::{CollectionId, Revision};
use tokio::time::Instant;

/// First and longest pause after a merge that failed.
const FAILED: Pauses = Pauses { first: Duration::from_secs(5), longest: Duration::from_secs(300) };
/// First and longest pause before it is looked again whether all flushes up to some point are committed.
const UNSETTLED: Pauses = Pauses { first: Duration::from_millis(250), longest: Duration::from_secs(30) };

struct Pauses {
    first: Duration,
    longest: Duration,
}

/// What a look at a collection came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Looked {
    /// Nothing is left to do until it changes.
    Done,
    /// There may be more to do at once.
    More,
    /// What there is to do has to wait for others.
    Unsettled,
    /// It failed.
    Failed,
}

#[derive(Debug)]
struct Item {
    /// Its newest change.
    head: Revision,
    /// When to look; none if it is not to be looked at.
    at: Option<Instant>,
    /// Whether somebody looks at it now.
    looking: bool,
    /// What the last look came to.
    last: Looked,
    /// The pause after that; zero if it needed none.
    pause: Duration,
}

impl Item {
    /// One that nobody has looked at.
    const NEW: Self =
        Self { head: Revision::ZERO, at: None, looking: false, last: Looked::Done, pause: Duration::ZERO };
}

/// The collections.
#[derive(Debug, Default)]
pub(super) struct Agenda(HashMap<CollectionId, Item>);

impl Agenda {
    /// Notes the head of a collection; whether it is another one than before.
    pub(super) fn has_changed(&mut self, id: CollectionId, head: Revision, now: Instant) -> bool {
        let item = self.0.entry(id).or_insert(Item::NEW);
        if item.head == head {
            return false;
        }
        item.head = head;
        // One that waits for its time sees the change then. A look that is under way may have missed it.
        item.at.get_or_insert(now);
        true
    }

    /// Whether to look now. If so, the look is under way from here on.
    pub(super) fn is_due(&mut self, id: CollectionId, now: Instant) -> bool {
        let Some(item) = self.0.get_mut(&id) else { return false };
        let due = !item.looking && item.at.is_some_and(|at| at <= now);
        if due {
            item.at = None;
            item.looking = true;
        }
        due
    }

    /// Notes what a look came to, which is over.
    pub(super) fn looked(&mut self, id: CollectionId, looked: Looked, now: Instant) {
        let Some(item) = self.0.get_mut(&id) else { return };
        item.looking = false;
        let last = std::mem::replace(&mut item.last, looked);
        let pauses = match looked {
            Looked::Done => None,
            Looked::More => {
                item.at = Some(now);
                None
            }
            Looked::Unsettled => Some(UNSETTLED),
            Looked::Failed => Some(FAILED),
        };
        let Some(pauses) = pauses else {
            item.pause = Duration::ZERO;
            return;
        };
        item.pause = if last == looked { (item.pause * 2).min(pauses.longest) } else { pauses.first };
        item.at = Some(now + item.pause);
    }

    /// When the next look is due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.0.values().filter(|item| !item.looking).filter_map(|item| item.at).min()
    }

    /// Forgets all but these.
    pub(super) fn retain(&mut self, live: &BTreeSet<CollectionId>) {
        self.0.retain(|id, _| live.contains(id));
    }

    /// How many collections it has.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILMS: CollectionId = CollectionId(1);

    fn due(agenda: &mut Agenda, now: Instant) -> bool {
        agenda.is_due(FILMS, now)
    }

    #[test]
    fn a_collection_is_looked_at_once_for_each_change() {
        let (mut agenda, now) = (Agenda::default(), Instant::now());
        assert!(!due(&mut agenda, now));
        assert!(agenda.has_changed(FILMS, Revision(1), now));
        assert!(!agenda.has_changed(FILMS, Revision(1), now));
        assert_eq!(agenda.next(), Some(now));
        assert!(due(&mut agenda, now) && !due(&mut agenda, now));
        agenda.looked(FILMS, Looked::Done, now);
        assert_eq!(agenda.next(), None);
        assert!(agenda.has_changed(FILMS, Revision(2), now) && due(&mut agenda, now));
        agenda.looked(FILMS, Looked::More, now);
        assert!(due(&mut agenda, now));
        agenda.retain(&BTreeSet::new());
        assert_eq!(agenda.len(), 0);
    }

    #[test]
    fn pauses_double_up_to_the_longest_and_changes_do_not_cut_them_short() {
        let (mut agenda, mut now) = (Agenda::default(), Instant::now());
        agenda.has_changed(FILMS, Revision(1), now);
        for (number, seconds) in [5, 10, 20, 40, 80, 160, 300, 300].into_iter().enumerate() {
            assert!(due(&mut agenda, now));
            agenda.looked(FILMS, Looked::Failed, now);
            let at = now + Duration::from_secs(seconds);
            assert_eq!(agenda.next(), Some(at), "{number}");
            assert!(agenda.has_changed(FILMS, Revision(number as i64 + 2), now));
            assert!(!due(&mut agenda, at - Duration::from_millis(1)));
            now = at;
        }
        assert!(due(&mut agenda, now));
        agenda.looked(FILMS, Looked::Done, now);
        assert!(agenda.has_changed(FILMS, Revision(99), now) && due(&mut agenda, now));
        agenda.looked(FILMS, Looked::Unsettled, now);
        assert_eq!(agenda.next(), Some(now + Duration::from_millis(250)), "what was is forgotten");
    }

    #[test]
    fn pauses_of_one_kind_say_nothing_of_the_other() {
        let (mut agenda, mut now) = (Agenda::default(), Instant::now());
        agenda.has_changed(FILMS, Revision(1), now);
        let looks = [Looked::Failed, Looked::Failed, Looked::Unsettled, Looked::Unsettled, Looked::Failed];
        for (looked, ms) in looks.into_iter().zip([5_000, 10_000, 250, 500, 5_000]) {
            assert!(due(&mut agenda, now));
            agenda.looked(FILMS, looked, now);
            let at = now + Duration::from_millis(ms);
            assert_eq!(agenda.next(), Some(at), "{looked:?}");
            now = at;
        }
    }

    #[test]
    fn a_change_while_it_is_looked_at_is_looked_at_afterwards() {
        let (mut agenda, now) = (Agenda::default(), Instant::now());
        agenda.has_changed(FILMS, Revision(1), now);
        assert!(due(&mut agenda, now));
        assert!(agenda.has_changed(FILMS, Revision(2), now));
        assert!(!due(&mut agenda, now), "one look at a time");
        assert_eq!(agenda.next(), None);
        agenda.looked(FILMS, Looked::Done, now);
        assert_eq!(agenda.next(), Some(now));
        assert!(due(&mut agenda, now));
        agenda.looked(FILMS, Looked::Done, now);
        assert_eq!(agenda.next(), None);
    }
}
