//! Queries and counts against plain rows.

use std::collections::BTreeMap;

use rand::RngExt as _;
use redkite_testkit::Seeded;

use crate::asking::{ask, ask_page, count_of, try_ask};
use crate::plain::{Plain, Row, Write};
use crate::world::{FILMS, Stores};

/// Whether a filter selects a row.
type Wanted<'a> = &'a dyn Fn(&Row) -> bool;

/// Of rows with one key the newest, by key.
fn shown(rows: &[Row]) -> Vec<Row> {
    rows.iter().copied().collect::<BTreeMap<_, _>>().into_iter().collect()
}

#[tokio::test]
async fn s07_what_was_flushed_is_in_every_later_query() {
    let stores = Stores::new().await;
    let (a, b) = (stores.node(1).await, stores.node(2).await);
    a.create(FILMS).await;
    let client = a.client();
    for key in 0..20 {
        client.insert(&[(key, key)]).await;
        assert_eq!(count_of(&a, FILMS, "").await, key as u64, "s09: not before the flush");
        client.flush().await;
        for node in [&a, &b] {
            assert_eq!(ask(node, FILMS, &format!("id == {key}")).await, [(key, key)]);
            assert_eq!(count_of(node, FILMS, "").await, key as u64 + 1);
        }
    }
}

#[tokio::test]
async fn answers_are_ordered_by_key_and_cut_into_pages() {
    let node = Stores::new().await.node(1).await;
    node.create(FILMS).await;
    let client = node.client();
    for start in [30, 10, 0, 20] {
        client.insert(&(start..start + 10).rev().map(|key| (key, key % 3)).collect::<Vec<_>>()).await;
        client.flush().await;
    }
    let all: Vec<Row> = (0..40).map(|key| (key, key % 3)).collect();
    assert_eq!(ask(&node, FILMS, "").await, all);
    for (offset, limit) in [(0, 7), (7, 7), (35, 10), (40, 1), (100, 5), (0, 0), (39, 1)] {
        let end = (offset + limit).min(40);
        let want = all.get(offset.min(end)..end).unwrap_or_default();
        assert_eq!(ask_page(&node, FILMS, "", offset, Some(limit)).await, want, "{offset} {limit}");
    }
    assert_eq!(ask_page(&node, FILMS, "tag == 1", 2, Some(3)).await, [(7, 1), (10, 1), (13, 1)]);
    assert_eq!(ask_page(&node, FILMS, "id in [39, 5, 5, 100, -1]", 0, None).await, [(5, 2), (39, 0)]);
    assert_eq!(ask(&node, FILMS, "id in [39, 5] and tag == 0").await, [(39, 0)]);
    assert_eq!(count_of(&node, FILMS, "tag == 1").await, 13);
    assert_eq!(count_of(&node, FILMS, "id < 5 and tag == 1").await, 2);
    assert_eq!(count_of(&node, FILMS, "1 == 2").await, 0);
}

#[tokio::test]
async fn of_rows_with_one_key_the_newest_is_shown() {
    for soft in [1, 1 << 30] {
        let options = redkite_ingest::IngestOptions { memory_soft_bytes: soft, ..Default::default() };
        let node = Stores::new().await.node_with(1, options).await;
        node.create(FILMS).await;
        let client = node.client();
        for tag in 0..30 {
            // Some of one request, some of one block, some of one client.
            client.insert(&[(1, tag * 2), (1, tag * 2 + 1)]).await;
            if tag % 5 == 0 {
                client.flush().await;
            }
        }
        client.flush().await;
        assert_eq!(ask(&node, FILMS, "").await, [(1, 59)]);
        assert_eq!(ask(&node, FILMS, "tag < 31").await, [(1, 30)]);
        assert_eq!(ask_page(&node, FILMS, "", 0, Some(1)).await, [(1, 59)]);
        // Every row counts.
        assert_eq!(count_of(&node, FILMS, "").await, 60);
        assert_eq!(count_of(&node, FILMS, "id == 1").await, 60);
        client.delete(&[1]).await;
        client.flush().await;
        assert_eq!((ask(&node, FILMS, "").await, count_of(&node, FILMS, "").await), (vec![], 0));
    }
}

#[tokio::test]
async fn s36_a_query_keeps_to_its_revision() {
    let node = Stores::new().await.node(1).await;
    node.create(FILMS).await;
    let client = node.client();
    client.insert(&[(1, 1), (2, 2)]).await;
    client.flush().await;
    let before = node.collection(FILMS).await;
    client.delete(&[1]).await;
    client.upsert(&[(2, 3), (4, 4)]).await;
    client.flush().await;
    let between = node.collection(FILMS).await;
    node.drop_collection(FILMS).await;
    node.create(FILMS).await;
    assert_eq!(try_ask(&node, &before, "", 0, None).await.unwrap(), [(1, 1), (2, 2)]);
    assert_eq!(try_ask(&node, &between, "", 0, None).await.unwrap(), [(2, 3), (4, 4)]);
    assert!(ask(&node, FILMS, "").await.is_empty());
}

#[tokio::test]
async fn s35_files_are_only_ever_added() {
    let stores = Stores::new().await;
    let node = stores.node(1).await;
    node.create(FILMS).await;
    let client = node.client();
    let mut known = Vec::new();
    for round in 0..5 {
        client.upsert(&[(1, round), (round, 7)]).await;
        client.films(Write::DeleteTags(3, 4)).await;
        client.flush().await;
        let files = stores.data.list("").await.unwrap();
        assert!(known.iter().all(|file| files.contains(file)) && files.len() > known.len());
        assert!(files.iter().all(|file| file.path.starts_with("u/films/data/")));
        known = files;
    }
}

#[tokio::test]
async fn hundreds_of_fragments_are_one_collection() {
    let node = Stores::new().await.node(1).await;
    node.create(FILMS).await;
    let client = node.client();
    let mut plain = Plain::default();
    for round in 0..250 {
        let write = match round % 10 {
            3 => Write::Upsert(vec![(round - 1, round), (round, round)]),
            7 => Write::DeleteKeys(vec![round - 3, round - 6]),
            _ => Write::Insert(vec![(round, round), (round % 17, round)]),
        };
        plain.apply(&write);
        client.films(write).await;
        client.flush().await;
    }
    assert!(node.fragments(FILMS).await >= 200);
    assert_eq!(ask(&node, FILMS, "").await, shown(&plain.0));
    assert_eq!(count_of(&node, FILMS, "").await, plain.0.len() as u64);
    let large: Vec<Row> = plain.0.iter().copied().filter(|(_, tag)| *tag > 200).collect();
    assert_eq!(ask(&node, FILMS, "tag > 200").await, shown(&large));
}

#[tokio::test]
async fn random_rows_are_found_as_a_plain_search_finds_them() {
    for seed in 0..60 {
        let mut random = Seeded::from_seed(seed);
        let node = Stores::new().await.node(1).await;
        node.create(FILMS).await;
        let client = node.client();
        let mut plain = Plain::default();
        let mut tag = 0;
        for _ in 0..random.rng.random_range(1..6) {
            for _ in 0..random.rng.random_range(1..4) {
                let kind = tag % 3;
                let mut row = || {
                    tag += 1;
                    (random.rng.random_range(-5..15), tag)
                };
                let write = match kind {
                    0 => Write::DeleteTags(row().0, row().0 + 4),
                    1 => Write::Insert((0..6).map(|_| row()).collect()),
                    _ => Write::Upsert(vec![row()]),
                };
                plain.apply(&write);
                client.films(write).await;
            }
            client.flush().await;
        }
        for _ in 0..6 {
            let (low, high) = (random.rng.random_range(-6..16), random.rng.random_range(-6..16));
            let in_tags = random.rng.random_range(0..tag + 1);
            let checks: [(String, Wanted<'_>); 4] = [
                (format!("id >= {low} and id < {high}"), &|row| row.0 >= low && row.0 < high),
                (format!("id in [{low}, {high}]"), &|row| row.0 == low || row.0 == high),
                (format!("id == {low} or tag > {in_tags}"), &|row| row.0 == low || row.1 > in_tags),
                (format!("id in [{low}, {high}] and tag <= {in_tags}"), &|row| {
                    (row.0 == low || row.0 == high) && row.1 <= in_tags
                }),
            ];
            for (text, wanted) in checks {
                let rows: Vec<Row> = plain.0.iter().copied().filter(|row| wanted(row)).collect();
                let all = shown(&rows);
                assert_eq!(ask(&node, FILMS, &text).await, all, "{text}");
                assert_eq!(count_of(&node, FILMS, &text).await, rows.len() as u64, "{text}");
                let (offset, limit) = (random.rng.random_range(0..4), random.rng.random_range(0..6));
                let page: Vec<Row> = all.into_iter().skip(offset).take(limit).collect();
                assert_eq!(ask_page(&node, FILMS, &text, offset, Some(limit)).await, page, "{text}");
            }
        }
    }
}
