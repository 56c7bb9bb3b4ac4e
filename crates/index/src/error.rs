//! What can be wrong with the arguments of a search.
//!
//! Nothing else can fail here: there is no IO, and every allocation is bounded by the arguments.

use redkite_types::{ErrorKind, Metric};

use crate::Element;

/// Why vectors, queries or a scan were refused.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum IndexError {
    /// No vector has that many dimensions.
    #[error("a {element} vector of {dim} dimensions is not supported, use 1 to {max}{}", if *.element == Element::Bits { ", a multiple of 8" } else { "" })]
    Dim {
        /// What the vectors are made of.
        element: Element,
        /// The dimensions asked for.
        dim: usize,
        /// The most dimensions such a vector may have.
        max: usize,
    },
    /// Query vectors that do not end with a whole vector.
    #[error("{size_bytes} bytes of query vectors are not a whole number of vectors of {row_bytes} bytes")]
    QueryLength {
        /// Bytes given.
        size_bytes: usize,
        /// Bytes of one vector.
        row_bytes: usize,
    },
    /// A query vector with a NaN or an infinity.
    #[error("query vector {query} has the value {value} at dimension {dimension}, every value must be finite")]
    NotFinite {
        /// Which query, from 0.
        query: usize,
        /// Which dimension, from 0.
        dimension: usize,
        /// The value.
        value: f32,
    },
    /// The metric does not compare such vectors.
    #[error("metric {metric} does not compare {element} vectors, use {}", if *.element == Element::Bits { "HAMMING or JACCARD" } else { "L2, IP or COSINE" })]
    Metric {
        /// The metric asked for.
        metric: Metric,
        /// What the vectors are made of.
        element: Element,
    },
    /// Query and stored vectors differ in type or dimension.
    #[error("queries are {query} vectors of {query_dim} dimensions, stored are {stored} vectors of {stored_dim}")]
    Mismatch {
        /// What the queries are made of.
        query: Element,
        /// Dimensions of the queries.
        query_dim: usize,
        /// What the stored vectors are made of.
        stored: Element,
        /// Dimensions of the stored vectors.
        stored_dim: usize,
    },
    /// Stored vectors that do not end with a whole vector.
    #[error("{size_bytes} bytes of stored vectors are not a whole number of vectors of {row_bytes} bytes")]
    BlockLength {
        /// Bytes given.
        size_bytes: usize,
        /// Bytes of one vector.
        row_bytes: usize,
    },
    /// More rows than one block may have.
    #[error("a block of {rows} rows is too large, scan at most {max} rows at a time")]
    BlockRows {
        /// Rows of the block.
        rows: usize,
        /// The most a block may have.
        max: usize,
    },
    /// A mask made for another number of rows.
    #[error("a mask of {words} words for {mask_rows} rows does not fit a block of {rows} rows")]
    MaskLength {
        /// Words of the mask.
        words: usize,
        /// Rows the mask was said to cover.
        mask_rows: usize,
        /// Rows it has to cover.
        rows: usize,
    },
    /// Not one collector per query.
    #[error("{collectors} collectors were given for {queries} queries, give one for each")]
    Collectors {
        /// Query vectors.
        queries: usize,
        /// Collectors.
        collectors: usize,
    },
}

impl IndexError {
    /// What the caller should do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            IndexError::Dim { .. }
            | IndexError::QueryLength { .. }
            | IndexError::NotFinite { .. }
            | IndexError::Metric { .. }
            | IndexError::Mismatch { .. } => ErrorKind::Invalid,
            IndexError::BlockLength { .. } => ErrorKind::Corrupt,
            IndexError::BlockRows { .. } | IndexError::MaskLength { .. } | IndexError::Collectors { .. } => {
                ErrorKind::Internal
            }
        }
    }
}
