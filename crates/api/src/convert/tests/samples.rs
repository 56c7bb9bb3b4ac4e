//! A schema with every type and columns to fill it.

use redkite_types::{DataType, ElementType, Field, Schema};

use crate::convert::schema_in::schema_from_message;
use crate::convert::schema_out::wire_type;
use crate::proto::common::KeyValuePair;
use crate::proto::schema::field_data::Field as Column;
use crate::proto::schema::scalar_field::Data as Scalars;
use crate::proto::schema::value_field::Data as Value;
use crate::proto::schema::vector_field::Data as Vectors;
use crate::proto::schema::*;

fn pair(key: &str, value: &str) -> KeyValuePair {
    KeyValuePair { key: key.to_owned(), value: value.to_owned() }
}

fn field(name: &str, ty: DataType) -> FieldSchema {
    let params = match ty {
        DataType::VarChar { max_length } => vec![pair("max_length", &max_length.to_string())],
        DataType::Array { element: ElementType::VarChar { max_length }, max_capacity } => {
            vec![pair("max_capacity", &max_capacity.to_string()), pair("max_length", &max_length.to_string())]
        }
        DataType::Array { max_capacity, .. } => vec![pair("max_capacity", &max_capacity.to_string())],
        other => other.dim().map(|dim| pair("dim", &dim.to_string())).into_iter().collect(),
    };
    let mut field = FieldSchema { name: name.to_owned(), type_params: params, ..Default::default() };
    field.set_data_type(wire_type(ty));
    if let DataType::Array { element, .. } = ty {
        field.set_element_type(wire_type(element.data_type()));
    }
    field
}

const SCALARS: [(&str, DataType); 9] = [
    ("bool", DataType::Bool),
    ("int8", DataType::Int8),
    ("int16", DataType::Int16),
    ("int32", DataType::Int32),
    ("int64", DataType::Int64),
    ("float", DataType::Float),
    ("double", DataType::Double),
    ("text", DataType::VarChar { max_length: 16 }),
    ("json", DataType::Json),
];
const ELEMENTS: [(&str, ElementType); 8] = [
    ("bools", ElementType::Bool),
    ("int8s", ElementType::Int8),
    ("int16s", ElementType::Int16),
    ("int32s", ElementType::Int32),
    ("int64s", ElementType::Int64),
    ("floats", ElementType::Float),
    ("doubles", ElementType::Double),
    ("texts", ElementType::VarChar { max_length: 8 }),
];
const VECTORS: [(&str, DataType); 5] = [
    ("vector", DataType::FloatVector { dim: 4 }),
    ("float16_vector", DataType::Float16Vector { dim: 4 }),
    ("bfloat16_vector", DataType::BFloat16Vector { dim: 4 }),
    ("int8_vector", DataType::Int8Vector { dim: 4 }),
    ("binary_vector", DataType::BinaryVector { dim: 16 }),
];

fn default_of(ty: DataType) -> Value {
    match ty {
        DataType::Bool => Value::BoolData(true),
        DataType::Int8 => Value::IntData(-8),
        DataType::Int16 => Value::IntData(-1600),
        DataType::Int32 => Value::IntData(-320_000),
        DataType::Int64 => Value::LongData(1 << 40),
        DataType::Float => Value::FloatData(0.5),
        DataType::Double => Value::DoubleData(-2.25),
        DataType::Json => Value::BytesData("{\"a\": 1}".into()),
        _ => Value::StringData("nothing".into()),
    }
}

/// Key `id`, every type plain, nullable (`n_...`) and with a default (`d_...`), and the dynamic field.
pub(crate) fn every_type_message() -> CollectionSchema {
    let mut fields = vec![FieldSchema { is_primary_key: true, ..field("id", DataType::Int64) }];
    let arrays = ELEMENTS.map(|(name, element)| (name, DataType::Array { element, max_capacity: 3 }));
    for (name, ty) in SCALARS.into_iter().chain(arrays).chain(VECTORS) {
        fields.push(field(name, ty));
        fields.push(FieldSchema { nullable: true, ..field(&format!("n_{name}"), ty) });
    }
    for (name, ty) in SCALARS {
        let default_value = Some(ValueField { data: Some(default_of(ty)) });
        fields.push(FieldSchema { default_value, ..field(&format!("d_{name}"), ty) });
    }
    CollectionSchema { name: "films".to_owned(), fields, enable_dynamic_field: true, ..Default::default() }
}

/// [`every_type_message`], checked.
pub(crate) fn every_type() -> Schema {
    schema_from_message(every_type_message()).unwrap()
}

fn data(field: &Field, column: Column) -> FieldData {
    let mut data = FieldData { field_name: field.name.clone(), field: Some(column), ..Default::default() };
    data.set_type(wire_type(field.data_type));
    data
}

/// A column of scalars or lists for the field called `name`.
pub(crate) fn scalar_data(schema: &Schema, name: &str, values: Scalars) -> FieldData {
    data(schema.field(name).unwrap(), Column::Scalars(ScalarField { data: Some(values) }))
}

/// A column of vectors for the field called `name`.
pub(crate) fn vector_data(schema: &Schema, name: &str, values: Vectors) -> FieldData {
    let field = schema.field(name).unwrap();
    let dim = field.data_type.dim().unwrap() as i64;
    data(field, Column::Vectors(VectorField { dim, data: Some(values) }))
}

/// A column of keys for `id`.
pub(crate) fn key_data(schema: &Schema, keys: impl IntoIterator<Item = i64>) -> FieldData {
    scalar_data(schema, "id", Scalars::LongData(LongArray { data: keys.into_iter().collect() }))
}

/// The dynamic column as pymilvus sends it.
pub(crate) fn dynamic_data(values: &[&str]) -> FieldData {
    let values = values.iter().map(|text| bytes::Bytes::copy_from_slice(text.as_bytes())).collect();
    let column = Column::Scalars(ScalarField { data: Some(Scalars::JsonData(JsonArray { data: values })) });
    let mut data =
        FieldData { field_name: "$meta".to_owned(), is_dynamic: true, field: Some(column), ..Default::default() };
    data.set_type(crate::proto::schema::DataType::Json);
    data
}
