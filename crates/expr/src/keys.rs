//! Which primary keys a condition can be true for, so that rows are looked up instead of scanned.

use redkite_types::{FieldId, Keys};

use crate::node::{Node, Operand, Test};
use crate::number::Comparison;

/// The keys for which the condition holds and no others: it is `pk == c`, `pk in [..]`, or never true.
pub(crate) fn exact(node: &Node, primary_key: FieldId, none: &Keys) -> Option<Keys> {
    match node {
        Node::Constant(false) => Some(none.clone()),
        Node::Test(operand, test) if is_key(operand, primary_key) => of_test(test),
        _ => None,
    }
}

/// Keys outside of which the condition is never true; the fewest that can be told without looking at rows.
pub(crate) fn candidates(node: &Node, primary_key: FieldId, none: &Keys) -> Option<Keys> {
    match node {
        Node::And(operands) => {
            operands.iter().filter_map(|operand| candidates(operand, primary_key, none)).min_by_key(Keys::len)
        }
        Node::Or(operands) => {
            let all: Option<Vec<Keys>> =
                operands.iter().map(|operand| candidates(operand, primary_key, none)).collect();
            all.map(|all| all.into_iter().fold(none.clone(), union))
        }
        other => exact(other, primary_key, none),
    }
}

/// The test that a primary key is one of these.
pub(crate) fn test(keys: Keys) -> Test {
    match keys {
        Keys::Int(keys) => Test::IntSet(crate::set::IntSet::new(keys)),
        Keys::Text(keys) => Test::TextSet(keys.into_iter().collect()),
    }
}

fn is_key(operand: &Operand, primary_key: FieldId) -> bool {
    operand.field == primary_key && operand.is_plain()
}

/// Ascending, each once.
fn of_test(test: &Test) -> Option<Keys> {
    match test {
        Test::IntRange { low, high } if low == high => Some(Keys::Int(vec![*low])),
        Test::IntSet(set) => Some(Keys::Int(set.members().to_vec())),
        Test::Text(Comparison::Eq, text) => Some(Keys::Text(vec![text.clone()])),
        Test::TextSet(texts) => {
            let mut texts: Vec<String> = texts.iter().cloned().collect();
            texts.sort_unstable();
            Some(Keys::Text(texts))
        }
        _ => None,
    }
}

fn union(left: Keys, right: Keys) -> Keys {
    fn merged<T: Ord>(mut left: Vec<T>, right: Vec<T>) -> Vec<T> {
        left.extend(right);
        left.sort_unstable();
        left.dedup();
        left
    }
    match (left, right) {
        (Keys::Int(left), Keys::Int(right)) => Keys::Int(merged(left, right)),
        (Keys::Text(left), Keys::Text(right)) => Keys::Text(merged(left, right)),
        // Tests on one field have one kind of keys.
        (left, _) => left,
    }
}
