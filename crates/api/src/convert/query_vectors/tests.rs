//! Query vectors of every type, and every way they can be wrong.

use super::*;
use crate::convert::tests::every_type;

fn group(kind: PlaceholderType, values: Vec<Vec<u8>>) -> Bytes {
    let values = values.into_iter().map(Bytes::from).collect();
    let placeholder = PlaceholderValue { tag: "$0".into(), r#type: kind.into(), values, element_level: false };
    PlaceholderGroup { placeholders: vec![placeholder] }.encode_to_vec().into()
}

fn bytes_of<const N: usize>(numbers: &[f32], bytes: impl Fn(f32) -> [u8; N]) -> Vec<u8> {
    numbers.iter().flat_map(|number| bytes(*number)).collect()
}

#[test]
fn every_type_is_read() {
    let schema = every_type();
    let numbers = [0.5_f32, -1.0, 2.0, 0.0];
    let f16s = numbers.map(f16::from_f32);
    let bf16s = numbers.map(bf16::from_f32);
    let cases = [
        (
            "vector",
            PlaceholderType::FloatVector,
            bytes_of(&numbers, f32::to_le_bytes),
            VectorValues::Float([numbers, numbers].concat()),
        ),
        (
            "float16_vector",
            PlaceholderType::Float16Vector,
            bytes_of(&numbers, |x| f16::from_f32(x).to_le_bytes()),
            VectorValues::Float16([f16s, f16s].concat()),
        ),
        (
            "bfloat16_vector",
            PlaceholderType::BFloat16Vector,
            bytes_of(&numbers, |x| bf16::from_f32(x).to_le_bytes()),
            VectorValues::BFloat16([bf16s, bf16s].concat()),
        ),
        (
            "int8_vector",
            PlaceholderType::Int8Vector,
            vec![1, 255, 128, 127],
            VectorValues::Int8([1, -1, -128, 127, 1, -1, -128, 127].to_vec()),
        ),
        ("binary_vector", PlaceholderType::BinaryVector, vec![1, 2], VectorValues::Binary(vec![1, 2, 1, 2])),
    ];
    for (name, kind, vector, values) in cases {
        let field = schema.field(name).unwrap();
        let dim = field.data_type.dim().unwrap();
        for nq in [0, 2] {
            let read = query_vectors(field, group(kind, vec![vector.clone(), vector.clone()]), nq);
            assert_eq!(read, Ok(QueryVectors { count: 2, dim, values: values.clone() }), "{name}");
        }
    }
}

#[test]
fn wrong_vectors_are_refused() {
    let schema = every_type();
    let vector = vec![0; 16];
    let nan = bytes_of(&[0.0, f32::NAN, 0.0, 0.0], f32::to_le_bytes);
    let float = PlaceholderType::FloatVector;
    let cases = [
        (
            "vector",
            group(float, vec![vec![0; 12]]),
            1,
            65535,
            "vector dimension mismatch, expected vector size(byte) 16, actual 12.",
        ),
        ("vector", group(float, vec![vector.clone(), vec![]]), 2, 65535, "expected vector size(byte) 16, actual 0."),
        (
            "vector",
            group(float, vec![]),
            0,
            1100,
            "nq (number of search vector per search request) should be in range [1, 16384], but got 0",
        ),
        ("vector", group(float, vec![vec![]; 16_385]), 16_385, 1100, "but got 16385"),
        ("vector", group(float, vec![vector.clone()]), 2, 1100, "nq is 2 and the request holds 1 vectors"),
        ("vector", group(float, vec![vector.clone()]), -1, 1100, "nq is -1"),
        (
            "vector",
            group(float, vec![vector.clone(), nan]),
            2,
            1100,
            "query vector 1 for field vector holds a value that is not a number",
        ),
        (
            "vector",
            group(PlaceholderType::Int8Vector, vec![vector.clone()]),
            1,
            1100,
            "vector type must be the same, field vector - type FloatVector, search info type Int8Vector",
        ),
        (
            "vector",
            group(PlaceholderType::VarChar, vec![vector.clone()]),
            1,
            1100,
            "a search by text (BM25 and embedding functions) is not supported yet",
        ),
        ("vector", group(PlaceholderType::EmbListFloatVector, vec![vector.clone()]), 1, 1100, "embedding lists"),
        (
            "vector",
            group(PlaceholderType::SparseFloatVector, vec![vector.clone()]),
            1,
            1100,
            "vector type must be the same",
        ),
        ("int64", group(PlaceholderType::Int64, vec![vector]), 1, 1100, "field int64 is not a vector field"),
        ("vector", Bytes::new(), 1, 1100, "a search needs one placeholder, this one has 0"),
        ("vector", Bytes::from_static(b"\xff"), 1, 1100, "not a valid protobuf message"),
    ];
    for (name, group, nq, code, fragment) in cases {
        let error = query_vectors(schema.field(name).unwrap(), group, nq).expect_err(fragment);
        assert!(error.to_string().contains(fragment), "{error}");
        assert_eq!(error.code().number(), code, "{error}");
    }
}
