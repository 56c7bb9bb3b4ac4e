//! The collector against sorting everything.

use std::cmp::Ordering;
use std::ops::Bound;

use proptest::prelude::*;
use redkite_types::Metric;
use redkite_types::limits::{NQ_MAX, RESULT_WINDOW_MAX};

use super::{Hit, TIES_MAX, TopHits, TopK};
use crate::Window;

/// Best first, NaN last, ties by row.
fn compare(metric: Metric, a: &(f32, u64), b: &(f32, u64)) -> Ordering {
    let by_value = if metric.larger_is_better() { b.0.partial_cmp(&a.0) } else { a.0.partial_cmp(&b.0) };
    by_value.unwrap_or(a.0.is_nan().cmp(&b.0.is_nan())).then(a.1.cmp(&b.1))
}

fn model(metric: Metric, k: usize, ties_max: usize, rows: &[(f32, u64)]) -> TopHits {
    let mut rows = rows.to_vec();
    rows.sort_by(|a, b| compare(metric, a, b));
    let tied = |a: &(f32, u64), b: &(f32, u64)| compare(metric, &(a.0, 0), &(b.0, 0)).is_eq();
    let length = match k.checked_sub(1).and_then(|last| rows.get(last)) {
        Some(last) => k + rows[k..].iter().take_while(|row| tied(row, last)).count(),
        None => rows.len().min(k),
    };
    let hits = rows[..length.min(k + ties_max)].iter().map(|&(score, row)| Hit { score: score + 0.0, row }).collect();
    TopHits { hits, ties_overflowed: length > k + ties_max }
}

/// Comparable, NaN included.
fn plain(top: &TopHits) -> (Vec<(u32, u64)>, bool) {
    (top.hits.iter().map(|hit| (hit.score.to_bits(), hit.row)).collect(), top.ties_overflowed)
}

fn push_all(mut collector: TopK, rows: &[(f32, u64)]) -> TopK {
    for &(score, row) in rows {
        collector.push(score, row);
    }
    collector
}

/// Few distinct scores, so that ties abound.
fn any_score() -> impl Strategy<Value = f32> {
    prop_oneof![
        6 => (0i32..8).prop_map(|score| score as f32 / 2.0 - 1.0),
        3 => -10.0f32..10.0,
        1 => prop_oneof![Just(-0.0), Just(f32::NAN), Just(f32::INFINITY), Just(f32::NEG_INFINITY)],
    ]
}

fn any_bound() -> impl Strategy<Value = Bound<f32>> {
    let score = (0i32..8).prop_map(|score| score as f32 / 2.0 - 1.0);
    prop_oneof![Just(Bound::Unbounded), score.clone().prop_map(Bound::Included), score.prop_map(Bound::Excluded),]
}

fn within(metric: Metric, window: &Window, score: f32) -> bool {
    let order = |bound: f32| compare(metric, &(score, 0), &(bound, 0));
    let good_enough = match window.worst {
        Bound::Unbounded => true,
        Bound::Included(bound) => order(bound).is_le(),
        Bound::Excluded(bound) => order(bound).is_lt(),
    };
    let not_too_good = match window.best {
        Bound::Unbounded => true,
        Bound::Included(bound) => order(bound).is_ge(),
        Bound::Excluded(bound) => order(bound).is_gt(),
    };
    good_enough && not_too_good
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn equals_sorting_in_any_order_and_split(
        scores in proptest::collection::vec(any_score(), 0..700),
        metric in prop_oneof![Just(Metric::L2), Just(Metric::Ip)],
        (k, ties_max) in (0usize..40, 0usize..40),
        (best, worst) in (any_bound(), any_bound()),
        (seed, split) in (any::<u64>(), 0.0f64..1.0),
    ) {
        let window = Window { best, worst };
        let mut rows: Vec<(f32, u64)> = scores.iter().zip(0..).map(|(&score, row)| (score, row * 3)).collect();
        rows.sort_by_key(|&(_, row)| (row ^ seed).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let inside: Vec<_> = rows.iter().copied().filter(|&(score, _)| within(metric, &window, score)).collect();
        let expected = model(metric, k, ties_max, &inside);

        let empty = TopK::new(metric, k).with_ties_max(ties_max).within(window);
        let found = push_all(empty.clone(), &rows).into_sorted();
        prop_assert_eq!(plain(&found), plain(&expected));

        let (left, right) = rows.split_at((split * rows.len() as f64) as usize);
        let mut merged = push_all(empty.clone(), left);
        merged.merge(push_all(empty.clone(), right));
        prop_assert_eq!(plain(&merged.into_sorted()), plain(&expected));

        // As told by others, in another order.
        let told = |part: &[(f32, u64)]| {
            let mut told = push_all(empty.clone(), part).into_sorted();
            told.hits.sort_by_key(|hit| hit.row);
            told
        };
        for own in [left, &[][..]] {
            let mut absorbed = push_all(empty.clone(), own);
            if own.is_empty() {
                absorbed.absorb(&told(left).hits, told(left).ties_overflowed);
            }
            absorbed.absorb(&told(right).hits, told(right).ties_overflowed);
            prop_assert_eq!(plain(&absorbed.into_sorted()), plain(&expected));
        }

        let (scores, ids): (Vec<f32>, Vec<u32>) = rows.iter().map(|&(score, row)| (score, row as u32)).unzip();
        let mut offered = empty;
        for (scores, ids) in scores.chunks(64).zip(ids.chunks(64)) {
            offered.offer(scores, ids, 1_000);
        }
        let mut offered = offered.into_sorted();
        offered.hits.iter_mut().for_each(|hit| hit.row -= 1_000);
        prop_assert_eq!(plain(&offered), plain(&expected));
    }
}

#[test]
fn the_threshold_never_rejects_what_belongs() {
    let mut collector = TopK::new(Metric::Ip, 2);
    assert_eq!(collector.threshold(), None);
    for row in 0..1_000 {
        let score = (row % 97) as f32;
        assert!(collector.threshold().is_none_or(|threshold| threshold <= 96.0));
        collector.push(score, row);
    }
    assert_eq!(collector.threshold(), Some(96.0));
    assert_eq!(collector.into_sorted().hits.len(), 10, "rows 96, 193, .. all have the best score");
    assert_eq!(TopK::new(Metric::L2, 2).within(Window::range(4.0, None)).threshold(), Some(4.0f32.next_down()));
}

#[test]
fn collectors_are_small_until_used_and_bounded_after() {
    let collectors: Vec<TopK> = vec![TopK::new(Metric::L2, RESULT_WINDOW_MAX); NQ_MAX];
    assert!(collectors.iter().all(|collector| collector.kept.capacity() == 0));
    assert!(size_of::<TopK>() <= 128);
    // Every row tied: the worst case. Descending rows, so that each one displaces another.
    for k in [1, 10, 1_000] {
        let mut collector = TopK::new(Metric::L2, k);
        for row in (0..100_000).rev() {
            collector.push(1.0, row);
            assert!(collector.kept.len() <= (k + TIES_MAX) * 3 / 2 + k + 64);
        }
        let top = collector.into_sorted();
        assert!(top.ties_overflowed);
        assert_eq!(top.hits.len(), k + TIES_MAX);
        assert!(top.hits.iter().zip(0..).all(|(hit, row)| hit.row == row));
    }
}

#[test]
fn dropped_ties_are_forgotten_once_better_rows_come() {
    let mut collector = TopK::new(Metric::L2, 2).with_ties_max(1);
    (0..500).for_each(|row| collector.push(2.0, row));
    assert!(collector.clone().into_sorted().ties_overflowed);
    (500..502).for_each(|row| collector.push(1.0, row));
    let top = collector.into_sorted();
    assert!(!top.ties_overflowed);
    assert_eq!(top.hits, [Hit { score: 1.0, row: 500 }, Hit { score: 1.0, row: 501 }]);
}
