//! Constant folding: what two constants and an operator amount to.

use crate::ast::{Expr, Kind};
use crate::constant::Constant;
use crate::error::{Result, mistyped};
use crate::number::{Arithmetic, Comparison, Number};

impl Constant {
    /// The number this is.
    pub(crate) fn as_number(&self) -> Option<Number> {
        match self {
            Constant::Int(value) => Some(Number::Int(*value)),
            Constant::Float(value) => Some(Number::Float(*value)),
            _ => None,
        }
    }
}

impl From<Number> for Constant {
    fn from(number: Number) -> Self {
        match number {
            Number::Int(value) => Constant::Int(value),
            Number::Float(value) => Constant::Float(value),
        }
    }
}

/// An expression without fields, as a constant.
pub(crate) fn constant(expr: Expr) -> Result<Constant> {
    match expr.kind {
        Kind::Constant(value) | Kind::Template(value) => Ok(value),
        Kind::Negate(inner) => negate(constant(*inner)?),
        Kind::BitNot(inner) => bit_not(constant(*inner)?),
        Kind::Not(inner) => not(constant(*inner)?),
        Kind::Arithmetic(operator, left, right) => arithmetic(operator, &constant(*left)?, &constant(*right)?),
        Kind::Power(left, right) => power(&constant(*left)?, &constant(*right)?),
        Kind::Compare(comparison, left, right) => {
            compare(comparison, &constant(*left)?, &constant(*right)?).map(Constant::Bool)
        }
        _ => mistyped("list elements must be constants"),
    }
}

/// `-value`
pub(crate) fn negate(value: Constant) -> Result<Constant> {
    match value {
        Constant::Int(value) => Ok(Constant::Int(value.wrapping_neg())),
        Constant::Float(value) => Ok(Constant::Float(-value)),
        other => mistyped(format!("unary '-' cannot be applied to {}", other.type_name())),
    }
}

/// `~value`
pub(crate) fn bit_not(value: Constant) -> Result<Constant> {
    match value {
        Constant::Int(value) => Ok(Constant::Int(!value)),
        other => mistyped(format!("'~' can only be applied to integers, not to {}", other.type_name())),
    }
}

/// `not value`
pub(crate) fn not(value: Constant) -> Result<Constant> {
    match value {
        Constant::Bool(value) => Ok(Constant::Bool(!value)),
        other => mistyped(format!("'not' can only be applied on boolean expressions, not to {}", other.type_name())),
    }
}

/// Arithmetic and bit operators.
pub(crate) fn arithmetic(operator: Arithmetic, left: &Constant, right: &Constant) -> Result<Constant> {
    let (Some(a), Some(b)) = (left.as_number(), right.as_number()) else {
        let (left, right) = (left.type_name(), right.type_name());
        return mistyped(format!("'{}' cannot perform arithmetic between {left} and {right}", operator.name()));
    };
    check_operand(operator, a, b)?;
    match operator.on_numbers(a, b) {
        Some(value) => Ok(value.into()),
        None => mistyped(format!("'{}' of {left} and {right} is not defined", operator.name())),
    }
}

/// Whether the operator allows this constant on its right, whatever stands on its left.
pub(crate) fn check_operand(operator: Arithmetic, left: Number, right: Number) -> Result<()> {
    match (operator, left, right) {
        (Arithmetic::Mod, Number::Float(_), _) | (Arithmetic::Mod, _, Number::Float(_)) => {
            mistyped("modulo can only apply on integer types")
        }
        (operator, Number::Float(_), _) | (operator, _, Number::Float(_)) if operator.integers_only() => {
            mistyped(format!("'{}' can only apply on integer types", operator.name()))
        }
        (Arithmetic::Div | Arithmetic::Mod, _, divisor) if divisor.to_f64() == 0.0 => {
            mistyped("division or modulus by zero")
        }
        (Arithmetic::ShiftLeft | Arithmetic::ShiftRight, _, Number::Int(bits)) if !(0..64).contains(&bits) => {
            mistyped(format!("shift amount must be in 0..63, got {bits}"))
        }
        _ => Ok(()),
    }
}

/// `left ** right`: an integer if both are and the result fits, else a float.
pub(crate) fn power(left: &Constant, right: &Constant) -> Result<Constant> {
    let (Some(base), Some(exponent)) = (left.as_number(), right.as_number()) else {
        return mistyped(format!("power cannot be applied to {} and {}", left.type_name(), right.type_name()));
    };
    if let (Number::Int(base), Number::Int(exponent)) = (base, exponent) {
        let exact = u32::try_from(exponent).ok().and_then(|exponent| base.checked_pow(exponent));
        if let Some(value) = exact {
            return Ok(Constant::Int(value));
        }
    }
    Ok(Constant::Float(base.to_f64().powf(exponent.to_f64())))
}

/// Compares two constants; numbers by value, lists element by element.
pub(crate) fn compare(comparison: Comparison, left: &Constant, right: &Constant) -> Result<bool> {
    let ordering = match (left, right) {
        (Constant::Bool(a), Constant::Bool(b)) => Some(a.cmp(b)),
        (Constant::Text(a), Constant::Text(b)) => Some(a.cmp(b)),
        (Constant::Array(_), Constant::Array(_)) if matches!(comparison, Comparison::Eq | Comparison::Ne) => {
            return Ok(equal(left, right) == (comparison == Comparison::Eq));
        }
        _ => match (left.as_number(), right.as_number()) {
            (Some(a), Some(b)) => a.compare(b),
            _ => {
                return mistyped(format!(
                    "comparison operations cannot be applied to two incompatible operands: {} and {}",
                    left.type_name(),
                    right.type_name()
                ));
            }
        },
    };
    Ok(comparison.holds(ordering))
}

/// Whether two constants are the same value: numbers by value, kinds otherwise distinct.
pub(crate) fn equal(left: &Constant, right: &Constant) -> bool {
    match (left, right) {
        (Constant::Array(a), Constant::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b)),
        _ => match (left.as_number(), right.as_number()) {
            (Some(a), Some(b)) => a.compare(b) == Some(std::cmp::Ordering::Equal),
            _ => left == right,
        },
    }
}
