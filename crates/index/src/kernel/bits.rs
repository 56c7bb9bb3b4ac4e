//! Kernels over binary vectors: exact counts of bits, whatever the variant.
//!
//! Queries are 64-bit words, little-endian, zeros behind the last byte. The loops are plain; the compiler turns them
//! into the population counts of the instruction set.

use super::{Rows, Tile};

/// Numbers of differing bits.
#[inline(always)]
pub(super) fn hamming(tile: &Tile<'_, u64>, rows: &Rows<'_>, ids: &[u32], scores: &mut [f32], _norms: &mut [f32]) {
    each(tile, rows, ids, scores, |query, row| count(query, row, |query, row| query ^ row) as f32);
}

/// One minus the share of common bits among those set in either; 0 where none is set.
#[inline(always)]
pub(super) fn jaccard(tile: &Tile<'_, u64>, rows: &Rows<'_>, ids: &[u32], scores: &mut [f32], _norms: &mut [f32]) {
    each(tile, rows, ids, scores, |query, row| {
        let common = count(query, row, |query, row| query & row);
        let either = count(query, row, |query, row| query | row);
        // Both counts are exact in float32, so this rounds once.
        if either == 0 { 0.0 } else { (either - common) as f32 / either as f32 }
    });
}

#[inline(always)]
fn each(tile: &Tile<'_, u64>, rows: &Rows<'_>, ids: &[u32], scores: &mut [f32], score: impl Fn(&[u64], &[u8]) -> f32) {
    assert!(tile.stride == rows.row_bytes.div_ceil(8) && scores.len() == tile.count * ids.len());
    for (slot, &id) in ids.iter().enumerate() {
        let row = rows.row(id);
        for query in 0..tile.count {
            scores[query * ids.len() + slot] = score(tile.query(query), row);
        }
    }
}

#[inline(always)]
fn count(query: &[u64], row: &[u8], combine: impl Fn(u64, u64) -> u64) -> u64 {
    let (words, rest) = row.as_chunks::<8>();
    let mut count = 0;
    for (&query, &row) in query.iter().zip(words) {
        count += u64::from(combine(query, u64::from_le_bytes(row)).count_ones());
    }
    if let (Some(&query), false) = (query.get(words.len()), rest.is_empty()) {
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        count += u64::from(combine(query, u64::from_le_bytes(last)).count_ones());
    }
    count
}
