//! The horizon: no revision before it can be read any more.
//!
//! Raising it is the one decision that makes something garbage: what was dropped at or before the horizon is needed by
//! nobody from then on, so anybody may remove it, at any time, any number of times. It only rises. The transaction that
//! raises it compares what the decision rests on, and a reader of an old revision compares it in turn.

use bytes::Bytes;
use redkite_meta::keys::UserKeys;
use redkite_meta::{Compare, CompareOp, CompareTarget, KeyValue};
use redkite_types::Revision;

use crate::commit::floor_value;
use crate::{Error, Result};

/// The oldest revision that can be read, and from when it is.
///
/// Stored as the zero-padded revision, a space and the milliseconds since 1970, so that comparing bytes compares
/// revisions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Horizon {
    /// The revision.
    pub revision: Revision,
    /// States before this time cannot be read either; milliseconds since 1970.
    pub time_ms: u64,
}

impl Horizon {
    /// As it is stored.
    pub fn value(&self) -> String {
        format!("{} {}", floor_value(self.revision), self.time_ms)
    }

    /// From what is stored.
    pub fn read(kv: &KeyValue) -> Result<Self> {
        let text = std::str::from_utf8(&kv.value).unwrap_or_default();
        let parse = || {
            let (revision, time) = text.split_once(' ')?;
            Some(Self { revision: Revision(revision.parse().ok()?), time_ms: time.parse().ok()? })
        };
        parse().ok_or_else(|| Error::Damaged {
            what: kv.key.clone(),
            detail: format!("want a revision and a time, found {text:?}"),
        })
    }
}

/// The horizon is not above `revision`.
pub(crate) fn allows(keys: &UserKeys, revision: Revision) -> Compare {
    let above = floor_value(revision.next());
    Compare { key: keys.horizon(), op: CompareOp::Less, target: CompareTarget::Value(Bytes::from(above)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_compare_as_revisions() {
        let at = |revision, time_ms| Horizon { revision: Revision(revision), time_ms };
        assert!(at(9, 999).value() < floor_value(Revision(10)));
        assert!(at(10, 0).value() > floor_value(Revision(10)));
        let kv = KeyValue {
            key: "k".into(),
            value: at(7, 5).value().into(),
            create_revision: Revision(1),
            mod_revision: Revision(1),
            version: 1,
            lease: None,
        };
        assert_eq!(Horizon::read(&kv).unwrap(), at(7, 5));
    }
}
