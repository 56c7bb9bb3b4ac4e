//! Kernels over floating point numbers, written once for every register width and stored type.
//!
//! A row is read in steps of four registers. Each unit (register) of a sum takes every fourth register's numbers; what
//! remains of a row goes to the units in turn, its last incomplete register to the last unit. A query's sums depend on
//! nothing else, so any number of queries can share the loads of a row.

use super::lanes::{Lanes, UNITS};
use super::{PAD, Rows, Tile};

/// How numbers are stored.
pub(super) trait Stored {
    /// Bytes of one number.
    const BYTES: usize;
    /// Loads a register; see [`Lanes`].
    unsafe fn load<S: Lanes>(at: *const u8) -> S;
    /// Loads the first `count` numbers of a register; see [`Lanes`].
    unsafe fn head<S: Lanes>(at: *const u8, count: usize) -> S;
}

macro_rules! stored {
    ($name:ident, $text:literal, $bytes:literal, $load:ident, $head:ident) => {
        #[doc = concat!("Stored as ", $text, ".")]
        pub(super) struct $name;

        impl Stored for $name {
            const BYTES: usize = $bytes;

            #[inline(always)]
            unsafe fn load<S: Lanes>(at: *const u8) -> S {
                // SAFETY: the caller's, unchanged.
                unsafe { S::$load(at) }
            }

            #[inline(always)]
            unsafe fn head<S: Lanes>(at: *const u8, count: usize) -> S {
                // SAFETY: the caller's, unchanged.
                unsafe { S::$head(at, count) }
            }
        }
    };
}

stored!(F32, "float32", 4, load_f32, head_f32);
stored!(F16, "float16", 2, load_f16, head_f16);
stored!(Bf16, "bfloat16", 2, load_bf16, head_bf16);

/// What a sum adds for each dimension.
pub(super) trait Term {
    /// `sum` and the term of `query` and `row`. Safety: see [`Lanes`].
    unsafe fn add<S: Lanes>(sum: S, query: S, row: S) -> S;
}

/// The product.
pub(super) struct Dot;

impl Term for Dot {
    #[inline(always)]
    unsafe fn add<S: Lanes>(sum: S, query: S, row: S) -> S {
        // SAFETY: the caller's, unchanged.
        unsafe { sum.add_product(query, row) }
    }
}

/// The squared difference.
pub(super) struct L2;

impl Term for L2 {
    #[inline(always)]
    unsafe fn add<S: Lanes>(sum: S, query: S, row: S) -> S {
        // SAFETY: the caller's, unchanged.
        unsafe {
            let difference = query.minus(row);
            sum.add_product(difference, difference)
        }
    }
}

/// The kernel: scores all `ids` for all queries of the tile, and the rows' squared norms where `NORM`.
///
/// Safety: the processor has the instruction set of `S`.
#[inline(always)]
pub(super) unsafe fn score<S: Lanes, E: Stored, T: Term, const NORM: bool>(
    tile: &Tile<'_, f32>,
    rows: &Rows<'_>,
    ids: &[u32],
    scores: &mut [f32],
    norms: &mut [f32],
) {
    assert!(rows.row_bytes == rows.dim * E::BYTES && tile.stride >= rows.dim.next_multiple_of(PAD));
    assert!(scores.len() == tile.count * ids.len() && (!NORM || norms.len() == ids.len()));
    for (slot, &id) in ids.iter().enumerate() {
        let row = rows.row(id);
        rows.prefetch(ids.get(slot + 1));
        let mut query = 0;
        while query < tile.count {
            let left = tile.count - query;
            let into = Into { scores: &mut *scores, at: query * ids.len() + slot, step: ids.len() };
            let norm = if NORM && query == 0 { norms.get_mut(slot) } else { None };
            // SAFETY: the row has `dim` numbers, the queries as many and zeros up to whole registers: asserted above.
            query += unsafe {
                if S::GROUP >= 4 && left >= 4 {
                    part::<S, E, T, 4, NORM>(tile, query, row, into, norm)
                } else if S::GROUP >= 2 && left >= 2 {
                    part::<S, E, T, 2, NORM>(tile, query, row, into, norm)
                } else {
                    part::<S, E, T, 1, NORM>(tile, query, row, into, norm)
                }
            };
        }
    }
}

/// Where the scores of a row go: one query's at `at`, the next one's `step` further.
struct Into<'a> {
    scores: &'a mut [f32],
    at: usize,
    step: usize,
}

/// Scores one row for the `Q` queries from `query` on, and says how many that were.
#[inline(always)]
unsafe fn part<S: Lanes, E: Stored, T: Term, const Q: usize, const NORM: bool>(
    tile: &Tile<'_, f32>,
    query: usize,
    row: &[u8],
    into: Into<'_>,
    norm: Option<&mut f32>,
) -> usize {
    let queries: [*const f32; Q] = std::array::from_fn(|q| tile.query(query + q).as_ptr());
    // SAFETY: the caller's, unchanged.
    let sums = unsafe {
        match norm {
            Some(norm) if NORM => {
                let (sums, squares) = sums::<S, E, T, Q, true>(queries, row);
                *norm = squares;
                sums
            }
            _ => sums::<S, E, T, Q, false>(queries, row).0,
        }
    };
    for (q, sum) in sums.into_iter().enumerate() {
        into.scores[into.at + q * into.step] = sum;
    }
    Q
}

/// The sums of one row and `Q` queries, and the row's squared norm where `NORM`.
#[inline(always)]
unsafe fn sums<S: Lanes, E: Stored, T: Term, const Q: usize, const NORM: bool>(
    queries: [*const f32; Q],
    row: &[u8],
) -> ([f32; Q], f32) {
    let dim = row.len() / E::BYTES;
    // SAFETY: all loads start at `at < dim`; those of the row read at most up to `dim`, those of the queries at most
    // one register, which their padding provides.
    unsafe {
        let mut terms = [[S::zero(); UNITS]; Q];
        let mut squares = [S::zero(); UNITS];
        let mut add = |unit: usize, at: usize, stored: S| {
            for q in 0..Q {
                terms[q][unit] = T::add(terms[q][unit], S::load_f32(queries[q].add(at).cast()), stored);
            }
            if NORM {
                squares[unit] = squares[unit].add_product(stored, stored);
            }
        };
        let start = row.as_ptr();
        let mut at = 0;
        while at + UNITS * S::COUNT <= dim {
            for unit in 0..UNITS {
                add(unit, at, E::load(start.add(at * E::BYTES)));
                at += S::COUNT;
            }
        }
        for unit in 0..UNITS - 1 {
            if at + S::COUNT <= dim {
                add(unit, at, E::load(start.add(at * E::BYTES)));
                at += S::COUNT;
            }
        }
        if at < dim {
            add(UNITS - 1, at, E::head(start.add(at * E::BYTES), dim - at));
        }
        (terms.map(|units| S::sum(units)), if NORM { S::sum(squares) } else { 0.0 })
    }
}
