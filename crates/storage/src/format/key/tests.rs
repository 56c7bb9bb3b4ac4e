use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, StringArray};
use proptest::prelude::*;
use redkite_types::{DataType, Field, FieldId, Key, Keys};

use super::filter::{KeyFilter, encode_filter, key_hash};
use super::sorted::KeyRef;
use super::{KeyColumnWriter, KeyIndex, KeyRange, write_key_column};
use crate::format::column::{BATCH_ROWS, ColumnFile};

const TEXT: DataType = DataType::VarChar { max_length: 100 };

fn field(data_type: DataType) -> Field {
    Field {
        id: FieldId(100),
        name: "id".to_owned(),
        description: String::new(),
        data_type,
        nullable: false,
        default: None,
        primary_key: true,
        auto_id: false,
        partition_key: false,
        dynamic: false,
        params: Default::default(),
    }
}

fn open(data_type: DataType, arrays: &[ArrayRef]) -> (KeyIndex, Option<KeyRange>) {
    let (file, range) = write_key_column(&field(data_type), arrays).unwrap();
    let file = ColumnFile::open(file.bytes, "k", data_type).unwrap();
    (KeyIndex::new(file).unwrap(), range)
}

fn array(keys: &[Key]) -> (DataType, ArrayRef) {
    let int = |key: &Key| if let Key::Int(key) = key { *key } else { unreachable!() };
    let text = |key: &Key| if let Key::Text(key) = key { key.clone() } else { unreachable!() };
    match keys.first() {
        Some(Key::Text(_)) => (TEXT, Arc::new(StringArray::from_iter_values(keys.iter().map(text)))),
        _ => (DataType::Int64, Arc::new(Int64Array::from_iter_values(keys.iter().map(int)))),
    }
}

/// Checks every way of asking against a plain map; `asked` may hold keys that are not there, in any order.
fn check(keys: &[Key], asked: &[Key]) {
    let mut model: BTreeMap<&Key, Vec<u32>> = BTreeMap::new();
    for (row, key) in keys.iter().enumerate() {
        model.entry(key).or_default().push(row as u32);
    }
    let (data_type, array) = array(keys);
    let (index, range) = open(data_type, &[array]);
    let want = model.first_key_value().zip(model.last_key_value());
    assert_eq!(range, want.map(|(min, max)| KeyRange { min: (*min.0).clone(), max: (*max.0).clone() }));
    let mut want_many = Vec::new();
    for (position, key) in asked.iter().enumerate() {
        let rows = model.get(key).cloned().unwrap_or_default();
        assert_eq!(index.lookup(key).unwrap(), rows, "{key:?}");
        assert!(rows.is_empty() || (index.may_contain(key).unwrap() && range.as_ref().unwrap().contains(key)));
        want_many.extend(rows.iter().map(|row| (position as u32, *row)));
    }
    let many = match asked.first() {
        Some(Key::Text(_)) => Keys::Text(asked.iter().map(|key| text_of(key).to_owned()).collect()),
        _ => Keys::Int(asked.iter().map(int_of).collect()),
    };
    assert_eq!(index.lookup_many(&many).unwrap(), want_many);
}

fn int_of(key: &Key) -> i64 {
    if let Key::Int(key) = key { *key } else { unreachable!() }
}

fn text_of(key: &Key) -> &str {
    if let Key::Text(key) = key { key } else { unreachable!() }
}

proptest! {
    #[test]
    fn integer_lookups_agree_with_a_map(keys in prop::collection::vec(-20_i64..20, 0..60), mut asked in prop::collection::vec(-25_i64..25, 0..30), sorted: bool) {
        if sorted {
            asked.sort_unstable();
        }
        let keys: Vec<Key> = keys.into_iter().map(Key::Int).collect();
        let asked: Vec<Key> = asked.into_iter().map(Key::Int).collect();
        check(&keys, &asked);
    }

    #[test]
    fn text_lookups_agree_with_a_map(keys in prop::collection::vec("[aäz]{0,3}", 1..60), mut asked in prop::collection::vec("[aäz]{0,3}", 0..30), sorted: bool) {
        if sorted {
            asked.sort_unstable();
        }
        let keys: Vec<Key> = keys.into_iter().map(Key::Text).collect();
        let asked: Vec<Key> = asked.into_iter().map(Key::Text).collect();
        check(&keys, &asked);
    }

    #[test]
    fn shortened_ranges_still_contain(texts in prop::collection::vec("\\PC{0,12}", 1..8), bytes_max in 0_usize..8) {
        let keys: Vec<Key> = texts.into_iter().map(Key::Text).collect();
        let (min, max) = (keys.iter().min().unwrap().clone(), keys.iter().max().unwrap().clone());
        let short = KeyRange { min, max }.shortened(bytes_max);
        for key in &keys {
            prop_assert!(short.contains(key), "{short:?} {key:?}");
        }
        prop_assert!(text_of(&short.min).len() <= bytes_max);
    }

    #[test]
    fn random_bytes_are_no_filter_but_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
        if let Ok(filter) = KeyFilter::parse(bytes.into(), "k") {
            filter.may_contain(&Key::Int(1));
        }
    }
}

#[test]
fn extremes_are_found() {
    check(&[i64::MIN, 0, i64::MAX].map(Key::Int), &[i64::MAX, i64::MIN, 1].map(Key::Int));
    let texts = ["", "\u{10FFFF}", "a\0b"].map(|text| Key::Text(text.to_owned()));
    check(&texts, &texts);
}

#[test]
fn a_key_of_the_other_type_is_not_here() {
    let (index, _) = open(DataType::Int64, &[Arc::new(Int64Array::from(vec![1]))]);
    assert_eq!(index.lookup(&Key::Text("1".to_owned())).unwrap(), Vec::<u32>::new());
    assert_eq!(index.lookup_many(&Keys::Text(vec!["1".to_owned()])).unwrap(), vec![]);
}

#[test]
fn the_pieces_taken_are_the_file() {
    let texts = |rows: usize| (0..rows).map(|row| Key::Text(format!("key {}", row * 7_919 % 20_011))).collect();
    let ints = |rows: usize| (0..rows as i64).map(|row| Key::Int(row * 7_919 % 20_011)).collect();
    for rows in [1, BATCH_ROWS - 1, BATCH_ROWS, 2 * BATCH_ROWS + 100] {
        for keys in [ints(rows), texts(rows)] as [Vec<Key>; 2] {
            let (data_type, array) = array(&keys);
            let whole = write_key_column(&field(data_type), std::slice::from_ref(&array)).unwrap();
            for step in [1_000, BATCH_ROWS, rows] {
                let mut writer = KeyColumnWriter::new(&field(data_type)).unwrap();
                let mut pieces = Vec::new();
                for from in (0..rows).step_by(step) {
                    writer.push(&array.slice(from, step.min(rows - from))).unwrap();
                    pieces.extend_from_slice(&writer.take_encoded());
                }
                let (rest, range) = writer.finish().unwrap();
                pieces.extend_from_slice(&rest.bytes);
                assert!(pieces == whole.0.bytes, "{rows} rows, {step} at a time");
                assert_eq!((rest.info(), rest.rows, range), (whole.0.info(), whole.0.rows, whole.1.clone()));
            }
        }
    }
}

#[test]
fn the_shortened_bound_skips_what_has_no_successor() {
    let range = |max: &str| KeyRange { min: Key::Text(String::new()), max: Key::Text(max.to_owned()) };
    let max = |text: &str| text_of(&range(text).shortened(4).max).to_owned();
    assert_eq!(max("abcd"), "abcd");
    assert_eq!(max("abcde"), "abce");
    assert_eq!(max("\u{10FFFF}\u{10FFFF}"), "\u{10FFFF}\u{10FFFF}");
    assert_eq!(max("\u{D7FF}bcd"), "\u{D7FF}c");
    assert_eq!(max("abc\u{D7FF}"), "abd");
}

#[test]
fn the_filter_takes_nine_bits_a_key_and_errs_for_one_key_in_256() {
    for (keys, bits_max) in [(1_000, 12.0), (20_000, 10.0), (200_000, 9.4)] {
        let hashes = (0..keys).map(|key| key_hash(KeyRef::Int(key))).collect();
        let filter = KeyFilter::parse(encode_filter(hashes).into(), "k").unwrap();
        let bits = filter.size_bytes() as f64 * 8.0 / keys as f64;
        assert!(bits <= bits_max, "{keys} keys: {bits} bits a key");
        assert!((0..keys).all(|key| filter.may_contain(&Key::Int(key))), "{keys} keys: a key is not found");
        let asked = 100_000;
        let wrong = (0..asked).filter(|key| filter.may_contain(&Key::Int(-1 - key))).count();
        let expected = asked as f64 / 256.0;
        assert!((wrong as f64 - expected).abs() < expected / 2.0, "{keys} keys: {wrong} false positives");
    }
}

#[test]
fn filters_of_every_small_size_can_be_built() {
    for keys in 0..300 {
        let hashes: Vec<u64> = (0..keys).map(|key| key_hash(KeyRef::Int(key))).collect();
        let filter = KeyFilter::parse(encode_filter(hashes).into(), "k").unwrap();
        assert!((0..keys).all(|key| filter.may_contain(&Key::Int(key))));
        assert!(filter.size_bytes() < 40 + keys as usize * 8, "{keys} keys take {} bytes", filter.size_bytes());
    }
}

#[test]
fn the_hash_of_a_key_is_part_of_the_format() {
    assert_eq!(key_hash(KeyRef::Int(42)), key_hash(KeyRef::Text(&42_i64.to_le_bytes())));
    assert_eq!(format!("{:016x}", key_hash(KeyRef::Int(42))), "200f3839e6a50acd");
}
