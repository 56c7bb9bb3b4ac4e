//! Kernels over int8 numbers: exact, in 32-bit integers, whatever the variant.
//!
//! The largest sum is `32,768 x 255 x 255 < 2^31` ([`DIM_MAX`](redkite_types::limits::DIM_MAX) dimensions). Queries are
//! widened to 16 bits once, so that the compiler finds the multiply-and-add of 16-bit pairs in these plain loops.

use super::{Rows, Tile};

/// Sums of squared differences.
#[inline(always)]
pub(super) fn l2(tile: &Tile<'_, i16>, rows: &Rows<'_>, ids: &[u32], scores: &mut [f32], _norms: &mut [f32]) {
    each(tile, rows, ids, scores, |query, row| {
        sum(query, row, |query, row| {
            let difference = i32::from(query - row);
            difference * difference
        })
    });
}

/// Inner products.
#[inline(always)]
pub(super) fn dot(tile: &Tile<'_, i16>, rows: &Rows<'_>, ids: &[u32], scores: &mut [f32], _norms: &mut [f32]) {
    each(tile, rows, ids, scores, |query, row| sum(query, row, |query, row| i32::from(query) * i32::from(row)));
}

/// Inner products, and the squared norms of the rows.
#[inline(always)]
pub(super) fn cosine(tile: &Tile<'_, i16>, rows: &Rows<'_>, ids: &[u32], scores: &mut [f32], norms: &mut [f32]) {
    dot(tile, rows, ids, scores, &mut []);
    for (&id, norm) in ids.iter().zip(norms) {
        *norm = square(rows.row(id)) as f32;
    }
}

#[inline(always)]
fn each(tile: &Tile<'_, i16>, rows: &Rows<'_>, ids: &[u32], scores: &mut [f32], score: impl Fn(&[i16], &[u8]) -> i32) {
    assert!(rows.row_bytes == rows.dim && tile.stride == rows.dim && scores.len() == tile.count * ids.len());
    for (slot, &id) in ids.iter().enumerate() {
        let row = rows.row(id);
        for query in 0..tile.count {
            scores[query * ids.len() + slot] = score(tile.query(query), row) as f32;
        }
    }
}

#[inline(always)]
fn sum(query: &[i16], row: &[u8], term: impl Fn(i16, i16) -> i32) -> i32 {
    let mut sum = 0;
    for (&query, &row) in query.iter().zip(row) {
        sum += term(query, i16::from(row.cast_signed()));
    }
    sum
}

#[inline(always)]
fn square(row: &[u8]) -> i32 {
    let mut sum = 0;
    for &row in row {
        let row = i16::from(row.cast_signed());
        sum += i32::from(row) * i32::from(row);
    }
    sum
}
