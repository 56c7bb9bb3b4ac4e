//! What a named flush hears of an earlier one.

use redkite_table::entry::FORMAT;

use super::*;

fn outcome(committed: bool, digest: u128) -> entry::Outcome {
    entry::Outcome { format: FORMAT, committed, commit: None, digest: Some(format!("{digest:032x}")) }
}

#[test]
fn an_earlier_outcome_is_told_to_the_same_block_only() {
    let named = NamedFlush { name: b"n\xff".to_vec(), digest: 7 };
    let heard = |outcome| named_before(Some(&named), &outcome, Revision(5));
    assert_eq!(heard(outcome(true, 7)).unwrap(), Revision(5));
    assert!(matches!(heard(outcome(true, 8)), Err(Error::FlushNameReused { .. })));
    assert!(matches!(heard(outcome(false, 7)), Err(Error::FlushNotCommitted)));
    // An outcome that does not say for which block it is cannot be taken for this one's.
    let nameless = entry::Outcome { digest: None, ..outcome(true, 7) };
    assert!(matches!(heard(nameless), Err(Error::FlushNameReused { .. })));
}

#[test]
fn only_what_can_never_succeed_discards_the_block() {
    let limit = || redkite_table::Error::LimitReached { what: "rows", limit: 1, advice: "flush more often" };
    assert!(matches!(Failure::from(limit()), Failure::Discard(_)));
    assert!(matches!(Failure::from(Error::UploadsCollected), Failure::Discard(_)));
    let passing = redkite_table::Error::Contended { what: "c".into() };
    assert!(matches!(Failure::from(passing), Failure::Keep(_)));
}
