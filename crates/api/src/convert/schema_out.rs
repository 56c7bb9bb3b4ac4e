//! A schema as clients see it in `DescribeCollection`.
//!
//! The inverse of `schema_in`: what comes out can be sent back in and makes the same schema. The dynamic field is left
//! out of the fields; `enable_dynamic_field` stands for it.

use redkite_types::{DataType, ElementType, Field, Scalar, Schema};

use super::schema_in::CLUSTERING_KEY_PARAM;
use crate::proto::common::KeyValuePair;
use crate::proto::schema::value_field::Data;
use crate::proto::schema::{CollectionSchema, DataType as WireType, FieldSchema, ValueField};

/// The message for the schema of the collection called `name`.
pub fn schema_to_message(name: &str, schema: &Schema) -> CollectionSchema {
    CollectionSchema {
        name: name.to_owned(),
        description: schema.description.clone(),
        auto_id: schema.primary_key().is_some_and(|key| key.auto_id),
        fields: schema.fields.iter().filter(|field| !field.dynamic).map(field_to_message).collect(),
        enable_dynamic_field: schema.dynamic_field().is_some(),
        ..CollectionSchema::default()
    }
}

fn field_to_message(field: &Field) -> FieldSchema {
    let mut type_params = type_params(field.data_type);
    let own = field.params.iter().filter(|(key, _)| *key != CLUSTERING_KEY_PARAM);
    type_params.extend(own.map(|(key, value)| pair(key, value)));
    let mut message = FieldSchema {
        field_id: field.id.0,
        name: field.name.clone(),
        is_primary_key: field.primary_key,
        description: field.description.clone(),
        type_params,
        auto_id: field.auto_id,
        default_value: field.default.as_ref().map(|value| default_to_message(field.data_type, value)),
        is_partition_key: field.partition_key,
        is_clustering_key: field.params.contains_key(CLUSTERING_KEY_PARAM),
        nullable: field.nullable,
        ..FieldSchema::default()
    };
    message.set_data_type(wire_type(field.data_type));
    if let DataType::Array { element, .. } = field.data_type {
        message.set_element_type(wire_type(element.data_type()));
    }
    message
}

/// The wire's name for a type.
pub fn wire_type(ty: DataType) -> WireType {
    match ty {
        DataType::Bool => WireType::Bool,
        DataType::Int8 => WireType::Int8,
        DataType::Int16 => WireType::Int16,
        DataType::Int32 => WireType::Int32,
        DataType::Int64 => WireType::Int64,
        DataType::Float => WireType::Float,
        DataType::Double => WireType::Double,
        DataType::VarChar { .. } => WireType::VarChar,
        DataType::Json => WireType::Json,
        DataType::Array { .. } => WireType::Array,
        DataType::FloatVector { .. } => WireType::FloatVector,
        DataType::Float16Vector { .. } => WireType::Float16Vector,
        DataType::BFloat16Vector { .. } => WireType::BFloat16Vector,
        DataType::Int8Vector { .. } => WireType::Int8Vector,
        DataType::BinaryVector { .. } => WireType::BinaryVector,
    }
}

fn type_params(ty: DataType) -> Vec<KeyValuePair> {
    match ty {
        DataType::VarChar { max_length } => vec![pair("max_length", max_length)],
        DataType::Array { element, max_capacity } => {
            let mut params = vec![pair("max_capacity", max_capacity)];
            if let ElementType::VarChar { max_length } = element {
                params.push(pair("max_length", max_length));
            }
            params
        }
        other => other.dim().map(|dim| pair("dim", dim)).into_iter().collect(),
    }
}

fn default_to_message(ty: DataType, value: &Scalar) -> ValueField {
    let data = match (ty, value) {
        (_, Scalar::Bool(value)) => Data::BoolData(*value),
        (DataType::Int64, Scalar::Int(value)) => Data::LongData(*value),
        // The schema was checked when it was made: smaller integers fit.
        (_, Scalar::Int(value)) => Data::IntData(*value as i32),
        (DataType::Float, Scalar::Float(value)) => Data::FloatData(*value as f32),
        (_, Scalar::Float(value)) => Data::DoubleData(*value),
        (DataType::Json, Scalar::Text(value)) => Data::BytesData(value.clone().into()),
        (_, Scalar::Text(value)) => Data::StringData(value.clone()),
    };
    ValueField { data: Some(data) }
}

fn pair(key: &str, value: impl ToString) -> KeyValuePair {
    KeyValuePair { key: key.to_owned(), value: value.to_string() }
}
