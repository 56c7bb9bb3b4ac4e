//! Changes of the catalog that meet: two of them, on two nodes, interleaved at every call to the metadata store, come to what
//! one of the two orders comes to.

use std::collections::BTreeMap;

use redkite_table::{Result, Visibility};
use redkite_types::ErrorKind;

use crate::world::{Node, Stores, collection, vector_index};

const FILMS: &str = "films";
const MOVIES: &str = "movies";

#[derive(Debug, Clone, Copy)]
enum Change {
    Create(&'static str),
    Drop(&'static str),
    Rename(&'static str, &'static str),
    SetProperty(&'static str),
    CreateIndex(&'static str),
}

const CHANGES: [Change; 8] = [
    Change::Create(FILMS),
    Change::Create(MOVIES),
    Change::Drop(FILMS),
    Change::Drop(MOVIES),
    Change::Rename(FILMS, MOVIES),
    Change::Rename(MOVIES, FILMS),
    Change::SetProperty(FILMS),
    Change::CreateIndex(FILMS),
];

/// What a test can see of a collection: whether it has the property, and the index.
type Seen = BTreeMap<String, (bool, bool)>;

impl Change {
    async fn run(self, node: Node) -> Result<()> {
        let database = &node.database;
        match self {
            Change::Create(name) => database.create_collection(collection(name, 2)).await.map(|_| ()),
            Change::Drop(name) => database.drop_collection(name).await.map(|_| ()),
            Change::Rename(name, new) => database.rename_collection(name, new).await.map(|_| ()),
            Change::SetProperty(name) => {
                let set = BTreeMap::from([("x".to_owned(), "1".to_owned())]);
                database.alter_properties(name, &set, &[]).await.map(|_| ())
            }
            Change::CreateIndex(name) => database.create_index(name, vector_index()).await.map(|_| ()),
        }
    }

    /// What it means.
    fn apply(self, seen: &mut Seen) -> std::result::Result<(), ErrorKind> {
        match self {
            Change::Create(name) => match seen.get(name) {
                None => _ = seen.insert(name.to_owned(), (false, false)),
                // Created exactly so already: that is told by schema and properties.
                Some((false, _)) => {}
                Some(_) => return Err(ErrorKind::Exists),
            },
            Change::Drop(name) => _ = seen.remove(name),
            Change::Rename(name, new) => {
                if !seen.contains_key(name) {
                    return Err(ErrorKind::NotFound);
                }
                if seen.contains_key(new) {
                    return Err(ErrorKind::Exists);
                }
                if let Some(collection) = seen.remove(name) {
                    seen.insert(new.to_owned(), collection);
                }
            }
            Change::SetProperty(name) => seen.get_mut(name).ok_or(ErrorKind::NotFound)?.0 = true,
            Change::CreateIndex(name) => seen.get_mut(name).ok_or(ErrorKind::NotFound)?.1 = true,
        }
        Ok(())
    }
}

async fn seen(node: &Node) -> Seen {
    let catalog = node.database.snapshot(Visibility::Strong).await.unwrap();
    let live = catalog.live_collections().unwrap();
    let seen: Seen = live
        .iter()
        .map(|(name, collection)| {
            let record = collection.record().unwrap();
            assert_eq!(record.name_in(&collection.segment), *name, "the record knows what the collection is called");
            ((*name).to_owned(), (!record.properties.is_empty(), !record.indexes.is_empty()))
        })
        .collect();
    assert_eq!(seen.len(), catalog.names.len());
    seen
}

/// `first` stops before its n-th call, `second` before its m-th; then the first goes on, and then the second.
async fn meet(before: &[Change], first: Change, second: Change, n: usize, m: usize) -> (bool, bool) {
    let what = format!("{before:?}, then {first:?} stopped before {n} and {second:?} before {m}");
    let stores = Stores::new();
    let (observer, a, b) = (stores.node(9).await, stores.node(1).await, stores.node(2).await);
    let mut start = Seen::new();
    for change in before {
        change.run(observer.clone()).await.unwrap();
        change.apply(&mut start).unwrap();
    }
    a.meta.stop_before(n);
    let one = tokio::spawn(first.run(a.clone()));
    let a_stopped = a.meta.stopped_or_ended(&one).await;
    b.meta.stop_before(m);
    let other = tokio::spawn(second.run(b.clone()));
    let b_stopped = b.meta.stopped_or_ended(&other).await;
    let kind = |result: Result<()>| result.map_err(|error| error.kind());
    a.meta.stop_never();
    a.meta.resume();
    let one = kind(one.await.unwrap());
    b.meta.stop_never();
    b.meta.resume();
    let other = kind(other.await.unwrap());
    let found = (one, other, seen(&observer).await);
    let serial = |first_first: bool| {
        let mut seen = start.clone();
        let (one, other);
        if first_first {
            one = first.apply(&mut seen);
            other = second.apply(&mut seen);
        } else {
            other = second.apply(&mut seen);
            one = first.apply(&mut seen);
        }
        (one, other, seen)
    };
    assert!(found == serial(true) || found == serial(false), "{what}: {found:?}");
    (a_stopped, b_stopped)
}

#[tokio::test(start_paused = true)]
async fn two_changes_that_meet_come_to_what_one_order_comes_to() {
    let befores: [&[Change]; 3] =
        [&[], &[Change::Create(FILMS)], &[Change::Create(FILMS), Change::CreateIndex(FILMS), Change::Create(MOVIES)]];
    for before in befores {
        for first in CHANGES {
            for second in CHANGES {
                for n in 1.. {
                    let mut stopped = false;
                    for m in 1.. {
                        let (a, b) = meet(before, first, second, n, m).await;
                        stopped |= a;
                        if !b {
                            break;
                        }
                    }
                    if !stopped {
                        break;
                    }
                }
            }
        }
    }
}
