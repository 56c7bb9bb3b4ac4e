//! Arithmetic: on two constants it is folded, on a field and a constant it becomes a step of the field's operand.

use redkite_types::DataType;

use super::{Checker, Value};
use crate::ast::Expr;
use crate::constant::Constant;
use crate::error::{Result, mistyped};
use crate::fold;
use crate::node::Base;
use crate::number::{Arithmetic, Number, Step};

impl Checker<'_> {
    pub(super) fn arithmetic(&self, operator: Arithmetic, left: Expr, right: Expr) -> Result<Value> {
        let left = self.value(left)?;
        let right = self.value(right)?;
        combine(operator, left, right)
    }

    pub(super) fn power(&self, left: Expr, right: Expr) -> Result<Value> {
        let left = self.value(left)?;
        let right = self.value(right)?;
        match (left, right) {
            (Value::Constant { value: a, .. }, Value::Constant { value: b, .. }) => {
                Ok(Value::Constant { value: fold::power(&a, &b)?, from_template: false })
            }
            _ => mistyped("power can only apply on constants"),
        }
    }

    pub(super) fn negate(&self, inner: Expr) -> Result<Value> {
        match self.value(inner)? {
            Value::Constant { value, from_template } => {
                Ok(Value::Constant { value: fold::negate(value)?, from_template })
            }
            other => with_constant(other, Arithmetic::Sub, &Constant::Int(0), true),
        }
    }

    pub(super) fn bit_not(&self, inner: Expr) -> Result<Value> {
        match self.value(inner)? {
            Value::Constant { value, from_template } => {
                Ok(Value::Constant { value: fold::bit_not(value)?, from_template })
            }
            // Every bit turned round.
            other => with_constant(other, Arithmetic::BitXor, &Constant::Int(-1), false),
        }
    }
}

fn combine(operator: Arithmetic, left: Value, right: Value) -> Result<Value> {
    let name = operator.name();
    match (left, right) {
        (Value::Constant { value: a, from_template: false }, Value::Constant { value: b, from_template: false }) => {
            Ok(Value::Constant { value: fold::arithmetic(operator, &a, &b)?, from_template: false })
        }
        (Value::Constant { .. }, Value::Constant { .. }) => between_constants(name),
        (Value::Constant { value, .. }, other) => with_constant(other, operator, &value, true),
        (other, Value::Constant { value, .. }) => with_constant(other, operator, &value, false),
        (Value::Condition(_), _) | (_, Value::Condition(_)) => {
            mistyped(format!("'{name}' cannot be applied to a condition; put parentheses where they are missing"))
        }
        _ => mistyped("not supported to do arithmetic operations between multiple fields"),
    }
}

/// The error of an operator between two constants of which one came from a template.
pub(super) fn between_constants<T>(operator: &str) -> Result<T> {
    mistyped(format!("placeholder was not supported between two constants with operator: {operator}"))
}

/// A field and a constant.
fn with_constant(value: Value, operator: Arithmetic, constant: &Constant, reversed: bool) -> Result<Value> {
    // Stands for the field's values in the check of what the operator allows.
    let sample = match &value {
        Value::Json(_) => Some(Number::Int(1)),
        Value::Field(field) => match field.operand.base {
            Base::Int if field.data_type == DataType::Double => Some(Number::Float(1.0)),
            Base::Int => Some(Number::Int(1)),
            Base::Float32 | Base::Float64 => Some(Number::Float(1.0)),
            Base::Bool | Base::Text | Base::Array => None,
        },
        Value::Condition(_) | Value::Constant { .. } => None,
    };
    let (Some(sample), Some(number)) = (sample, constant.as_number()) else {
        let (field, constant) = (value.type_name(), constant.type_name());
        let name = operator.name();
        return mistyped(format!("'{name}' cannot perform arithmetic between {field} field and {constant}"));
    };
    if reversed {
        fold::check_operand(operator, number, sample)?;
    } else {
        fold::check_operand(operator, sample, number)?;
    }
    let step = Step { operator, constant: number, reversed };
    Ok(match value {
        Value::Json(mut operand) => {
            operand.steps.push(step);
            Value::Json(operand)
        }
        Value::Field(mut field) => {
            field.operand.steps.push(step);
            let is_int = matches!((sample, number), (Number::Int(_), Number::Int(_)));
            field.data_type = if is_int { DataType::Int64 } else { DataType::Double };
            // A division by a field has no value where the field is 0, a shift by one where it is out of range.
            field.nullable |= reversed;
            Value::Field(field)
        }
        other => other,
    })
}
