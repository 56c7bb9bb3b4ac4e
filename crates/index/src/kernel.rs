//! The arithmetic of distances: one table of kernels per instruction set, chosen once at run time.
//!
//! A kernel scores a list of rows against a tile of at most [`TILE_QUERIES`] queries, reading each row from memory
//! once. `scores` comes out query by query: the score of row `ids[i]` for query `q` is `scores[q * ids.len() + i]`.
//!
//! | kernel | score | element |
//! |---|---|---|
//! | `l2` | sum of squared differences | numbers |
//! | `dot` | inner product | numbers |
//! | `cosine` | inner product, and in `norms[i]` the squared norm of row `ids[i]`, in the same pass | numbers |
//! | `hamming` | differing bits | bits |
//! | `jaccard` | 1 - common bits / bits in either, 0 where neither has any | bits |
//!
//! Each variant adds in one order, whatever the number of queries and rows in a call; variants differ among each other
//! by rounding, for integers and bits not at all. float16 and bfloat16 are widened exactly and added in float32.
//!
//! Safety: this module and its children are the only `unsafe` of the crate. Every body checks the lengths it relies on,
//! so that what a caller must vouch for is the instruction set alone; tables are handed out only by [`Kernels::of`],
//! after asking the processor.
#![allow(unsafe_code)]

mod bits;
mod float;
mod integer;
mod lanes;
#[cfg(target_arch = "aarch64")]
mod neon;
#[cfg(target_arch = "x86_64")]
mod x86;

/// Most queries one call scores. Eight rows of 768 float32 numbers still leave half of a 48 KB first-level cache.
pub(crate) const TILE_QUERIES: usize = 8;

/// Queries are padded with zeros to a multiple of this many numbers: the widest register's lanes.
pub(crate) const PAD: usize = 16;

/// Most cache lines of a row asked for ahead: half of a small first-level cache.
#[cfg(target_arch = "x86_64")]
const PREFETCH_LINES_MAX: usize = 256;

/// An instruction set with kernels of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Variant {
    /// Plain code for any processor, the others' twin in tests.
    Scalar,
    /// x86-64 with AVX2, FMA, F16C and POPCNT (2013 on).
    Avx2,
    /// x86-64 with AVX-512 F, BW, DQ, VL, VNNI and VPOPCNTDQ (Ice Lake, Zen 4 and on).
    Avx512,
    /// Any 64-bit ARM.
    Neon,
}

/// The kernels of one variant.
#[derive(Debug)]
pub struct Kernels {
    variant: Variant,
    pub(crate) f32: Numbers<f32>,
    pub(crate) f16: Numbers<f32>,
    pub(crate) bf16: Numbers<f32>,
    pub(crate) i8: Numbers<i16>,
    pub(crate) bits: Bits,
}

/// Kernels over stored numbers; queries are given as `Q`.
#[derive(Debug)]
pub(crate) struct Numbers<Q> {
    pub(crate) l2: Kernel<Q>,
    pub(crate) dot: Kernel<Q>,
    pub(crate) cosine: Kernel<Q>,
}

/// Kernels over stored bits.
#[derive(Debug)]
pub(crate) struct Bits {
    pub(crate) hamming: Kernel<u64>,
    pub(crate) jaccard: Kernel<u64>,
}

impl Kernels {
    /// The fastest kernels this processor has.
    pub fn detected() -> &'static Kernels {
        let best = [Variant::Avx512, Variant::Avx2, Variant::Neon].into_iter().find_map(Self::of);
        best.unwrap_or(&lanes::TABLE)
    }

    /// The kernels of one variant; `None` where this processor lacks it.
    pub fn of(variant: Variant) -> Option<&'static Kernels> {
        match variant {
            Variant::Scalar => Some(&lanes::TABLE),
            #[cfg(target_arch = "x86_64")]
            Variant::Avx2 => x86::avx2(),
            #[cfg(target_arch = "x86_64")]
            Variant::Avx512 => x86::avx512(),
            #[cfg(target_arch = "aarch64")]
            Variant::Neon => Some(&neon::TABLE),
            #[allow(unreachable_patterns)]
            _ => None,
        }
    }

    /// Which variant this is.
    pub fn variant(&self) -> Variant {
        self.variant
    }
}

/// Some queries of one search: `count` of them, each `stride` values long, zeros behind its last.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tile<'a, Q> {
    values: &'a [Q],
    stride: usize,
    count: usize,
}

impl<'a, Q> Tile<'a, Q> {
    /// One query with its padding.
    #[inline(always)]
    fn query(&self, query: usize) -> &'a [Q] {
        &self.values[query * self.stride..][..self.stride]
    }

    /// All of `values`; a remainder shorter than `stride` is left out.
    pub(crate) fn new(values: &'a [Q], stride: usize) -> Self {
        Self { values, stride, count: values.len() / stride.max(1) }
    }
}

/// Stored rows as the kernels see them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rows<'a> {
    bytes: &'a [u8],
    row_bytes: usize,
    /// Numbers a row; bits a row for binary vectors.
    dim: usize,
}

impl<'a> Rows<'a> {
    pub(crate) fn new(bytes: &'a [u8], row_bytes: usize, dim: usize) -> Self {
        Self { bytes, row_bytes, dim }
    }

    /// The bytes of one row.
    #[inline(always)]
    fn row(&self, id: u32) -> &'a [u8] {
        let start = id as usize * self.row_bytes;
        &self.bytes[start..start + self.row_bytes]
    }

    /// Asks the memory for the row that is next. The processor guesses a sequence by itself, but not far enough ahead
    /// while a long row is worked on: worth a quarter of the time for floats, a loss for the short rows of bits.
    #[inline(always)]
    fn prefetch(&self, next: Option<&u32>) {
        #[cfg(target_arch = "x86_64")]
        if let Some(&next) = next {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            for line in self.row(next).chunks(64).take(PREFETCH_LINES_MAX) {
                // SAFETY: a hint that reads nothing, part of every x86-64.
                unsafe { _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast()) };
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = next;
    }
}

/// A function compiled for an instruction set.
///
/// Safety: the processor has that instruction set. Lengths are checked inside.
type Function<Q> = unsafe fn(&Tile<'_, Q>, &Rows<'_>, &[u32], &mut [f32], &mut [f32]);

/// One kernel, for queries given as `Q`.
#[derive(Debug)]
pub(crate) struct Kernel<Q>(Function<Q>);

impl<Q> Clone for Kernel<Q> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<Q> Copy for Kernel<Q> {}

impl<Q> Kernel<Q> {
    /// Scores the rows `ids` for each query of the tile. `norms` is written by `cosine` only and may be empty for the
    /// others. A length that does not fit is a defect of this crate and panics.
    pub(crate) fn run(self, tile: &Tile<'_, Q>, rows: &Rows<'_>, ids: &[u32], scores: &mut [f32], norms: &mut [f32]) {
        // SAFETY: kernels exist only inside tables, and a table is handed out only where the processor has its
        // instruction set.
        unsafe { (self.0)(tile, rows, ids, scores, norms) }
    }
}

/// The table of one variant: its registers of floats, and the instruction sets to compile for.
macro_rules! table {
    ($variant:expr, $lanes:ty $(, $features:literal)?) => {{
        use $crate::kernel::{Bits, Kernel, Kernels, Numbers, bits, float, integer};
        $crate::kernel::functions! {
            ($($features)?)
            l2_f32: f32 = float::score::<$lanes, float::F32, float::L2, false>;
            dot_f32: f32 = float::score::<$lanes, float::F32, float::Dot, false>;
            cosine_f32: f32 = float::score::<$lanes, float::F32, float::Dot, true>;
            l2_f16: f32 = float::score::<$lanes, float::F16, float::L2, false>;
            dot_f16: f32 = float::score::<$lanes, float::F16, float::Dot, false>;
            cosine_f16: f32 = float::score::<$lanes, float::F16, float::Dot, true>;
            l2_bf16: f32 = float::score::<$lanes, float::Bf16, float::L2, false>;
            dot_bf16: f32 = float::score::<$lanes, float::Bf16, float::Dot, false>;
            cosine_bf16: f32 = float::score::<$lanes, float::Bf16, float::Dot, true>;
            l2_i8: i16 = integer::l2;
            dot_i8: i16 = integer::dot;
            cosine_i8: i16 = integer::cosine;
            hamming: u64 = bits::hamming;
            jaccard: u64 = bits::jaccard;
        }
        Kernels {
            variant: $variant,
            f32: Numbers { l2: Kernel(l2_f32), dot: Kernel(dot_f32), cosine: Kernel(cosine_f32) },
            f16: Numbers { l2: Kernel(l2_f16), dot: Kernel(dot_f16), cosine: Kernel(cosine_f16) },
            bf16: Numbers { l2: Kernel(l2_bf16), dot: Kernel(dot_bf16), cosine: Kernel(cosine_bf16) },
            i8: Numbers { l2: Kernel(l2_i8), dot: Kernel(dot_i8), cosine: Kernel(cosine_i8) },
            bits: Bits { hamming: Kernel(hamming), jaccard: Kernel(jaccard) },
        }
    }};
}

/// One compiled function per line: the inlined `body` under the table's instruction sets.
macro_rules! functions {
    ($features:tt $($name:ident: $query:ty = $body:expr;)*) => {
        $($crate::kernel::functions!(@one $features $name, $query, $body);)*
    };
    (@one ($($features:literal)?) $name:ident, $query:ty, $body:expr) => {
        $(#[target_feature(enable = $features)])?
        unsafe fn $name(
            tile: &$crate::kernel::Tile<'_, $query>,
            rows: &$crate::kernel::Rows<'_>,
            ids: &[u32],
            scores: &mut [f32],
            norms: &mut [f32],
        ) {
            // SAFETY: whoever calls this vouches for the instruction set, all that the bodies ask for.
            #[allow(unused_unsafe)]
            unsafe { $body(tile, rows, ids, scores, norms) }
        }
    };
}

use {functions, table};

#[cfg(test)]
mod tests;
