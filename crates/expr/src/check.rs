//! The checker: resolves names against a schema, types every node, folds constants and yields the typed tree.
//!
//! `!=` and `not in` become negations of `==` and `in`, which three-valued logic makes the same thing.

mod arithmetic;
mod compare;
mod logic;
mod membership;
mod path;

use redkite_types::{DataType, Schema};

use crate::ast::{Expr, Kind};
use crate::constant::{Constant, data_type_name};
use crate::error::{ExprError, Result, clip, mistyped};
use crate::fold;
use crate::node::{Access, Base, JsonOperand, Node, Operand};

/// Types a filter; `text` is quoted in messages.
pub(crate) fn check(expr: Expr, schema: &Schema, text: &str) -> Result<Node> {
    let value = Checker { schema }.value(expr)?;
    let data_type = match value {
        Value::Condition(node) => return Ok(*node),
        Value::Constant { value: Constant::Bool(value), .. } => return Ok(Node::Constant(value)),
        other => other.type_name(),
    };
    Err(ExprError::NotBoolean { expr: clip(text), data_type })
}

struct Checker<'a> {
    schema: &'a Schema,
}

/// What a subtree turned out to be. Small, as checking holds several of them on the stack for each level of the tree.
enum Value {
    Constant { value: Constant, from_template: bool },
    Condition(Box<Node>),
    Field(Box<Field>),
    Json(Box<JsonOperand>),
}

/// A value read from a field that is not JSON.
struct Field {
    operand: Operand,
    /// Of the value that is read: of the element for an element, Int64 for a length or integer arithmetic.
    data_type: DataType,
    /// Whether there may be no value.
    nullable: bool,
}

impl Field {
    /// Whether constants are rounded to the column's precision: a user who stored 0.1 finds it with `== 0.1`.
    fn is_float32(&self) -> bool {
        self.operand.base == Base::Float32 && self.operand.steps.is_empty()
    }

    fn is_whole_array(&self) -> bool {
        self.operand.base == Base::Array && self.operand.access == Access::Whole
    }
}

impl Value {
    fn type_name(&self) -> String {
        match self {
            Value::Constant { value, .. } => value.type_name().to_owned(),
            Value::Condition(_) => "Bool".to_owned(),
            Value::Field(field) => data_type_name(field.data_type),
            Value::Json(_) => "JSON".to_owned(),
        }
    }
}

impl From<Node> for Value {
    fn from(node: Node) -> Self {
        Value::Condition(Box::new(node))
    }
}

impl From<Field> for Value {
    fn from(field: Field) -> Self {
        Value::Field(Box::new(field))
    }
}

impl From<JsonOperand> for Value {
    fn from(operand: JsonOperand) -> Self {
        Value::Json(Box::new(operand))
    }
}

impl Checker<'_> {
    /// On the stack once a level of the tree, so each kind of node has a function of its own.
    fn value(&self, expr: Expr) -> Result<Value> {
        match expr.kind {
            Kind::Constant(value) => Ok(Value::Constant { value, from_template: false }),
            Kind::Template(value) => Ok(Value::Constant { value, from_template: true }),
            Kind::Path(path) => self.path(&path),
            Kind::IsNull(path) => self.is_null(&path),
            Kind::Exists(inner) => self.exists(*inner),
            Kind::Negate(inner) => self.negate(*inner),
            Kind::BitNot(inner) => self.bit_not(*inner),
            Kind::Arithmetic(operator, left, right) => self.arithmetic(operator, *left, *right),
            Kind::Power(left, right) => self.power(*left, *right),
            Kind::ArrayLength(inner) => self.array_length(*inner),
            Kind::Not(inner) => self.not(*inner),
            Kind::And(operands) => self.and(operands),
            Kind::Or(operands) => self.or(operands),
            Kind::Compare(comparison, left, right) => self.compare(comparison, *left, *right),
            Kind::Range { low, low_inclusive, middle, high, high_inclusive } => {
                self.range([*low, *middle, *high], low_inclusive, high_inclusive)
            }
            Kind::In { left, list } => self.is_in(*left, *list),
            Kind::Like { left, pattern } => self.like(*left, *pattern),
            Kind::Contains { function, left, elements } => self.contains(function, *left, *elements),
        }
    }

    fn not(&self, inner: Expr) -> Result<Value> {
        let inner = self.value(inner)?;
        negated(inner)
    }
}

fn negated(value: Value) -> Result<Value> {
    match value {
        Value::Condition(node) => Ok(node.negated().into()),
        Value::Constant { value, from_template } => Ok(Value::Constant { value: fold::not(value)?, from_template }),
        other => mistyped(format!(
            "'not' can only be applied on boolean expressions, not to {}; it binds tighter than comparisons and 'in', \
             so write 'not (...)'",
            other.type_name()
        )),
    }
}
