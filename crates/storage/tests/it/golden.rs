//! Files of every released format still open and hold what was put into them.
//!
//! `REDKITE_WRITE_GOLDEN=1` writes those of the current format anew; files of earlier formats are never touched again.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use arrow_array::builder::{Int16Builder, ListBuilder};
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{ArrayRef, FixedSizeListArray, Int64Array, StringArray};
use arrow_schema::{DataType as ArrowType, Field as ArrowField};
use bytes::Bytes;
use redkite_storage::{BATCH_ROWS, ColumnFile, ColumnWriter, DeleteLog, KeyIndex, write_key_column};
use redkite_types::{DataType, ElementType, Field, FieldId, Key};
use roaring::RoaringBitmap;

const TEXT: DataType = DataType::VarChar { max_length: 32 };
const VECTOR: DataType = DataType::FloatVector { dim: 4 };
const LIST: DataType = DataType::Array { element: ElementType::Int16, max_capacity: 4 };

fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/format-1").join(name)
}

fn field(data_type: DataType, nullable: bool) -> Field {
    Field {
        id: FieldId(100),
        name: "column".to_owned(),
        description: String::new(),
        data_type,
        nullable,
        default: None,
        primary_key: false,
        auto_id: false,
        partition_key: false,
        dynamic: false,
        params: BTreeMap::new(),
    }
}

/// Reads the file, written anew from `encode` first if asked for.
fn read(name: &str, encode: impl FnOnce() -> Bytes) -> Bytes {
    let path = golden(name);
    if std::env::var_os("REDKITE_WRITE_GOLDEN").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, encode()).unwrap();
    }
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).into()
}

fn check_column(name: &str, data_type: DataType, array: ArrayRef) {
    let bytes = read(name, || {
        let mut writer = ColumnWriter::new(&field(data_type, true)).unwrap();
        writer.push(&array).unwrap();
        writer.finish().unwrap().bytes
    });
    let file = ColumnFile::open(bytes, name, data_type).unwrap();
    assert_eq!((file.rows(), file.batch_count()), (array.len(), 1));
    assert_eq!(&file.batch(0).unwrap(), &array, "{name}");
}

#[test]
fn text_column() {
    check_column(
        "text.arrow",
        TEXT,
        Arc::new(StringArray::from(vec![Some("kite"), None, Some(""), Some("Rotmilan ü")])),
    );
}

#[test]
fn vector_column() {
    let item = Arc::new(ArrowField::new("item", ArrowType::Float32, false));
    let values = arrow_array::Float32Array::from_iter_values((0..12).map(|i| i as f32 / 4.0));
    let nulls = vec![true, false, true].into();
    check_column("vector.arrow", VECTOR, Arc::new(FixedSizeListArray::new(item, 4, Arc::new(values), Some(nulls))));
}

#[test]
fn list_column() {
    let mut builder =
        ListBuilder::new(Int16Builder::new()).with_field(ArrowField::new("item", ArrowType::Int16, false));
    builder.append_value([Some(1), Some(-2)]);
    builder.append_null();
    builder.append_value([]);
    check_column("list.arrow", LIST, Arc::new(builder.finish()));
}

#[test]
fn integer_keys() {
    let keys = |row: i64| (row * 7_919) % 20_011;
    let rows = BATCH_ROWS as i64 + 100;
    let bytes = read("keys-int.arrow", || {
        let array: ArrayRef = Arc::new(Int64Array::from_iter_values((0..rows).map(keys)));
        write_key_column(&field(DataType::Int64, false), &[array]).unwrap().0.bytes
    });
    let file = ColumnFile::open(bytes, "keys-int.arrow", DataType::Int64).unwrap();
    assert_eq!(file.batch(1).unwrap().as_primitive::<Int64Type>().value(3), keys(BATCH_ROWS as i64 + 3));
    let index = KeyIndex::new(file).unwrap();
    for row in 0..rows {
        let key = Key::Int(keys(row));
        assert!(index.may_contain(&key).unwrap());
        assert_eq!(index.lookup(&key).unwrap(), [row as u32]);
    }
    assert_eq!(index.lookup(&Key::Int(-1)).unwrap(), Vec::<u32>::new());
    let absent = (0..10_000).filter(|key| index.may_contain(&Key::Int(-1 - key)).unwrap()).count();
    assert!(absent < 100, "{absent} of 10000 absent keys pass the filter");
}

#[test]
fn text_keys() {
    let texts = ["b", "a", "ü", "", "a"];
    let bytes = read("keys-text.arrow", || {
        let array: ArrayRef = Arc::new(StringArray::from(texts.to_vec()));
        write_key_column(&field(TEXT, false), &[array]).unwrap().0.bytes
    });
    let index = KeyIndex::new(ColumnFile::open(bytes, "keys-text.arrow", TEXT).unwrap()).unwrap();
    for (text, rows) in [("b", &[0][..]), ("a", &[1, 4]), ("ü", &[2]), ("", &[3]), ("c", &[])] {
        let key = Key::Text(text.to_owned());
        assert_eq!(index.lookup(&key).unwrap(), rows, "{text:?}");
        assert!(rows.is_empty() || index.may_contain(&key).unwrap());
    }
}

#[test]
fn delete_log() {
    let deleted: BTreeMap<String, RoaringBitmap> = [
        ("f1/v100.arrow".to_owned(), RoaringBitmap::from_iter([0, 7, 65_536, 4_000_000_000])),
        ("f2/v100.arrow".to_owned(), RoaringBitmap::from_iter(10..5_000)),
    ]
    .into();
    let bytes = read("delete-log.bin", || DeleteLog::encode(&deleted).unwrap().bytes);
    let log = DeleteLog::open(bytes, "delete-log.bin").unwrap();
    assert_eq!(log.paths().collect::<Vec<_>>(), ["f1/v100.arrow", "f2/v100.arrow"]);
    for (path, rows) in &deleted {
        assert_eq!(&log.section(path).unwrap(), rows);
    }
}
