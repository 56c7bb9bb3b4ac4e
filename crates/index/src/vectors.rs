//! Borrowed vectors: what they are made of, where they lie, how many there are.
//!
//! All views are bytes underneath, little-endian and of any alignment, so that a memory map, an Arrow buffer and the
//! bytes of a request serve alike without a copy.

use std::fmt;

use redkite_types::DataType;
use redkite_types::limits::{BINARY_DIM_MAX, DIM_MAX};

use crate::IndexError;

/// What a vector is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Element {
    /// 32-bit floating point numbers
    F32,
    /// IEEE 16-bit floating point numbers
    F16,
    /// bfloat16 numbers
    Bf16,
    /// 8-bit signed integers
    I8,
    /// bits, bit 0 being the lowest of byte 0
    Bits,
}

impl Element {
    /// What the vectors of a field are made of; `None` where the field is no vector.
    pub fn of(data_type: DataType) -> Option<Self> {
        match data_type {
            DataType::FloatVector { .. } => Some(Element::F32),
            DataType::Float16Vector { .. } => Some(Element::F16),
            DataType::BFloat16Vector { .. } => Some(Element::Bf16),
            DataType::Int8Vector { .. } => Some(Element::I8),
            DataType::BinaryVector { .. } => Some(Element::Bits),
            _ => None,
        }
    }

    /// Bytes of one vector of `dim` dimensions; refuses dimensions no vector may have.
    pub fn row_bytes(self, dim: usize) -> Result<usize, IndexError> {
        let max = if self == Element::Bits { BINARY_DIM_MAX } else { DIM_MAX };
        if dim == 0 || dim > max || (self == Element::Bits && !dim.is_multiple_of(8)) {
            return Err(IndexError::Dim { element: self, dim, max });
        }
        Ok(match self {
            Element::F32 => dim * 4,
            Element::F16 | Element::Bf16 => dim * 2,
            Element::I8 => dim,
            Element::Bits => dim / 8,
        })
    }

    /// The numbers of one vector. Bits have none and yield their bytes.
    pub(crate) fn numbers(self, row: &[u8]) -> impl Iterator<Item = f32> + '_ {
        let width = match self {
            Element::F32 => 4,
            Element::F16 | Element::Bf16 => 2,
            Element::I8 | Element::Bits => 1,
        };
        row.chunks_exact(width).map(move |bytes| match (self, bytes) {
            (Element::F16, &[a, b]) => half::f16::from_le_bytes([a, b]).to_f32(),
            (Element::Bf16, &[a, b]) => half::bf16::from_le_bytes([a, b]).to_f32(),
            (Element::I8, &[a]) => f32::from(i8::from_le_bytes([a])),
            (Element::Bits, &[a]) => f32::from(a),
            (_, &[a, b, c, d]) => f32::from_le_bytes([a, b, c, d]),
            _ => f32::NAN,
        })
    }
}

impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Element::F32 => "float32",
            Element::F16 => "float16",
            Element::Bf16 => "bfloat16",
            Element::I8 => "int8",
            Element::Bits => "binary",
        })
    }
}

/// Vectors one after the other, `[rows x dim]`, row-major, without gaps.
#[derive(Debug, Clone, Copy)]
pub struct Vectors<'a> {
    pub(crate) element: Element,
    pub(crate) bytes: &'a [u8],
}

impl<'a> Vectors<'a> {
    /// float32 vectors.
    pub fn f32(numbers: &'a [f32]) -> Self {
        Self { element: Element::F32, bytes: bytemuck::cast_slice(numbers) }
    }

    /// float16 vectors.
    pub fn f16(numbers: &'a [half::f16]) -> Self {
        Self { element: Element::F16, bytes: bytemuck::cast_slice(numbers) }
    }

    /// bfloat16 vectors, two bytes a number.
    pub fn bf16(bytes: &'a [u8]) -> Self {
        Self { element: Element::Bf16, bytes }
    }

    /// int8 vectors.
    pub fn i8(numbers: &'a [i8]) -> Self {
        Self { element: Element::I8, bytes: bytemuck::cast_slice(numbers) }
    }

    /// Binary vectors, eight dimensions a byte.
    pub fn bits(bytes: &'a [u8]) -> Self {
        Self { element: Element::Bits, bytes }
    }

    /// Vectors of any kind as they lie in a file or a request: little-endian, of any alignment.
    pub fn from_le_bytes(element: Element, bytes: &'a [u8]) -> Self {
        Self { element, bytes }
    }
}

/// The stored vectors one [`scan`](crate::scan) reads: usually one record batch of a memory-mapped file.
#[derive(Debug, Clone, Copy)]
pub struct Block<'a> {
    pub(crate) vectors: Vectors<'a>,
    pub(crate) dim: usize,
    pub(crate) row_bytes: usize,
    pub(crate) rows: usize,
}

impl<'a> Block<'a> {
    /// Most rows of a block: kernels number the rows of a block with 32 bits.
    pub const ROWS_MAX: usize = u32::MAX as usize;

    /// All of `vectors`, each of `dim` dimensions (bits, for binary vectors).
    pub fn new(vectors: Vectors<'a>, dim: usize) -> Result<Self, IndexError> {
        let row_bytes = vectors.element.row_bytes(dim)?;
        let size_bytes = vectors.bytes.len();
        if !size_bytes.is_multiple_of(row_bytes) {
            return Err(IndexError::BlockLength { size_bytes, row_bytes });
        }
        let rows = size_bytes / row_bytes;
        if rows > Self::ROWS_MAX {
            return Err(IndexError::BlockRows { rows, max: Self::ROWS_MAX });
        }
        Ok(Self { vectors, dim, row_bytes, rows })
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The bytes of one row; empty if there is no such row.
    pub(crate) fn row(&self, row: u32) -> &'a [u8] {
        let start = row as usize * self.row_bytes;
        self.vectors.bytes.get(start..start + self.row_bytes).unwrap_or_default()
    }
}
