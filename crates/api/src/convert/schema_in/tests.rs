//! Schemas clients send: what is accepted comes out again as it was, what is not has its code and text.

use prost::Message;
use redkite_types::{DataType, Scalar};

use super::*;
use crate::convert::schema_out::schema_to_message;
use crate::convert::tests::every_type_message;
use crate::proto::schema::value_field::Data as Value;
use crate::proto::schema::{DataType as WireType, FunctionSchema, StructArrayFieldSchema, ValueField};

#[test]
fn every_type_is_accepted_and_described_as_it_was_sent() {
    let mut message = every_type_message();
    message.description = "about films".into();
    message.fields[1].description = "a flag".into();
    message.fields[1].is_clustering_key = true;
    message.fields[1].type_params.push(KeyValuePair { key: "mmap.enabled".into(), value: "true".into() });
    let partition = message.fields.iter_mut().find(|field| field.name == "text").unwrap();
    partition.is_partition_key = true;
    let schema = schema_from_bytes("films", &message.encode_to_vec()).unwrap();
    assert_eq!(
        schema.fields.iter().map(|field| field.id.0).collect::<Vec<_>>(),
        (100..).take(schema.fields.len()).collect::<Vec<_>>()
    );
    assert_eq!(schema.fields.last().map(|field| (field.name.as_str(), field.dynamic)), Some(("$meta", true)));
    let mut described = schema_to_message("films", &schema);
    for (field, id) in described.fields.iter_mut().zip(100..) {
        assert_eq!(field.field_id, id);
        field.field_id = 0;
    }
    assert_eq!(described, message);
}

#[test]
fn auto_id_on_the_schema_counts_as_on_the_key() {
    let mut message = every_type_message();
    message.auto_id = true;
    let schema = schema_from_message(message).unwrap();
    assert!(schema.primary_key().unwrap().auto_id);
    assert_eq!(schema.fields.iter().filter(|field| field.auto_id).count(), 1);
}

#[test]
fn an_unset_default_is_none() {
    let mut message = every_type_message();
    message.fields[1].default_value = Some(ValueField { data: None });
    let schema = schema_from_message(message).unwrap();
    assert_eq!(schema.fields[1].default, None);
    assert_eq!(schema.field("d_json").unwrap().default, Some(Scalar::Text("{\"a\": 1}".into())));
    assert_eq!(schema.field("d_int8").unwrap().default, Some(Scalar::Int(-8)));
    assert_eq!(schema.field("text").unwrap().data_type, DataType::VarChar { max_length: 16 });
}

#[test]
fn a_default_of_a_small_integer_may_be_a_long_as_pymilvus_sends_it() {
    let mut message = every_type_message();
    let field = message.fields.iter_mut().find(|field| field.name == "int8").unwrap();
    field.default_value = Some(ValueField { data: Some(Value::LongData(-8)) });
    let schema = schema_from_message(message).unwrap();
    assert_eq!(schema.field("int8").unwrap().default, Some(Scalar::Int(-8)));
}

/// The schema with every type after `change`, which must make it wrong.
fn refused(change: impl FnOnce(&mut CollectionSchema)) -> WireError {
    let mut message = every_type_message();
    change(&mut message);
    schema_from_message(message).unwrap_err()
}

fn set_param(field: &mut FieldSchema, key: &str, value: &str) {
    field.type_params.retain(|pair| pair.key != key);
    field.type_params.push(KeyValuePair { key: key.into(), value: value.into() });
}

/// Changes the field called `name`.
fn on(name: &'static str, change: impl FnOnce(&mut FieldSchema) + 'static) -> (Change, &'static str) {
    let change = move |message: &mut CollectionSchema| {
        change(message.fields.iter_mut().find(|field| field.name == name).unwrap());
    };
    (Box::new(change), name)
}

type Change = Box<dyn FnOnce(&mut CollectionSchema)>;

#[test]
fn wrong_types_and_parameters_are_refused() {
    let cases = [
        (
            on("vector", |field| set_param(field, "dim", "1")),
            "invalid dimension: 1 of field vector. it should be in range 2 to 32768",
        ),
        (on("vector", |field| set_param(field, "dim", "32769")), "invalid dimension: 32769"),
        (on("vector", |field| set_param(field, "dim", "-4")), "invalid dimension: -4"),
        (on("vector", |field| set_param(field, "dim", "many")), "invalid dimension: many"),
        (on("vector", |field| set_param(field, "dim", "99999999999999999999")), "invalid dimension"),
        (on("vector", |field| field.type_params.clear()), "dimension is not defined in field type params"),
        (on("binary_vector", |field| set_param(field, "dim", "12")), "binary vector dimension should be multiple of 8"),
        (on("binary_vector", |field| set_param(field, "dim", "262152")), "it should be in range 8 to 262144"),
        (
            on("text", |field| field.type_params.clear()),
            "type param(max_length) should be specified for the field(text)",
        ),
        (
            on("text", |field| set_param(field, "max_length", "0")),
            "the maximum length specified for the field(text) should be in (0, 65535], but got 0 instead",
        ),
        (on("text", |field| set_param(field, "max_length", "65536")), "but got 65536 instead"),
        (
            on("int64s", |field| field.type_params.clear()),
            "type param(max_capacity) should be specified for array field int64s",
        ),
        (
            on("int64s", |field| set_param(field, "max_capacity", "4097")),
            "the maximum capacity specified for a Array should be in (0, 4096]",
        ),
        (
            on("texts", |field| field.type_params.retain(|pair| pair.key != "max_length")),
            "type param(max_length) should be specified for the field(texts)",
        ),
        (
            on("int64s", |field| field.set_element_type(WireType::Json)),
            "element data type JSON of array field int64s is not valid",
        ),
        (on("int64s", |field| field.element_type = 77), "element data type 77"),
        (on("bool", |field| field.set_data_type(WireType::None)), "data type of field bool is not set"),
        (on("bool", |field| field.data_type = 77), "data type 77 is not known"),
        (on("bool", |field| field.set_data_type(WireType::String)), "please use VarChar type instead"),
        (
            on("bool", |field| field.set_data_type(WireType::SparseFloatVector)),
            "data type SparseFloatVector of field bool is not supported yet",
        ),
        (
            on("bool", |field| field.set_data_type(WireType::Geometry)),
            "data type Geometry of field bool is not supported yet",
        ),
        (on("bool", |field| field.set_data_type(WireType::Text)), "data type Text of field bool is not supported yet"),
        (
            on("bool", |field| field.set_data_type(WireType::Timestamptz)),
            "data type Timestamptz of field bool is not supported yet",
        ),
        (on("bool", |field| field.is_function_output = true), "field bool as a function's output"),
        (on("bool", |field| field.is_dynamic = true), "cannot explicitly set a field as a dynamic field"),
    ];
    for ((change, name), fragment) in cases {
        let error = refused(change);
        assert!(error.to_string().contains(fragment), "{name}: {error}");
        assert_eq!(error.code().number(), 1100, "{error}");
    }
}

#[test]
fn wrong_defaults_are_refused() {
    let default = |name: &'static str, value: Value| {
        on(name, move |field| field.default_value = Some(ValueField { data: Some(value) }))
    };
    let cases = [
        (default("int8", Value::IntData(128)), "the default value of field int8 is out of range"),
        (default("int16", Value::IntData(-40_000)), "[expected=[-32768, 32767]][actual=-40000]"),
        (default("int16", Value::LongData(40_000)), "[expected=[-32768, 32767]][actual=40000]"),
        (default("int32", Value::LongData(1 << 31)), "[expected=[-2147483648, 2147483647]][actual=2147483648]"),
        (
            default("int64", Value::IntData(1)),
            "type (Int64) of field (int64) is not equal to the type of its default_value",
        ),
        (default("float", Value::FloatData(f32::NAN)), "is not a number or infinity"),
        (
            default("text", Value::StringData("x".repeat(17))),
            "the length (17) of string exceeds max length (16) of field text",
        ),
        (default("json", Value::BytesData("{".into())), "the default value of field json is not JSON"),
        (default("json", Value::BytesData(vec![b' '; 65_537].into())), "at most 65536"),
        (default("int64s", Value::LongData(1)), "type not support default_value, type:Array, name:int64s"),
        (default("vector", Value::FloatData(1.0)), "type not support default_value, type:FloatVector"),
        (default("id", Value::LongData(1)), "primary field not support default_value, field name = id"),
    ];
    for ((change, name), fragment) in cases {
        let error = refused(change);
        assert!(error.to_string().contains(fragment), "{name}: {error}");
        assert_eq!(error.code().number(), 1100, "{error}");
    }
}

#[test]
fn wrong_keys_and_names_are_refused() {
    let cases = [
        (on("id", |field| field.is_primary_key = false), 1100, "primary key is not specified"),
        (
            on("int64", |field| field.is_primary_key = true),
            1100,
            "there are more than one primary key, field name = id, int64",
        ),
        (
            on("id", |field| field.set_data_type(WireType::Int32)),
            1100,
            "the data type of primary key should be Int64 or VarChar",
        ),
        (on("id", |field| field.nullable = true), 1100, "primary field not support null"),
        (
            on("int64", |field| field.auto_id = true),
            1100,
            "only primary field can speficy AutoID with true, field name = int64",
        ),
        (on("id", |field| field.is_partition_key = true), 1100, "the partition key field must not be primary field"),
        (
            on("float", |field| field.is_partition_key = true),
            1100,
            "the data type of partition key should be Int64 or VarChar",
        ),
        (on("bool", |field| field.name = "int8".into()), 1100, "duplicated field name int8 found"),
        (on("bool", |field| field.name = "a/b".into()), 1701, "field name invalid[field=a/b]"),
        (on("bool", |field| field.name = "$meta".into()), 1701, "field name invalid[field=$meta]"),
        (on("bool", |field| field.name = "like".into()), 1701, "keyword"),
        (on("bool", |field| field.name = String::new()), 1701, "should not be empty"),
    ];
    for ((change, name), code, fragment) in cases {
        let error = refused(change);
        assert!(error.to_string().contains(fragment), "{name}: {error}");
        assert_eq!(error.code().number(), code, "{error}");
    }
    let two = refused(|message| {
        for field in message.fields.iter_mut().filter(|field| field.name == "int64" || field.name == "text") {
            field.is_partition_key = true;
        }
    });
    assert!(two.to_string().contains("there are more than one partition key, field name = int64, text"), "{two}");
}

#[test]
fn wrong_collections_are_refused() {
    type Case = (fn(&mut CollectionSchema), &'static str);
    let cases: [Case; 8] = [
        (|m| m.fields.retain(|field| !field.name.ends_with("vector")), "schema does not contain vector field"),
        (|m| m.fields.clear(), "schema does not contain vector field"),
        (
            |m| {
                let vector = m.fields.iter().find(|field| field.name == "vector").unwrap().clone();
                m.fields.push(FieldSchema { name: "vector11".into(), ..vector });
            },
            "maximum vector field's number should be limited to 10",
        ),
        (
            |m| {
                let flag = m.fields[1].clone();
                m.fields.extend((0..256).map(|i| FieldSchema { name: format!("f{i}"), ..flag.clone() }));
            },
            "maximum field's number should be limited to 256",
        ),
        (
            |m| m.functions.push(FunctionSchema { name: "bm25".into(), r#type: 1, ..Default::default() }),
            "function \"bm25\" (BM25) is not supported yet",
        ),
        (
            |m| m.struct_array_fields.push(StructArrayFieldSchema { name: "s".into(), ..Default::default() }),
            "struct array field \"s\" is not supported yet",
        ),
        (|m| m.external_source = "s3://x".into(), "an external collection"),
        (|m| m.enable_namespace = true, "namespaces"),
    ];
    for (change, fragment) in cases {
        let error = refused(change);
        assert!(error.to_string().contains(fragment), "{error}");
        assert_eq!(error.code().number(), 1100);
    }
}

#[test]
fn bytes_that_are_no_schema_are_refused() {
    let message = every_type_message();
    assert!(schema_from_bytes("films", b"\xff\xff").unwrap_err().to_string().contains("not a valid protobuf message"));
    let other = schema_from_bytes("books", &message.encode_to_vec()).unwrap_err();
    assert!(other.to_string().contains("[expected=books][actual=films]"), "{other}");
    let large = CollectionSchema { description: "x".repeat(600_000), ..message };
    let large = schema_from_bytes("films", &large.encode_to_vec()).unwrap_err();
    assert!(large.to_string().contains("at most 524288"), "{large}");
}
