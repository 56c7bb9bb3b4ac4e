//! Values for the `{name}` variables of a filter.

use std::collections::HashMap;

use redkite_expr::{TemplateValue, Templates};

use crate::proto::schema::template_array_value::Data;
use crate::proto::schema::template_value::Val;
use crate::proto::schema::{TemplateArrayValue, TemplateValue as WireValue};
use crate::status::{WireResult, invalid_parameter, unsupported};

/// The values a request sends with its filter. Which names the filter uses is checked where it is parsed.
pub fn templates(values: HashMap<String, WireValue>) -> WireResult<Templates> {
    values.into_iter().map(|(name, value)| value_of(&name, value).map(|value| (name, value))).collect()
}

fn value_of(name: &str, value: WireValue) -> WireResult<TemplateValue> {
    match value.val {
        Some(Val::BoolVal(value)) => Ok(TemplateValue::Bool(value)),
        Some(Val::Int64Val(value)) => Ok(TemplateValue::Int(value)),
        Some(Val::FloatVal(value)) => Ok(TemplateValue::Float(value)),
        Some(Val::StringVal(value)) => Ok(TemplateValue::Text(value)),
        Some(Val::ArrayVal(value)) => list_of(name, value),
        Some(Val::BytesVal(_)) => Err(unsupported(format!("a binary value for the template variable {name}"))),
        None => Err(invalid_parameter(format!("the template variable {name} has no value"))),
    }
}

/// An empty list comes without a kind. Nesting is bounded by the protobuf decoder's recursion limit.
fn list_of(name: &str, list: TemplateArrayValue) -> WireResult<TemplateValue> {
    let values = match list.data {
        None => Vec::new(),
        Some(Data::BoolData(list)) => list.data.into_iter().map(TemplateValue::Bool).collect(),
        Some(Data::LongData(list)) => list.data.into_iter().map(TemplateValue::Int).collect(),
        Some(Data::DoubleData(list)) => list.data.into_iter().map(TemplateValue::Float).collect(),
        Some(Data::StringData(list)) => list.data.into_iter().map(TemplateValue::Text).collect(),
        Some(Data::ArrayData(list)) => {
            list.data.into_iter().map(|list| list_of(name, list)).collect::<WireResult<_>>()?
        }
        Some(Data::JsonData(list)) => {
            let value = |text: &bytes::Bytes| {
                TemplateValue::from_json(text)
                    .map_err(|error| invalid_parameter(format!("the template variable {name}: {error}")))
            };
            list.data.iter().map(value).collect::<WireResult<_>>()?
        }
    };
    Ok(TemplateValue::Array(values))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::schema::{BoolArray, DoubleArray, JsonArray, LongArray, StringArray, TemplateArrayValueArray};

    fn array(data: Data) -> Option<Val> {
        Some(Val::ArrayVal(TemplateArrayValue { data: Some(data) }))
    }

    #[test]
    fn every_kind_of_value_is_read() {
        use redkite_expr::Constant::{Array, Bool, Float, Int, Text};
        let nested = TemplateArrayValueArray {
            data: vec![TemplateArrayValue { data: Some(Data::LongData(LongArray { data: vec![1, 2] })) }],
        };
        let json = JsonArray { data: vec!["1".into(), "\"a\"".into(), "true".into(), "[2.5]".into()] };
        let cases = [
            (Some(Val::BoolVal(true)), Bool(true)),
            (Some(Val::Int64Val(-3)), Int(-3)),
            (Some(Val::FloatVal(0.5)), Float(0.5)),
            (Some(Val::StringVal("x".into())), Text("x".into())),
            (Some(Val::ArrayVal(TemplateArrayValue { data: None })), Array(vec![])),
            (array(Data::BoolData(BoolArray { data: vec![false] })), Array(vec![Bool(false)])),
            (array(Data::LongData(LongArray { data: vec![1, 2] })), Array(vec![Int(1), Int(2)])),
            (array(Data::DoubleData(DoubleArray { data: vec![1.5] })), Array(vec![Float(1.5)])),
            (array(Data::StringData(StringArray { data: vec!["a".into()] })), Array(vec![Text("a".into())])),
            (array(Data::ArrayData(nested)), Array(vec![Array(vec![Int(1), Int(2)])])),
            (array(Data::JsonData(json)), Array(vec![Int(1), Text("a".into()), Bool(true), Array(vec![Float(2.5)])])),
        ];
        for (val, wanted) in cases {
            let values = HashMap::from([("x".to_owned(), WireValue { val })]);
            assert_eq!(templates(values).unwrap()["x"], wanted);
        }
    }

    #[test]
    fn values_that_are_none_are_refused_by_name() {
        let bad_json = array(Data::JsonData(JsonArray { data: vec!["{".into()] }));
        for val in [None, Some(Val::BytesVal("x".into())), bad_json] {
            let values = HashMap::from([("who".to_owned(), WireValue { val })]);
            let error = templates(values).unwrap_err();
            assert!(error.to_string().contains("who"), "{error}");
            assert_eq!(error.code().number(), 1100);
        }
    }
}
