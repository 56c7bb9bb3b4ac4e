//! The hand-written message against the bytes the generated one would make.

use super::*;

/// The same message as prost derives it.
#[derive(Clone, PartialEq, prost::Message)]
struct Derived {
    #[prost(float, repeated, tag = "1")]
    data: Vec<f32>,
}

#[test]
fn bytes_are_those_of_the_derived_message() {
    for len in [0, 1, 2, CHUNK - 1, CHUNK, CHUNK + 1, 5000] {
        let data: Vec<f32> = (0..len).map(|i| i as f32 * 0.37 - 4.0).collect();
        let ours = FloatArray { data: data.clone() };
        let bytes = ours.encode_to_vec();
        assert_eq!(bytes, Derived { data }.encode_to_vec(), "{len}");
        assert_eq!(bytes.len(), ours.encoded_len());
        let back = FloatArray::decode(bytes.as_slice()).unwrap();
        assert_eq!(back, ours);
        assert_eq!(back.data.capacity(), back.data.len(), "allocated exactly");
    }
}

#[test]
fn unpacked_and_split_arrays_are_read() {
    let mut bytes = Vec::new();
    for value in [1.5f32, -2.0] {
        bytes.push(1 << 3 | 5);
        bytes.extend(value.to_le_bytes());
    }
    bytes.extend(FloatArray { data: vec![3.0] }.encode_to_vec());
    // An unknown field in between is skipped.
    bytes.extend([2 << 3, 7]);
    bytes.extend(FloatArray { data: vec![4.0] }.encode_to_vec());
    assert_eq!(FloatArray::decode(bytes.as_slice()).unwrap().data, [1.5, -2.0, 3.0, 4.0]);
}

#[test]
fn damaged_arrays_are_refused() {
    let cases: [&[u8]; 6] = [
        &[0x0a],
        &[0x0a, 0x04, 0, 0],
        &[0x0a, 0x03, 0, 0, 0],
        &[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f],
        &[0x0d, 0, 0],
        &[0x08, 0x01],
    ];
    for bytes in cases {
        assert!(FloatArray::decode(bytes).is_err(), "{bytes:?}");
    }
}
