//! Whatever happens to the bytes, opening and reading answers with an error or the right values, and never panics.

use bytes::Bytes;
use proptest::prelude::*;
use redkite_types::{DataType, Key};

use super::super::footer::BatchBlock;
use super::super::reader::decode_batch;
use super::{ColumnFile, encode, every_type, field, sample};
use crate::Error;
use crate::format::key::{KeyIndex, write_key_column};

/// Opens `bytes` and reads everything in it.
fn read_everything(bytes: Bytes, data_type: DataType) -> crate::Result<()> {
    let file = ColumnFile::open(bytes, "f", data_type)?;
    for index in 0..file.batch_count() {
        file.batch(index)?;
    }
    if file.section_bytes("key_filter").is_some() || file.section_bytes("key_index").is_some() {
        let index = KeyIndex::new(file)?;
        index.may_contain(&Key::Int(1))?;
        index.lookup(&Key::Int(1))?;
    }
    Ok(())
}

fn key_file(rows: usize) -> Bytes {
    let (file, _) =
        write_key_column(&field(DataType::Int64, false), &[sample(DataType::Int64, rows, false, 1)]).unwrap();
    file.bytes
}

#[test]
fn every_flipped_bit_is_noticed() {
    let texts = DataType::VarChar { max_length: 99 };
    let vectors = DataType::FloatVector { dim: 3 };
    let files = [
        (DataType::Int64, key_file(3)),
        (DataType::Int64, key_file(0)),
        (texts, encode(texts, true, &[sample(texts, 5, true, 1)]).bytes),
        (vectors, encode(vectors, true, &[sample(vectors, 4, true, 1)]).bytes),
    ];
    for (data_type, bytes) in files {
        read_everything(bytes.clone(), data_type).unwrap();
        let mut damaged = bytes.to_vec();
        for bit in 0..bytes.len() * 8 {
            damaged[bit / 8] ^= 1 << (bit % 8);
            let result = read_everything(Bytes::copy_from_slice(&damaged), data_type);
            assert!(matches!(result, Err(Error::Corrupt { .. })), "{data_type:?} bit {bit}: {result:?}");
            damaged[bit / 8] ^= 1 << (bit % 8);
        }
    }
}

#[test]
fn every_truncation_is_noticed() {
    let bytes = key_file(3);
    for len in 0..bytes.len() {
        let result = read_everything(bytes.slice(..len), DataType::Int64);
        assert!(matches!(result, Err(Error::Corrupt { .. })), "{len}: {result:?}");
    }
}

#[test]
fn a_newer_format_is_refused_by_name() {
    let mut bytes = key_file(3).to_vec();
    let tail = bytes.len() - 10;
    let footer_len = u32::from_le_bytes(bytes[tail..tail + 4].try_into().unwrap()) as usize;
    let start = tail - footer_len;
    // The text "1" as flatbuffers store it: length, bytes, zero.
    let one = [1, 0, 0, 0, b'1', 0];
    let at = bytes[start..tail].windows(6).position(|window| window == one).unwrap() + start;
    bytes[at + 4] = b'7';
    let crc32 = crc32fast::hash(&bytes[start..tail]);
    bytes[start - 12..start - 8].copy_from_slice(&crc32.to_le_bytes());
    let error = ColumnFile::open(bytes.into(), "u/c/data/f/k", DataType::Int64).unwrap_err();
    assert_eq!(error, Error::NewerFormat { what: "u/c/data/f/k".to_owned(), found: 7, supported: 1 });
}

/// The only batch of a file, and where its parts are.
fn only_batch(data_type: DataType) -> (Vec<u8>, BatchBlock, arrow_schema::SchemaRef) {
    let bytes = encode(data_type, true, &[sample(data_type, 20, true, 1)]).bytes;
    let tail = bytes.len() - 10;
    let footer_len = u32::from_le_bytes(bytes[tail..tail + 4].try_into().unwrap()) as usize;
    let footer = super::super::footer::Footer::decode(&bytes[tail - footer_len..tail], "f").unwrap();
    let block = footer.batches[0];
    (bytes[block.offset..block.end().unwrap()].to_vec(), block, footer.schema)
}

#[test]
fn offsets_that_are_not_whole_are_refused() {
    // Found by the test below: arrow panics on offsets whose length is no multiple of four bytes.
    for (at, value) in [(3_768_usize, 117_u8), (184, 105)] {
        for data_type in every_type() {
            let (mut batch, block, schema) = only_batch(data_type);
            let at = at % batch.len();
            batch[at] = value;
            let _ = decode_batch(&batch.into(), &block, 20, &schema, !data_type.is_fixed_width());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    /// Behind the checksums: damage that a checksum did not notice must still not panic.
    #[test]
    fn a_damaged_batch_never_panics(
        which in 0..every_type().len(),
        changes in prop::collection::vec((0_usize..4096, any::<u8>()), 1..6),
    ) {
        let data_type = every_type()[which];
        let (mut batch, block, schema) = only_batch(data_type);
        for (at, value) in changes {
            let at = at % batch.len();
            batch[at] = value;
        }
        let _ = decode_batch(&batch.into(), &block, 20, &schema, !data_type.is_fixed_width());
    }

    #[test]
    fn random_bytes_never_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..400), ends_well: bool) {
        if ends_well {
            bytes.extend_from_slice(&40_u32.to_le_bytes());
            bytes.extend_from_slice(b"ARROW1");
        }
        prop_assert!(read_everything(bytes.into(), DataType::Int64).is_err());
    }

    /// A footer whose checksum fits but whose content does not.
    #[test]
    fn a_damaged_footer_never_panics(changes in prop::collection::vec((0_usize..4096, any::<u8>()), 1..4)) {
        let mut bytes = key_file(3).to_vec();
        let tail = bytes.len() - 10;
        let footer_len = u32::from_le_bytes(bytes[tail..tail + 4].try_into().unwrap()) as usize;
        let start = tail - footer_len;
        for (at, value) in changes {
            bytes[start + at % footer_len] = value;
        }
        let crc32 = crc32fast::hash(&bytes[start..tail]);
        bytes[start - 12..start - 8].copy_from_slice(&crc32.to_le_bytes());
        let _ = read_everything(bytes.into(), DataType::Int64);
    }
}
