//! Query vectors, made ready once for any number of blocks.
//!
//! Floating point queries are widened to float32 and padded, int8 ones to 16 bits, binary ones to words; the metric's
//! kernel is looked up; for COSINE the norms are computed. Immutable afterwards and free to share between threads.

use std::ops::Range;

use redkite_types::Metric;

use crate::kernel::{Kernel, Kernels, Numbers, PAD, Rows, Tile};
use crate::{Element, IndexError, Vectors};

const CACHE_LINE_BYTES: usize = 64;

/// Query vectors with their metric.
#[derive(Debug)]
pub struct Queries {
    metric: Metric,
    element: Element,
    dim: usize,
    count: usize,
    prepared: Prepared,
    /// COSINE only: `1 / |query|`, 0 for a query of zeros, NaN where the square of the norm is no safe float32.
    inverse_norms: Vec<f64>,
}

/// The values in the form the kernels of the element want.
#[derive(Debug)]
pub(crate) enum Prepared {
    Float(Values<f32>),
    Integer(Values<i16>),
    Bits(Values<u64>),
}

/// Values and the kernel for them.
#[derive(Debug)]
pub(crate) struct Values<Q> {
    values: Vec<Q>,
    /// Where the first query begins: at a cache line, since reads across two of them take twice the time.
    start: usize,
    stride: usize,
    pub(crate) kernel: Kernel<Q>,
}

impl Queries {
    /// Query vectors of `dim` dimensions (bits, for binary vectors) to be compared by `metric` with vectors of the same
    /// kind. Every number must be finite.
    pub fn new(metric: Metric, vectors: Vectors<'_>, dim: usize) -> Result<Self, IndexError> {
        Self::with_kernels(Kernels::detected(), metric, vectors, dim)
    }

    /// The same with the kernels of a variant of choice.
    pub fn with_kernels(
        kernels: &'static Kernels,
        metric: Metric,
        vectors: Vectors<'_>,
        dim: usize,
    ) -> Result<Self, IndexError> {
        let Vectors { element, bytes } = vectors;
        let row_bytes = element.row_bytes(dim)?;
        if metric.is_binary() != (element == Element::Bits) {
            return Err(IndexError::Metric { metric, element });
        }
        if !bytes.len().is_multiple_of(row_bytes) {
            return Err(IndexError::QueryLength { size_bytes: bytes.len(), row_bytes });
        }
        let count = bytes.len() / row_bytes;
        let prepared = match element {
            Element::F32 => Prepared::Float(floats(&kernels.f32, metric, vectors, row_bytes, dim)?),
            Element::F16 => Prepared::Float(floats(&kernels.f16, metric, vectors, row_bytes, dim)?),
            Element::Bf16 => Prepared::Float(floats(&kernels.bf16, metric, vectors, row_bytes, dim)?),
            Element::I8 => {
                let values = bytes.iter().map(|byte| i16::from(byte.cast_signed())).collect();
                Prepared::Integer(Values { values, start: 0, stride: dim, kernel: choose(&kernels.i8, metric) })
            }
            Element::Bits => {
                let kernel = if metric == Metric::Jaccard { kernels.bits.jaccard } else { kernels.bits.hamming };
                let values = words(bytes, row_bytes);
                Prepared::Bits(Values { values, start: 0, stride: row_bytes.div_ceil(8), kernel })
            }
        };
        let mut queries = Self { metric, element, dim, count, prepared, inverse_norms: Vec::new() };
        if metric == Metric::Cosine {
            queries.inverse_norms = queries.norms(&Rows::new(bytes, row_bytes, dim));
        }
        Ok(queries)
    }

    /// The metric.
    pub fn metric(&self) -> Metric {
        self.metric
    }

    /// What the vectors are made of.
    pub fn element(&self) -> Element {
        self.element
    }

    /// Dimensions of each; bits, for binary vectors.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Number of query vectors.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(crate) fn prepared(&self) -> &Prepared {
        &self.prepared
    }

    pub(crate) fn inverse_norm(&self, query: usize) -> f64 {
        self.inverse_norms.get(query).copied().unwrap_or(f64::NAN)
    }

    /// The numbers of one query.
    pub(crate) fn numbers(&self, query: usize) -> Vec<f64> {
        match &self.prepared {
            Prepared::Float(own) => own.query(query)[..self.dim].iter().map(|&number| number.into()).collect(),
            Prepared::Integer(own) => own.query(query)[..self.dim].iter().map(|&number| number.into()).collect(),
            Prepared::Bits(_) => Vec::new(),
        }
    }

    /// Inverse norms of the queries, which are also `rows`. The norms come from the kernel that computes those of
    /// stored vectors, so that a vector has a cosine of exactly 1 with itself.
    fn norms(&self, rows: &Rows<'_>) -> Vec<f64> {
        let mut squares = vec![0.0; self.count];
        for (query, square) in squares.iter_mut().enumerate() {
            let (ids, score, norm) = (&[query as u32], &mut [0.0], std::slice::from_mut(square));
            match &self.prepared {
                Prepared::Float(own) => own.kernel.run(&own.tile(query..query + 1), rows, ids, score, norm),
                Prepared::Integer(own) => own.kernel.run(&own.tile(query..query + 1), rows, ids, score, norm),
                Prepared::Bits(_) => {}
            }
        }
        let zero = |query| self.numbers(query).iter().all(|&number| number == 0.0);
        let inverse = |(query, square): (usize, f32)| if zero(query) { 0.0 } else { inverse_norm(square) };
        squares.into_iter().enumerate().map(inverse).collect()
    }
}

impl<Q> Values<Q> {
    /// Some of the queries.
    pub(crate) fn tile(&self, queries: Range<usize>) -> Tile<'_, Q> {
        let values = &self.values[self.start..][queries.start * self.stride..queries.end * self.stride];
        Tile::new(values, self.stride)
    }

    /// One query with its padding.
    fn query(&self, query: usize) -> &[Q] {
        &self.values[self.start + query * self.stride..][..self.stride]
    }
}

/// `1 / |v|` of `|v|^2`; NaN where the square is so small or large that float32 lost digits of it.
#[inline(always)]
pub(crate) fn inverse_norm(square: f32) -> f64 {
    const SAFE: Range<f32> = f32::from_bits((127 - 60) << 23)..f32::from_bits((127 + 100) << 23);
    if SAFE.contains(&square) { 1.0 / f64::from(square).sqrt() } else { f64::NAN }
}

fn choose<Q>(kernels: &Numbers<Q>, metric: Metric) -> Kernel<Q> {
    match metric {
        Metric::L2 => kernels.l2,
        Metric::Cosine => kernels.cosine,
        Metric::Ip | Metric::Hamming | Metric::Jaccard => kernels.dot,
    }
}

/// Widened to float32, zeros up to whole registers behind each.
fn floats(
    kernels: &Numbers<f32>,
    metric: Metric,
    vectors: Vectors<'_>,
    row_bytes: usize,
    dim: usize,
) -> Result<Values<f32>, IndexError> {
    let stride = dim.next_multiple_of(PAD);
    let count = vectors.bytes.len() / row_bytes;
    let mut values = Vec::<f32>::with_capacity(count * stride + PAD);
    // The vector never grows past its capacity, so the address stays.
    let start = values.as_ptr().align_offset(CACHE_LINE_BYTES).min(PAD);
    values.resize(start, 0.0);
    for (query, row) in vectors.bytes.chunks_exact(row_bytes).enumerate() {
        let first = values.len();
        values.extend(vectors.element.numbers(row));
        if let Some(dimension) = values[first..].iter().position(|value| !value.is_finite()) {
            return Err(IndexError::NotFinite { query, dimension, value: values[first + dimension] });
        }
        values.resize(first + stride, 0.0);
    }
    Ok(Values { values, start, stride, kernel: choose(kernels, metric) })
}

/// Little-endian words, zeros behind the last byte of each.
fn words(bytes: &[u8], row_bytes: usize) -> Vec<u64> {
    let word = |part: &[u8]| {
        let mut word = [0; 8];
        word[..part.len()].copy_from_slice(part);
        u64::from_le_bytes(word)
    };
    bytes.chunks_exact(row_bytes).flat_map(|row| row.chunks(8).map(word)).collect()
}

#[cfg(test)]
mod tests;
