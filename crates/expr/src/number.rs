//! Numbers: exact comparison across integers and floats, and the arithmetic of the language.

use std::cmp::Ordering;

/// How two values are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Comparison {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
}

impl Comparison {
    /// The comparison with its sides swapped.
    pub fn flipped(self) -> Self {
        match self {
            Comparison::Lt => Comparison::Gt,
            Comparison::Le => Comparison::Ge,
            Comparison::Gt => Comparison::Lt,
            Comparison::Ge => Comparison::Le,
            same => same,
        }
    }

    /// Whether an ordering satisfies the comparison. No ordering (a NaN) satisfies only `!=`.
    pub fn holds(self, ordering: Option<Ordering>) -> bool {
        match self {
            Comparison::Eq => ordering == Some(Ordering::Equal),
            Comparison::Ne => ordering != Some(Ordering::Equal),
            Comparison::Lt => ordering == Some(Ordering::Less),
            Comparison::Le => matches!(ordering, Some(Ordering::Less | Ordering::Equal)),
            Comparison::Gt => ordering == Some(Ordering::Greater),
            Comparison::Ge => matches!(ordering, Some(Ordering::Greater | Ordering::Equal)),
        }
    }
}

/// An integer or a float.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Number {
    Int(i64),
    Float(f64),
}

impl Number {
    /// The nearest float.
    pub fn to_f64(self) -> f64 {
        match self {
            Number::Int(value) => value as f64,
            Number::Float(value) => value,
        }
    }

    /// Compares by numeric value, without rounding either side; none if one is a NaN.
    pub fn compare(self, other: Number) -> Option<Ordering> {
        match (self, other) {
            (Number::Int(a), Number::Int(b)) => Some(a.cmp(&b)),
            (Number::Float(a), Number::Float(b)) => a.partial_cmp(&b),
            (Number::Int(a), Number::Float(b)) => compare_int_float(a, b),
            (Number::Float(a), Number::Int(b)) => compare_int_float(b, a).map(Ordering::reverse),
        }
    }

    /// The integer with exactly this value, if there is one.
    pub fn as_exact_int(self) -> Option<i64> {
        match self {
            Number::Int(value) => Some(value),
            Number::Float(value) => exact_int(value),
        }
    }
}

/// 2^63, the first float beyond all i64.
pub(crate) const TWO_63: f64 = 9_223_372_036_854_775_808.0;

fn exact_int(value: f64) -> Option<i64> {
    (value.trunc() == value && (-TWO_63..TWO_63).contains(&value)).then_some(value as i64)
}

fn compare_int_float(int: i64, float: f64) -> Option<Ordering> {
    if float.is_nan() {
        None
    } else if float >= TWO_63 {
        Some(Ordering::Less)
    } else if float < -TWO_63 {
        Some(Ordering::Greater)
    } else {
        // The whole part fits i64; where it is the integer itself, the fraction decides.
        let whole = float.trunc();
        match int.cmp(&(whole as i64)) {
            Ordering::Equal => 0.0.partial_cmp(&(float - whole)),
            unequal => Some(unequal),
        }
    }
}

/// A binary operator on numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Arithmetic {
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    BitAnd,
    BitOr,
    BitXor,
    ShiftLeft,
    ShiftRight,
}

impl Arithmetic {
    /// The name in messages.
    pub fn name(self) -> &'static str {
        match self {
            Arithmetic::Add => "add",
            Arithmetic::Sub => "subtract",
            Arithmetic::Mul => "multiply",
            Arithmetic::Div => "divide",
            Arithmetic::Mod => "modulo",
            Arithmetic::BitAnd => "&",
            Arithmetic::BitOr => "|",
            Arithmetic::BitXor => "^",
            Arithmetic::ShiftLeft => "<<",
            Arithmetic::ShiftRight => ">>",
        }
    }

    /// Whether the operator is defined on integers only.
    pub fn integers_only(self) -> bool {
        !matches!(self, Arithmetic::Add | Arithmetic::Sub | Arithmetic::Mul | Arithmetic::Div)
    }

    /// On integers: wraps at 64 bits, division truncates; none on division by zero and on a shift outside 0..=63.
    pub fn on_ints(self, a: i64, b: i64) -> Option<i64> {
        let shift = || u32::try_from(b).ok().filter(|bits| *bits < 64);
        Some(match self {
            Arithmetic::Add => a.wrapping_add(b),
            Arithmetic::Sub => a.wrapping_sub(b),
            Arithmetic::Mul => a.wrapping_mul(b),
            Arithmetic::Div if b == 0 => return None,
            Arithmetic::Div => a.wrapping_div(b),
            Arithmetic::Mod if b == 0 => return None,
            Arithmetic::Mod => a.wrapping_rem(b),
            Arithmetic::BitAnd => a & b,
            Arithmetic::BitOr => a | b,
            Arithmetic::BitXor => a ^ b,
            Arithmetic::ShiftLeft => a.wrapping_shl(shift()?),
            Arithmetic::ShiftRight => a.wrapping_shr(shift()?),
        })
    }

    /// On floats: none on division by zero and for operators that are defined on integers only.
    pub fn on_floats(self, a: f64, b: f64) -> Option<f64> {
        match self {
            Arithmetic::Add => Some(a + b),
            Arithmetic::Sub => Some(a - b),
            Arithmetic::Mul => Some(a * b),
            Arithmetic::Div => (b != 0.0).then(|| a / b),
            _ => None,
        }
    }

    /// On two numbers: on integers if both are, else on floats.
    pub fn on_numbers(self, a: Number, b: Number) -> Option<Number> {
        match (a, b) {
            (Number::Int(a), Number::Int(b)) => self.on_ints(a, b).map(Number::Int),
            _ => self.on_floats(a.to_f64(), b.to_f64()).map(Number::Float),
        }
    }
}

/// One arithmetic operation applied to a field's value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Step {
    /// The operator.
    pub operator: Arithmetic,
    /// The other operand.
    pub constant: Number,
    /// Whether the constant stands on the left.
    pub reversed: bool,
}

impl Step {
    /// The result for one value.
    pub fn apply(&self, value: Number) -> Option<Number> {
        if self.reversed {
            self.operator.on_numbers(self.constant, value)
        } else {
            self.operator.on_numbers(value, self.constant)
        }
    }
}
