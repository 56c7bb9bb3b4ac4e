//! `in`, `like` and the contains functions: what a list of constants may hold for each type of field.

use std::collections::HashSet;

use redkite_types::DataType;

use super::compare::{Kind, float_set};
use super::logic::{int_set, text_set};
use super::{Checker, Field, Value};
use crate::ast::{Contains, Expr};
use crate::constant::{Constant, data_type_name};
use crate::error::{Result, mistyped};
use crate::like::Pattern;
use crate::node::{JsonTest, Node, Test};
use crate::set::ConstantSet;

impl Checker<'_> {
    /// `left in [..]`
    pub(super) fn is_in(&self, left: Expr, list: Expr) -> Result<Value> {
        let left = self.value(left)?;
        let list = self.value(list)?;
        is_in(left, list).map(Value::from)
    }

    /// `left like "pattern"`
    pub(super) fn like(&self, left: Expr, pattern: Expr) -> Result<Value> {
        let left = self.value(left)?;
        let pattern = self.value(pattern)?;
        like(left, pattern).map(Value::from)
    }

    /// `json_contains(left, element)` and its relatives.
    pub(super) fn contains(&self, function: Contains, left: Expr, elements: Expr) -> Result<Value> {
        let left = self.value(left)?;
        let elements = self.value(elements)?;
        contains(function, left, elements).map(Value::from)
    }
}

fn is_in(left: Value, list: Value) -> Result<Node> {
    let elements = match list {
        Value::Constant { value: Constant::Array(elements), .. } => elements,
        Value::Constant { value, from_template: true } => {
            return mistyped(format!("the value of term expression template variable is not array, but {value}"));
        }
        other => {
            return mistyped(format!("the right-hand side of 'in' must be a list, but got: {}", other.type_name()));
        }
    };
    match left {
        Value::Json(operand) => {
            let is_number = !operand.is_plain();
            if let Some(odd) = elements.iter().find(|element| is_number && element.as_number().is_none()) {
                return mistyped(format!("value '{odd}' in list cannot be casted to Double"));
            }
            Ok(Node::Json(*operand, JsonTest::In(ConstantSet::new(elements).into())))
        }
        Value::Field(field) if field.kind() == Kind::Array => {
            mistyped("'in' is not supported on a whole array field; use array_contains_any or an element")
        }
        Value::Field(field) => {
            let elements = cast_all(&field, elements)?;
            let test = set_test(&field, elements);
            Ok(Node::Test(field.operand, test))
        }
        Value::Constant { .. } => mistyped("'in' can only be used on a field, but got a constant"),
        Value::Condition(_) => mistyped(
            "'in' can only be used on a field, but got a condition; 'not' binds tighter than 'in', so write \
                 'a not in [...]' or 'not (a in [...])'",
        ),
    }
}

fn like(left: Value, pattern: Value) -> Result<Node> {
    let pattern = match pattern {
        Value::Constant { value: Constant::Text(pattern), .. } => Pattern::new(&pattern)?,
        other => return mistyped(format!("the pattern of like must be a string, but got: {}", other.type_name())),
    };
    match left {
        Value::Json(operand) if operand.is_plain() => Ok(Node::Json(*operand, JsonTest::Like(pattern))),
        Value::Field(field) if field.kind() == Kind::Text => Ok(Node::Test(field.operand, Test::Like(pattern))),
        other => mistyped(format!(
            "like operation on non-string or no-json field is unsupported, got: {}",
            other.type_name()
        )),
    }
}

fn contains(function: Contains, left: Value, elements: Value) -> Result<Node> {
    let name = function.name();
    let elements = match (elements, function) {
        (Value::Constant { value, .. }, Contains::One) => vec![value],
        (Value::Constant { value: Constant::Array(elements), .. }, _) => elements,
        (Value::Constant { value, .. }, _) => {
            return mistyped(format!("{name} operation element must be an array, got: {}", value.type_name()));
        }
        (other, _) => {
            return mistyped(format!(
                "{name} operation are only supported explicitly specified element, got: {}",
                other.type_name()
            ));
        }
    };
    match left {
        Value::Json(operand) if operand.is_plain() => {
            Ok(Node::Json(*operand, JsonTest::Contains(function, ConstantSet::new(elements).into())))
        }
        Value::Field(field) if field.is_whole_array() => {
            let elements = cast_all(&field, elements)?;
            Ok(Node::Test(field.operand, Test::Contains(function, ConstantSet::new(elements).into())))
        }
        other => mistyped(format!(
            "{name} operation are only supported on json or array fields now, got: {}",
            other.type_name()
        )),
    }
}

/// The constants as values of the field, or of its elements if it is an array.
pub(super) fn cast_all(field: &Field, constants: Vec<Constant>) -> Result<Vec<Constant>> {
    let data_type = match field.data_type {
        DataType::Array { element, .. } => element.data_type(),
        other => other,
    };
    // What is compared with a 32-bit column has its precision; see `Field::is_float32`.
    let rounds = data_type == DataType::Float;
    let cast = |constant| match (data_type, constant) {
        (DataType::Bool, value @ Constant::Bool(_)) => Ok(value),
        (DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64, value @ Constant::Int(_)) => Ok(value),
        (DataType::Float | DataType::Double, value @ Constant::Int(_)) => Ok(value),
        (DataType::Float | DataType::Double, Constant::Float(value)) => {
            let rounded = f64::from(value as f32);
            Ok(Constant::Float(if rounds && rounded.is_finite() { rounded } else { value }))
        }
        (DataType::VarChar { .. }, value @ Constant::Text(_)) => Ok(value),
        (data_type, value) => {
            mistyped(format!("value '{value}' in list cannot be casted to {}", data_type_name(data_type)))
        }
    };
    constants.into_iter().map(cast).collect()
}

/// Membership of a field in constants that were cast to its type.
fn set_test(field: &Field, elements: Vec<Constant>) -> Test {
    match field.kind() {
        Kind::Bool => Test::Bool([false, true].map(|value| elements.contains(&Constant::Bool(value)))),
        Kind::Int => int_set(elements.iter().filter_map(|element| element.as_number()?.as_exact_int()).collect()),
        Kind::Text => text_set(elements.into_iter().filter_map(as_text).collect::<HashSet<_>>()),
        Kind::Float | Kind::Array => {
            let numbers = elements.iter().filter_map(Constant::as_number);
            Test::FloatSet(float_set(numbers, field.is_float32()))
        }
    }
}

fn as_text(constant: Constant) -> Option<String> {
    match constant {
        Constant::Text(text) => Some(text),
        _ => None,
    }
}
