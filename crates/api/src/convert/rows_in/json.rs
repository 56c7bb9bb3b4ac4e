//! JSON columns, the dynamic one included: every stored value is valid, of bounded size and bounded depth.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use arrow_array::ArrayRef;
use redkite_types::limits::JSON_BYTES_MAX;
use redkite_types::{DYNAMIC_FIELD_NAME, Field, Scalar, Schema};
use serde::Deserializer as _;
use serde::de::{IgnoredAny, MapAccess, Visitor};

use super::validity::Validity;
use super::{scalars, type_mismatch};
use crate::proto::schema::scalar_field::Data;
use crate::status::{WireError, WireResult, invalid_parameter};

/// Deepest nesting of lists and objects. Readers of the values recurse.
const DEPTH_MAX: usize = 100;
const EMPTY_OBJECT: &[u8] = b"{}";

/// Checks that `bytes` are one JSON value of bounded depth; says what is wrong otherwise. Size is the caller's.
pub fn check_json(bytes: &[u8]) -> Result<&str, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "it is not valid UTF-8".to_owned())?;
    check_depth(bytes)?;
    serde_json::from_str::<IgnoredAny>(text).map_err(|error| error.to_string())?;
    Ok(text)
}

/// Brackets outside strings. On what is not JSON the count means nothing and the parser has the last word.
fn check_depth(bytes: &[u8]) -> Result<(), String> {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in bytes {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => {
                depth += 1;
                if depth > DEPTH_MAX {
                    return Err(format!("it is nested deeper than {DEPTH_MAX} levels"));
                }
            }
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    Ok(())
}

/// A JSON column; what is missing becomes the default, `{}` for the dynamic field, else null.
pub(super) fn column(schema: &Schema, field: &Field, data: Option<Data>, validity: Validity) -> WireResult<ArrayRef> {
    let values = match data {
        Some(Data::JsonData(values)) => values.data,
        None => Vec::new(),
        Some(other) => return Err(type_mismatch(field, scalars::kind(&other))),
    };
    let fill = match &field.default {
        Some(Scalar::Text(text)) => bytes::Bytes::copy_from_slice(text.as_bytes()),
        _ if field.dynamic => bytes::Bytes::from_static(EMPTY_OBJECT),
        _ => bytes::Bytes::new(),
    };
    let values = validity.spread(field, values, fill)?;
    let nulls_are_kept = field.default.is_none() && !field.dynamic;
    let mut texts = Vec::with_capacity(values.len());
    for (row, value) in values.iter().enumerate() {
        // A null row's slot is empty, which is no JSON.
        texts.push(if validity.is_valid(row) || !nulls_are_kept { checked(schema, field, row, value)? } else { "" });
    }
    Ok(Arc::new(scalars::texts(field, &texts, validity.nulls(field))?))
}

fn checked<'a>(schema: &Schema, field: &Field, row: usize, value: &'a [u8]) -> WireResult<&'a str> {
    if value.len() > JSON_BYTES_MAX {
        return Err(invalid_parameter(format!(
            "length of json field {} exceeds max length, row number: {row}, length: {}, max length: {JSON_BYTES_MAX}",
            field.name,
            value.len()
        )));
    }
    let bad = |reason: String| {
        invalid_parameter(format!("the json value of field {} is not valid, row number: {row}, {reason}", field.name))
    };
    if field.dynamic {
        let text = std::str::from_utf8(value).map_err(|_| bad("it is not valid UTF-8".to_owned()))?;
        check_dynamic(schema, text).map_err(|fault| match fault {
            DynamicFault::Syntax(reason) => bad(reason),
            DynamicFault::Key(error) => error,
        })?;
        return Ok(text);
    }
    check_json(value).map_err(bad)
}

enum DynamicFault {
    Syntax(String),
    Key(WireError),
}

/// The dynamic field holds objects only, none of whose keys hides a declared field.
fn check_dynamic(schema: &Schema, text: &str) -> Result<(), DynamicFault> {
    if text.as_bytes() == EMPTY_OBJECT {
        return Ok(());
    }
    check_depth(text.as_bytes()).map_err(DynamicFault::Syntax)?;
    let syntax = |error: serde_json::Error| DynamicFault::Syntax(error.to_string());
    let mut reader = serde_json::Deserializer::from_str(text);
    let wrong = reader.deserialize_map(KeyCheck { schema }).map_err(syntax)?;
    reader.end().map_err(syntax)?;
    match wrong {
        Some(key) if key == DYNAMIC_FIELD_NAME => {
            Err(DynamicFault::Key(invalid_parameter(format!("cannot set key to: {DYNAMIC_FIELD_NAME}"))))
        }
        Some(key) => {
            let what = format!("dynamic field name cannot include the static field name: {key}");
            Err(DynamicFault::Key(invalid_parameter(what)))
        }
        None => Ok(()),
    }
}

/// Reads an object and returns the first key that is not allowed in it.
struct KeyCheck<'a> {
    schema: &'a Schema,
}

impl<'de> Visitor<'de> for KeyCheck<'_> {
    type Value = Option<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut wrong = None;
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            map.next_value::<IgnoredAny>()?;
            if wrong.is_none() && self.schema.field(&key).is_some() {
                wrong = Some(key.into_owned());
            }
        }
        Ok(wrong)
    }
}
