//! Tests on whole array fields.

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, BooleanArray, Float64Array, Int64Array, ListArray, StringArray};
use arrow_buffer::BooleanBuffer;
use redkite_types::FieldId;

use super::operand::{widen_floats, widen_ints, wrong_type};
use crate::ast::Contains;
use crate::constant::Constant;
use crate::error::Result;
use crate::number::Number;
use crate::set::{ConstantSet, ValueRef};

/// Which arrays equal the list.
pub(super) fn equals(field: FieldId, list: &ListArray, wanted: &[Constant]) -> Result<BooleanBuffer> {
    let elements = Elements::new(field, list)?;
    Ok(BooleanBuffer::collect_bool(list.len(), |row| {
        let range = elements.of_row(list, row);
        range.len() == wanted.len() && range.zip(wanted).all(|(at, wanted)| elements.at(at).equals(wanted))
    }))
}

/// Which arrays contain all or any of the members.
pub(super) fn contains(
    field: FieldId,
    list: &ListArray,
    function: Contains,
    set: &ConstantSet,
) -> Result<BooleanBuffer> {
    let elements = Elements::new(field, list)?;
    let mut counter = Counter::new(set.len());
    Ok(BooleanBuffer::collect_bool(list.len(), |row| {
        let mut positions = elements.of_row(list, row).filter_map(|at| set.position(elements.at(at)));
        match function {
            Contains::One | Contains::Any => positions.next().is_some(),
            Contains::All => counter.sees_all(positions),
        }
    }))
}

/// Counts distinct members without clearing anything between rows.
pub(super) struct Counter {
    /// The round in which each member was seen last.
    seen: Vec<usize>,
    round: usize,
}

impl Counter {
    pub(super) fn new(members: usize) -> Self {
        Self { seen: vec![0; members], round: 0 }
    }

    /// Whether every member is among the positions.
    pub(super) fn sees_all(&mut self, positions: impl Iterator<Item = usize>) -> bool {
        self.round += 1;
        let mut missing = self.seen.len();
        for position in positions {
            if let Some(seen) = self.seen.get_mut(position).filter(|seen| **seen != self.round) {
                *seen = self.round;
                missing -= 1;
            }
        }
        missing == 0
    }
}

/// The elements of all rows of a list column.
struct Elements {
    values: Typed,
    /// Where the first of them stands in the column's child array.
    start: usize,
}

enum Typed {
    Bool(BooleanArray),
    Int(Int64Array),
    Float(Float64Array),
    Text(StringArray),
}

impl Elements {
    fn new(field: FieldId, list: &ListArray) -> Result<Self> {
        let offsets = list.value_offsets();
        let offset = |at: Option<&i32>| at.and_then(|at| usize::try_from(*at).ok()).unwrap_or_default();
        let (start, end) = (offset(offsets.first()), offset(offsets.last()));
        let values: ArrayRef = list.values().slice(start, end - start);
        let typed = if let Some(values) = values.as_boolean_opt() {
            Typed::Bool(values.clone())
        } else if let Some(values) = values.as_string_opt::<i32>() {
            Typed::Text(values.clone())
        } else if let Some(values) = widen_ints(&values) {
            Typed::Int(values)
        } else if let Some(values) = widen_floats(&values) {
            Typed::Float(values)
        } else {
            return Err(wrong_type(field, list, "a List of scalars"));
        };
        Ok(Self { values: typed, start })
    }

    /// Where the elements of one row stand.
    fn of_row(&self, list: &ListArray, row: usize) -> std::ops::Range<usize> {
        let offsets = list.value_offsets();
        let (start, end) = (offsets[row] as usize, offsets[row + 1] as usize);
        start - self.start..end - self.start
    }

    fn at(&self, at: usize) -> ValueRef<'_> {
        match &self.values {
            Typed::Bool(values) => ValueRef::Bool(values.value(at)),
            Typed::Int(values) => ValueRef::Number(Number::Int(values.value(at))),
            Typed::Float(values) => ValueRef::Number(Number::Float(values.value(at))),
            Typed::Text(values) => ValueRef::Text(values.value(at)),
        }
    }
}
