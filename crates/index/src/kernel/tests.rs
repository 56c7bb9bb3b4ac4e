//! Every variant against float64, against the scalar twin, and against itself in other company.

use proptest::prelude::*;
use redkite_types::Metric;

use super::{Kernels, Variant};
use crate::Element;
use crate::kernel::lanes::widen_f16;
use crate::reference::{ELEMENTS, Random, Task, agrees, encode, kernels, metrics, score, vectors};

/// Queries: a full tile and one that leaves groups of every size.
const QUERIES: usize = 15;
const ROWS: usize = 5;

/// Checks all variants on the given vectors.
fn check(metric: Metric, element: Element, dim: usize, queries: &[u8], rows: &[u8]) {
    let row_bytes = element.row_bytes(dim).unwrap();
    let task = |kernels| Task { kernels, metric, element, dim, queries, rows };
    let twin = task(Kernels::of(Variant::Scalar).unwrap()).scores(None);
    for kernels in kernels() {
        let what = || format!("{:?} {element} {metric} dim {dim}", kernels.variant());
        let all = task(kernels).scores(None);
        for (query, (scores, twins)) in queries.chunks(row_bytes).zip(all.iter().zip(&twin)) {
            for ((row, &(_, found)), &(_, plain)) in rows.chunks(row_bytes).zip(scores).zip(twins) {
                let expected = score(metric, element, query, row);
                assert!(agrees(found, expected), "{}: {found:e} instead of {expected:?}", what());
                if matches!(element, Element::I8 | Element::Bits) {
                    assert_eq!(found.to_bits(), plain.to_bits(), "{}: unlike the scalar twin", what());
                }
            }
        }
        let alone = |query: &[u8]| Task { queries: query, ..task(kernels) }.scores(None).remove(0);
        let each: Vec<_> = queries.chunks(row_bytes).map(alone).collect();
        assert_eq!(bits(&each), bits(&all), "{}: a query alone differs from one of many", what());
        let odd = task(kernels).scores(Some(&[0b01010]));
        let odd_of_all: Vec<Vec<_>> =
            all.iter().map(|scores| scores.iter().copied().filter(|(row, _)| row % 2 == 1).collect()).collect();
        assert_eq!(bits(&odd), bits(&odd_of_all), "{}: a masked scan differs", what());
    }
}

fn bits(scores: &[Vec<(u64, f32)>]) -> Vec<Vec<(u64, u32)>> {
    scores.iter().map(|scores| scores.iter().map(|&(row, score)| (row, score.to_bits())).collect()).collect()
}

#[test]
fn every_dimension() {
    for element in ELEMENTS {
        for dim in (1..=100).chain([127, 128, 384, 511, 768]) {
            let dim = if element == Element::Bits { dim * 8 } else { dim };
            let mut random = Random(dim as u64);
            let queries = vectors(element, QUERIES, dim, &mut random);
            // Rows begin at every offset within a word.
            let mut rows = vec![0; dim % 4];
            rows.extend(vectors(element, ROWS, dim, &mut random));
            for &metric in metrics(element) {
                check(metric, element, dim, &queries, &rows[dim % 4..]);
            }
        }
    }
}

#[test]
fn extremes_of_int8_are_exact() {
    for dim in [1, 31, 64, 32_768] {
        let low = vec![0x80; dim];
        let high = vec![0x7f; dim];
        let rows: Vec<u8> = [&low, &high, &low, &high, &low].into_iter().flatten().copied().collect();
        for &metric in metrics(Element::I8) {
            check(metric, Element::I8, dim, &low, &rows);
            check(metric, Element::I8, dim, &high, &rows);
        }
    }
}

#[test]
fn bits_of_zero_and_one() {
    for dim in [8, 64, 72, 1024, 262_144] {
        let (none, all) = (vec![0; dim / 8], vec![0xff; dim / 8]);
        let rows: Vec<u8> = [&none, &all, &none, &all, &none].into_iter().flatten().copied().collect();
        for &metric in metrics(Element::Bits) {
            check(metric, Element::Bits, dim, &none, &rows);
            check(metric, Element::Bits, dim, &all, &rows);
        }
    }
}

#[test]
fn every_float16_widens_exactly() {
    for half in 0..=u16::MAX {
        let (own, expected) = (widen_f16(half), half::f16::from_bits(half).to_f32());
        assert!(own.to_bits() == expected.to_bits() || own.is_nan() && expected.is_nan(), "{half:#06x}");
    }
}

#[test]
fn the_scalar_twin_is_always_there() {
    assert_eq!(kernels()[0].variant(), Variant::Scalar);
    assert_eq!(Kernels::of(Kernels::detected().variant()).unwrap().variant(), Kernels::detected().variant());
}

/// Numbers of any magnitude, and zeros.
fn any_number() -> impl Strategy<Value = f32> {
    prop_oneof![
        Just(0.0f32),
        -1.0f32..1.0,
        (any::<u32>()).prop_map(f32::from_bits).prop_filter("finite", |number| number.is_finite()),
        (-1.0f32..1.0, -38i32..38).prop_map(|(number, exponent)| number * 10f32.powi(exponent)),
    ]
}

/// Vectors whose numbers are of one magnitude, so that sums neither vanish nor are one number's alone.
fn similar_numbers(count: usize) -> impl Strategy<Value = Vec<f32>> {
    (proptest::collection::vec(-1.0f32..1.0, count), -38i32..38)
        .prop_map(|(numbers, exponent)| numbers.iter().map(|number| number * 10f32.powi(exponent)).collect())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_magnitude(
        (dim, queries, rows) in (1usize..70).prop_flat_map(|dim| (
            Just(dim),
            prop_oneof![proptest::collection::vec(any_number(), dim * 3), similar_numbers(dim * 3)],
            prop_oneof![proptest::collection::vec(any_number(), dim * ROWS), similar_numbers(dim * ROWS)],
        )),
    ) {
        for element in [Element::F32, Element::Bf16] {
            let finite = |numbers: &[f32]| {
                let bytes = encode(element, numbers);
                let finite = element.numbers(&bytes).all(f32::is_finite);
                finite.then_some(bytes)
            };
            if let (Some(queries), Some(rows)) = (finite(&queries), finite(&rows)) {
                for &metric in metrics(element) {
                    check(metric, element, dim, &queries, &rows);
                }
            }
        }
    }
}
