//! Rows in, rows out, rows in again: nothing may change on the way, whatever the type and wherever the nulls.

use arrow_array::cast::AsArray;
use arrow_array::{Array, RecordBatch};
use half::{bf16, f16};
use proptest::prelude::*;
use proptest::test_runner::TestRng;
use redkite_types::{DataType, Field, Scalar, Schema};

use super::every_type;
use crate::convert::rows_in::{KeySource, rows_to_batch};
use crate::convert::rows_out::{DynamicKeys, batch_to_fields, column_to_field};
use crate::convert::schema_out::wire_type;
use crate::float_array::FloatArray;
use crate::proto::schema::field_data::Field as Column;
use crate::proto::schema::scalar_field::Data as Scalars;
use crate::proto::schema::vector_field::Data as Vectors;
use crate::proto::schema::*;

/// `len` values, sometimes extreme ones.
fn scalars(ty: DataType, len: usize, rng: &mut TestRng) -> Scalars {
    fn many<T>(len: usize, mut value: impl FnMut() -> T) -> Vec<T> {
        (0..len).map(|_| value()).collect()
    }
    let float = |rng: &mut TestRng| {
        *[0.0, -0.0, 1.5, f32::MAX, f32::MIN_POSITIVE, -3.25e-7].get(rng.random_range(0..6)).unwrap()
    };
    let text = |rng: &mut TestRng| ["", "a", "Größe", "\"quoted\"", "\u{1F985}"][rng.random_range(0..5)].to_owned();
    match ty {
        DataType::Bool => Scalars::BoolData(BoolArray { data: many(len, || rng.random()) }),
        DataType::Int8 => Scalars::IntData(IntArray { data: many(len, || rng.random::<i8>().into()) }),
        DataType::Int16 => Scalars::IntData(IntArray { data: many(len, || rng.random::<i16>().into()) }),
        DataType::Int32 => Scalars::IntData(IntArray { data: many(len, || rng.random()) }),
        DataType::Int64 => Scalars::LongData(LongArray { data: many(len, || rng.random()) }),
        DataType::Float => Scalars::FloatData(FloatArray { data: many(len, || float(rng)) }),
        DataType::Double => Scalars::DoubleData(DoubleArray { data: many(len, || f64::from(float(rng)) * 1e-40) }),
        DataType::Json => {
            let values = ["1", "null", "{\"a\": [1, 2]}", "\"x\"", " [ ] "];
            Scalars::JsonData(JsonArray { data: many(len, || values[rng.random_range(0..5)].into()) })
        }
        DataType::Array { element, .. } => Scalars::ArrayData(ArrayArray {
            data: many(len, || {
                let length = rng.random_range(0..4);
                ScalarField { data: (length > 0).then(|| scalars(element.data_type(), length, rng)) }
            }),
            element_type: wire_type(element.data_type()).into(),
        }),
        _ => Scalars::StringData(StringArray { data: many(len, || text(rng)) }),
    }
}

fn vectors(ty: DataType, len: usize, rng: &mut TestRng) -> Vectors {
    let mut numbers = |per_vector: usize| -> Vec<f32> {
        (0..len * per_vector).map(|_| f32::from(rng.random::<i8>()) / 4.0).collect()
    };
    let dim = ty.dim().unwrap();
    match ty {
        DataType::FloatVector { .. } => Vectors::FloatVector(FloatArray { data: numbers(dim) }),
        DataType::Float16Vector { .. } => {
            Vectors::Float16Vector(numbers(dim).into_iter().flat_map(|x| f16::from_f32(x).to_le_bytes()).collect())
        }
        DataType::BFloat16Vector { .. } => {
            Vectors::Bfloat16Vector(numbers(dim).into_iter().flat_map(|x| bf16::from_f32(x).to_le_bytes()).collect())
        }
        DataType::Int8Vector { .. } => Vectors::Int8Vector((0..len * dim).map(|_| rng.random::<u8>()).collect()),
        _ => Vectors::BinaryVector((0..len * dim / 8).map(|_| rng.random::<u8>()).collect()),
    }
}

/// A column as a client sends it: values of the valid rows only. None where a client may leave the column out.
fn sent(field: &Field, rows: usize, rng: &mut TestRng) -> Option<FieldData> {
    let may_miss = field.nullable || field.default.is_some();
    if (may_miss || field.dynamic) && rng.random_ratio(1, 4) {
        return None;
    }
    let mask: Vec<bool> = (0..rows).map(|_| !may_miss || rng.random()).collect();
    let valid = mask.iter().filter(|valid| **valid).count();
    let column = match field.data_type.dim() {
        Some(_) if valid == 0 => Column::Vectors(VectorField::default()),
        Some(dim) => Column::Vectors(VectorField { dim: dim as i64, data: Some(vectors(field.data_type, valid, rng)) }),
        None if field.dynamic => Column::Scalars(ScalarField {
            data: Some(Scalars::JsonData(JsonArray { data: vec!["{\"new\": 1.0}".into(); valid] })),
        }),
        None if valid == 0 => Column::Scalars(ScalarField::default()),
        None => Column::Scalars(ScalarField { data: Some(scalars(field.data_type, valid, rng)) }),
    };
    let mut data = FieldData { field_name: field.name.clone(), field: Some(column), ..Default::default() };
    data.is_dynamic = field.dynamic;
    data.valid_data = if may_miss { mask } else { Vec::new() };
    data.set_type(wire_type(field.data_type));
    Some(data)
}

fn check_round_trip(schema: &Schema, rows: usize, rng: &mut TestRng) {
    let request: Vec<FieldData> = schema.fields.iter().filter_map(|field| sent(field, rows, rng)).collect();
    let batch = rows_to_batch(schema, request, rows as u32, KeySource::Request).unwrap();
    assert_eq!(batch.schema(), schema.arrow());
    let fields = batch_to_fields(schema, &batch, &DynamicKeys::All).unwrap();
    for (field, data) in schema.fields.iter().zip(&fields) {
        assert_eq!(data.valid_data.len(), if field.nullable { rows } else { 0 }, "{}", field.name);
    }
    let again = rows_to_batch(schema, fields, rows as u32, KeySource::Request).unwrap();
    assert_eq!(again, batch);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn rows_survive_the_round_trip(rows in 1_usize..20, mut rng in any::<u8>().prop_perturb(|_, rng| rng)) {
        check_round_trip(&every_type(), rows, &mut rng);
    }
}

#[test]
fn slices_come_out_like_whole_batches() {
    let schema = every_type();
    let mut rng = TestRng::deterministic_rng(proptest::test_runner::RngAlgorithm::ChaCha);
    let request: Vec<FieldData> = schema.fields.iter().filter_map(|field| sent(field, 10, &mut rng)).collect();
    let batch = rows_to_batch(&schema, request, 10, KeySource::Request).unwrap();
    let fields = batch_to_fields(&schema, &batch.slice(3, 4), &DynamicKeys::All).unwrap();
    let again = rows_to_batch(&schema, fields, 4, KeySource::Request).unwrap();
    assert_eq!(again, batch.slice(3, 4));
}

#[test]
fn no_rows_still_say_their_type_and_dim() {
    let schema = every_type();
    let batch = RecordBatch::new_empty(schema.arrow());
    for (field, data) in schema.fields.iter().zip(batch_to_fields(&schema, &batch, &DynamicKeys::All).unwrap()) {
        assert_eq!(data.r#type(), wire_type(field.data_type));
        match data.field {
            Some(Column::Scalars(scalars)) => assert!(scalars.data.is_some(), "{}", field.name),
            Some(Column::Vectors(vectors)) => assert!(vectors.data.is_some() && vectors.dim > 0, "{}", field.name),
            other => panic!("{}: {other:?}", field.name),
        }
    }
}

#[test]
fn what_is_left_out_becomes_null_default_or_empty_object() {
    let schema = every_type();
    let mut rng = TestRng::deterministic_rng(proptest::test_runner::RngAlgorithm::ChaCha);
    let needed = schema.fields.iter().filter(|field| !field.nullable && field.default.is_none() && !field.dynamic);
    let request: Vec<FieldData> = needed.filter_map(|field| sent(field, 2, &mut rng)).collect();
    let batch = rows_to_batch(&schema, request, 2, KeySource::Request).unwrap();
    for field in &schema.fields {
        let column = batch.column_by_name(&field.name).unwrap();
        assert_eq!(column.null_count(), if field.nullable { 2 } else { 0 }, "{}", field.name);
        if let Some(default) = &field.default {
            let data = column_to_field(field, column, &DynamicKeys::All).unwrap();
            let Some(Column::Scalars(ScalarField { data: Some(values) })) = data.field else {
                panic!("{}", field.name)
            };
            let same = match (default, values) {
                (Scalar::Bool(value), Scalars::BoolData(values)) => values.data == [*value; 2],
                (Scalar::Int(value), Scalars::IntData(values)) => values.data == [*value as i32; 2],
                (Scalar::Int(value), Scalars::LongData(values)) => values.data == [*value; 2],
                (Scalar::Float(value), Scalars::FloatData(values)) => values.data == [*value as f32; 2],
                (Scalar::Float(value), Scalars::DoubleData(values)) => values.data == [*value; 2],
                (Scalar::Text(value), Scalars::StringData(values)) => values.data == [value.as_str(); 2],
                (Scalar::Text(value), Scalars::JsonData(values)) => values.data == [value.as_str(); 2],
                other => panic!("{}: {other:?}", field.name),
            };
            assert!(same, "{}", field.name);
        }
    }
    let meta = batch.column_by_name("$meta").unwrap().as_string::<i32>();
    assert!(meta.iter().all(|value| value == Some("{}")));
}

#[test]
fn a_null_vector_keeps_a_slot_of_zeros() {
    let schema = every_type();
    let mut rng = TestRng::deterministic_rng(proptest::test_runner::RngAlgorithm::ChaCha);
    let mut request: Vec<FieldData> = schema
        .fields
        .iter()
        .filter(|field| !field.nullable)
        .filter_map(|field| std::iter::repeat_with(|| sent(field, 3, &mut rng)).find(Option::is_some).flatten())
        .collect();
    let values = Vectors::FloatVector(FloatArray { data: vec![1.0; 8] });
    let mut column = super::vector_data(&schema, "n_vector", values);
    column.valid_data = vec![true, false, true];
    request.push(column);
    let batch = rows_to_batch(&schema, request, 3, KeySource::Request).unwrap();
    let column = batch.column_by_name("n_vector").unwrap();
    let list = column.as_fixed_size_list();
    let values = list.values().as_primitive::<arrow_array::types::Float32Type>();
    assert_eq!(values.values(), &[1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0]);
    assert!(list.is_null(1) && list.null_count() == 1);
    let out = column_to_field(schema.field("n_vector").unwrap(), column, &DynamicKeys::All).unwrap();
    let Some(Column::Vectors(VectorField { dim: 4, data: Some(Vectors::FloatVector(values)) })) = out.field else {
        panic!()
    };
    assert_eq!((values.data.len(), out.valid_data), (8, vec![true, false, true]), "compact");
}

#[test]
fn dynamic_keys_are_cut_to_those_asked_for() {
    let schema = every_type();
    let field = schema.dynamic_field().unwrap();
    let stored = r#"{"a": 1.00, "b": [1, {"a": 2}], "we\"ird": null, "z": "ä"}"#;
    let column: arrow_array::ArrayRef = std::sync::Arc::new(arrow_array::StringArray::from(vec![stored, "{}"]));
    let cases: [(&[&str], &str); 4] = [
        (&["a"], r#"{"a":1.00}"#),
        (&["z", "b"], r#"{"b":[1, {"a": 2}],"z":"ä"}"#),
        (&["we\"ird"], r#"{"we\"ird":null}"#),
        (&["none"], "{}"),
    ];
    for (keys, wanted) in cases {
        let keys = DynamicKeys::Only(keys.iter().map(|key| (*key).to_owned()).collect());
        let data = column_to_field(field, &column, &keys).unwrap();
        assert!(data.is_dynamic && data.field_name == "$meta");
        let Some(Column::Scalars(ScalarField { data: Some(Scalars::JsonData(values)) })) = data.field else { panic!() };
        assert_eq!(values.data, [wanted, "{}"]);
    }
}
