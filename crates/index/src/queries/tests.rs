//! What is refused, and what is made ready.

use redkite_types::{ErrorKind, Metric};

use super::{Prepared, Queries, inverse_norm};
use crate::{Element, IndexError, Vectors};

/// `expected` is a part of the message.
fn check_refused(metric: Metric, vectors: Vectors<'_>, dim: usize, expected: &str) {
    let error = Queries::new(metric, vectors, dim).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    assert!(error.to_string().contains(expected), "{error}");
}

#[test]
fn refusals_say_why() {
    let numbers = [1.0f32; 6];
    let floats = Vectors::f32(&numbers);
    let bytes = [0u8; 12];
    let bits = Vectors::bits(&bytes);
    check_refused(Metric::L2, floats, 0, "0 dimensions is not supported, use 1 to 32768");
    check_refused(Metric::L2, floats, 32_769, "32769 dimensions");
    check_refused(Metric::Hamming, bits, 12, "use 1 to 262144, a multiple of 8");
    check_refused(Metric::L2, floats, 4, "24 bytes of query vectors are not a whole number of vectors of 16 bytes");
    check_refused(Metric::Hamming, floats, 3, "HAMMING does not compare float32 vectors, use L2, IP or COSINE");
    check_refused(Metric::Cosine, bits, 8, "COSINE does not compare binary vectors, use HAMMING or JACCARD");
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let message = format!("query vector 1 has the value {bad} at dimension 2");
        let numbers = [1.0, 1.0, 1.0, 1.0, 1.0, bad];
        check_refused(Metric::L2, Vectors::f32(&numbers), 3, &message);
        let halves = numbers.map(half::f16::from_f32);
        check_refused(Metric::Ip, Vectors::f16(&halves), 3, &message);
        let brains: Vec<u8> = numbers.iter().flat_map(|&number| half::bf16::from_f32(number).to_le_bytes()).collect();
        check_refused(Metric::Cosine, Vectors::bf16(&brains), 3, &message);
    }
}

#[test]
fn queries_are_padded_and_lie_at_cache_lines() {
    let numbers: Vec<f32> = (0..51).map(|number| number as f32).collect();
    let queries = Queries::new(Metric::L2, Vectors::f32(&numbers), 17).unwrap();
    assert_eq!((queries.len(), queries.dim(), queries.element()), (3, 17, Element::F32));
    let Prepared::Float(own) = queries.prepared() else { panic!("floats stay floats") };
    assert_eq!(own.query(0).as_ptr().align_offset(64), 0);
    for query in 0..3 {
        assert_eq!(own.query(query)[..17], numbers[query * 17..][..17]);
        assert_eq!(own.query(query)[17..], [0.0; 15]);
    }
}

#[test]
fn no_queries_are_fine() {
    let queries = Queries::new(Metric::Cosine, Vectors::f32(&[]), 17).unwrap();
    assert!(queries.is_empty());
}

#[test]
fn norms_are_trusted_within_the_safe_range_only() {
    assert_eq!(inverse_norm(4.0), 0.5);
    for unsafe_square in [0.0, 1e-30, 1e35, f32::INFINITY, f32::NAN] {
        assert!(inverse_norm(unsafe_square).is_nan(), "{unsafe_square}");
    }
}

#[test]
fn broken_blocks_are_corrupt() {
    let error = crate::Block::new(Vectors::bits(&[0; 7]), 16).unwrap_err();
    assert_eq!(error, IndexError::BlockLength { size_bytes: 7, row_bytes: 2 });
    assert_eq!(error.kind(), ErrorKind::Corrupt);
}
