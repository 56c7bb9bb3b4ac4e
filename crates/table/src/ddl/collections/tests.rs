//! Segments of collections.

use super::*;

#[test]
fn a_unique_segment_is_never_longer_than_a_name_may_be() {
    let id = CollectionId(i64::MAX);
    assert_eq!(unique_segment("films", id), format!("films.{id}"));
    let longest = unique_segment(&"f".repeat(limits::NAME_BYTES_MAX), id);
    assert_eq!(longest.len(), limits::NAME_BYTES_MAX);
    assert!(longest.ends_with(&format!("f.{id}")));
    // Two bytes each: the cut falls between characters.
    assert!(unique_segment(&"ü".repeat(127), id).len() <= limits::NAME_BYTES_MAX);
}
