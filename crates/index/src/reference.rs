//! What the tests measure against: seeded vectors, and every metric in float64, plainly.

use redkite_types::Metric;

use crate::{Block, Element, Hit, Kernels, Mask, Queries, TopK, Variant, Vectors, scan};

/// A seeded sequence (splitmix64).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Uniform in -1..1.
    pub(crate) fn number(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1 << 23) as f32 - 1.0
    }
}

/// Numbers in the bytes of an element; int8 takes them as -128..128, bits take the sign.
pub(crate) fn encode(element: Element, numbers: &[f32]) -> Vec<u8> {
    match element {
        Element::F32 => numbers.iter().flat_map(|number| number.to_le_bytes()).collect(),
        Element::F16 => numbers.iter().flat_map(|&number| half::f16::from_f32(number).to_le_bytes()).collect(),
        Element::Bf16 => numbers.iter().flat_map(|&number| half::bf16::from_f32(number).to_le_bytes()).collect(),
        Element::I8 => numbers.iter().map(|number| (number * 128.0).floor() as i8 as u8).collect(),
        Element::Bits => {
            let byte = |bits: &[f32]| bits.iter().rev().fold(0, |byte, &bit| byte << 1 | u8::from(bit > 0.0));
            numbers.chunks(8).map(byte).collect()
        }
    }
}

/// Random vectors of an element.
pub(crate) fn vectors(element: Element, count: usize, dim: usize, random: &mut Random) -> Vec<u8> {
    let numbers: Vec<f32> = (0..count * dim).map(|_| random.number()).collect();
    encode(element, &numbers)
}

/// The dimensions of a vector as float64: numbers, or ones and zeros.
fn dimensions(element: Element, row: &[u8]) -> Vec<f64> {
    match element {
        Element::Bits => (0..row.len() * 8).map(|bit| f64::from(row[bit / 8] >> (bit % 8) & 1)).collect(),
        _ => element.numbers(row).map(f64::from).collect(),
    }
}

/// The score, and how far a float32 computation may be off.
pub(crate) fn score(metric: Metric, element: Element, query: &[u8], row: &[u8]) -> (f64, f64) {
    let (a, b) = (dimensions(element, query), dimensions(element, row));
    let total = |term: &dyn Fn(f64, f64) -> f64| a.iter().zip(&b).map(|(&a, &b)| term(a, b)).sum::<f64>();
    // Every term passes fewer additions than a sixteenth of the dimensions and the final ones.
    let roundings = (a.len() / 16 + 10) as f64 * f64::from(f32::EPSILON);
    let underflow = 2.0 * a.len() as f64 * f64::from(f32::from_bits(1));
    let (value, magnitude) = match metric {
        Metric::L2 => {
            let l2 = total(&|a, b| (a - b) * (a - b));
            (l2, l2)
        }
        Metric::Ip => (total(&|a, b| a * b), total(&|a, b| (a * b).abs())),
        Metric::Cosine => {
            let norms = total(&|a, _| a * a).sqrt() * total(&|_, b| b * b).sqrt();
            (if norms == 0.0 { 0.0 } else { total(&|a, b| a * b) / norms }, 1.0)
        }
        Metric::Hamming => return (total(&|a, b| (a - b).abs()), 0.0),
        Metric::Jaccard => {
            let either = total(&|a, b| a.max(b));
            let jaccard = if either == 0.0 { 0.0 } else { 1.0 - total(&|a, b| a * b) / either };
            return (jaccard, f64::from(f32::EPSILON));
        }
    };
    match element {
        Element::I8 => (value, magnitude * f64::from(f32::EPSILON)),
        _ => (value, magnitude * roundings + underflow),
    }
}

/// Whether a computed score is right.
pub(crate) fn agrees(computed: f32, (value, tolerance): (f64, f64)) -> bool {
    let largest = f64::from(f32::MAX);
    if computed.is_infinite() {
        return value.abs() + tolerance >= largest && value.is_sign_positive() == computed.is_sign_positive();
    }
    (f64::from(computed) - value).abs() <= tolerance
}

/// The kernels this machine can run.
pub(crate) fn kernels() -> Vec<&'static Kernels> {
    [Variant::Scalar, Variant::Avx2, Variant::Avx512, Variant::Neon].into_iter().filter_map(Kernels::of).collect()
}

/// The metrics of an element.
pub(crate) fn metrics(element: Element) -> &'static [Metric] {
    match element {
        Element::Bits => &[Metric::Hamming, Metric::Jaccard],
        _ => &[Metric::L2, Metric::Ip, Metric::Cosine],
    }
}

/// All kinds of vectors.
pub(crate) const ELEMENTS: [Element; 5] = [Element::F32, Element::F16, Element::Bf16, Element::I8, Element::Bits];

/// Vectors to compare and how.
#[derive(Clone, Copy)]
pub(crate) struct Task<'a> {
    pub(crate) kernels: &'static Kernels,
    pub(crate) metric: Metric,
    pub(crate) element: Element,
    pub(crate) dim: usize,
    pub(crate) queries: &'a [u8],
    pub(crate) rows: &'a [u8],
}

impl Task<'_> {
    /// The scores of all rows, or of those a mask allows, for each query: `(row, score)` by row.
    pub(crate) fn scores(&self, mask: Option<&[u64]>) -> Vec<Vec<(u64, f32)>> {
        let asked = Vectors::from_le_bytes(self.element, self.queries);
        let queries = Queries::with_kernels(self.kernels, self.metric, asked, self.dim).unwrap();
        let block = Block::new(Vectors::from_le_bytes(self.element, self.rows), self.dim).unwrap();
        let mask = mask.map(|words| Mask::new(words, block.rows()).unwrap());
        let mut out = vec![TopK::new(self.metric, block.rows()); queries.len()];
        scan(&queries, &block, mask.as_ref(), 0, &mut out).unwrap();
        let by_row = |collector: TopK| {
            let mut hits: Vec<(u64, f32)> =
                collector.into_sorted().hits.iter().map(|&Hit { score, row }| (row, score)).collect();
            hits.sort_unstable_by_key(|&(row, _)| row);
            hits
        };
        out.into_iter().map(by_row).collect()
    }
}
