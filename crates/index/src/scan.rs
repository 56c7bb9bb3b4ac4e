//! The exact search of a block: every allowed row scored for every query.
//!
//! The block is read in panels that stay in the second-level cache while all queries pass over them, eight at a time;
//! so vectors come from memory once, however many queries there are. Rows the mask forbids are skipped by words and
//! never touched. Nothing is allocated per row.

use redkite_types::Metric;

use crate::kernel::{Rows, TILE_QUERIES};
use crate::mask::Allowed;
use crate::queries::{Prepared, Values, inverse_norm};
use crate::{Block, IndexError, Mask, Queries, TopK};

/// Rows one kernel call scores; their scores for a tile of queries take 2 KB.
const TILE_ROWS: usize = 64;

/// Bytes of rows all queries pass over before the next are read: well within any second-level cache.
const PANEL_BYTES: usize = 128 * 1024;

/// Offers every row of `block` that `mask` allows (all of them without one) to the collectors, one for each query.
/// Rows are reported as `first_row` plus their place in the block.
pub fn scan(
    queries: &Queries,
    block: &Block<'_>,
    mask: Option<&Mask<'_>>,
    first_row: u64,
    out: &mut [TopK],
) -> Result<(), IndexError> {
    if queries.element() != block.vectors.element || queries.dim() != block.dim {
        return Err(IndexError::Mismatch {
            query: queries.element(),
            query_dim: queries.dim(),
            stored: block.vectors.element,
            stored_dim: block.dim,
        });
    }
    if out.len() != queries.len() {
        return Err(IndexError::Collectors { queries: queries.len(), collectors: out.len() });
    }
    if let Some(mask) = mask {
        mask.check(block)?;
    }
    let scan = Scan { queries, block, mask, first_row };
    match queries.prepared() {
        Prepared::Float(values) => scan.run(values, out),
        Prepared::Integer(values) => scan.run(values, out),
        Prepared::Bits(values) => scan.run(values, out),
    }
    Ok(())
}

/// The arguments of a scan.
struct Scan<'a> {
    queries: &'a Queries,
    block: &'a Block<'a>,
    mask: Option<&'a Mask<'a>>,
    first_row: u64,
}

/// The rows of one kernel call and what came of them.
struct Tiles {
    ids: [u32; TILE_ROWS],
    scores: [f32; TILE_ROWS * TILE_QUERIES],
    norms: [f32; TILE_ROWS],
    inverse_norms: [f64; TILE_ROWS],
}

impl Scan<'_> {
    fn run<Q>(&self, values: &Values<Q>, out: &mut [TopK]) {
        let Block { vectors, dim, row_bytes, rows } = *self.block;
        let stored = Rows::new(vectors.bytes, row_bytes, dim);
        let panel_rows = (PANEL_BYTES / row_bytes).max(TILE_ROWS);
        let mut tiles = Tiles {
            ids: [0; TILE_ROWS],
            scores: [0.0; TILE_ROWS * TILE_QUERIES],
            norms: [0.0; TILE_ROWS],
            inverse_norms: [0.0; TILE_ROWS],
        };
        for start in (0..rows).step_by(panel_rows) {
            for (tile, out) in out.chunks_mut(TILE_QUERIES).enumerate() {
                let first = tile * TILE_QUERIES;
                let tile = values.tile(first..first + out.len());
                let mut allowed = Allowed::new(self.mask, start..rows.min(start + panel_rows));
                loop {
                    let count = allowed.fill(&mut tiles.ids);
                    if count == 0 {
                        break;
                    }
                    let scores = &mut tiles.scores[..count * out.len()];
                    values.kernel.run(&tile, &stored, &tiles.ids[..count], scores, &mut tiles.norms[..count]);
                    self.finish(first, count, out, &mut tiles);
                }
            }
        }
    }

    /// Makes scores of what the kernel left and hands them to the collectors of the queries from `first` on.
    fn finish(&self, first: usize, count: usize, out: &mut [TopK], tiles: &mut Tiles) {
        let ids = &tiles.ids[..count];
        let inverse_norms = &mut tiles.inverse_norms[..count];
        let cosine = self.queries.metric() == Metric::Cosine;
        if cosine {
            for (inverse, &square) in inverse_norms.iter_mut().zip(&tiles.norms) {
                *inverse = inverse_norm(square);
            }
        }
        for (at, (out, scores)) in out.iter_mut().zip(tiles.scores.chunks_exact_mut(count)).enumerate() {
            if cosine {
                let query = self.queries.inverse_norm(first + at);
                for (score, row) in scores.iter_mut().zip(inverse_norms.iter()) {
                    *score = (f64::from(*score) * (query * row)).clamp(-1.0, 1.0) as f32;
                }
            }
            if scores.iter().fold(false, |any, score| any | !score.is_finite()) {
                self.rescue(first + at, ids, scores);
            }
            out.offer(scores, ids, self.first_row);
        }
    }

    /// Computes scores that left the range of float32 on the way again, in float64. Real vectors do not come here:
    /// numbers have to be near 1e-9 or 1e15 for that, or all zero under COSINE.
    #[cold]
    fn rescue(&self, query: usize, ids: &[u32], scores: &mut [f32]) {
        let numbers = self.queries.numbers(query);
        for (&id, score) in ids.iter().zip(scores).filter(|(_, score)| !score.is_finite()) {
            let stored = self.block.vectors.element.numbers(self.block.row(id)).map(f64::from);
            let (mut dot, mut square, mut own, mut l2) = (0.0, 0.0, 0.0, 0.0);
            for (a, b) in numbers.iter().zip(stored) {
                dot += a * b;
                square += b * b;
                own += a * a;
                l2 += (a - b) * (a - b);
            }
            *score = match self.queries.metric() {
                Metric::L2 => l2,
                Metric::Cosine if own == 0.0 || square == 0.0 => 0.0,
                Metric::Cosine => (dot / (own.sqrt() * square.sqrt())).clamp(-1.0, 1.0),
                Metric::Ip | Metric::Hamming | Metric::Jaccard => dot,
            } as f32;
        }
    }
}

#[cfg(test)]
mod tests;
