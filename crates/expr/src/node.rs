//! The typed tree: every name resolved, every constant folded into a test on one kind of value.

use redkite_types::FieldId;

use crate::ast::{Contains, PathStep};
use crate::constant::Constant;
use crate::like::Pattern;
use crate::number::{Comparison, Step};
use crate::set::{ConstantSet, FloatSet, IntSet};

/// A condition on a row: true, false or unknown.
#[derive(Debug, Clone)]
pub(crate) enum Node {
    Constant(bool),
    And(Vec<Node>),
    Or(Vec<Node>),
    Not(Box<Node>),
    /// The field has no value. Never unknown.
    IsNull(FieldId),
    /// The path leads to something other than null. Never unknown.
    Exists(FieldId, Vec<PathStep>),
    /// A value of a field passes a test; unknown where there is no value.
    Test(Operand, Test),
    /// Two fields compare.
    Fields(Operand, Comparison, Operand),
    /// A value inside a JSON field passes a test; unknown where there is no value or one of another kind.
    Json(JsonOperand, JsonTest),
}

/// What is read from a field that is not JSON.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Operand {
    pub field: FieldId,
    pub access: Access,
    /// Type of the values after `access`, before `steps`.
    pub base: Base,
    /// Arithmetic, in order; only on numbers.
    pub steps: Vec<Step>,
}

/// Which part of the field's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Whole,
    /// An element of an array; no value where the array is shorter.
    Element(usize),
    /// The number of elements of an array.
    Length,
}

/// The type of an operand's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Base {
    Bool,
    /// Any integer width.
    Int,
    Float32,
    Float64,
    Text,
    /// A whole array.
    Array,
}

impl Operand {
    /// Whether values are the field's own, so that tests on several such operands can be joined.
    pub fn is_plain(&self) -> bool {
        self.access == Access::Whole && self.steps.is_empty()
    }
}

/// A test on a value that is there. The kind agrees with the operand's.
#[derive(Debug, Clone)]
pub(crate) enum Test {
    /// Whether false and true pass.
    Bool([bool; 2]),
    /// Both ends included.
    IntRange {
        low: i64,
        high: i64,
    },
    IntSet(IntSet),
    Float(Comparison, f64),
    FloatRange {
        low: f64,
        low_inclusive: bool,
        high: f64,
        high_inclusive: bool,
    },
    FloatSet(FloatSet),
    Text(Comparison, String),
    TextRange {
        low: String,
        low_inclusive: bool,
        high: String,
        high_inclusive: bool,
    },
    TextSet(std::collections::HashSet<String>),
    Like(Pattern),
    /// A whole array equals the list.
    ArrayEquals(Vec<Constant>),
    /// An array contains elements.
    Contains(Contains, Box<ConstantSet>),
}

/// What is read from a JSON field.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct JsonOperand {
    pub field: FieldId,
    pub path: Vec<PathStep>,
    /// Whether the number of elements is meant, not the value.
    pub length: bool,
    /// Arithmetic, in order; a value that is no number becomes unknown.
    pub steps: Vec<Step>,
}

impl JsonOperand {
    /// Whether the value itself is meant, of whatever kind it is; else it is a number.
    pub fn is_plain(&self) -> bool {
        !self.length && self.steps.is_empty()
    }
}

/// A test on a JSON value.
#[derive(Debug, Clone)]
pub(crate) enum JsonTest {
    /// `!=` is written as the negation of `==`.
    Compare(Comparison, Constant),
    Range {
        low: Constant,
        low_inclusive: bool,
        high: Constant,
        high_inclusive: bool,
    },
    In(Box<ConstantSet>),
    Like(Pattern),
    Contains(Contains, Box<ConstantSet>),
}

impl Node {
    /// The negation; two negations cancel out.
    pub fn negated(self) -> Node {
        match self {
            Node::Constant(value) => Node::Constant(!value),
            Node::Not(inner) => *inner,
            other => Node::Not(Box::new(other)),
        }
    }

    /// Calls `visit` with every field that evaluation reads, in the order of evaluation, repeats included.
    pub fn visit_fields(&self, visit: &mut impl FnMut(FieldId)) {
        match self {
            Node::Constant(_) => {}
            Node::And(operands) | Node::Or(operands) => operands.iter().for_each(|operand| operand.visit_fields(visit)),
            Node::Not(inner) => inner.visit_fields(visit),
            Node::IsNull(field) | Node::Exists(field, _) => visit(*field),
            Node::Test(operand, _) => visit(operand.field),
            Node::Json(operand, _) => visit(operand.field),
            Node::Fields(left, _, right) => {
                visit(left.field);
                visit(right.field);
            }
        }
    }

    /// Calls `visit` with every path into a JSON field, repeats included.
    pub fn visit_paths(&self, visit: &mut impl FnMut(FieldId, &[PathStep])) {
        match self {
            Node::And(operands) | Node::Or(operands) => operands.iter().for_each(|operand| operand.visit_paths(visit)),
            Node::Not(inner) => inner.visit_paths(visit),
            Node::Exists(field, path) => visit(*field, path),
            Node::Json(operand, _) => visit(operand.field, &operand.path),
            Node::Constant(_) | Node::IsNull(_) | Node::Test(..) | Node::Fields(..) => {}
        }
    }
}
