//! Tests on columns that are not JSON: one loop over the values for each type and test.

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type};
use arrow_array::{Array, ArrayRef};
use arrow_buffer::BooleanBuffer;
use arrow_schema::DataType as ArrowType;
use redkite_types::FieldId;

use super::array;
use super::mask::{Mask, bits};
use super::operand::{as_bool, as_list, as_text, both_valid, text_bits, widen_floats, widen_ints, wrong_type};
use crate::error::Result;
use crate::node::Test;
use crate::number::{Comparison, Number};

/// Which values pass the test; unknown where there is none.
pub(super) fn test(field: FieldId, values: &ArrayRef, test: &Test) -> Result<Mask> {
    let passing = match test {
        Test::Bool(accepted) => bool_bits(as_bool(field, values)?.values(), *accepted),
        Test::IntRange { low, high } => int_bits(field, values, |value| *low <= value && value <= *high)?,
        Test::IntSet(set) => int_bits(field, values, |value| set.contains(value))?,
        Test::Float(comparison, bound) => float_comparison(field, values, *comparison, *bound)?,
        Test::FloatRange { low, low_inclusive, high, high_inclusive } => float_bits(field, values, |value| {
            (value > *low || (*low_inclusive && value == *low))
                && (value < *high || (*high_inclusive && value == *high))
        })?,
        Test::FloatSet(set) => float_bits(field, values, |value| set.contains(value))?,
        Test::Text(Comparison::Eq, constant) => text_bits(as_text(field, values)?, |value| value == constant),
        Test::Text(comparison, constant) => {
            text_bits(as_text(field, values)?, |value| comparison.holds(Some(value.cmp(constant))))
        }
        Test::TextRange { low, low_inclusive, high, high_inclusive } => text_bits(as_text(field, values)?, |value| {
            let above = if *low_inclusive { value >= low.as_str() } else { value > low.as_str() };
            above && if *high_inclusive { value <= high.as_str() } else { value < high.as_str() }
        }),
        Test::TextSet(set) => text_bits(as_text(field, values)?, |value| set.contains(value)),
        Test::Like(pattern) => text_bits(as_text(field, values)?, |value| pattern.matches(value)),
        Test::ArrayEquals(elements) => array::equals(field, as_list(field, values)?, elements)?,
        Test::Contains(function, set) => array::contains(field, as_list(field, values)?, *function, set)?,
    };
    Ok(Mask::new(passing, values.nulls()))
}

fn bool_bits(values: &BooleanBuffer, accepted: [bool; 2]) -> BooleanBuffer {
    match accepted {
        [false, false] => BooleanBuffer::new_unset(values.len()),
        [false, true] => values.clone(),
        [true, false] => !values,
        [true, true] => BooleanBuffer::new_set(values.len()),
    }
}

fn int_bits(field: FieldId, values: &dyn Array, passes: impl Fn(i64) -> bool) -> Result<BooleanBuffer> {
    let bits = match values.data_type() {
        ArrowType::Int8 => values.as_primitive_opt::<Int8Type>().map(|a| bits(a.values(), |v| passes(v.into()))),
        ArrowType::Int16 => values.as_primitive_opt::<Int16Type>().map(|a| bits(a.values(), |v| passes(v.into()))),
        ArrowType::Int32 => values.as_primitive_opt::<Int32Type>().map(|a| bits(a.values(), |v| passes(v.into()))),
        ArrowType::Int64 => values.as_primitive_opt::<Int64Type>().map(|a| bits(a.values(), &passes)),
        _ => None,
    };
    bits.ok_or_else(|| wrong_type(field, values, "an integer"))
}

fn float_bits(field: FieldId, values: &dyn Array, passes: impl Fn(f64) -> bool) -> Result<BooleanBuffer> {
    let bits = match values.data_type() {
        ArrowType::Float32 => values.as_primitive_opt::<Float32Type>().map(|a| bits(a.values(), |v| passes(v.into()))),
        ArrowType::Float64 => values.as_primitive_opt::<Float64Type>().map(|a| bits(a.values(), &passes)),
        _ => None,
    };
    bits.ok_or_else(|| wrong_type(field, values, "a float"))
}

/// One loop for each operator, so that the operator is not looked at once a row.
fn float_comparison(field: FieldId, values: &dyn Array, comparison: Comparison, bound: f64) -> Result<BooleanBuffer> {
    match comparison {
        Comparison::Eq => float_bits(field, values, |value| value == bound),
        Comparison::Ne => float_bits(field, values, |value| value != bound),
        Comparison::Lt => float_bits(field, values, |value| value < bound),
        Comparison::Le => float_bits(field, values, |value| value <= bound),
        Comparison::Gt => float_bits(field, values, |value| value > bound),
        Comparison::Ge => float_bits(field, values, |value| value >= bound),
    }
}

/// Two columns against each other, each with the field it was read from.
pub(super) fn compare(
    (left_field, left): (FieldId, &ArrayRef),
    comparison: Comparison,
    (right_field, right): (FieldId, &ArrayRef),
) -> Result<Mask> {
    let rows = left.len();
    let bits = match left.data_type() {
        ArrowType::Boolean => {
            let (left, right) = (as_bool(left_field, left)?, as_bool(right_field, right)?);
            BooleanBuffer::collect_bool(rows, |row| comparison.holds(Some(left.value(row).cmp(&right.value(row)))))
        }
        ArrowType::Utf8 => {
            let (left, right) = (as_text(left_field, left)?, as_text(right_field, right)?);
            BooleanBuffer::collect_bool(rows, |row| comparison.holds(Some(left.value(row).cmp(right.value(row)))))
        }
        _ => match (widen_ints(left), widen_ints(right)) {
            (Some(left), Some(right)) => {
                let (left, right) = (left.values(), right.values());
                BooleanBuffer::collect_bool(rows, |row| comparison.holds(Some(left[row].cmp(&right[row]))))
            }
            _ => {
                let (left, right) = (numbers(left_field, left)?, numbers(right_field, right)?);
                BooleanBuffer::collect_bool(rows, |row| comparison.holds(left(row).compare(right(row))))
            }
        },
    };
    Ok(Mask::new(bits, both_valid(left, right).as_ref()))
}

/// Numbers of any type, by row.
fn numbers(field: FieldId, values: &dyn Array) -> Result<Box<dyn Fn(usize) -> Number>> {
    if let Some(ints) = widen_ints(values) {
        return Ok(Box::new(move |row| Number::Int(ints.value(row))));
    }
    match widen_floats(values) {
        Some(floats) => Ok(Box::new(move |row| Number::Float(floats.value(row)))),
        None => Err(wrong_type(field, values, "a number")),
    }
}
