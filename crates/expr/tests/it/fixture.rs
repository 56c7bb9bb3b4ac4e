//! A schema with a field of every type, six rows with nulls in them, and the `check` that most tests are made of.

use std::sync::Arc;

use arrow_array::builder::{ListBuilder, PrimitiveBuilder, StringBuilder};
use arrow_array::types::{ArrowPrimitiveType, Float32Type, Int64Type};
use arrow_array::{
    ArrayRef, BooleanArray, FixedSizeListArray, Float32Array, Float64Array, Int8Array, Int32Array, Int64Array,
    ListArray, RecordBatch, StringArray,
};
use arrow_schema::{DataType as ArrowType, Field as ArrowField};
use redkite_expr::{BatchColumns, ExprError, Predicate, Templates, parse};
use redkite_types::{DataType, ElementType, Field, FieldId, Schema};

pub fn field(id: i64, name: &str, data_type: DataType, nullable: bool) -> Field {
    Field {
        id: FieldId(id),
        name: name.to_owned(),
        description: String::new(),
        data_type,
        nullable,
        default: None,
        primary_key: name == "id",
        auto_id: false,
        partition_key: false,
        dynamic: name == "$meta",
        params: Default::default(),
    }
}

pub fn schema() -> Schema {
    let array = |element| DataType::Array { element, max_capacity: 16 };
    let fields = vec![
        field(100, "id", DataType::Int64, false),
        field(101, "i8", DataType::Int8, true),
        field(102, "i32", DataType::Int32, true),
        field(103, "i64", DataType::Int64, true),
        field(104, "flag", DataType::Bool, true),
        field(105, "f", DataType::Float, true),
        field(106, "d", DataType::Double, false),
        field(107, "name", DataType::VarChar { max_length: 64 }, true),
        field(108, "nums", array(ElementType::Int64), true),
        field(109, "tags", array(ElementType::VarChar { max_length: 64 }), true),
        field(110, "floats", array(ElementType::Float), true),
        field(111, "j", DataType::Json, true),
        field(112, "vec", DataType::FloatVector { dim: 2 }, false),
        field(113, "$meta", DataType::Json, true),
    ];
    Schema { fields, description: String::new() }
}

fn numbers<T: ArrowPrimitiveType>(rows: Vec<Option<Vec<T::Native>>>) -> ListArray {
    let item = ArrowField::new("item", T::DATA_TYPE, false);
    let mut builder = ListBuilder::new(PrimitiveBuilder::<T>::new()).with_field(item);
    for row in rows {
        let valid = row.is_some();
        row.into_iter().flatten().for_each(|value| builder.values().append_value(value));
        builder.append(valid);
    }
    builder.finish()
}

fn texts(rows: Vec<Option<Vec<&str>>>) -> ListArray {
    let item = ArrowField::new("item", ArrowType::Utf8, false);
    let mut builder = ListBuilder::new(StringBuilder::new()).with_field(item);
    for row in rows {
        let valid = row.is_some();
        row.into_iter().flatten().for_each(|value| builder.values().append_value(value));
        builder.append(valid);
    }
    builder.finish()
}

/// Rows 0 to 5; `id` is the number of the row.
pub fn batch() -> RecordBatch {
    let json = [
        Some(r#"{"a": 1, "s": "x", "n": {"k": [10, 20]}, "b": true, "arr": [1, 2, 3], "big": 9007199254740993}"#),
        Some(r#"{"a": 2.5, "s": "y", "arr": ["a", "b", 1.0], "nul": null, "b": 1}"#),
        Some(r#"{"a": "text", "b": false, "arr": [[1, 2], 3, true], "s": "50%"}"#),
        None,
        Some("{}"),
        Some(r#"{"a": 3, "a b": 7, "s": "apple pie", "n": {"k": [30]}, "arr": [], "a": 4}"#),
    ];
    let meta = [
        Some(r#"{"color": "red", "n": 1}"#),
        Some(r#"{"color": "blue"}"#),
        Some("{}"),
        None,
        Some(r#"{"n": 2.0, "color": null}"#),
        Some(r#"{"color": "red", "n": "#), // cut off: has no values
    ];
    let vectors = FixedSizeListArray::new(
        Arc::new(ArrowField::new("item", ArrowType::Float32, false)),
        2,
        Arc::new(Float32Array::from(vec![0.0; 12])),
        None,
    );
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(vec![0, 1, 2, 3, 4, 5])),
        Arc::new(Int8Array::from(vec![Some(1), Some(-1), None, Some(127), Some(-128), Some(5)])),
        Arc::new(Int32Array::from(vec![Some(10), Some(20), Some(30), None, Some(i32::MIN), Some(i32::MAX)])),
        Arc::new(Int64Array::from(vec![
            Some(100),
            None,
            Some(9_007_199_254_740_993),
            Some(-5),
            Some(i64::MIN),
            Some(i64::MAX),
        ])),
        Arc::new(BooleanArray::from(vec![Some(true), Some(false), None, Some(true), Some(false), Some(true)])),
        Arc::new(Float32Array::from(vec![Some(0.1), Some(0.2), Some(1.0), None, Some(2.5), Some(-0.0)])),
        Arc::new(Float64Array::from(vec![1.5, -2.5, 0.0, 3.0, f64::NAN, f64::INFINITY])),
        Arc::new(StringArray::from(vec![
            Some("apple"),
            Some("banana"),
            None,
            Some("a%c"),
            Some("\u{c1}pple"),
            Some(""),
        ])),
        Arc::new(numbers::<Int64Type>(vec![
            Some(vec![1, 2, 3]),
            Some(vec![]),
            None,
            Some(vec![3]),
            Some(vec![7, 7]),
            Some(vec![1]),
        ])),
        Arc::new(texts(vec![
            Some(vec!["a", "b"]),
            Some(vec![]),
            Some(vec!["b"]),
            None,
            Some(vec!["x", "y", "z"]),
            Some(vec!["apple"]),
        ])),
        Arc::new(numbers::<Float32Type>(vec![
            Some(vec![0.1, 2.0]),
            None,
            Some(vec![]),
            Some(vec![-0.0]),
            Some(vec![0.5]),
            Some(vec![1e30]),
        ])),
        Arc::new(StringArray::from(json.to_vec())),
        Arc::new(vectors),
        Arc::new(StringArray::from(meta.to_vec())),
    ];
    RecordBatch::try_new(schema().arrow(), columns).unwrap()
}

pub fn predicate(filter: &str) -> Predicate {
    parse(filter, &Templates::new(), &schema()).unwrap_or_else(|error| panic!("{filter}: {error}"))
}

pub fn select(predicate: &Predicate) -> Vec<usize> {
    let (batch, schema) = (batch(), schema());
    predicate.evaluate(&BatchColumns::new(&batch, &schema)).unwrap().set_indices().collect()
}

/// The predicate as another process gets it.
pub fn sent(predicate: Predicate, filter: &str, templates: &Templates) -> Predicate {
    let written = predicate.written_as(filter.to_owned(), templates.clone());
    let bytes = serde_json::to_vec(&written.portable().unwrap()).unwrap();
    let portable: redkite_expr::Portable = serde_json::from_slice(&bytes).unwrap();
    portable.predicate(&schema()).unwrap()
}

/// The filter selects exactly these rows, as another process gets it, too; a slice of the batch selects the same ones.
pub fn check(filter: &str, expected: &[usize]) {
    let predicate = predicate(filter);
    assert_eq!(select(&predicate), expected, "{filter}");
    assert_eq!(select(&sent(predicate.clone(), filter, &Templates::new())), expected, "{filter}, sent");
    let (sliced, schema) = (batch().slice(1, 4), schema());
    let rows: Vec<usize> = predicate.evaluate(&BatchColumns::new(&sliced, &schema)).unwrap().set_indices().collect();
    let expected: Vec<usize> = expected.iter().filter(|row| (1..5).contains(*row)).map(|row| row - 1).collect();
    assert_eq!(rows, expected, "{filter}, rows 1 to 4 only");
}

pub fn check_all(cases: &[(&str, &[usize])]) {
    for (filter, expected) in cases {
        check(filter, expected);
    }
}

pub fn error(filter: &str) -> ExprError {
    match parse(filter, &Templates::new(), &schema()) {
        Ok(_) => panic!("{filter}: no error"),
        Err(error) => error,
    }
}
