//! The query vectors of a search: the bytes of a `PlaceholderGroup`.

use bytes::Bytes;
use half::{bf16, f16};
use prost::Message;
use redkite_types::limits::NQ_MAX;
use redkite_types::{DataType, Field};

use super::schema_out::wire_type;
use crate::proto::common::{PlaceholderGroup, PlaceholderType, PlaceholderValue};
use crate::status::{WireError, WireResult, invalid_parameter, unsupported};

/// Query vectors, all of one type and length, one after the other.
#[derive(Debug, Clone, PartialEq)]
pub struct QueryVectors {
    /// How many.
    pub count: usize,
    /// Dimensions of each; bits for binary ones.
    pub dim: usize,
    /// The components, `count` x `dim`, row-major.
    pub values: VectorValues,
}

/// Components by type.
#[derive(Debug, Clone, PartialEq)]
pub enum VectorValues {
    /// 32-bit floating point numbers.
    Float(Vec<f32>),
    /// IEEE 16-bit floating point numbers.
    Float16(Vec<f16>),
    /// bfloat16 numbers.
    BFloat16(Vec<bf16>),
    /// 8-bit integers.
    Int8(Vec<i8>),
    /// Bits, eight to a byte.
    Binary(Vec<u8>),
}

/// Reads the vectors to search `field` for. `nq` is the number the request states, 0 if it states none.
pub fn query_vectors(field: &Field, group: Bytes, nq: i64) -> WireResult<QueryVectors> {
    let group = PlaceholderGroup::decode(group).map_err(|error| {
        invalid_parameter(format!("the placeholder group is not a valid protobuf message: {error}"))
    })?;
    let [placeholder] = group.placeholders.as_slice() else {
        let what = format!("a search needs one placeholder, this one has {}", group.placeholders.len());
        return Err(invalid_parameter(what));
    };
    check_type(field, placeholder)?;
    let count = placeholder.values.len();
    if !(1..=NQ_MAX).contains(&count) {
        let what = format!(
            "nq (number of search vector per search request) should be in range [1, {NQ_MAX}], but got {count}"
        );
        return Err(invalid_parameter(what));
    }
    if nq != 0 && usize::try_from(nq) != Ok(count) {
        return Err(invalid_parameter(format!("nq is {nq} and the request holds {count} vectors")));
    }
    let (Some(dim), Some(bytes)) = (field.data_type.dim(), field.data_type.vector_bytes()) else {
        return Err(invalid_parameter(format!("field {} is not a vector field", field.name)));
    };
    if let Some(wrong) = placeholder.values.iter().find(|value| value.len() != bytes) {
        return Err(WireError::SearchDimension { expected_bytes: bytes, actual_bytes: wrong.len() });
    }
    let values = values(field, &placeholder.values)?;
    Ok(QueryVectors { count, dim, values })
}

fn check_type(field: &Field, placeholder: &PlaceholderValue) -> WireResult<()> {
    let sent = PlaceholderType::try_from(placeholder.r#type)
        .map_err(|_| invalid_parameter(format!("placeholder type {} is not known", placeholder.r#type)))?;
    if sent == PlaceholderType::VarChar {
        return Err(unsupported("a search by text (BM25 and embedding functions)"));
    }
    if sent.as_str_name().starts_with("EmbList") || placeholder.element_level {
        return Err(unsupported("a search by lists of vectors (embedding lists)"));
    }
    let wanted = wire_type(field.data_type);
    if !field.data_type.is_vector() {
        return Err(invalid_parameter(format!(
            "field {} is not a vector field, it is a {}",
            field.name,
            wanted.as_str_name()
        )));
    }
    // The numbers of both enums agree for vectors.
    if i32::from(wanted) != placeholder.r#type {
        let what = format!(
            "vector type must be the same, field {} - type {}, search info type {}",
            field.name,
            wanted.as_str_name(),
            sent.as_str_name()
        );
        return Err(invalid_parameter(what));
    }
    Ok(())
}

fn values(field: &Field, vectors: &[Bytes]) -> WireResult<VectorValues> {
    let values = match field.data_type {
        DataType::FloatVector { .. } => {
            VectorValues::Float(numbers::<4, f32>(vectors, f32::from_le_bytes, field, |value| value.is_finite())?)
        }
        DataType::Float16Vector { .. } => {
            VectorValues::Float16(numbers::<2, f16>(vectors, f16::from_le_bytes, field, |value| value.is_finite())?)
        }
        DataType::BFloat16Vector { .. } => {
            VectorValues::BFloat16(numbers::<2, bf16>(vectors, bf16::from_le_bytes, field, |value| value.is_finite())?)
        }
        DataType::Int8Vector { .. } => {
            VectorValues::Int8(numbers::<1, i8>(vectors, i8::from_le_bytes, field, |_| true)?)
        }
        _ => VectorValues::Binary(vectors.concat()),
    };
    Ok(values)
}

fn numbers<const BYTES: usize, T>(
    vectors: &[Bytes],
    read: impl Fn([u8; BYTES]) -> T,
    field: &Field,
    is_finite: impl Fn(&T) -> bool,
) -> WireResult<Vec<T>> {
    let mut all = Vec::with_capacity(vectors.iter().map(|vector| vector.len() / BYTES).sum());
    for (nth, vector) in vectors.iter().enumerate() {
        let start = all.len();
        let (words, _) = vector.as_chunks::<BYTES>();
        all.extend(words.iter().map(|word| read(*word)));
        if !all[start..].iter().all(&is_finite) {
            let what =
                format!("query vector {nth} for field {} holds a value that is not a number or infinity", field.name);
            return Err(invalid_parameter(what));
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests;
