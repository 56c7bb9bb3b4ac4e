//! The exact scan against a plain read of the same bytes, in the same run.
//!
//! `cargo bench -p redkite-index`. Every line shows the bytes of stored vectors over the time of one pass; for a batch
//! of 8 or 64 queries multiply by that number to compare with single queries. 50,000 vectors of 384 dimensions.

use std::hint::black_box;
use std::sync::LazyLock;

use divan::Bencher;
use divan::counter::BytesCount;
use redkite_index::{Block, Element, Kernels, Mask, Queries, TopK, Variant, Vectors, scan};
use redkite_types::Metric;

const ROWS: usize = 50_000;
const DIM: usize = 384;

fn main() {
    divan::main();
}

/// One pass over stored vectors.
struct Case {
    element: Element,
    metric: Metric,
    queries: usize,
    /// One row in this many is allowed, at random; 1 means no mask.
    one_in: u64,
    variant: Option<Variant>,
}

const BASE: Case = Case { element: Element::F32, metric: Metric::Cosine, queries: 1, one_in: 1, variant: None };

const CASES: &[Case] = &[
    Case { metric: Metric::L2, ..BASE },
    Case { metric: Metric::Ip, ..BASE },
    BASE,
    Case { variant: Some(Variant::Avx2), ..BASE },
    Case { variant: Some(Variant::Scalar), ..BASE },
    Case { queries: 8, ..BASE },
    Case { queries: 64, ..BASE },
    Case { queries: 64, metric: Metric::L2, ..BASE },
    Case { queries: 64, variant: Some(Variant::Avx2), ..BASE },
    Case { one_in: 2, ..BASE },
    Case { one_in: 8, ..BASE },
    Case { one_in: 100, ..BASE },
    Case { element: Element::F16, ..BASE },
    Case { element: Element::F16, queries: 8, ..BASE },
    Case { element: Element::Bf16, ..BASE },
    Case { element: Element::I8, ..BASE },
    Case { element: Element::I8, queries: 8, ..BASE },
    Case { element: Element::I8, metric: Metric::L2, queries: 8, ..BASE },
    Case { element: Element::Bits, metric: Metric::Hamming, ..BASE },
    Case { element: Element::Bits, metric: Metric::Jaccard, ..BASE },
];

impl std::fmt::Display for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} nq={}", self.element, self.metric, self.queries)?;
        if self.one_in > 1 {
            write!(f, " 1 in {}", self.one_in)?;
        }
        self.variant.map_or(Ok(()), |variant| write!(f, " {variant:?}"))
    }
}

/// Numbers in -1..1 of any kind, or random bits.
fn vectors(element: Element, rows: usize, seed: u64) -> Vec<u8> {
    let mut state = seed;
    let mut next = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    match element {
        Element::F32 => (0..rows * DIM).flat_map(|_| next().to_le_bytes()).collect(),
        Element::F16 => (0..rows * DIM).flat_map(|_| half::f16::from_f32(next()).to_le_bytes()).collect(),
        Element::Bf16 => (0..rows * DIM).flat_map(|_| half::bf16::from_f32(next()).to_le_bytes()).collect(),
        Element::I8 => (0..rows * DIM).map(|_| (next() * 127.0) as i8 as u8).collect(),
        Element::Bits => (0..rows * DIM / 8).map(|_| (next() * 127.0) as i8 as u8).collect(),
    }
}

#[divan::bench]
fn plain_read(bencher: Bencher<'_, '_>) {
    static WORDS: LazyLock<Vec<u64>> = LazyLock::new(|| (0..(ROWS * DIM / 2) as u64).collect());
    let words: &[u64] = &WORDS;
    bencher
        .counter(BytesCount::of_slice(words))
        .bench(|| black_box(words).iter().fold(0u64, |sum, word| sum.wrapping_add(*word)));
}

#[divan::bench(args = CASES)]
fn exact_scan(bencher: Bencher<'_, '_>, case: &Case) {
    let Some(kernels) = case.variant.map_or(Some(Kernels::detected()), Kernels::of) else { return };
    // Files are mapped at page boundaries and keep their buffers at multiples of 64 bytes.
    let mut stored = vectors(case.element, ROWS, 1);
    stored.reserve_exact(64);
    let skip = stored.as_ptr().align_offset(64);
    let size = stored.len();
    stored.resize(size + skip, 0);
    stored.rotate_right(skip);
    let stored = &stored[skip..];
    let asked = vectors(case.element, case.queries, 2);
    let asked = Vectors::from_le_bytes(case.element, &asked);
    let queries = Queries::with_kernels(kernels, case.metric, asked, DIM).expect("valid queries");
    let block = Block::new(Vectors::from_le_bytes(case.element, stored), DIM).expect("a valid block");
    let mut words = vec![0u64; ROWS.div_ceil(64)];
    let mut state = 3u64;
    for row in 0..ROWS {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        words[row / 64] |= u64::from((state >> 33).is_multiple_of(case.one_in)) << (row % 64);
    }
    let mask = Mask::new(&words, ROWS).expect("a valid mask");
    let mask = (case.one_in > 1).then_some(&mask);
    bencher.counter(BytesCount::new(stored.len() as u64 / case.one_in)).bench_local(|| {
        let mut out = vec![TopK::new(case.metric, 10); case.queries];
        scan(&queries, &block, mask, 0, &mut out).expect("a valid scan");
        out
    });
}
