//! Round trips of every type, files read by Arrow's own readers, and damage of every kind.

mod damage;
mod sample;

use std::io::Cursor;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Float32Type;
use arrow_array::{Array, ArrayRef, Int64Array};
use arrow_ipc::reader::{FileReader, StreamReader};
use proptest::prelude::*;
use redkite_types::DataType;

use super::{BATCH_ROWS, ColumnFile, ColumnWriter};
use crate::Error;
use crate::format::EncodedFile;
use sample::{every_type, field, sample};

fn encode(data_type: DataType, nullable: bool, arrays: &[ArrayRef]) -> EncodedFile {
    let mut writer = ColumnWriter::new(&field(data_type, nullable)).unwrap();
    arrays.iter().for_each(|array| writer.push(array).unwrap());
    writer.finish().unwrap()
}

fn read_all(file: &ColumnFile) -> Vec<ArrayRef> {
    (0..file.batch_count()).map(|index| file.batch(index).unwrap()).collect()
}

fn check_round_trip(data_type: DataType, nullable: bool, parts: &[usize]) {
    let arrays: Vec<ArrayRef> =
        parts.iter().enumerate().map(|(seed, rows)| sample(data_type, *rows, nullable, seed)).collect();
    let encoded = encode(data_type, nullable, &arrays);
    assert_eq!(encoded.crc32, crc32fast::hash(&encoded.bytes));
    let file = ColumnFile::open(encoded.bytes.clone(), "f", data_type).unwrap();
    let rows: usize = parts.iter().sum();
    assert_eq!((file.rows(), encoded.rows as usize, file.batch_count()), (rows, rows, rows.div_ceil(BATCH_ROWS)));
    let refs: Vec<&dyn Array> = arrays.iter().map(|array| array.as_ref()).collect();
    let batches = read_all(&file);
    for (index, batch) in batches.iter().enumerate() {
        assert_eq!(batch.len(), file.batch_rows(index).len());
        assert!(batch.len() == BATCH_ROWS || index + 1 == batches.len());
    }
    if rows > 0 {
        let found: Vec<&dyn Array> = batches.iter().map(|array| array.as_ref()).collect();
        let concat = |arrays: &[&dyn Array]| arrow_select::concat::concat(arrays).unwrap();
        assert_eq!(&concat(&found), &concat(&refs), "{data_type:?} nullable {nullable} {parts:?}");
    }
}

#[test]
fn every_type_round_trips() {
    for data_type in every_type() {
        for nullable in [false, true] {
            for parts in [&[][..], &[0], &[1], &[3, 0, 5]] {
                check_round_trip(data_type, nullable, parts);
            }
        }
    }
}

#[test]
fn batches_are_cut_to_size() {
    for data_type in every_type() {
        check_round_trip(data_type, true, &[BATCH_ROWS - 1, 3, 2 * BATCH_ROWS, 7]);
    }
    check_round_trip(DataType::Int64, false, &[BATCH_ROWS]);
    check_round_trip(DataType::VarChar { max_length: 64 }, false, &[BATCH_ROWS + 1]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_parts_round_trip(which in 0..every_type().len(), nullable: bool, parts in prop::collection::vec(0_usize..200, 0..6)) {
        check_round_trip(every_type()[which], nullable, &parts);
    }

    #[test]
    fn any_pieces_are_the_file(which in 0..every_type().len(), pushes in prop::collection::vec((0..BATCH_ROWS, any::<bool>()), 0..5)) {
        let data_type = every_type()[which];
        let arrays: Vec<ArrayRef> =
            pushes.iter().enumerate().map(|(seed, (rows, _))| sample(data_type, *rows, true, seed)).collect();
        let whole = encode(data_type, true, &arrays);
        check_pieces((data_type, true), &arrays, &whole, |_| false, |push| pushes[push].1);
        check_pieces((data_type, true), &arrays, &whole, |push| pushes[push].1, |_| false);
    }
}

#[test]
fn slices_of_larger_arrays_are_written_alone() {
    for data_type in every_type() {
        let whole = sample(data_type, 100, true, 1);
        let slice = whole.slice(37, 21);
        let encoded = encode(data_type, true, std::slice::from_ref(&slice));
        let file = ColumnFile::open(encoded.bytes, "f", data_type).unwrap();
        assert_eq!(&file.batch(0).unwrap(), &slice, "{data_type:?}");
    }
}

#[test]
fn fixed_width_columns_are_read_in_place_and_aligned() {
    let data_type = DataType::FloatVector { dim: 8 };
    let encoded = encode(data_type, false, &[sample(data_type, BATCH_ROWS + 5, false, 1)]);
    let file = ColumnFile::open(encoded.bytes.clone(), "f", data_type).unwrap();
    let start = encoded.bytes.as_ptr() as usize;
    for batch in read_all(&file) {
        let values = batch.as_fixed_size_list().values().as_primitive::<Float32Type>().values().inner().as_ptr();
        let offset = (values as usize).checked_sub(start).unwrap();
        assert!(offset < encoded.bytes.len(), "points into the file");
        assert!(offset.is_multiple_of(64), "aligned within the file");
    }
}

#[test]
fn bytes_at_any_address_open() {
    let data_type = DataType::Int64;
    let encoded = encode(data_type, false, &[sample(data_type, 10, false, 1)]);
    let mut shifted = vec![0];
    shifted.extend_from_slice(&encoded.bytes);
    let bytes = bytes::Bytes::from(shifted).slice(1..);
    let file = ColumnFile::open(bytes, "f", data_type).unwrap();
    assert_eq!(file.batch(0).unwrap().len(), 10);
}

#[test]
fn arrows_own_readers_open_the_file_and_the_stream_in_it() {
    for data_type in every_type() {
        let array = sample(data_type, 10, true, 3);
        let encoded = encode(data_type, true, std::slice::from_ref(&array));
        let mut reader = FileReader::try_new(Cursor::new(&encoded.bytes), None).unwrap();
        assert_eq!(reader.schema().field(0), &field(data_type, true).arrow());
        assert_eq!(reader.custom_metadata()["redkite.format"], "1");
        assert_eq!(reader.next().unwrap().unwrap().column(0), &array);
        // After the 8 bytes of magic the file is a stream up to its end mark.
        let mut reader = StreamReader::try_new(&encoded.bytes[8..], None).unwrap();
        assert_eq!(reader.next().unwrap().unwrap().column(0), &array);
        assert!(reader.next().is_none());
    }
}

#[test]
fn the_same_rows_give_the_same_bytes() {
    let data_type = DataType::VarChar { max_length: 9 };
    let bytes = || encode(data_type, true, &[sample(data_type, 100, true, 1)]).bytes;
    assert_eq!(bytes(), bytes());
}

/// Encodes `arrays`, with the pushes that `into` says handing out what they encode, taking it after those that `taken_after`
/// says, and checks that the pieces make the file `whole`.
fn check_pieces(
    (data_type, nullable): (DataType, bool),
    arrays: &[ArrayRef],
    whole: &EncodedFile,
    into: impl Fn(usize) -> bool,
    taken_after: impl Fn(usize) -> bool,
) {
    let mut writer = ColumnWriter::new(&field(data_type, nullable)).unwrap();
    let mut pieces = Vec::new();
    for (push, array) in arrays.iter().enumerate() {
        if into(push) {
            let mut out = |bytes: &[u8]| {
                assert!(!bytes.is_empty());
                pieces.extend_from_slice(bytes);
                Ok(())
            };
            writer.push_into(array, &mut out).unwrap();
        } else {
            writer.push(array).unwrap();
        }
        if taken_after(push) {
            pieces.extend_from_slice(&writer.take_encoded());
            assert!(writer.take_encoded().is_empty(), "taken twice");
        }
    }
    let rest = writer.finish().unwrap();
    assert!(pieces.is_empty() || rest.bytes.len() < whole.bytes.len(), "only the rest is left");
    pieces.extend_from_slice(&rest.bytes);
    assert!(pieces == whole.bytes, "{data_type:?}: the pieces are not the file");
    assert_eq!((rest.info(), rest.rows), (whole.info(), whole.rows), "{data_type:?}");
    assert_eq!(rest.size, pieces.len() as u64);
}

#[test]
fn the_pieces_taken_are_the_file() {
    let sizes: [&[usize]; 5] = [
        &[],
        &[1],
        &[BATCH_ROWS],
        &[BATCH_ROWS - 1, 1, 1],
        &[5, 2 * BATCH_ROWS + 7, 0, BATCH_ROWS - 20, 40, BATCH_ROWS],
    ];
    for kind in every_type().into_iter().flat_map(|data_type| [(data_type, false), (data_type, true)]) {
        for sizes in sizes {
            let (data_type, nullable) = kind;
            let arrays: Vec<ArrayRef> =
                sizes.iter().enumerate().map(|(seed, rows)| sample(data_type, *rows, nullable, seed)).collect();
            let whole = encode(data_type, nullable, &arrays);
            assert_eq!(whole.size, whole.bytes.len() as u64);
            check_pieces(kind, &arrays, &whole, |_| false, |_| true);
            check_pieces(kind, &arrays, &whole, |_| false, |push| push % 2 == 1);
            check_pieces(kind, &arrays, &whole, |_| true, |_| false);
            check_pieces(kind, &arrays, &whole, |push| push % 2 == 1, |push| push == 1);
            check_pieces(kind, &arrays, &whole, |push| push % 3 == 0, |push| push % 3 == 1);
        }
    }
}

#[test]
fn what_is_taken_is_not_held() {
    let data_type = DataType::Int64;
    let mut writer = ColumnWriter::new(&field(data_type, false)).unwrap();
    let batch = sample(data_type, BATCH_ROWS, false, 1);
    for _ in 0..20 {
        writer.push(&batch).unwrap();
        let piece = writer.take_encoded();
        assert!((BATCH_ROWS * 8..BATCH_ROWS * 8 + 1_000).contains(&piece.len()), "a batch, not {}", piece.len());
    }
    let rest = writer.finish().unwrap();
    assert!(rest.bytes.len() < 2_000, "{} bytes left", rest.bytes.len());
    assert!(rest.size > 20 * BATCH_ROWS as u64 * 8);
}

#[test]
fn take_gathers_any_rows_in_any_order() {
    let rows = 2 * BATCH_ROWS + 10;
    let last = rows as u32 - 1;
    let cases: [&[u32]; 6] =
        [&[], &[5], &[5, 3, 5, 0], &[last, 0, BATCH_ROWS as u32], &[BATCH_ROWS as u32 + 1, BATCH_ROWS as u32], &[last]];
    for data_type in every_type() {
        let array = sample(data_type, rows, true, 4);
        let file =
            ColumnFile::open(encode(data_type, true, std::slice::from_ref(&array)).bytes, "f", data_type).unwrap();
        for wanted in cases {
            let indices = arrow_array::UInt32Array::from(wanted.to_vec());
            let want = arrow_select::take::take(&array, &indices, None).unwrap();
            assert_eq!(&file.take(wanted).unwrap(), &want, "{data_type:?} {wanted:?}");
        }
        let error = file.take(&[0, rows as u32]).unwrap_err();
        assert!(matches!(error, Error::Misuse { .. }), "{error}");
    }
}

#[test]
fn take_reads_only_the_batches_it_needs_and_asks_the_cache() {
    let data_type = DataType::Int64;
    let array: ArrayRef = Arc::new(Int64Array::from_iter_values(0..3 * BATCH_ROWS as i64));
    let file = ColumnFile::open(encode(data_type, false, &[array]).bytes, "f", data_type).unwrap();
    let mut asked = Vec::new();
    let rows = [2 * BATCH_ROWS as u32 + 1, 7, 8];
    let taken = file.take_from(&rows, |index| {
        asked.push(index);
        file.batch(index)
    });
    assert_eq!(taken.unwrap().as_primitive::<arrow_array::types::Int64Type>().values(), &[32_769, 7, 8]);
    assert_eq!(asked, [0, 2]);
}

#[test]
fn wrong_arrays_are_refused() {
    let texts = sample(DataType::VarChar { max_length: 9 }, 3, false, 1);
    let nulls = sample(DataType::Int64, 30, true, 1);
    for array in [texts, nulls] {
        let mut writer = ColumnWriter::new(&field(DataType::Int64, false)).unwrap();
        assert!(matches!(writer.push(&array), Err(Error::Misuse { .. })));
    }
}

#[test]
fn a_column_of_another_type_is_corrupt() {
    let encoded = encode(DataType::Int64, false, &[sample(DataType::Int64, 3, false, 1)]);
    let error = ColumnFile::open(encoded.bytes, "p/k", DataType::Int32).unwrap_err();
    assert_eq!(
        error.to_string(),
        "data file p/k is damaged: holds a column of Int64, not Int32; restore it from a copy"
    );
}
