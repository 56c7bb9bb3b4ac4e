//! Rows as clients read them: an Arrow batch to one `FieldData` per column.
//!
//! Shapes clients rely on: the `data` oneof is set and a vector's `dim` is not zero even where there are no rows; of a
//! nullable column, scalars keep a placeholder per null row and vectors do not, and both carry `valid_data`, one bool
//! a row.

mod dynamic;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type};
use arrow_array::{Array, ArrayRef, ListArray, PrimitiveArray, RecordBatch};
use bytes::Bytes;
use redkite_types::{DataType, ElementType, ErrorKind, Field, Schema};

use super::schema_out::wire_type;
use crate::float_array::FloatArray;
use crate::proto::schema::field_data::Field as Column;
use crate::proto::schema::scalar_field::Data as Scalars;
use crate::proto::schema::vector_field::Data as Vectors;
use crate::proto::schema::{
    ArrayArray, BoolArray, DoubleArray, FieldData, IntArray, JsonArray, LongArray, ScalarField, StringArray,
    VectorField,
};
use crate::status::{WireResult, engine};

/// Which keys of the dynamic field an answer shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DynamicKeys {
    /// All of them, the stored text as it is.
    All,
    /// Only these; a row that has none of them shows `{}`.
    Only(Vec<String>),
}

/// One `FieldData` per column of `batch`, in its order. Every column is a field of `schema`, found by name.
pub fn batch_to_fields(schema: &Schema, batch: &RecordBatch, dynamic: &DynamicKeys) -> WireResult<Vec<FieldData>> {
    let described = batch.schema();
    let columns = described.fields().iter().zip(batch.columns());
    columns
        .map(|(column, array)| {
            let field = schema.field(column.name()).ok_or_else(|| {
                engine(ErrorKind::Internal, format!("the result has a column {} that is no field", column.name()))
            })?;
            column_to_field(field, array, dynamic)
        })
        .collect()
}

/// The column `array` of `field`, whose Arrow type is that of the field.
pub fn column_to_field(field: &Field, array: &ArrayRef, dynamic: &DynamicKeys) -> WireResult<FieldData> {
    let wanted = field.data_type.arrow();
    if *array.data_type() != wanted {
        let what = format!("the result column {} is a {}, not a {wanted}", field.name, array.data_type());
        return Err(engine(ErrorKind::Internal, what));
    }
    let column = match field.data_type.dim() {
        Some(dim) => Column::Vectors(VectorField { dim: dim as i64, data: Some(vectors(field, array)) }),
        None => Column::Scalars(ScalarField { data: Some(scalars(field, array, dynamic)) }),
    };
    let valid_data = match field.nullable {
        true => (0..array.len()).map(|row| array.is_valid(row)).collect(),
        false => Vec::new(),
    };
    let mut data = FieldData {
        field_name: field.name.clone(),
        field_id: field.id.0,
        is_dynamic: field.dynamic,
        valid_data,
        field: Some(column),
        ..FieldData::default()
    };
    data.set_type(wire_type(field.data_type));
    Ok(data)
}

fn scalars(field: &Field, array: &ArrayRef, dynamic: &DynamicKeys) -> Scalars {
    match field.data_type {
        DataType::Json => Scalars::JsonData(JsonArray {
            data: texts(array)
                .map(|text| match dynamic {
                    DynamicKeys::Only(keys) if field.dynamic => Bytes::from(dynamic::only_keys(text, keys)),
                    _ => Bytes::copy_from_slice(text.as_bytes()),
                })
                .collect(),
        }),
        DataType::Array { element, .. } => {
            let lists: &ListArray = array.as_list();
            let list = |row: usize| plain(element.data_type(), &lists.value(row));
            let data = (0..lists.len()).map(|row| ScalarField { data: Some(list(row)) }).collect();
            Scalars::ArrayData(ArrayArray { data, element_type: wire_element(element) })
        }
        other => plain(other, array),
    }
}

/// Values of a type that may also be the element of a list.
fn plain(ty: DataType, array: &ArrayRef) -> Scalars {
    fn widened<T: arrow_array::ArrowPrimitiveType<Native: Into<i32>>>(array: &ArrayRef) -> Scalars {
        let values: &PrimitiveArray<T> = array.as_primitive();
        Scalars::IntData(IntArray { data: values.values().iter().map(|value| (*value).into()).collect() })
    }
    match ty {
        DataType::Bool => Scalars::BoolData(BoolArray { data: array.as_boolean().values().iter().collect() }),
        DataType::Int8 => widened::<Int8Type>(array),
        DataType::Int16 => widened::<Int16Type>(array),
        DataType::Int32 => widened::<Int32Type>(array),
        DataType::Int64 => Scalars::LongData(LongArray { data: array.as_primitive::<Int64Type>().values().to_vec() }),
        DataType::Float => {
            Scalars::FloatData(FloatArray { data: array.as_primitive::<Float32Type>().values().to_vec() })
        }
        DataType::Double => {
            Scalars::DoubleData(DoubleArray { data: array.as_primitive::<Float64Type>().values().to_vec() })
        }
        // Only texts are left: `scalars` took JSON and lists, vectors have their own function.
        _ => Scalars::StringData(StringArray { data: texts(array).map(str::to_owned).collect() }),
    }
}

/// The texts of all rows, empty for null ones.
fn texts(array: &ArrayRef) -> impl Iterator<Item = &str> {
    array.as_string_opt::<i32>().into_iter().flatten().map(Option::unwrap_or_default)
}

fn wire_element(element: ElementType) -> i32 {
    wire_type(element.data_type()).into()
}

fn vectors(field: &Field, array: &ArrayRef) -> Vectors {
    match field.data_type {
        DataType::FloatVector { dim } => {
            let values: &PrimitiveArray<Float32Type> = array.as_fixed_size_list().values().as_primitive();
            Vectors::FloatVector(FloatArray { data: valid_slots(array, values.values(), dim as usize) })
        }
        DataType::Float16Vector { dim } => {
            let values: &PrimitiveArray<Float16Type> = array.as_fixed_size_list().values().as_primitive();
            let halves = valid_slots(array, values.values(), dim as usize);
            Vectors::Float16Vector(halves.iter().flat_map(|half| half.to_le_bytes()).collect())
        }
        DataType::Int8Vector { dim } => {
            let values: &PrimitiveArray<Int8Type> = array.as_fixed_size_list().values().as_primitive();
            let numbers = valid_slots(array, values.values(), dim as usize);
            Vectors::Int8Vector(numbers.iter().map(|number| number.cast_unsigned()).collect())
        }
        DataType::BFloat16Vector { dim } => Vectors::Bfloat16Vector(valid_bytes(array, dim as usize * 2)),
        // `column_to_field` comes here with vectors only.
        _ => Vectors::BinaryVector(valid_bytes(array, field.data_type.vector_bytes().unwrap_or(1))),
    }
}

fn valid_bytes(array: &ArrayRef, width: usize) -> Bytes {
    Bytes::from(valid_slots(array, array.as_fixed_size_binary().value_data(), width))
}

/// The slots of the rows that are not null, one after the other.
fn valid_slots<T: Copy>(array: &ArrayRef, slots: &[T], width: usize) -> Vec<T> {
    // A column of no rows may keep a longer buffer.
    let slots = &slots[..array.len() * width];
    if array.null_count() == 0 {
        return slots.to_vec();
    }
    let mut valid = Vec::with_capacity((array.len() - array.null_count()) * width);
    for (row, slot) in slots.chunks(width).enumerate() {
        if array.is_valid(row) {
            valid.extend_from_slice(slot);
        }
    }
    valid
}
