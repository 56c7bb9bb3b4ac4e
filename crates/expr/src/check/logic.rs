//! `and` and `or`: flattened, with constants folded and key tests joined into one set.

use std::collections::{HashMap, HashSet};

use redkite_types::FieldId;

use super::{Checker, Value};
use crate::ast::Expr;
use crate::constant::Constant;
use crate::error::{Result, mistyped};
use crate::node::{Node, Operand, Test};
use crate::number::Comparison;
use crate::set::IntSet;

impl Checker<'_> {
    pub(super) fn and(&self, operands: Vec<Expr>) -> Result<Value> {
        self.conditions(operands, "and").map(|nodes| join_and(nodes).into())
    }

    pub(super) fn or(&self, operands: Vec<Expr>) -> Result<Value> {
        self.conditions(operands, "or").map(|nodes| join_or(nodes).into())
    }

    /// All operands are checked before any is dropped: a constant must not hide an error.
    fn conditions(&self, operands: Vec<Expr>, operator: &str) -> Result<Vec<Node>> {
        let mut nodes = Vec::with_capacity(operands.len());
        for operand in operands {
            let value = self.value(operand)?;
            nodes.push(condition(value, operator)?);
        }
        Ok(nodes)
    }
}

fn condition(value: Value, operator: &str) -> Result<Node> {
    match value {
        Value::Condition(node) => Ok(*node),
        Value::Constant { value: Constant::Bool(value), .. } => Ok(Node::Constant(value)),
        other => mistyped(format!(
            "'{operator}' can only be used between boolean expressions, not with {}; compare a bool field with true",
            other.type_name()
        )),
    }
}

fn join_and(operands: Vec<Node>) -> Node {
    let mut nodes = Vec::with_capacity(operands.len());
    for node in operands {
        match node {
            Node::And(inner) => nodes.extend(inner),
            Node::Constant(true) => {}
            Node::Constant(false) => return Node::Constant(false),
            other => nodes.push(other),
        }
    }
    match nodes.len() {
        0 => Node::Constant(true),
        1 => nodes.swap_remove(0),
        _ => Node::And(nodes),
    }
}

fn join_or(operands: Vec<Node>) -> Node {
    let mut nodes = Vec::with_capacity(operands.len());
    for node in operands {
        match node {
            Node::Or(inner) => nodes.extend(inner),
            Node::Constant(false) => {}
            Node::Constant(true) => return Node::Constant(true),
            other => nodes.push(other),
        }
    }
    let mut nodes = join_equalities(nodes);
    match nodes.len() {
        0 => Node::Constant(false),
        1 => nodes.swap_remove(0),
        _ => Node::Or(nodes),
    }
}

/// The values a field is compared with.
#[derive(Default)]
struct Equalities {
    operand: Option<Operand>,
    ints: Vec<i64>,
    texts: HashSet<String>,
}

/// Joins `f == 1 or f in [2, 3]` into `f in [1, 2, 3]`, in the place of the first of them.
fn join_equalities(nodes: Vec<Node>) -> Vec<Node> {
    let mut slots: HashMap<FieldId, usize> = HashMap::new();
    let mut joined: Vec<Equalities> = Vec::new();
    let mut out: Vec<std::result::Result<Node, usize>> = Vec::new();
    for node in nodes {
        let field = match &node {
            Node::Test(operand, Test::IntRange { low, high }) if operand.is_plain() && low == high => operand.field,
            Node::Test(operand, Test::IntSet(_) | Test::TextSet(_)) if operand.is_plain() => operand.field,
            Node::Test(operand, Test::Text(Comparison::Eq, _)) if operand.is_plain() => operand.field,
            _ => {
                out.push(Ok(node));
                continue;
            }
        };
        let slot = *slots.entry(field).or_insert_with(|| {
            joined.push(Equalities::default());
            out.push(Err(joined.len() - 1));
            joined.len() - 1
        });
        if let (Node::Test(operand, test), Some(equalities)) = (node, joined.get_mut(slot)) {
            equalities.operand = Some(operand);
            match test {
                Test::IntRange { low, .. } => equalities.ints.push(low),
                Test::IntSet(set) => equalities.ints.extend_from_slice(set.members()),
                Test::Text(_, text) => equalities.texts.extend([text]),
                Test::TextSet(texts) => equalities.texts.extend(texts),
                _ => {}
            }
        }
    }
    let finish = |slot: usize| {
        let equalities = std::mem::take(joined.get_mut(slot)?);
        let operand = equalities.operand?;
        let is_text = operand.base == crate::node::Base::Text;
        Some(Node::Test(operand, if is_text { text_set(equalities.texts) } else { int_set(equalities.ints) }))
    };
    let mut finish = finish;
    out.into_iter().filter_map(|entry| entry.map_or_else(&mut finish, Some)).collect()
}

/// Membership in a set of integers.
pub(super) fn int_set(members: Vec<i64>) -> Test {
    let set = IntSet::new(members);
    match set.members() {
        [only] => Test::IntRange { low: *only, high: *only },
        _ => Test::IntSet(set),
    }
}

/// Membership in a set of texts.
pub(super) fn text_set(members: HashSet<String>) -> Test {
    match members.len() {
        1 => members
            .into_iter()
            .next()
            .map_or_else(|| Test::TextSet(HashSet::new()), |only| Test::Text(Comparison::Eq, only)),
        _ => Test::TextSet(members),
    }
}
