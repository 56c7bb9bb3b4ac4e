//! Operands: from a field's column to the array of values that a test looks at.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{ArrowPrimitiveType, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type};
use arrow_array::{Array, ArrayRef, BooleanArray, Float64Array, Int64Array, ListArray, StringArray};
use arrow_buffer::{BooleanBuffer, NullBuffer};
use arrow_schema::DataType as ArrowType;
use redkite_types::FieldId;

use super::Evaluation;
use crate::error::{ExprError, Result};
use crate::node::{Access, Operand};
use crate::number::{Arithmetic, Number, Step};

impl Evaluation<'_> {
    /// The operand's value for each row.
    pub(super) fn operand(&mut self, operand: &Operand) -> Result<ArrayRef> {
        let column = self.column(operand.field)?;
        let mut values = match operand.access {
            Access::Whole => column,
            Access::Element(index) => element(as_list(operand.field, &column)?, index, operand.field)?,
            Access::Length => Arc::new(lengths(as_list(operand.field, &column)?)),
        };
        for step in &operand.steps {
            values = apply(operand.field, &values, step)?;
        }
        Ok(values)
    }
}

/// The element at an index of each row; null where the row is null or shorter.
fn element(list: &ListArray, index: usize, field: FieldId) -> Result<ArrayRef> {
    let offsets = list.value_offsets();
    let at = |row: usize| {
        let (start, end) = (offsets.get(row).copied()?, offsets.get(row + 1).copied()?);
        let position = i64::from(start).checked_add(i64::try_from(index).ok()?)?;
        (list.is_valid(row) && position < i64::from(end)).then_some(position)
    };
    let positions: Int64Array = (0..list.len()).map(at).collect();
    arrow_select::take::take(list.values(), &positions, None)
        .map_err(|error| ExprError::ColumnShape { field, message: format!("cannot take array elements: {error}") })
}

fn lengths(list: &ListArray) -> Int64Array {
    let lengths = list.value_offsets().windows(2).map(|pair| i64::from(pair[1]) - i64::from(pair[0]));
    Int64Array::new(lengths.collect::<Vec<_>>().into(), list.nulls().cloned())
}

/// One arithmetic operation on a whole column.
fn apply(field: FieldId, values: &ArrayRef, step: &Step) -> Result<ArrayRef> {
    if let (Some(ints), Number::Int(constant)) = (widen_ints(values), step.constant) {
        return Ok(Arc::new(apply_ints(&ints, step, constant)));
    }
    let floats = widen_floats(values).ok_or_else(|| wrong_type(field, values, "a number"))?;
    Ok(Arc::new(apply_floats(&floats, step)))
}

fn apply_ints(ints: &Int64Array, step: &Step, constant: i64) -> Int64Array {
    let always = |operate: fn(i64, i64) -> i64| ints.unary(|value| operate(value, constant));
    match (step.operator, step.reversed) {
        (Arithmetic::Add, _) => always(i64::wrapping_add),
        (Arithmetic::Sub, false) => always(i64::wrapping_sub),
        (Arithmetic::Mul, _) => always(i64::wrapping_mul),
        (Arithmetic::Div, false) if constant != 0 => always(i64::wrapping_div),
        (Arithmetic::Mod, false) if constant != 0 => always(i64::wrapping_rem),
        (operator, reversed) => {
            ints.unary_opt(
                |value| {
                    if reversed { operator.on_ints(constant, value) } else { operator.on_ints(value, constant) }
                },
            )
        }
    }
}

fn apply_floats(floats: &Float64Array, step: &Step) -> Float64Array {
    let constant = step.constant.to_f64();
    match (step.operator, step.reversed) {
        (Arithmetic::Add, _) => floats.unary(|value| value + constant),
        (Arithmetic::Sub, false) => floats.unary(|value| value - constant),
        (Arithmetic::Mul, _) => floats.unary(|value| value * constant),
        (operator, reversed) => floats.unary_opt(|value| {
            if reversed { operator.on_floats(constant, value) } else { operator.on_floats(value, constant) }
        }),
    }
}

/// Integers of any width as Int64; none if the array holds something else.
pub(super) fn widen_ints(values: &dyn Array) -> Option<Int64Array> {
    fn widen<T: ArrowPrimitiveType<Native: Into<i64>>>(values: &dyn Array) -> Option<Int64Array> {
        Some(values.as_primitive_opt::<T>()?.unary(Into::into))
    }
    match values.data_type() {
        ArrowType::Int8 => widen::<Int8Type>(values),
        ArrowType::Int16 => widen::<Int16Type>(values),
        ArrowType::Int32 => widen::<Int32Type>(values),
        ArrowType::Int64 => values.as_primitive_opt::<Int64Type>().cloned(),
        _ => None,
    }
}

/// Numbers of any type as Float64, integers rounded to the nearest; none if the array holds something else.
pub(super) fn widen_floats(values: &dyn Array) -> Option<Float64Array> {
    match values.data_type() {
        ArrowType::Float32 => Some(values.as_primitive_opt::<Float32Type>()?.unary(f64::from)),
        ArrowType::Float64 => values.as_primitive_opt::<Float64Type>().cloned(),
        _ => Some(widen_ints(values)?.unary(|value| value as f64)),
    }
}

pub(super) fn as_bool(field: FieldId, values: &dyn Array) -> Result<&BooleanArray> {
    values.as_boolean_opt().ok_or_else(|| wrong_type(field, values, "Boolean"))
}

pub(super) fn as_text(field: FieldId, values: &dyn Array) -> Result<&StringArray> {
    values.as_string_opt::<i32>().ok_or_else(|| wrong_type(field, values, "Utf8"))
}

pub(super) fn as_list(field: FieldId, values: &dyn Array) -> Result<&ListArray> {
    values.as_list_opt::<i32>().ok_or_else(|| wrong_type(field, values, "List"))
}

/// The error of a column that is not of the type that the schema names.
pub(super) fn wrong_type(field: FieldId, values: &dyn Array, wanted: &str) -> ExprError {
    ExprError::ColumnShape { field, message: format!("the column is {}, where {wanted} is wanted", values.data_type()) }
}

/// The rows that have a value on both sides.
pub(super) fn both_valid(left: &dyn Array, right: &dyn Array) -> Option<NullBuffer> {
    NullBuffer::union(left.nulls(), right.nulls())
}

/// One bit a text: whether it passes.
pub(super) fn text_bits(texts: &StringArray, passes: impl Fn(&str) -> bool) -> BooleanBuffer {
    BooleanBuffer::collect_bool(texts.len(), |row| passes(texts.value(row)))
}
