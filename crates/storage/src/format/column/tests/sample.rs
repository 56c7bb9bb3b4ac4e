//! Columns of every type with values that are a function of type, row and seed.

use std::sync::Arc;

use arrow_array::builder::{BooleanBuilder, FixedSizeBinaryBuilder, StringBuilder};
use arrow_array::types::{
    ArrowPrimitiveType, Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
};
use arrow_array::{ArrayRef, FixedSizeListArray, ListArray, PrimitiveArray};
use arrow_buffer::{NullBuffer, OffsetBuffer};
use arrow_schema::DataType as ArrowType;
use redkite_types::{DataType, ElementType, Field, FieldId};

pub(super) fn field(data_type: DataType, nullable: bool) -> Field {
    Field {
        id: FieldId(100),
        name: "column".to_owned(),
        description: String::new(),
        data_type,
        nullable,
        default: None,
        primary_key: false,
        auto_id: false,
        partition_key: false,
        dynamic: false,
        params: Default::default(),
    }
}

pub(super) fn every_type() -> Vec<DataType> {
    let elements = [
        ElementType::Bool,
        ElementType::Int8,
        ElementType::Int64,
        ElementType::Double,
        ElementType::VarChar { max_length: 9 },
    ];
    let mut types = vec![
        DataType::Bool,
        DataType::Int8,
        DataType::Int16,
        DataType::Int32,
        DataType::Int64,
        DataType::Float,
        DataType::Double,
        DataType::VarChar { max_length: 99 },
        DataType::Json,
        DataType::FloatVector { dim: 3 },
        DataType::Float16Vector { dim: 4 },
        DataType::BFloat16Vector { dim: 5 },
        DataType::Int8Vector { dim: 2 },
        DataType::BinaryVector { dim: 24 },
    ];
    types.extend(elements.map(|element| DataType::Array { element, max_capacity: 8 }));
    types
}

pub(super) fn sample(data_type: DataType, rows: usize, nullable: bool, seed: usize) -> ArrayRef {
    let valid = |row: usize| !nullable || !(row + seed).is_multiple_of(3);
    column(&data_type.arrow(), rows, seed, &valid)
}

fn number(row: usize, seed: usize) -> i64 {
    (row as i64 + 1).wrapping_mul(0x9E37_79B9).wrapping_add(seed as i64)
}

fn text(row: usize, seed: usize) -> String {
    "ü".repeat(number(row, seed) as usize % 4) + &number(row, seed).to_string()
}

fn primitive<T: ArrowPrimitiveType>(
    rows: usize,
    valid: &dyn Fn(usize) -> bool,
    value: impl Fn(usize) -> T::Native,
) -> ArrayRef {
    Arc::new(PrimitiveArray::<T>::from_iter((0..rows).map(|row| valid(row).then(|| value(row)))))
}

fn column(data_type: &ArrowType, rows: usize, seed: usize, valid: &dyn Fn(usize) -> bool) -> ArrayRef {
    let value = |row| number(row, seed);
    match data_type {
        ArrowType::Boolean => {
            let mut builder = BooleanBuilder::new();
            (0..rows).for_each(|row| builder.append_option(valid(row).then(|| value(row) % 2 == 0)));
            Arc::new(builder.finish())
        }
        ArrowType::Int8 => primitive::<Int8Type>(rows, valid, |row| value(row) as i8),
        ArrowType::Int16 => primitive::<Int16Type>(rows, valid, |row| value(row) as i16),
        ArrowType::Int32 => primitive::<Int32Type>(rows, valid, |row| value(row) as i32),
        ArrowType::Int64 => primitive::<Int64Type>(rows, valid, value),
        ArrowType::Float16 => primitive::<Float16Type>(rows, valid, |row| half::f16::from_f64(value(row) as f64)),
        ArrowType::Float32 => primitive::<Float32Type>(rows, valid, |row| value(row) as f32 / 7.0),
        ArrowType::Float64 => primitive::<Float64Type>(rows, valid, |row| value(row) as f64 / 7.0),
        ArrowType::Utf8 => {
            let mut builder = StringBuilder::new();
            (0..rows).for_each(|row| builder.append_option(valid(row).then(|| text(row, seed))));
            Arc::new(builder.finish())
        }
        ArrowType::FixedSizeBinary(width) => {
            let mut builder = FixedSizeBinaryBuilder::new(*width);
            for row in 0..rows {
                let bytes: Vec<u8> = (0..*width as usize).map(|at| number(row + at, seed) as u8).collect();
                if valid(row) { builder.append_value(bytes).unwrap() } else { builder.append_null() }
            }
            Arc::new(builder.finish())
        }
        ArrowType::FixedSizeList(item, dim) => {
            // A null row keeps its slot, zero filled; the comparison of arrays ignores what is in it.
            let values = column(item.data_type(), rows * *dim as usize, seed, &|_| true);
            let nulls = NullBuffer::from_iter((0..rows).map(valid));
            let nulls = (nulls.null_count() > 0).then_some(nulls);
            Arc::new(FixedSizeListArray::try_new_with_length(item.clone(), *dim, values, nulls, rows).unwrap())
        }
        ArrowType::List(item) => list(item, rows, seed, valid),
        other => unreachable!("no column has type {other}"),
    }
}

fn list(item: &Arc<arrow_schema::Field>, rows: usize, seed: usize, valid: &dyn Fn(usize) -> bool) -> ArrayRef {
    let lengths: Vec<usize> = (0..rows).map(|row| if valid(row) { row % 4 } else { 0 }).collect();
    let values = column(item.data_type(), lengths.iter().sum(), seed, &|_| true);
    let offsets = OffsetBuffer::from_lengths(lengths);
    let nulls = NullBuffer::from_iter((0..rows).map(valid));
    let nulls = (nulls.null_count() > 0).then_some(nulls);
    Arc::new(ListArray::new(item.clone(), offsets, values, nulls))
}
