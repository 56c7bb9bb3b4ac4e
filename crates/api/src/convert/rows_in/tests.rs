//! Every way an insert can be wrong, by code and text.

use bytes::Bytes;
use half::{bf16, f16};
use redkite_types::{Keys, Schema};

use super::{KeySource, check_json, keys_in_request, rows_to_batch};
use crate::convert::schema_in::schema_from_message;
use crate::convert::tests::{dynamic_data, every_type_message, key_data, scalar_data, vector_data};
use crate::float_array::FloatArray;
use crate::proto::schema::field_data::Field as Column;
use crate::proto::schema::scalar_field::Data as Scalars;
use crate::proto::schema::vector_field::Data as Vectors;
use crate::proto::schema::*;

/// `id`, and the named fields of the schema with every type; `vector` is there unless another vector is.
fn schema_of(names: &[&str]) -> Schema {
    let mut message = every_type_message();
    message.enable_dynamic_field = names.contains(&"$meta");
    let vector = !names.iter().any(|name| name.ends_with("vector"));
    message.fields.retain(|field| {
        field.name == "id" || names.contains(&field.name.as_str()) || (vector && field.name == "vector")
    });
    schema_from_message(message).unwrap()
}

fn floats(count: usize) -> Vectors {
    Vectors::FloatVector(FloatArray { data: vec![0.5; count] })
}

fn texts(values: &[&str]) -> Scalars {
    Scalars::StringData(StringArray { data: values.iter().map(|text| (*text).to_owned()).collect() })
}

fn jsons(values: &[&[u8]]) -> Scalars {
    Scalars::JsonData(JsonArray { data: values.iter().map(|text| Bytes::copy_from_slice(text)).collect() })
}

fn ints(values: &[i32]) -> Scalars {
    Scalars::IntData(IntArray { data: values.to_vec() })
}

fn lists(values: Vec<Scalars>) -> Scalars {
    let data = values.into_iter().map(|list| ScalarField { data: Some(list) }).collect();
    Scalars::ArrayData(ArrayArray { data, element_type: 0 })
}

/// Two rows with `column` of the one field `name`, everything else in order.
fn two_rows_with(name: &str, column: impl FnOnce(&Schema) -> FieldData) -> Result<usize, String> {
    let schema = schema_of(&[name]);
    let mut data = vec![key_data(&schema, [1, 2]), column(&schema)];
    if !name.ends_with("vector") {
        data.push(vector_data(&schema, "vector", floats(8)));
    }
    match rows_to_batch(&schema, data, 2, KeySource::Request) {
        Ok(batch) => Ok(batch.num_rows()),
        Err(error) => {
            assert_eq!(error.code().number(), 1100, "{error}");
            Err(error.to_string())
        }
    }
}

fn check_scalars(name: &str, values: Scalars, fragment: &str) {
    let error = two_rows_with(name, |schema| scalar_data(schema, name, values.clone())).expect_err(fragment);
    assert!(error.contains(fragment), "{name} {values:?}: {error}");
}

fn check_vectors(name: &str, values: Vectors, fragment: &str) {
    let error = two_rows_with(name, |schema| vector_data(schema, name, values.clone())).expect_err(fragment);
    assert!(error.contains(fragment), "{name} {values:?}: {error}");
}

#[test]
fn scalar_values_beyond_their_limits_are_refused() {
    let long = "x".repeat(17);
    let big_json = format!("\"{}\"", "x".repeat(65_536));
    let deep = "[".repeat(101) + &"]".repeat(101);
    check_scalars(
        "text",
        texts(&["ok", &long]),
        "length of varchar field text exceeds max length, row number: 1, length: 17, max length: 16",
    );
    check_scalars(
        "int8",
        ints(&[0, 128]),
        "field int8 is out of range, row number: 1: invalid parameter[expected=[-128, 127]][actual=128]",
    );
    check_scalars("int16", ints(&[-32_769, 0]), "out of range, row number: 0");
    check_scalars(
        "float",
        Scalars::FloatData(FloatArray { data: vec![0.0, f32::NAN] }),
        "value 'NaN' is not a number or infinity, field: float, row number: 1",
    );
    check_scalars(
        "double",
        Scalars::DoubleData(DoubleArray { data: vec![f64::INFINITY, 0.0] }),
        "value 'inf' is not a number",
    );
    check_scalars("json", jsons(&[b"{}", b"{"]), "the json value of field json is not valid, row number: 1");
    check_scalars("json", jsons(&[b"{}", b""]), "row number: 1");
    check_scalars("json", jsons(&[b"1 2", b"{}"]), "row number: 0");
    check_scalars("json", jsons(&[b"\"\xff\"", b"{}"]), "not valid UTF-8");
    check_scalars("json", jsons(&[deep.as_bytes(), b"{}"]), "nested deeper than 100 levels");
    check_scalars(
        "json",
        jsons(&[b"1", big_json.as_bytes()]),
        "length of json field json exceeds max length, row number: 1, length: 65538, max length: 65536",
    );
    check_scalars(
        "int64s",
        lists(vec![Scalars::LongData(LongArray { data: vec![1; 4] }), Scalars::LongData(LongArray { data: vec![] })]),
        "the length (4) of 0th array of field int64s exceeds max capacity (3)",
    );
    check_scalars("int8s", lists(vec![ints(&[1]), ints(&[-129])]), "field int8s is out of range, row number: 1");
    check_scalars(
        "texts",
        lists(vec![texts(&["x"]), texts(&["x", &long])]),
        "field texts exceeds max length, row number: 1, length: 17, max length: 8",
    );
    check_scalars(
        "floats",
        lists(vec![Scalars::FloatData(FloatArray { data: vec![f32::NEG_INFINITY] }), ints(&[])]),
        "row number: 0",
    );
}

#[test]
fn wrong_types_are_refused() {
    let longs = Scalars::LongData(LongArray { data: vec![1, 2] });
    for name in ["bool", "int8", "int16", "int32", "float", "double", "text", "json", "int64s", "n_text"] {
        check_scalars(name, longs.clone(), "array type mismatch");
    }
    check_scalars(
        "int64",
        ints(&[1, 2]),
        "field 'int64' is illegal, array type mismatch: invalid parameter[expected=Int64][actual=int_data]",
    );
    check_scalars("int64s", lists(vec![ints(&[1]), ints(&[])]), "elements of int_data, row number: 0");
    for name in ["vector", "float16_vector", "bfloat16_vector", "int8_vector"] {
        check_vectors(name, Vectors::BinaryVector(vec![0; 8].into()), "array type mismatch");
    }
    check_vectors("binary_vector", floats(8), "array type mismatch");
    let vectors_for_scalars = two_rows_with("int64", |schema| FieldData {
        field: Some(Column::Vectors(VectorField::default())),
        ..scalar_data(schema, "int64", longs.clone())
    });
    assert!(vectors_for_scalars.unwrap_err().contains("actual=vectors"));
    let says_another_type =
        two_rows_with("int64", |schema| FieldData { r#type: 21, ..scalar_data(schema, "int64", longs.clone()) });
    assert!(says_another_type.unwrap_err().contains("[expected=Int64][actual=VarChar]"));
    let says_nothing =
        two_rows_with("int64", |schema| FieldData { r#type: 0, ..scalar_data(schema, "int64", longs.clone()) });
    assert_eq!(says_nothing, Ok(2));
}

#[test]
fn wrong_vectors_are_refused() {
    let error = two_rows_with("vector", |schema| {
        let mut data = vector_data(schema, "vector", floats(8));
        data.field = Some(Column::Vectors(VectorField { dim: 3, data: Some(floats(6)) }));
        data
    });
    assert_eq!(
        error.unwrap_err(),
        "the dim (3) of field data(vector) is not equal to schema dim (4): invalid parameter[expected=4][actual=3]"
    );
    check_vectors("vector", floats(7), "the length(7) of the data of field vector should divide the dim(4)");
    check_vectors("vector", floats(4), "the num_rows (1) of field (vector) is not equal to passed num_rows (2)");
    check_vectors("vector", floats(12), "[expected=2][actual=3]");
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut data = vec![0.0; 8];
        data[6] = bad;
        check_vectors(
            "vector",
            Vectors::FloatVector(FloatArray { data }),
            "is not a number or infinity, field: vector, row number: 1",
        );
        let halves = [0.0, bad, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0];
        let bytes = halves.iter().flat_map(|value| f16::from_f32(*value).to_le_bytes()).collect();
        check_vectors("float16_vector", Vectors::Float16Vector(bytes), "field: float16_vector, row number: 0");
        let bytes = halves.iter().flat_map(|value| bf16::from_f32(*value).to_le_bytes()).collect();
        check_vectors("bfloat16_vector", Vectors::Bfloat16Vector(bytes), "field: bfloat16_vector, row number: 0");
    }
    check_vectors("binary_vector", Vectors::BinaryVector(vec![0; 3].into()), "should divide the dim(2)");
    check_vectors("int8_vector", Vectors::Int8Vector(vec![0; 4].into()), "num_rows (1)");
    // The row that is named counts the null rows before it.
    let error = two_rows_with("n_vector", |schema| FieldData {
        valid_data: vec![false, true],
        ..vector_data(schema, "n_vector", Vectors::FloatVector(FloatArray { data: vec![f32::NAN; 4] }))
    });
    assert!(error.unwrap_err().contains("field: n_vector, row number: 1"));
}

#[test]
fn rows_that_do_not_add_up_are_refused() {
    check_scalars(
        "text",
        texts(&["one"]),
        "the num_rows (1) of field (text) is not equal to passed num_rows (2): invalid parameter[expected=2][actual=1]",
    );
    check_scalars("n_text", texts(&["a", "b", "c"]), "the num_rows (3) of field (n_text)");
    let masked = |name: &str, mask: &[bool], values: &[&str]| {
        two_rows_with(name, |schema| FieldData {
            valid_data: mask.to_vec(),
            ..scalar_data(schema, name, texts(values))
        })
    };
    assert_eq!(masked("n_text", &[true, false], &["a"]), Ok(2), "compact");
    assert_eq!(masked("n_text", &[true, false], &["a", ""]), Ok(2), "full length");
    assert_eq!(masked("d_text", &[false, true], &["a"]), Ok(2), "the default fills in");
    assert_eq!(masked("text", &[true, true], &["a", "b"]), Ok(2), "nothing is missing");
    assert!(
        masked("n_text", &[true], &["a"]).unwrap_err().contains("the length of valid_data of field(n_text) is wrong")
    );
    assert!(masked("n_text", &[false, false], &["a"]).unwrap_err().contains("the num_rows (1)"));
    assert!(
        masked("text", &[true, false], &["a"])
            .unwrap_err()
            .contains("field (text) is not nullable and row number 1 has no value")
    );
}

#[test]
fn columns_that_are_missing_unknown_or_double_are_refused() {
    let schema = schema_of(&["text"]);
    let key = || key_data(&schema, [1, 2]);
    let text = || scalar_data(&schema, "text", texts(&["a", "b"]));
    let vector = || vector_data(&schema, "vector", floats(8));
    let unknown = || FieldData { field_name: "nobody".into(), ..text() };
    let cases = [
        (vec![key(), vector()], 2, "fieldSchema(text) has no corresponding fieldData pass in: invalid parameter"),
        (vec![text(), vector()], 2, "fieldSchema(id) has no corresponding fieldData pass in"),
        (vec![key(), text()], 2, "fieldSchema(vector) has no corresponding fieldData pass in"),
        (vec![key(), text(), vector(), unknown()], 2, "field (nobody) not exist"),
        (vec![key(), text(), vector(), text()], 2, "duplicated field data of field(text)"),
        (
            vec![key(), text(), vector(), dynamic_data(&["{}", "{}"])],
            2,
            "without dynamic schema enabled, the field name cannot be set to $meta",
        ),
        (
            vec![key(), text(), vector()],
            0,
            "num_rows should be greater than 0: invalid parameter[expected=invalid num_rows][actual=0]",
        ),
        (vec![key(), text(), vector()], 3, "the num_rows (2) of field (id) is not equal to passed num_rows (3)"),
        (vec![key(), text(), vector()], u32::MAX, "no field of it has that many"),
        (vec![], 1, "no field of it has that many"),
    ];
    for (data, num_rows, fragment) in cases {
        let error = rows_to_batch(&schema, data, num_rows, KeySource::Request).unwrap_err();
        assert!(error.to_string().contains(fragment), "{fragment}: {error}");
        assert_eq!(error.code().number(), 1100);
    }
}

#[test]
fn dynamic_values_are_objects_that_hide_no_field() {
    let schema = schema_of(&["text", "$meta"]);
    let insert = |values: &[&str]| {
        let data = vec![
            key_data(&schema, [1, 2]),
            scalar_data(&schema, "text", texts(&["a", "b"])),
            vector_data(&schema, "vector", floats(8)),
            dynamic_data(values),
        ];
        rows_to_batch(&schema, data, 2, KeySource::Request).map_err(|error| error.to_string())
    };
    assert!(insert(&["{\"a\": {\"text\": 1}}", " { } "]).is_ok());
    let cases = [
        ("[1]", "the json value of field $meta is not valid, row number: 1"),
        ("1", "row number: 1"),
        ("{\"a\":1} x", "row number: 1"),
        ("{\"text\": 1}", "dynamic field name cannot include the static field name: text"),
        ("{\"te\\u0078t\": 1}", "static field name: text"),
        ("{\"$meta\": 1}", "cannot set key to: $meta"),
    ];
    for (value, fragment) in cases {
        let error = insert(&["{}", value]).unwrap_err();
        assert!(error.contains(fragment), "{value}: {error}");
    }
}

#[test]
fn keys_come_from_the_server_or_the_request() {
    let schema = schema_of(&[]);
    let vector = || vector_data(&schema, "vector", floats(8));
    let made = Keys::Int(vec![7, 8]);
    let keys = |data, source| {
        rows_to_batch(&schema, data, 2, source)
            .map(|batch| crate::convert::keys::keys_of_batch(&schema, &batch).unwrap())
    };
    let sent = || vec![key_data(&schema, [1, 2]), vector()];
    assert_eq!(keys(sent(), KeySource::Request), Ok(Keys::Int(vec![1, 2])));
    assert_eq!(keys(vec![vector()], KeySource::Assigned(made.clone())), Ok(made.clone()));
    assert_eq!(keys(sent(), KeySource::Replaced(made.clone())), Ok(made.clone()));
    assert_eq!(keys_in_request(&schema, &sent(), 2), Ok(Keys::Int(vec![1, 2])));
    let refused = keys(sent(), KeySource::Assigned(made)).unwrap_err().to_string();
    assert!(refused.contains("autoID field(id) does not require data"), "{refused}");
    let too_few = keys(vec![vector()], KeySource::Assigned(Keys::Int(vec![1]))).unwrap_err().to_string();
    assert!(too_few.contains("num_rows (1) of field (id)"), "{too_few}");
    assert!(keys_in_request(&schema, &[vector()], 2).is_err());
    assert!(keys_in_request(&schema, &[key_data(&schema, [1])], 2).is_err());
}

#[test]
fn claimed_rows_cannot_exhaust_memory() {
    // Two million rows in two megabytes of `false`, each to become a slot of a wide vector.
    let mut message = every_type_message();
    message.enable_dynamic_field = false;
    message.fields.retain(|field| field.name == "id" || field.name == "n_vector");
    message.fields[1].type_params[0].value = "32768".into();
    let schema = schema_from_message(message).unwrap();
    let rows = 2_000_000;
    let nulls = FieldData { field_name: "n_vector".into(), valid_data: vec![false; rows], ..Default::default() };
    let error = rows_to_batch(&schema, vec![key_data(&schema, 0..rows as i64), nulls], rows as u32, KeySource::Request);
    assert!(error.unwrap_err().to_string().contains("send fewer rows at once"));
}

#[test]
fn json_is_checked_whatever_it_is() {
    for good in ["1", "null", "\"[[[\\\"[\"", "{\"a\":[1,{}]}", " true "] {
        assert!(check_json(good.as_bytes()).is_ok(), "{good}");
    }
    for bad in ["", "nul", "{\"a\"}", "[1,]", "\"\\x\"", "01", "NaN"] {
        assert!(check_json(bad.as_bytes()).is_err(), "{bad}");
    }
}
