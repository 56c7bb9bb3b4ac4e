//! Ids of what is made once and never again: commits and fragments. They sort by time, never repeat and need no clock.
//!
//! | id | text |
//! |---|---|
//! | [`CommitId`] | `{revision:019}-{nonce:016x}` |
//! | [`FragmentId`] of a flush | the same |
//! | [`FragmentId`] of a merge | `{revision:019}-{nonce:016x}-{made:019}` |
//!
//! The texts sort as the ids do.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{IdError, Revision};

/// Digits of a revision in a text.
const REVISION_DIGITS: usize = 19;
/// Hex digits of a nonce in a text.
const NONCE_DIGITS: usize = 16;

/// A commit: one transaction that publishes a change. The metadata revision read when it was made plus 64 random bits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommitId {
    revision: Revision,
    nonce: u64,
}

impl CommitId {
    /// Makes an id from the revision read at this moment and fresh randomness.
    pub fn new(revision: Revision, nonce: u64) -> Self {
        Self { revision, nonce }
    }

    /// The revision that was current when the id was made.
    pub fn revision(&self) -> Revision {
        self.revision
    }
}

/// A fragment: the immutable files that one flush or merge wrote for one collection.
///
/// Fragments are ordered by id, and rows of a later one are newer. The id of a flush is the metadata revision read when
/// it was made plus 64 random bits. A merge takes the place of the fragments it replaces, so its id sorts between the
/// last of them and the next one; when it was made stands behind.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FragmentId {
    revision: Revision,
    nonce: u64,
    made: Revision,
}

impl FragmentId {
    /// Makes an id from the revision read at this moment and fresh randomness.
    pub fn new(revision: Revision, nonce: u64) -> Self {
        Self { revision, nonce, made: revision }
    }

    /// The revision of its place among the fragments: of a flush, when the id was made.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// The revision that was current when the id was made. One below the floor under ids may have been collected.
    pub fn made(&self) -> Revision {
        self.made
    }

    /// Whether a merge wrote it.
    pub fn is_merged(&self) -> bool {
        self.made != self.revision
    }

    /// An id that sorts behind this one, for the revision read now (if that is older, for this one's) and fresh
    /// randomness: ids made at one revision have no order of their own.
    pub fn following(&self, revision: Revision, nonce: u64) -> Self {
        if revision > self.revision {
            return Self::new(revision, nonce);
        }
        // Steps of 40 random bits: room for millions, and still nobody else's.
        match self.nonce.checked_add(1 + (nonce >> 24)) {
            Some(next) => Self::new(self.revision, next),
            None => Self::new(self.revision.next(), nonce),
        }
    }

    /// An id for a merge whose last input is this one, made at revision `made`, which must be newer: it sorts behind this
    /// one and before `next`, the fragment that follows. None if there is no room between them.
    pub fn merged(&self, next: Option<&FragmentId>, made: Revision, nonce: u64) -> Option<Self> {
        let room = match next {
            Some(next) if next.revision == self.revision => next.nonce.saturating_sub(self.nonce),
            _ => u64::MAX - self.nonce,
        };
        // A place of its own where there is room, so that two merges that try the same write under different names.
        let step = 1 + (nonce >> 24) % room.saturating_sub(1).max(1);
        let merged = Self { revision: self.revision, nonce: self.nonce.checked_add(step)?, made };
        (made > self.revision && step < room && next.is_none_or(|next| merged < *next)).then_some(merged)
    }
}

impl fmt::Display for CommitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:019}-{:016x}", self.revision.0, self.nonce)
    }
}

impl fmt::Display for FragmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:019}-{:016x}", self.revision.0, self.nonce)?;
        if self.made == self.revision { Ok(()) } else { write!(f, "-{:019}", self.made.0) }
    }
}

fn revision_of(text: &str) -> Option<Revision> {
    let digits = text.len() == REVISION_DIGITS && text.bytes().all(|b| b.is_ascii_digit());
    if digits { text.parse().ok().map(Revision) } else { None }
}

fn nonce_of(text: &str) -> Option<u64> {
    let hex = text.len() == NONCE_DIGITS && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if hex { u64::from_str_radix(text, 16).ok() } else { None }
}

impl FromStr for CommitId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let parse = || {
            let (revision, nonce) = text.split_once('-')?;
            Some(Self::new(revision_of(revision)?, nonce_of(nonce)?))
        };
        parse().ok_or_else(|| IdError {
            what: "commit id",
            text: text.to_owned(),
            reason: "want 19 digits, '-', 16 hex digits",
        })
    }
}

impl FromStr for FragmentId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let parse = || {
            let mut parts = text.splitn(3, '-');
            let (revision, nonce) = (revision_of(parts.next()?)?, nonce_of(parts.next()?)?);
            let made = match parts.next() {
                None => revision,
                // One text an id: what a flush made has no third part.
                Some(made) => revision_of(made).filter(|made| *made > revision)?,
            };
            Some(Self { revision, nonce, made })
        };
        parse().ok_or_else(|| IdError {
            what: "fragment id",
            text: text.to_owned(),
            reason: "want 19 digits, '-', 16 hex digits, of a merge '-' and 19 digits",
        })
    }
}

macro_rules! text_traits {
    ($($name:ident),*) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}
text_traits!(CommitId, FragmentId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_sort_by_revision_and_round_trip() {
        let a = FragmentId::new(Revision(9), u64::MAX);
        let b = FragmentId::new(Revision(10), 0);
        assert!(a < b && a.to_string() < b.to_string());
        assert_eq!(a.to_string().parse::<FragmentId>().unwrap(), a);
        let commit = CommitId::new(Revision(9), 7);
        assert_eq!(commit.to_string().parse::<CommitId>().unwrap(), commit);
    }

    #[test]
    fn a_following_id_sorts_behind() {
        for (nonce, revision, random) in
            [(7, 9, 0), (7, 9, u64::MAX), (u64::MAX, 9, 0), (u64::MAX, 9, 5), (7, 3, 1), (7, 11, 0)]
        {
            let first = FragmentId::new(Revision(9), nonce);
            let next = first.following(Revision(revision), random);
            assert!(next > first && next.revision() >= Revision(revision), "{first} {next}");
        }
    }

    #[test]
    fn a_merged_id_takes_the_place_of_its_inputs() {
        let last = FragmentId::new(Revision(9), 100);
        for next in [None, Some(FragmentId::new(Revision(10), 0)), Some(last.following(Revision(9), 1 << 30))] {
            for random in [0, 1, 1 << 24, u64::MAX] {
                let Some(merged) = last.merged(next.as_ref(), Revision(20), random) else {
                    panic!("no room between {last} and {next:?}")
                };
                assert!(merged > last && next.is_none_or(|next| merged < next), "{last} {merged} {next:?}");
                assert!(merged.to_string() > last.to_string());
                assert_eq!((merged.revision(), merged.made()), (Revision(9), Revision(20)));
                assert_eq!(merged.to_string().parse::<FragmentId>().unwrap(), merged);
                assert!(merged.is_merged() && !last.is_merged());
                // A merge of what was merged sorts behind that.
                let again = merged.merged(next.as_ref(), Revision(30), 0);
                assert!(again.is_none_or(|again| again > merged && next.is_none_or(|next| again < next)));
            }
        }
        let neighbour = FragmentId::new(Revision(9), 101);
        assert_eq!(last.merged(Some(&neighbour), Revision(20), 5), None);
        assert_eq!(FragmentId::new(Revision(9), u64::MAX).merged(None, Revision(20), 5), None);
    }

    #[test]
    fn what_is_no_stamp_is_refused() {
        for text in [
            "",
            "-",
            "1-2",
            "0000000000000000001-000000000000000G",
            "../../etc/passwd",
            "+000000000000000001-0000000000000000",
            "0000000000000000009-0000000000000001-0000000000000000009",
            "0000000000000000009-0000000000000001-",
            "0000000000000000009-0000000000000001-0000000000000000010-x",
        ] {
            assert!(text.parse::<FragmentId>().is_err(), "{text:?}");
            assert!(text.parse::<CommitId>().is_err(), "{text:?}");
        }
    }
}
