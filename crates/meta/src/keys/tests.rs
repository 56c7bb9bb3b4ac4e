use super::*;

#[test]
fn what_a_key_says_has_a_term() {
    let keys = UserKeys::new(&UserName::new("alice").unwrap());
    let (cluster, commit) = (ClusterId::new("c1").unwrap(), CommitId::new(Revision(3), 4));
    let (node, incarnation) = (NodeId(1), Incarnation(2));
    let check = |key: String, want: Option<Term>| assert_eq!(keys.term(&key), want, "{key}");
    for key in [keys.collection_list(), keys.head(), keys.schema("a"), keys.collection_head("a"), keys.data("a", "b/c")]
    {
        check(key, Some(Term::Lasting));
    }
    for key in [keys.config(&cluster), keys.property(&cluster), keys.store(), keys.tombstone("a", &commit, "record")] {
        check(key, Some(Term::Lasting));
    }
    check(keys.collection_tombstone(CollectionId(7)), Some(Term::Lasting));
    for key in [keys.commit(&commit), keys.flush(b"x"), keys.client(5)] {
        check(key, Some(Term::Day));
    }
    let pin = keys.pin(&cluster, node, incarnation, Revision(9));
    for key in [keys.intent("a"), keys.node(&cluster, node, incarnation), pin, keys.pins_head()] {
        check(key, Some(Term::Process));
    }
    for key in [keys.base(), keys.id_floor(), keys.horizon(), keys.auto_id(), keys.claim()] {
        check(key, Some(Term::Store));
    }
    for key in ["/alice/.hologram", "/alice/hologram", "/alice/a/hologram", "/bob/.head", USER_LIST] {
        check(key.to_owned(), None);
    }
}

#[test]
fn all_but_the_base_is_just_that() {
    let keys = UserKeys::new(&UserName::new("alice").unwrap());
    let ranges = keys.all_but_base();
    let contains = |key: &str| ranges.iter().any(|range| range.contains(key));
    for key in [keys.head(), keys.claim(), keys.store(), keys.collection_list(), keys.schema("z")] {
        assert!(contains(&key), "{key}");
    }
    for key in [keys.base(), USER_LIST.to_owned(), "/alice-2/.head".to_owned(), "/alice0".to_owned()] {
        assert!(!contains(&key), "{key}");
    }
}

#[test]
fn keys_parse_back() {
    let keys = UserKeys::new(&UserName::new("alice").unwrap());
    let check = |key: String, want: UserKey<'_>| assert_eq!(keys.parse(&key), Some(want), "{key}");
    check(keys.collection_list(), UserKey::CollectionList);
    check(keys.head(), UserKey::Head);
    check(keys.schema("films"), UserKey::Schema { segment: "films" });
    check(keys.collection_head("films.7"), UserKey::CollectionHead { segment: "films.7" });
    check(keys.data("films", "f1/v100.arrow"), UserKey::Data { segment: "films", path: "f1/v100.arrow" });
    check(keys.schema("config"), UserKey::Schema { segment: "config" });
    check(keys.config(&ClusterId::new("c1").unwrap()), UserKey::Cluster);
    check(keys.property(&ClusterId::new("c1").unwrap()), UserKey::Cluster);
    check(keys.flush(b"a/b"), UserKey::Bookkeeping);
    check(keys.collection_tombstone(CollectionId(7)), UserKey::CollectionTombstone);
    let commit = CommitId::new(Revision(3), 4);
    check(keys.tombstone("films.7", &commit, "anchors"), UserKey::Tombstone { segment: "films.7" });
    check(keys.pin(&ClusterId::new("c1").unwrap(), NodeId(1), Incarnation(2), Revision(9)), UserKey::Bookkeeping);
    check(keys.store(), UserKey::Bookkeeping);
    check(keys.base(), UserKey::Bookkeeping);
    check(keys.claim(), UserKey::Bookkeeping);
    assert_eq!(keys.parse("/bob/collection_list"), None);
}
