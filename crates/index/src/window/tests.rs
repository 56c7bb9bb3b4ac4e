//! Ranks order scores; windows cut where Milvus's range parameters say.

use std::ops::Bound;

use super::{Order, Window};

const BY_VALUE: [f32; 9] =
    [f32::NEG_INFINITY, f32::MIN, -1.0, -f32::MIN_POSITIVE, 0.0, f32::MIN_POSITIVE, 1.0, f32::MAX, f32::INFINITY];

#[test]
fn ranks_order_scores_and_come_back() {
    for order in [Order::SmallerFirst, Order::LargerFirst] {
        let mut scores = BY_VALUE.to_vec();
        if order == Order::LargerFirst {
            scores.reverse();
        }
        scores.push(f32::NAN);
        assert!(scores.windows(2).all(|pair| order.rank(pair[0]) < order.rank(pair[1])), "{order:?}");
        for score in scores {
            assert_eq!(order.score(order.rank(score)).to_bits(), score.to_bits(), "{order:?} {score}");
        }
        assert_eq!(order.rank(-0.0), order.rank(0.0));
        assert_eq!(order.score(order.rank(-0.0)).to_bits(), 0.0f32.to_bits());
        assert_eq!(order.rank(-f32::NAN), u32::MAX);
    }
}

#[test]
fn windows_contain() {
    let any = Window::default();
    let crossed = Window { best: Bound::Included(2.0), worst: Bound::Included(1.0) };
    let one = Window { best: Bound::Included(1.0), worst: Bound::Included(1.0) };
    let (small, large) = (Order::SmallerFirst, Order::LargerFirst);
    let cases: &[(Window, Order, &[f32], &[f32])] = &[
        (any, small, &[f32::NEG_INFINITY, 0.0, f32::INFINITY, f32::NAN], &[]),
        // Distances: range_filter <= d < radius.
        (Window::range(2.0, None), small, &[-1.0, 0.0, 1.999_999_9], &[2.0, 3.0, f32::NAN]),
        (Window::range(2.0, Some(1.0)), small, &[1.0, 1.5, 1.999_999_9], &[0.999_999_94, 0.0, 2.0]),
        // Similarities: radius < s <= range_filter.
        (Window::range(1.0, None), large, &[1.000_000_1, 2.0, f32::INFINITY], &[1.0, 0.5, f32::NAN]),
        (Window::range(1.0, Some(2.0)), large, &[1.000_000_1, 2.0], &[1.0, 2.000_000_2]),
        // Iteration: strictly worse than the last.
        (Window::beyond(1.0), small, &[1.000_000_1, 5.0], &[1.0, 0.5]),
        (Window::beyond(1.0), large, &[0.999_999_94, -5.0], &[1.0, 1.5]),
        (Window::beyond(0.0), large, &[-f32::MIN_POSITIVE], &[0.0, -0.0]),
        (crossed, small, &[], &[0.0, 1.0, 1.5, 2.0, 3.0]),
        (one, large, &[1.0], &[0.999_999_94, 1.000_000_1]),
        (Window::beyond(f32::NAN), small, &[], &[0.0, f32::NAN]),
        (Window::range(f32::NAN, None), small, &[0.0, f32::INFINITY], &[f32::NAN]),
    ];
    for (window, order, inside, outside) in cases {
        let ranks = window.ranks(*order);
        for score in *inside {
            assert!(ranks.contains(&order.rank(*score)), "{score} is in {window:?} {order:?}");
        }
        for score in *outside {
            assert!(!ranks.contains(&order.rank(*score)), "{score} is not in {window:?} {order:?}");
        }
    }
}
