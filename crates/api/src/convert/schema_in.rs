//! The schema a client asks for: from the bytes inside `CreateCollectionRequest` to a checked [`Schema`].
//!
//! Checked means: every invariant `redkite_types::Schema` speaks of holds (exactly one primary key, unique names,
//! limits, defaults of the field's own type), and nothing this version cannot do is accepted silently.

mod default_value;
mod field_type;

use std::collections::{BTreeMap, HashSet};

use prost::Message;
use redkite_types::limits::{FIELDS_MAX, FIRST_FIELD_ID, VECTOR_FIELDS_MAX};
use redkite_types::{DYNAMIC_FIELD_NAME, DataType, Field, FieldId, Schema};

use super::names::check_field_name;
use crate::proto::common::KeyValuePair;
use crate::proto::schema::{CollectionSchema, FieldSchema, FunctionType};
use crate::status::{WireError, WireResult, invalid_parameter, invalid_value, unsupported};

/// Largest schema message. It is stored as one metadata value, of which etcd takes 1.5 MiB a request.
const SCHEMA_BYTES_MAX: usize = 512 * 1024;

/// [`Field::params`] key under which a field's clustering-key flag is kept: it means nothing to the engine.
pub(super) const CLUSTERING_KEY_PARAM: &str = "clustering_key";

/// Reads and checks the schema of the collection to be called `collection`.
pub fn schema_from_bytes(collection: &str, bytes: &[u8]) -> WireResult<Schema> {
    if bytes.len() > SCHEMA_BYTES_MAX {
        let what = format!("the schema takes {} bytes, at most {SCHEMA_BYTES_MAX} are allowed", bytes.len());
        return Err(invalid_parameter(what));
    }
    let message = CollectionSchema::decode(bytes)
        .map_err(|error| invalid_parameter(format!("the schema is not a valid protobuf message: {error}")))?;
    if !message.name.is_empty() && message.name != collection {
        return Err(invalid_value("the schema is that of another collection", collection, &message.name));
    }
    schema_from_message(message)
}

/// Checks a schema and numbers its fields, from 100 in declared order, the dynamic field last.
pub fn schema_from_message(message: CollectionSchema) -> WireResult<Schema> {
    refuse_unsupported(&message)?;
    if message.fields.len() > FIELDS_MAX {
        return Err(invalid_parameter(format!("maximum field's number should be limited to {FIELDS_MAX}")));
    }
    let mut fields = Vec::with_capacity(message.fields.len() + 1);
    for (id, field) in (FIRST_FIELD_ID..).zip(message.fields) {
        fields.push(field_from_message(FieldId(id), field)?);
    }
    // Old clients say so on the schema only.
    if message.auto_id {
        for field in fields.iter_mut().filter(|field| field.primary_key) {
            field.auto_id = true;
        }
    }
    check_fields(&fields)?;
    if message.enable_dynamic_field {
        fields.push(dynamic_field(FieldId(FIRST_FIELD_ID + fields.len() as i64)));
    }
    Ok(Schema { fields, description: message.description })
}

fn refuse_unsupported(message: &CollectionSchema) -> WireResult<()> {
    if let Some(function) = message.functions.first() {
        let kind = match function.r#type() {
            FunctionType::Unknown => "of an unknown kind",
            kind => kind.as_str_name(),
        };
        return Err(unsupported(format!("function {:?} ({kind})", function.name)));
    }
    if let Some(field) = message.struct_array_fields.first() {
        return Err(unsupported(format!("struct array field {:?}", field.name)));
    }
    if !message.external_source.is_empty() || !message.external_spec.is_empty() {
        return Err(unsupported("an external collection (external_source, external_spec)"));
    }
    if message.enable_namespace {
        return Err(unsupported("a collection with namespaces (enable_namespace)"));
    }
    Ok(())
}

fn field_from_message(id: FieldId, message: FieldSchema) -> WireResult<Field> {
    check_field_name(&message.name)?;
    if message.is_dynamic {
        return Err(invalid_parameter(format!(
            "cannot explicitly set a field as a dynamic field, field name = {}",
            message.name
        )));
    }
    if message.is_function_output || !message.external_field.is_empty() {
        return Err(unsupported(format!("field {} as a function's output or an external field", message.name)));
    }
    let mut params = params_from_pairs(&message.type_params);
    let data_type = field_type::data_type(&message, &mut params)?;
    let default = match &message.default_value {
        Some(value) => default_value::default_value(&message, data_type, value)?,
        None => None,
    };
    if message.is_clustering_key {
        params.insert(CLUSTERING_KEY_PARAM.to_owned(), "true".to_owned());
    }
    Ok(Field {
        id,
        name: message.name,
        description: message.description,
        data_type,
        nullable: message.nullable,
        default,
        primary_key: message.is_primary_key,
        auto_id: message.auto_id,
        partition_key: message.is_partition_key,
        dynamic: false,
        params,
    })
}

fn params_from_pairs(pairs: &[KeyValuePair]) -> BTreeMap<String, String> {
    pairs.iter().map(|pair| (pair.key.clone(), pair.value.clone())).collect()
}

fn dynamic_field(id: FieldId) -> Field {
    Field {
        id,
        name: DYNAMIC_FIELD_NAME.to_owned(),
        description: String::new(),
        data_type: DataType::Json,
        nullable: false,
        default: None,
        primary_key: false,
        auto_id: false,
        partition_key: false,
        dynamic: true,
        params: BTreeMap::new(),
    }
}

fn check_fields(fields: &[Field]) -> WireResult<()> {
    let mut names = HashSet::new();
    if let Some(field) = fields.iter().find(|field| !names.insert(field.name.as_str())) {
        return Err(invalid_parameter(format!("duplicated field name {} found", field.name)));
    }
    let vectors = fields.iter().filter(|field| field.data_type.is_vector()).count();
    if vectors == 0 {
        return Err(invalid_parameter("schema does not contain vector field"));
    }
    if vectors > VECTOR_FIELDS_MAX {
        return Err(invalid_parameter(format!(
            "maximum vector field's number should be limited to {VECTOR_FIELDS_MAX}"
        )));
    }
    check_primary_key(fields)?;
    check_partition_key(fields)
}

fn check_primary_key(fields: &[Field]) -> WireResult<()> {
    let mut keys = fields.iter().filter(|field| field.primary_key);
    let key = keys.next().ok_or_else(|| invalid_parameter("primary key is not specified"))?;
    if let Some(second) = keys.next() {
        return Err(more_than_one("primary key", key, second));
    }
    if !matches!(key.data_type, DataType::Int64 | DataType::VarChar { .. }) {
        return Err(invalid_parameter("the data type of primary key should be Int64 or VarChar"));
    }
    if key.nullable {
        return Err(invalid_parameter(format!("primary field not support null, field name = {}", key.name)));
    }
    if key.default.is_some() {
        return Err(invalid_parameter(format!("primary field not support default_value, field name = {}", key.name)));
    }
    match fields.iter().find(|field| field.auto_id && !field.primary_key) {
        Some(field) => Err(invalid_parameter(format!(
            "only primary field can speficy AutoID with true, field name = {}",
            field.name
        ))),
        None => Ok(()),
    }
}

fn check_partition_key(fields: &[Field]) -> WireResult<()> {
    let mut keys = fields.iter().filter(|field| field.partition_key);
    let Some(key) = keys.next() else {
        return Ok(());
    };
    if let Some(second) = keys.next() {
        return Err(more_than_one("partition key", key, second));
    }
    if key.primary_key {
        return Err(invalid_parameter(format!(
            "the partition key field must not be primary field, field name = {}",
            key.name
        )));
    }
    if !matches!(key.data_type, DataType::Int64 | DataType::VarChar { .. }) {
        return Err(invalid_parameter("the data type of partition key should be Int64 or VarChar"));
    }
    Ok(())
}

fn more_than_one(what: &str, first: &Field, second: &Field) -> WireError {
    invalid_parameter(format!("there are more than one {what}, field name = {}, {}", first.name, second.name))
}

#[cfg(test)]
mod tests;
