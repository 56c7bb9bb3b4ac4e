//! Searching vectors that lie in borrowed memory: distance kernels, the exact scan, the k best.
//!
//! Nothing here does IO, starts threads or knows a file; the caller lends slices, usually straight from a memory map.
//!
//! | room | what lies there |
//! |---|---|
//! | [`Vectors`], [`Block`] | typed views of rows, `rows x dim`, row-major |
//! | [`Queries`] | query vectors, checked, converted and given a kernel once |
//! | [`Mask`] | which rows may be found |
//! | [`scan`] | the exact search of one block |
//! | [`TopK`], [`Window`] | the k best with their ties, within a range of scores |
//! | [`Kernels`] | the arithmetic, in one variant per instruction set |
//!
//! Kernels score *rows given by number* for *up to eight queries at once*, which is what a scan, the re-ranking of an
//! approximate search's candidates and the building of a graph all ask for. An approximate index is a module beside
//! `scan`, takes the same [`Queries`] and [`Mask`], and fills the same [`TopK`].
//!
//! Invariants: a score does not depend on what else is computed in the same call (other queries, a mask, the place of
//! the row): each variant has one order of summation. Scores are within float32 rounding of a float64 computation, for
//! vectors of any magnitude. This is the only crate with `unsafe`, and `kernel` its only module with it.

mod error;
mod kernel;
mod mask;
mod queries;
mod scan;
mod topk;
mod vectors;
mod window;

pub use error::IndexError;
pub use kernel::{Kernels, Variant};
pub use mask::Mask;
pub use queries::Queries;
pub use scan::scan;
pub use topk::{Hit, TIES_MAX, TopHits, TopK};
pub use vectors::{Block, Element, Vectors};
pub use window::Window;

#[cfg(test)]
mod reference;
