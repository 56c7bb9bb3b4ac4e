//! Exact searches against plain arithmetic; order of ties, duplicates, pages, windows.

use std::collections::BTreeMap;

use rand::RngExt as _;
use redkite_query::{Window, search};
use redkite_testkit::Seeded;
use redkite_types::Metric;

use crate::asking::{hits, nearest, request};
use crate::plain::{Plain, Row, Write};
use crate::world::{FILMS, Node, Stores};

async fn films(blocks: &[&[Row]]) -> Node {
    let node = Stores::new().await.node(1).await;
    node.create(FILMS).await;
    let client = node.client();
    for rows in blocks {
        client.insert(rows).await;
        client.flush().await;
    }
    node
}

fn score(metric: Metric, query: [f32; 2], row: &Row) -> f32 {
    let [x, y] = query.map(f64::from);
    let (a, b) = (row.0 as f64, row.1 as f64);
    let inner = x * a + y * b;
    (match metric {
        Metric::L2 => (x - a).powi(2) + (y - b).powi(2),
        Metric::Ip => inner,
        _ => match ((x * x + y * y) * (a * a + b * b)).sqrt() {
            0.0 => 0.0,
            norm => inner / norm,
        },
    }) as f32
}

/// The best row of each key; of equally good ones the last. By score, then key.
fn best(metric: Metric, query: [f32; 2], rows: &[Row]) -> Vec<(f32, i64, i64)> {
    let sign = if metric.larger_is_better() { -1.0 } else { 1.0 };
    let mut of_key: BTreeMap<i64, (f32, i64)> = BTreeMap::new();
    for row in rows {
        let score = score(metric, query, row);
        let known = of_key.entry(row.0).or_insert((score, row.1));
        if sign * score <= sign * known.0 {
            *known = (score, row.1);
        }
    }
    let mut all: Vec<_> = of_key.into_iter().map(|(key, (score, tag))| (score, key, tag)).collect();
    all.sort_by(|a, b| (sign * a.0 + 0.0).total_cmp(&(sign * b.0 + 0.0)).then(a.1.cmp(&b.1)));
    all
}

#[tokio::test]
async fn random_rows_are_found_as_plain_arithmetic_finds_them() {
    for seed in 0..40 {
        let mut random = Seeded::from_seed(seed);
        let node = films(&[]).await;
        let client = node.client();
        let mut plain = Plain::default();
        for _ in 0..random.rng.random_range(1..8) {
            let row = |random: &mut Seeded| (random.rng.random_range(-4..12), random.rng.random_range(-3..4));
            let write = match random.rng.random_range(0..6) {
                0 => Write::DeleteKeys(vec![row(&mut random).0]),
                1 => Write::Upsert(vec![row(&mut random)]),
                _ => Write::Insert((0..8).map(|_| row(&mut random)).collect()),
            };
            plain.apply(&write);
            client.films(write).await;
            client.flush().await;
        }
        let collection = node.collection(FILMS).await;
        let queries: Vec<[f32; 2]> =
            (0..5).map(|_| [random.rng.random_range(-4..9) as f32, random.rng.random_range(-4..4) as f32]).collect();
        for metric in [Metric::L2, Metric::Ip, Metric::Cosine] {
            let (offset, limit) = (random.rng.random_range(0..5), random.rng.random_range(0..12));
            let low = random.rng.random_range(-5..5);
            for text in ["", &format!("tag >= {low}")] {
                let rows: Vec<Row> = plain.0.iter().copied().filter(|row| text.is_empty() || row.1 >= low).collect();
                let mut asked = request(&collection, metric, &queries, text, limit);
                asked.offset = offset;
                let found = hits(&search(&node.database, asked).await.unwrap());
                assert_eq!(found.len(), queries.len());
                for (query, found) in queries.iter().zip(found) {
                    let want: Vec<_> = best(metric, *query, &rows).into_iter().skip(offset).take(limit).collect();
                    let rounded = |hits: &[(f32, i64, i64)]| -> Vec<(i64, i64)> {
                        hits.iter().map(|(score, key, _)| ((score * 1e5).round() as i64, *key)).collect()
                    };
                    // Cosines that differ by rounding alone may change places; integers cannot.
                    if metric == Metric::Cosine {
                        let scores = |hits: &[(f32, i64, i64)]| -> Vec<i64> {
                            hits.iter().map(|(score, ..)| (score * 1e5).round() as i64).collect()
                        };
                        assert_eq!(scores(&found), scores(&want), "seed {seed}, {query:?} {text:?}");
                    } else {
                        assert_eq!(rounded(&found), rounded(&want), "seed {seed}, {metric} {query:?} {text:?}");
                    }
                }
            }
        }
    }
}

#[tokio::test]
async fn ties_are_ordered_by_key_over_all_fragments() {
    let node = films(&[&[(9, 0), (-3, 4)], &[(5, 0), (3, 4)], &[(4, 3), (-5, 0), (0, 5)]]).await;
    let found = nearest(&node, FILMS, Metric::L2, [0.0, 0.0], "", 10).await;
    let keys: Vec<i64> = found.iter().map(|(_, key, _)| *key).collect();
    assert_eq!(keys, [-5, -3, 0, 3, 4, 5, 9]);
    let found = nearest(&node, FILMS, Metric::L2, [0.0, 0.0], "", 3).await;
    assert_eq!(found.iter().map(|(_, key, _)| *key).collect::<Vec<_>>(), [-5, -3, 0]);
}

/// More rows tie than a scan keeps at first.
#[tokio::test]
async fn thousands_of_ties_are_ordered_by_key() {
    // At the inner product with (0, 1) only the tag counts.
    let rows: Vec<Row> = (0..9_000).rev().map(|key| (key, 1)).collect();
    let node = films(&[&rows[..5_000], &rows[5_000..], &[(20_000, 2), (20_001, 0)]]).await;
    let found = nearest(&node, FILMS, Metric::Ip, [0.0, 1.0], "", 11).await;
    let keys: Vec<i64> = found.iter().map(|(_, key, _)| *key).collect();
    assert_eq!(keys, [20_000, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
}

#[tokio::test]
async fn of_rows_with_one_key_the_best_is_found_and_others_fill_up() {
    let mut rows: Vec<Row> = (0..500).map(|tag| (1, tag)).collect();
    rows.extend([(2, 600), (3, 700), (4, 800)]);
    let node = films(&[&rows, &[(2, 601), (1, 0)]]).await;
    let found = nearest(&node, FILMS, Metric::L2, [1.0, 0.0], "", 3).await;
    assert_eq!(found.iter().map(|(_, key, tag)| (*key, *tag)).collect::<Vec<_>>(), [(1, 0), (2, 600), (3, 700)]);
    assert_eq!(nearest(&node, FILMS, Metric::L2, [1.0, 0.0], "", 100).await.len(), 4);
    let offset = {
        let mut asked = request(&node.collection(FILMS).await, Metric::L2, &[[1.0, 0.0]], "", 2);
        asked.offset = 1;
        hits(&search(&node.database, asked).await.unwrap()).remove(0)
    };
    assert_eq!(offset.iter().map(|(_, key, _)| *key).collect::<Vec<_>>(), [2, 3]);
}

#[tokio::test]
async fn several_queries_are_answered_apart() {
    let node = films(&[&[(0, 0), (10, 0)], &[(20, 0)]]).await;
    let collection = node.collection(FILMS).await;
    let queries = [[19.0, 0.0], [1.0, 0.0], [9.0, 0.0]];
    let found = hits(&search(&node.database, request(&collection, Metric::L2, &queries, "", 1)).await.unwrap());
    assert_eq!(found, [vec![(1.0, 20, 0)], vec![(1.0, 0, 0)], vec![(1.0, 10, 0)]]);
    let none = search(&node.database, request(&collection, Metric::L2, &queries, "id > 99", 1)).await.unwrap();
    assert_eq!((none.counts, none.scores.len()), (vec![0, 0, 0], 0));
}

#[tokio::test]
async fn a_window_bounds_the_scores() {
    let node = films(&[&[(0, 0), (1, 0), (2, 0)], &[(3, 0), (4, 0)]]).await;
    let mut asked = request(&node.collection(FILMS).await, Metric::L2, &[[0.0, 0.0]], "", 10);
    asked.window = Window::range(9.0, Some(1.0));
    let found = hits(&search(&node.database, asked).await.unwrap()).remove(0);
    assert_eq!(found.iter().map(|(score, ..)| *score).collect::<Vec<_>>(), [1.0, 4.0]);
}

#[tokio::test]
async fn an_empty_collection_has_no_hits() {
    let node = films(&[]).await;
    assert!(nearest(&node, FILMS, Metric::L2, [0.0, 0.0], "", 5).await.is_empty());
    let client = node.client();
    client.insert(&[(1, 1)]).await;
    client.flush().await;
    client.delete(&[1]).await;
    client.flush().await;
    assert!(nearest(&node, FILMS, Metric::L2, [0.0, 0.0], "", 5).await.is_empty());
}

#[tokio::test]
async fn queries_that_do_not_fit_the_field_are_refused() {
    let node = films(&[&[(1, 1)]]).await;
    let collection = node.collection(FILMS).await;
    let mut asked = request(&collection, Metric::L2, &[[0.0, 0.0]], "", 5);
    asked.queries = vec![0; 12].into();
    let error = search(&node.database, asked).await.unwrap_err();
    assert_eq!(error.kind(), redkite_types::ErrorKind::Invalid, "{error}");
    let asked = request(&collection, Metric::Hamming, &[[0.0, 0.0]], "", 5);
    let error = search(&node.database, asked).await.unwrap_err();
    assert_eq!(error.kind(), redkite_types::ErrorKind::Invalid, "{error}");
}
