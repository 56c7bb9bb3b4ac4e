//! Comparisons and ranges, turned into tests on the field's own kind of value.
//!
//! A comparison with a constant beyond the field's reach (300 for an int8, 1.5 for an integer) is decided here by value;
//! nothing is ever cast to a narrower type.

use super::arithmetic::between_constants;
use super::{Checker, Field, Value};
use crate::ast::Expr;
use crate::constant::{Constant, data_type_name};
use crate::error::{Result, mistyped};
use crate::fold;
use crate::node::{Base, JsonOperand, JsonTest, Node, Test};
use crate::number::{Comparison, Number, TWO_63};
use crate::set::{FloatSet, IntSet};

impl Checker<'_> {
    pub(super) fn compare(&self, comparison: Comparison, left: Expr, right: Expr) -> Result<Value> {
        let left = self.value(left)?;
        let right = self.value(right)?;
        compare(comparison, left, right)
    }

    pub(super) fn range(&self, operands: [Expr; 3], low_inclusive: bool, high_inclusive: bool) -> Result<Value> {
        let [low, middle, high] = operands;
        let low = self.value(low)?;
        let middle = self.value(middle)?;
        let high = self.value(high)?;
        let (low, high) = (bound(low, "lowerbound")?, bound(high, "upperbound")?);
        range(middle, low, low_inclusive, high, high_inclusive).map(Value::from)
    }
}

/// A bound of a range.
fn bound(value: Value, which: &str) -> Result<Constant> {
    match value {
        Value::Constant { value, .. } => Ok(value),
        other => mistyped(format!("{which} cannot be a non-const expression, got {}", other.type_name())),
    }
}

fn compare(comparison: Comparison, left: Value, right: Value) -> Result<Value> {
    match (left, right) {
        (Value::Constant { value: a, from_template: false }, Value::Constant { value: b, from_template: false }) => {
            let value = Constant::Bool(fold::compare(comparison, &a, &b)?);
            Ok(Value::Constant { value, from_template: false })
        }
        (Value::Constant { .. }, Value::Constant { .. }) => between_constants(symbol(comparison)),
        (Value::Constant { value, .. }, other) => test(other, comparison.flipped(), value).map(Value::from),
        (other, Value::Constant { value, .. }) => test(other, comparison, value).map(Value::from),
        (Value::Field(left), Value::Field(right)) => fields(*left, comparison, *right).map(Value::from),
        (Value::Json(_), _) | (_, Value::Json(_)) => mistyped("two column comparison with JSON type is not supported"),
        _ => mistyped("comparisons are not supported between conditions; join them with 'and' or 'or'"),
    }
}

fn symbol(comparison: Comparison) -> &'static str {
    match comparison {
        Comparison::Eq => "==",
        Comparison::Ne => "!=",
        Comparison::Lt => "<",
        Comparison::Le => "<=",
        Comparison::Gt => ">",
        Comparison::Ge => ">=",
    }
}

/// A value against a constant.
fn test(value: Value, comparison: Comparison, constant: Constant) -> Result<Node> {
    if comparison == Comparison::Ne {
        return test(value, Comparison::Eq, constant).map(Node::negated);
    }
    match value {
        Value::Field(field) => field_test(*field, comparison, constant),
        Value::Json(operand) => json_test(*operand, comparison, constant),
        other => mistyped(format!(
            "comparisons between a condition and {} are not supported (got {})",
            constant.type_name(),
            other.type_name()
        )),
    }
}

fn field_test(field: Field, comparison: Comparison, constant: Constant) -> Result<Node> {
    let test = match (field.kind(), constant) {
        (Kind::Bool, Constant::Bool(constant)) => {
            Test::Bool([false, true].map(|value| comparison.holds(Some(value.cmp(&constant)))))
        }
        (Kind::Text, Constant::Text(constant)) => Test::Text(comparison, constant),
        (Kind::Array, Constant::Array(elements)) if comparison == Comparison::Eq => {
            Test::ArrayEquals(super::membership::cast_all(&field, elements)?)
        }
        (Kind::Int, constant) if constant.as_number().is_some() => {
            let range = constant.as_number().and_then(|number| int_range(comparison, number));
            return Ok(int_node(field, range));
        }
        (Kind::Float, constant) if constant.as_number().is_some() => {
            let number = constant.as_number().unwrap_or(Number::Int(0));
            let (comparison, bound) = float_bound(comparison, number, field.is_float32());
            Test::Float(comparison, bound)
        }
        (_, constant) => {
            let (left, right) = (data_type_name(field.data_type), constant.type_name());
            return mistyped(format!("comparisons between {left} and {right} are not supported"));
        }
    };
    Ok(Node::Test(field.operand, test))
}

/// What kind of values a field has after its arithmetic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Bool,
    Int,
    Float,
    Text,
    Array,
}

impl Field {
    pub(super) fn kind(&self) -> Kind {
        match self.operand.base {
            Base::Bool => Kind::Bool,
            Base::Int if self.data_type == redkite_types::DataType::Double => Kind::Float,
            Base::Int => Kind::Int,
            Base::Float32 | Base::Float64 => Kind::Float,
            Base::Text => Kind::Text,
            Base::Array => Kind::Array,
        }
    }
}

/// The test of an integer field against a range; none is the range that nothing is in.
fn int_node(field: Field, range: Option<(i64, i64)>) -> Node {
    match range {
        Some((low, high)) => Node::Test(field.operand, Test::IntRange { low, high }),
        None if field.nullable => Node::Test(field.operand, Test::IntSet(IntSet::new(Vec::new()))),
        None => Node::Constant(false),
    }
}

/// The integers for which `value comparison number` holds, both ends included; none if there are none.
/// Not for `!=`, which is no range.
fn int_range(comparison: Comparison, number: Number) -> Option<(i64, i64)> {
    if let Some(exact) = number.as_exact_int() {
        return match comparison {
            Comparison::Eq | Comparison::Ne => Some((exact, exact)),
            Comparison::Lt => exact.checked_sub(1).map(|high| (i64::MIN, high)),
            Comparison::Le => Some((i64::MIN, exact)),
            Comparison::Gt => exact.checked_add(1).map(|low| (low, i64::MAX)),
            Comparison::Ge => Some((exact, i64::MAX)),
        };
    }
    let float = number.to_f64();
    match comparison {
        _ if float.is_nan() => None,
        Comparison::Eq | Comparison::Ne => None,
        Comparison::Lt | Comparison::Le if float >= TWO_63 => Some((i64::MIN, i64::MAX)),
        Comparison::Lt | Comparison::Le if float < -TWO_63 => None,
        Comparison::Lt | Comparison::Le => Some((i64::MIN, float.floor() as i64)),
        Comparison::Gt | Comparison::Ge if float >= TWO_63 => None,
        Comparison::Gt | Comparison::Ge if float < -TWO_63 => Some((i64::MIN, i64::MAX)),
        Comparison::Gt | Comparison::Ge => Some((float.ceil() as i64, i64::MAX)),
    }
}

/// The comparison with a float that holds for the same floats as the comparison with the number. Float constants are
/// rounded to the precision of a 32-bit column; integers that no float equals are never rounded.
fn float_bound(comparison: Comparison, number: Number, is_float32: bool) -> (Comparison, f64) {
    let int = match number {
        Number::Int(int) => int,
        Number::Float(float) => {
            let rounded = f64::from(float as f32);
            return (comparison, if is_float32 && rounded.is_finite() { rounded } else { float });
        }
    };
    let float = int as f64;
    let ordering = number.compare(Number::Float(float));
    let bound = match (ordering, comparison) {
        (Some(std::cmp::Ordering::Less), Comparison::Lt | Comparison::Le) => Comparison::Lt,
        (Some(std::cmp::Ordering::Less), Comparison::Gt | Comparison::Ge) => Comparison::Ge,
        (Some(std::cmp::Ordering::Greater), Comparison::Lt | Comparison::Le) => Comparison::Le,
        (Some(std::cmp::Ordering::Greater), Comparison::Gt | Comparison::Ge) => Comparison::Gt,
        (Some(std::cmp::Ordering::Equal), comparison) => comparison,
        // Equal to nothing.
        (_, comparison) => return (comparison, f64::NAN),
    };
    (bound, float)
}

/// The floats that equal these numbers in a column.
pub(super) fn float_set(numbers: impl Iterator<Item = Number>, is_float32: bool) -> FloatSet {
    FloatSet::new(numbers.map(|number| float_bound(Comparison::Eq, number, is_float32).1))
}

fn json_test(operand: JsonOperand, comparison: Comparison, constant: Constant) -> Result<Node> {
    let is_number = !operand.is_plain();
    match &constant {
        Constant::Array(_) if is_number || comparison != Comparison::Eq => {
            mistyped("lists can only be compared with == and !=")
        }
        constant if is_number && constant.as_number().is_none() => {
            mistyped(format!("comparisons between Double and {} are not supported", constant.type_name()))
        }
        _ => Ok(Node::Json(operand, JsonTest::Compare(comparison, constant))),
    }
}

/// Two fields against each other.
fn fields(left: Field, comparison: Comparison, right: Field) -> Result<Node> {
    let compatible = match (left.kind(), right.kind()) {
        (Kind::Array, _) | (_, Kind::Array) => return mistyped("can not comparisons array fields directly"),
        (Kind::Int | Kind::Float, Kind::Int | Kind::Float) => true,
        (left, right) => left == right,
    };
    if !compatible {
        let (left, right) = (data_type_name(left.data_type), data_type_name(right.data_type));
        return mistyped(format!("comparisons between {left} and {right} are not supported"));
    }
    if comparison == Comparison::Ne {
        return Ok(Node::Fields(left.operand, Comparison::Eq, right.operand).negated());
    }
    Ok(Node::Fields(left.operand, comparison, right.operand))
}

/// `low < value <= high`
fn range(value: Value, low: Constant, low_inclusive: bool, high: Constant, high_inclusive: bool) -> Result<Node> {
    if matches!(low, Constant::Bool(_)) || matches!(high, Constant::Bool(_)) {
        return mistyped("invalid range operations on boolean expr");
    }
    if matches!(low, Constant::Array(_)) || matches!(high, Constant::Array(_)) {
        return mistyped("invalid range operations: bounds must be numbers or texts");
    }
    let both_inclusive = low_inclusive && high_inclusive;
    let inverted = if both_inclusive { Comparison::Gt } else { Comparison::Ge };
    if fold::compare(inverted, &low, &high)? {
        return mistyped("invalid range: lowerbound is greater than upperbound");
    }
    let low_comparison = if low_inclusive { Comparison::Ge } else { Comparison::Gt };
    let high_comparison = if high_inclusive { Comparison::Le } else { Comparison::Lt };
    let field = match value {
        Value::Json(operand) => {
            if !operand.is_plain() && low.as_number().is_none() {
                return mistyped("invalid range operations: bounds must be numbers");
            }
            return Ok(Node::Json(*operand, JsonTest::Range { low, low_inclusive, high, high_inclusive }));
        }
        Value::Field(field) => *field,
        other => {
            return mistyped(format!(
                "range operations are only supported on single fields, got: {}",
                other.type_name()
            ));
        }
    };
    match (field.kind(), low.as_number().zip(high.as_number()), low, high) {
        (Kind::Int, Some((low, high)), ..) => {
            let ranges = int_range(low_comparison, low).zip(int_range(high_comparison, high));
            let both = ranges.map(|(above, below)| (above.0.max(below.0), above.1.min(below.1)));
            Ok(int_node(field, both.filter(|(low, high)| low <= high)))
        }
        (Kind::Float, Some((low, high)), ..) => {
            let (low_comparison, low) = float_bound(low_comparison, low, field.is_float32());
            let (high_comparison, high) = float_bound(high_comparison, high, field.is_float32());
            let (low_inclusive, high_inclusive) = (low_comparison == Comparison::Ge, high_comparison == Comparison::Le);
            Ok(Node::Test(field.operand, Test::FloatRange { low, low_inclusive, high, high_inclusive }))
        }
        (Kind::Text, None, Constant::Text(low), Constant::Text(high)) => {
            Ok(Node::Test(field.operand, Test::TextRange { low, low_inclusive, high, high_inclusive }))
        }
        (_, _, low, high) => mistyped(format!(
            "invalid range operations: {} between {} and {}",
            data_type_name(field.data_type),
            low.type_name(),
            high.type_name()
        )),
    }
}
