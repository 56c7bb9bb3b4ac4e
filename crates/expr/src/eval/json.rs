//! Tests on values inside JSON columns. The kind of a value is known only row by row: one that the test does not speak
//! of is unknown, not false.

use arrow_array::{Array, ArrayRef};
use arrow_buffer::BooleanBuffer;
use redkite_types::FieldId;
use serde_json::Value;

use super::array::Counter;
use super::mask::Mask;
use super::operand::as_text;
use crate::ast::{Contains, PathStep};
use crate::constant::Constant;
use crate::error::Result;
use crate::json_path::PathTree;
use crate::node::{JsonOperand, JsonTest};
use crate::number::{Comparison, Number};
use crate::set::{ConstantSet, ValueRef};

/// A JSON column, parsed as far as the filter's paths reach.
pub(super) struct JsonColumn {
    rows: usize,
    paths: PathTree,
    /// For each path the value of each row.
    values: Vec<Vec<Option<Value>>>,
}

impl JsonColumn {
    pub(super) fn parse(field: FieldId, column: &ArrayRef, paths: PathTree) -> Result<Self> {
        let texts = as_text(field, column)?;
        let rows = texts.len();
        let mut values: Vec<Vec<Option<Value>>> = (0..paths.len()).map(|_| Vec::with_capacity(rows)).collect();
        let mut row = vec![None; paths.len()];
        for text in texts {
            match text {
                Some(text) => paths.extract(text, &mut row),
                None => row.fill(None),
            }
            for (column, value) in values.iter_mut().zip(&mut row) {
                column.push(value.take());
            }
        }
        Ok(Self { rows, paths, values })
    }

    /// The values at a path that the tree has.
    fn at(&self, path: &[PathStep]) -> &[Option<Value>] {
        self.paths.position(path).and_then(|at| self.values.get(at)).map_or(&[], Vec::as_slice)
    }

    /// Rows where the path leads to something other than null.
    pub(super) fn exists(&self, path: &[PathStep]) -> Mask {
        let values = self.at(path);
        let there =
            |row: usize| values.get(row).is_some_and(|value| value.as_ref().is_some_and(|value| !value.is_null()));
        Mask::known(BooleanBuffer::collect_bool(self.rows, there))
    }

    /// Rows whose value passes the test.
    pub(super) fn test(&self, operand: &JsonOperand, test: &JsonTest) -> Mask {
        let values = self.at(&operand.path);
        let mut counter = Counter::new(match test {
            JsonTest::Contains(_, set) => set.len(),
            _ => 0,
        });
        let truth = |row: usize| {
            let value = read(values.get(row)?.as_ref()?, operand)?;
            truth(value, test, &mut counter)
        };
        Mask::collect((0..self.rows).map(truth))
    }
}

/// The operand's value; none where there is none or it has no such property.
fn read<'a>(value: &'a Value, operand: &JsonOperand) -> Option<ValueRef<'a>> {
    let mut value = match value {
        Value::Null => return None,
        Value::Array(elements) if operand.length => ValueRef::Number(Number::Int(i64::try_from(elements.len()).ok()?)),
        _ if operand.length => return None,
        value => ValueRef::from_json(value),
    };
    for step in &operand.steps {
        let ValueRef::Number(number) = value else {
            return None;
        };
        // An operator for integers leaves a float in the data unknown.
        value = ValueRef::Number(step.apply(number)?);
    }
    Some(value)
}

fn truth(value: ValueRef<'_>, test: &JsonTest, counter: &mut Counter) -> Option<bool> {
    match test {
        JsonTest::Compare(comparison, constant) => compare(value, *comparison, constant),
        JsonTest::Range { low, low_inclusive, high, high_inclusive } => {
            let above = if *low_inclusive { Comparison::Ge } else { Comparison::Gt };
            let below = if *high_inclusive { Comparison::Le } else { Comparison::Lt };
            Some(compare(value, above, low)? && compare(value, below, high)?)
        }
        JsonTest::In(set) => match set.position(value) {
            Some(_) => Some(true),
            // As `==` with each member: one of another kind leaves it open.
            None => set.all_of_kind(value).then_some(false),
        },
        JsonTest::Like(pattern) => match value {
            ValueRef::Text(text) => Some(pattern.matches(text)),
            _ => None,
        },
        JsonTest::Contains(function, set) => Some(contains(value, *function, set, counter)),
    }
}

fn compare(value: ValueRef<'_>, comparison: Comparison, constant: &Constant) -> Option<bool> {
    match (value, constant) {
        (ValueRef::Bool(value), Constant::Bool(constant)) => Some(comparison.holds(Some(value.cmp(constant)))),
        (ValueRef::Text(value), Constant::Text(constant)) => Some(comparison.holds(Some(value.cmp(constant)))),
        (ValueRef::Number(value), constant) => Some(comparison.holds(value.compare(constant.as_number()?))),
        (ValueRef::Json(Value::Array(_)), Constant::Array(_)) => Some(value.equals(constant)),
        _ => None,
    }
}

/// A value that is no array contains nothing.
fn contains(value: ValueRef<'_>, function: Contains, set: &ConstantSet, counter: &mut Counter) -> bool {
    let ValueRef::Json(Value::Array(elements)) = value else {
        return false;
    };
    let mut positions = elements.iter().filter_map(|element| set.position(ValueRef::from_json(element)));
    match function {
        Contains::One | Contains::Any => positions.next().is_some(),
        Contains::All => counter.sees_all(positions),
    }
}
