//! One client: order within a block, visibility, atomicity over collections.

use redkite_ingest::Error;
use redkite_types::ErrorKind;

use crate::plain::{Row, Write};
use crate::world::{FILMS, Stores, schema};

#[tokio::test]
async fn s09_nothing_is_visible_before_the_flush() {
    let stores = Stores::new().await;
    let (node, other) = (stores.node(1).await, stores.node(2).await);
    node.create(FILMS).await;
    let client = node.client();
    client.insert(&[(1, 10), (2, 20)]).await;
    for node in [&node, &other] {
        assert!(node.rows(FILMS).await.is_empty());
    }
    client.flush().await;
    for node in [&node, &other] {
        assert_eq!(node.rows(FILMS).await, [(1, 10), (2, 20)]);
    }
    client.delete(&[1]).await;
    client.upsert(&[(2, 21)]).await;
    for node in [&node, &other] {
        assert_eq!(node.rows(FILMS).await, [(1, 10), (2, 20)]);
    }
    client.flush().await;
    for node in [&node, &other] {
        assert_eq!(node.rows(FILMS).await, [(2, 21)]);
    }
}

#[tokio::test]
async fn s06_operations_of_one_block_take_effect_in_order() {
    use Write::{DeleteKeys, DeleteTags, Insert, Upsert};
    let insert = |tag| Insert(vec![(1, tag)]);
    let cases: [(&str, Vec<Write>, &[Row]); 10] = [
        ("insert, delete", vec![insert(1), DeleteKeys(vec![1])], &[]),
        ("insert, delete, insert", vec![insert(1), DeleteKeys(vec![1]), insert(2)], &[(1, 2)]),
        ("delete, insert", vec![DeleteKeys(vec![1]), insert(1)], &[(1, 1)]),
        ("insert twice", vec![insert(1), insert(2)], &[(1, 1), (1, 2)]),
        ("insert twice, upsert", vec![insert(1), insert(2), Upsert(vec![(1, 3)])], &[(1, 3)]),
        ("upsert twice", vec![Upsert(vec![(1, 1)]), Upsert(vec![(1, 2)])], &[(1, 2)]),
        ("upsert, insert", vec![Upsert(vec![(1, 1)]), insert(2)], &[(1, 1), (1, 2)]),
        ("insert, delete by filter", vec![insert(1), insert(5), DeleteTags(0, 3)], &[(1, 5)]),
        ("delete by filter, insert", vec![DeleteTags(0, 3), insert(1)], &[(1, 1)]),
        (
            "upsert, delete by filter, upsert",
            vec![Upsert(vec![(1, 1)]), DeleteTags(0, 9), Upsert(vec![(1, 2)])],
            &[(1, 2)],
        ),
    ];
    for old in [None, Some((1, 0))] {
        for (what, writes, want) in &cases {
            let node = Stores::new().await.node(1).await;
            node.create(FILMS).await;
            let client = node.client();
            let mut plain = crate::plain::Plain::default();
            if let Some(row) = old {
                client.insert(&[row]).await;
                client.flush().await;
                plain.apply(&Insert(vec![row]));
            }
            for write in writes {
                client.films(write.clone()).await;
                plain.apply(write);
            }
            client.flush().await;
            let rows = node.rows(FILMS).await;
            assert_eq!(rows, plain.sorted(), "{what} over {old:?}");
            if old.is_none() {
                assert_eq!(rows, *want, "{what}");
            }
        }
    }
}

#[tokio::test]
async fn s12_a_block_over_several_collections_is_one_atom() {
    let node = Stores::new().await.node(1).await;
    let names = ["a", "b", "c"];
    for name in names {
        node.create(name).await;
    }
    let client = node.client();
    for (tag, name) in names.iter().enumerate() {
        client.write(name, &Write::Insert(vec![(1, tag as i64)])).await.unwrap();
    }
    let first = client.flush().await;
    for (tag, name) in names.iter().enumerate() {
        assert_eq!(node.rows(name).await, [(1, tag as i64)]);
    }
    client.write("a", &Write::DeleteKeys(vec![1])).await.unwrap();
    client.write("b", &Write::Upsert(vec![(1, 7)])).await.unwrap();
    client.write("c", &Write::Insert(vec![(2, 8)])).await.unwrap();
    let second = client.flush().await;
    assert!(second > first);
    for name in names {
        assert_eq!(node.collection(name).await.head, second, "{name}");
    }
    assert!(node.rows("a").await.is_empty());
    assert_eq!(node.rows("b").await, [(1, 7)]);
    assert_eq!(node.rows("c").await, [(1, 2), (2, 8)]);
}

#[tokio::test]
async fn s40_deleting_what_does_not_exist_succeeds() {
    let node = Stores::new().await.node(1).await;
    node.create(FILMS).await;
    let client = node.client();
    client.delete(&[1, 2, 3]).await;
    client.films(Write::DeleteTags(0, 100)).await;
    client.flush().await;
    client.insert(&[(5, 5)]).await;
    client.flush().await;
    client.delete(&[4]).await;
    client.delete(&[6]).await;
    client.flush().await;
    client.delete(&[5]).await;
    client.flush().await;
    // Deleted already.
    client.delete(&[5]).await;
    client.flush().await;
    assert!(node.rows(FILMS).await.is_empty());
    assert_eq!(node.collection(FILMS).await.live_rows(), 0);
}

#[tokio::test]
async fn s40_a_delete_reaches_rows_of_many_fragments() {
    let node = Stores::new().await.node(1).await;
    node.create(FILMS).await;
    let client = node.client();
    for at in 0..300 {
        client.insert(&[(at, at % 10), (at + 1_000, 50)]).await;
        client.flush().await;
    }
    assert_eq!(node.fragments(FILMS).await, 300);
    // 300 changed entries do not fit one level of a transaction.
    client.films(Write::DeleteTags(0, 10)).await;
    client.upsert(&[(1_007, 51)]).await;
    client.flush().await;
    let mut want: Vec<_> = (1_000..1_300).map(|key| (key, if key == 1_007 { 51 } else { 50 })).collect();
    want.sort_unstable();
    assert_eq!(node.rows(FILMS).await, want);
}

#[tokio::test]
async fn a_flush_of_an_empty_block_is_nothing() {
    let node = Stores::new().await.node(1).await;
    node.create(FILMS).await;
    let client = node.client();
    let before = client.try_flush().await.unwrap();
    assert_eq!(before.ops, 0);
    client.insert(&[(1, 1)]).await;
    assert_eq!(client.try_flush().await.unwrap().ops, 1);
    let after = client.try_flush().await.unwrap();
    assert!(after.revision > before.revision && after.ops == 0);
}

#[tokio::test]
async fn operations_on_a_dropped_collection_are_dropped_and_the_others_stay() {
    let node = Stores::new().await.node(1).await;
    node.create("a").await;
    node.create("b").await;
    let client = node.client();
    client.write("a", &Write::Insert(vec![(1, 1)])).await.unwrap();
    client.write("b", &Write::Insert(vec![(2, 2)])).await.unwrap();
    node.drop_collection("a").await;
    node.create("a").await;
    let error = client.try_flush().await.unwrap_err();
    assert!(matches!(&error, Error::CollectionDropped { collection, ops: 1 } if collection == "a"), "{error}");
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(node.rows("b").await.is_empty());
    client.flush().await;
    // The one created since is another one.
    assert!(node.rows("a").await.is_empty());
    assert_eq!(node.rows("b").await, [(2, 2)]);
}

#[tokio::test]
async fn a_block_that_can_never_fit_is_discarded_and_says_so() {
    let node = Stores::new().await.node(1).await;
    let client = node.client();
    // Each of two fields' names alone takes half of what a transaction may hold.
    let mut schema = schema();
    schema.fields[1].name = "t".repeat(700_000);
    for name in ["a", "b"] {
        node.create_with(name, schema.clone(), &[]).await;
        client.write(name, &Write::Insert(vec![(1, 1)])).await.unwrap();
    }
    let error = client.try_flush().await.unwrap_err();
    assert!(matches!(error, Error::Discarded { .. }), "{error}");
    assert!(error.to_string().contains("discarded"), "{error}");
    assert_eq!(client.try_flush().await.unwrap().ops, 0);
}

#[tokio::test(start_paused = true)]
async fn s12_a_block_over_200_collections_is_one_atom() {
    let stores = Stores::new().await;
    let (node, other) = (stores.node(1).await, stores.node(2).await);
    let names: Vec<String> = (0..200).map(|number| format!("c{number}")).collect();
    let (client, rival) = (node.client(), other.client());
    for name in &names {
        node.create(name).await;
        client.write(name, &Write::Insert(vec![(1, 1), (2, 2)])).await.unwrap();
    }
    client.flush().await;
    for name in &names {
        client.write(name, &Write::Insert(vec![(3, 3)])).await.unwrap();
        client.write(name, &Write::DeleteKeys(vec![1])).await.unwrap();
    }
    // Somebody else commits to one of them just before: the block is worked out again, whole.
    node.meta.stop_at(crate::faulty_meta::Call::Commit);
    let flushing = tokio::spawn(async move { client.try_flush().await });
    node.meta.stopped().await;
    rival.write(&names[7], &Write::Upsert(vec![(1, 10)])).await.unwrap();
    rival.flush().await;
    assert_eq!(other.rows(&names[0]).await, [(1, 1), (2, 2)]);
    node.meta.resume();
    flushing.await.unwrap().unwrap();
    for name in &names {
        assert_eq!(other.rows(name).await, [(2, 2), (3, 3)], "{name}");
    }
}
