//! Which columns an answer shows.

use redkite_query::Rows;
use redkite_types::{FieldId, Schema};

use crate::convert::rows_out::{DynamicKeys, column_to_field};
use crate::proto::schema::FieldData;
use crate::status::{WireError, WireResult};

/// Stands for all fields.
const ALL: &str = "*";

/// The columns a request asks for.
#[derive(Debug, Clone)]
pub(super) struct Output {
    /// Fields to fetch, in the order asked for.
    pub(super) fields: Vec<FieldId>,
    /// What the answer says it holds: field names, and dynamic keys by their own names.
    pub(super) names: Vec<String>,
    dynamic: DynamicKeys,
}

impl Output {
    /// Resolves `asked`. `with_key`: whether the primary key is always among them.
    pub(super) fn new(schema: &Schema, asked: &[String], with_key: bool) -> WireResult<Self> {
        let mut output = Self { fields: Vec::new(), names: Vec::new(), dynamic: DynamicKeys::All };
        let mut keys: Vec<String> = Vec::new();
        let mut whole_dynamic = false;
        for name in asked {
            if name == ALL {
                for field in &schema.fields {
                    output.add(field.id, &field.name);
                }
                whole_dynamic = true;
                continue;
            }
            match (schema.field(name), schema.dynamic_field()) {
                (Some(field), _) => {
                    output.add(field.id, &field.name);
                    whole_dynamic |= field.dynamic;
                }
                (None, Some(dynamic)) => {
                    if !output.fields.contains(&dynamic.id) {
                        output.fields.push(dynamic.id);
                    }
                    if !output.names.contains(name) {
                        output.names.push(name.clone());
                    }
                    keys.push(name.clone());
                }
                (None, None) => return Err(WireError::FieldNotExist { field: name.clone() }),
            }
        }
        if let (true, Some(key)) = (with_key, schema.primary_key()) {
            output.add(key.id, &key.name);
        }
        if !whole_dynamic {
            output.dynamic = DynamicKeys::Only(keys);
        }
        Ok(output)
    }

    fn add(&mut self, id: FieldId, name: &str) {
        if !self.fields.contains(&id) {
            self.fields.push(id);
        }
        if !self.names.iter().any(|known| known == name) {
            self.names.push(name.to_owned());
        }
    }

    /// The fetched columns as the answer carries them.
    pub(super) fn to_fields(&self, schema: &Schema, rows: &Rows) -> WireResult<Vec<FieldData>> {
        let column = |(id, array): &(FieldId, arrow_array::ArrayRef)| {
            let field = schema.field_by_id(*id).ok_or_else(|| WireError::FieldNotExist { field: id.to_string() })?;
            column_to_field(field, array, &self.dynamic)
        };
        rows.columns.iter().map(column).collect()
    }
}
