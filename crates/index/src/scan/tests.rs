//! Scans of blocks: conventions of the metrics, masks, several blocks, and what is refused.

use redkite_types::{ErrorKind, Metric};

use super::scan;
use crate::reference::{ELEMENTS, Random, kernels, metrics, vectors};
use crate::{Block, Element, Hit, Mask, Queries, TopK, Vectors};

/// The scores of `rows` for one query, in the order of the rows.
fn scores(metric: Metric, query: Vectors<'_>, rows: Vectors<'_>, dim: usize) -> Vec<f32> {
    let queries = Queries::new(metric, query, dim).unwrap();
    let block = Block::new(rows, dim).unwrap();
    let mut out = [TopK::new(metric, block.rows())];
    scan(&queries, &block, None, 0, &mut out).unwrap();
    let [collector] = out;
    let mut hits = collector.into_sorted().hits;
    hits.sort_by_key(|hit| hit.row);
    hits.into_iter().map(|hit| hit.score).collect()
}

#[test]
fn metrics_by_hand() {
    let query = Vectors::f32(&[3.0, 4.0]);
    let rows = Vectors::f32(&[3.0, 4.0, 0.0, 0.0, -3.0, -4.0, 4.0, -3.0, 6.0, 8.0]);
    assert_eq!(scores(Metric::L2, query, rows, 2), [0.0, 25.0, 100.0, 50.0, 25.0]);
    assert_eq!(scores(Metric::Ip, query, rows, 2), [25.0, 0.0, -25.0, 0.0, 50.0]);
    assert_eq!(scores(Metric::Cosine, query, rows, 2), [1.0, 0.0, -1.0, 0.0, 1.0]);
    let query = Vectors::bits(&[0b1100]);
    let rows = Vectors::bits(&[0b1100, 0b0110, 0b0011, 0, 0xff]);
    assert_eq!(scores(Metric::Hamming, query, rows, 8), [0.0, 2.0, 4.0, 2.0, 6.0]);
    assert_eq!(scores(Metric::Jaccard, query, rows, 8), [0.0, 2.0 / 3.0, 1.0, 1.0, 0.75]);
}

#[test]
fn zero_vectors_have_cosine_0_and_jaccard_0() {
    let zero = [0.0f32; 20];
    let other = [-1.5f32; 20];
    assert_eq!(scores(Metric::Cosine, Vectors::f32(&zero), Vectors::f32(&zero), 20), [0.0]);
    assert_eq!(scores(Metric::Cosine, Vectors::f32(&zero), Vectors::f32(&other), 20), [0.0]);
    assert_eq!(scores(Metric::Cosine, Vectors::f32(&other), Vectors::f32(&zero), 20), [0.0]);
    assert_eq!(scores(Metric::Cosine, Vectors::i8(&[0; 20]), Vectors::i8(&[5; 20]), 20), [0.0]);
    assert_eq!(scores(Metric::Cosine, Vectors::i8(&[5; 20]), Vectors::i8(&[0; 20]), 20), [0.0]);
    assert_eq!(scores(Metric::Jaccard, Vectors::bits(&[0, 0]), Vectors::bits(&[0, 0]), 16), [0.0]);
}

#[test]
fn magnitude_does_not_matter_to_cosine() {
    for factor in [1e-40f32, 1e-30, 1e-12, 1.0, 1e12, 1e37] {
        let (a, b) = ([3.0 * factor, 4.0 * factor], [4.0 * factor, 3.0 * factor]);
        let found = scores(Metric::Cosine, Vectors::f32(&a), Vectors::f32(&b), 2);
        assert!((found[0] - 0.96).abs() < 1e-5, "{factor}: {found:?}");
    }
}

#[test]
fn sums_beyond_float32_on_the_way_come_back() {
    let found = scores(Metric::Ip, Vectors::f32(&[1e30, 1e30, 1.0]), Vectors::f32(&[1e30, -1e30, 7.0]), 3);
    assert_eq!(found, [7.0]);
    let found = scores(Metric::Ip, Vectors::f32(&[1e20, 1e20]), Vectors::f32(&[1e20, -9.999e19]), 2);
    assert!((found[0] / 1e36 - 1.0).abs() < 1e-3, "{found:?}");
    assert_eq!(scores(Metric::L2, Vectors::f32(&[1e38]), Vectors::f32(&[-1e38]), 1), [f32::INFINITY]);
}

#[test]
fn a_vector_has_cosine_1_with_itself() {
    for kernels in kernels() {
        for element in [Element::F32, Element::F16, Element::Bf16, Element::I8] {
            for dim in [2, 7, 100, 384] {
                let bytes = vectors(element, 20, dim, &mut Random(dim as u64));
                let all = Vectors::from_le_bytes(element, &bytes);
                let queries = Queries::with_kernels(kernels, Metric::Cosine, all, dim).unwrap();
                let mut out = vec![TopK::new(Metric::Cosine, 1); 20];
                scan(&queries, &Block::new(all, dim).unwrap(), None, 0, &mut out).unwrap();
                for (row, collector) in (0..).zip(out) {
                    assert_eq!(collector.into_sorted().hits, [Hit { score: 1.0, row }], "{element} {dim}");
                }
            }
        }
    }
}

/// More rows than a panel of any element, more queries than a tile: blocks, masks and panels change nothing.
#[test]
fn blocks_and_masks_find_what_one_pass_finds() {
    const ROWS: usize = 3_000;
    const SPLIT: usize = 1_024;
    for element in ELEMENTS {
        let (dim, mut random) = (136, Random(7));
        let stored = vectors(element, ROWS, dim, &mut random);
        let asked = vectors(element, 19, dim, &mut random);
        let words: Vec<u64> = (0..ROWS.div_ceil(64)).map(|_| random.next() & random.next()).collect();
        let row_bytes = element.row_bytes(dim).unwrap();
        for &metric in metrics(element) {
            let queries = Queries::new(metric, Vectors::from_le_bytes(element, &asked), dim).unwrap();
            let run = |parts: &[(usize, usize)], words: Option<&[u64]>, k| {
                let mut out = vec![TopK::new(metric, k); queries.len()];
                for &(from, to) in parts {
                    let rows = Vectors::from_le_bytes(element, &stored[from * row_bytes..to * row_bytes]);
                    let block = Block::new(rows, dim).unwrap();
                    let mask = words.map(|words| Mask::new(&words[from / 64..to.div_ceil(64)], block.rows()).unwrap());
                    scan(&queries, &block, mask.as_ref(), from as u64, &mut out).unwrap();
                }
                out.into_iter().map(|collector| collector.into_sorted().hits).collect::<Vec<_>>()
            };
            let everything = run(&[(0, ROWS)], None, ROWS);
            let masked = run(&[(0, SPLIT), (SPLIT, ROWS)], Some(&words), 10);
            for (all, found) in everything.into_iter().zip(masked) {
                assert_eq!(all.len(), ROWS);
                let allowed = |hit: &Hit| words[hit.row as usize / 64] >> (hit.row % 64) & 1 == 1;
                let all: Vec<Hit> = all.into_iter().filter(allowed).collect();
                let last = all[9].score;
                let length = 10 + all[10..].iter().take_while(|hit| hit.score == last).count();
                assert_eq!(found, all[..length], "{element} {metric}");
            }
        }
    }
}

#[test]
fn nothing_to_find() {
    let queries = Queries::new(Metric::L2, Vectors::f32(&[1.0, 2.0]), 2).unwrap();
    let mut out = [TopK::new(Metric::L2, 5)];
    scan(&queries, &Block::new(Vectors::f32(&[]), 2).unwrap(), None, 0, &mut out).unwrap();
    let rows = [0.0f32; 8];
    let block = Block::new(Vectors::f32(&rows), 2).unwrap();
    scan(&queries, &block, Some(&Mask::new(&[!0 << 4], 4).unwrap()), 0, &mut out).unwrap();
    let [collector] = out;
    assert_eq!(collector.into_sorted().hits, []);
    let none = Queries::new(Metric::L2, Vectors::f32(&[]), 2).unwrap();
    scan(&none, &block, None, 0, &mut []).unwrap();
}

#[test]
fn refusals() {
    let queries = Queries::new(Metric::L2, Vectors::f32(&[1.0, 2.0]), 2).unwrap();
    let one = || vec![TopK::new(Metric::L2, 5)];
    let refused = |rows, dim, mask: Option<&Mask<'_>>, mut out: Vec<TopK>| {
        scan(&queries, &Block::new(rows, dim).unwrap(), mask, 0, &mut out).unwrap_err()
    };
    let floats = Vectors::f32(&[0.0; 12]);
    let mask = Mask::new(&[0], 7).unwrap();
    let cases = [
        (refused(floats, 3, None, one()), ErrorKind::Invalid, "of 2 dimensions, stored are float32 vectors of 3"),
        (refused(Vectors::i8(&[0; 4]), 2, None, one()), ErrorKind::Invalid, "stored are int8 vectors of 2"),
        (refused(floats, 2, None, Vec::new()), ErrorKind::Internal, "0 collectors were given for 1 queries"),
        (refused(floats, 2, Some(&mask), one()), ErrorKind::Internal, "for 7 rows does not fit a block of 6 rows"),
    ];
    for (error, kind, message) in cases {
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(message), "{error}");
    }
}
