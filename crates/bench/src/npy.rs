//! Reads arrays in NumPy's format 1 to 3 (`.npy`): two dimensions, C order, little-endian.
//!
//! The header is a Python dictionary on one line; what is needed of it is cut out by name. Files are not trusted: every
//! length is checked against the file before anything is taken from it.

use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use half::f16;

const MAGIC: &[u8] = b"\x93NUMPY";

/// A matrix, row-major.
#[derive(Debug, Clone, PartialEq)]
pub struct Matrix<T> {
    /// Number of rows.
    pub rows: usize,
    /// Numbers in each.
    pub columns: usize,
    /// `rows x columns` numbers.
    pub values: Vec<T>,
}

impl<T> Matrix<T> {
    /// One row.
    pub fn row(&self, index: usize) -> &[T] {
        &self.values[index * self.columns..][..self.columns]
    }
}

/// Reads a matrix of half-precision numbers.
pub fn read_f16(path: &Path) -> Result<Matrix<f32>> {
    read(path, "<f2", |bytes: [u8; 2]| f16::from_le_bytes(bytes).to_f32())
}

/// Reads a matrix of 32-bit integers.
pub fn read_i32(path: &Path) -> Result<Matrix<i32>> {
    read(path, "<i4", i32::from_le_bytes)
}

fn read<const BYTES: usize, T>(path: &Path, kind: &str, number: impl Fn([u8; BYTES]) -> T) -> Result<Matrix<T>> {
    let bytes = std::fs::read(path).with_context(|| format!("read {}", path.display()))?;
    parse(&bytes, kind, number).with_context(|| format!("{} is not the expected array", path.display()))
}

fn parse<const BYTES: usize, T>(bytes: &[u8], kind: &str, number: impl Fn([u8; BYTES]) -> T) -> Result<Matrix<T>> {
    let (header, data) = split(bytes)?;
    let descr = value(header, "descr")?;
    ensure!(descr.starts_with(&format!("'{kind}'")), "its numbers are {descr:.10}, wanted '{kind}'");
    ensure!(value(header, "fortran_order")?.starts_with("False"), "it is in Fortran order");
    let (rows, columns) = shape(value(header, "shape")?)?;
    let length = rows.checked_mul(columns).and_then(|count| count.checked_mul(BYTES));
    ensure!(length == Some(data.len()), "{rows} x {columns} numbers do not take {} bytes", data.len());
    let (words, _) = data.as_chunks::<BYTES>();
    Ok(Matrix { rows, columns, values: words.iter().map(|word| number(*word)).collect() })
}

/// The header's text and what follows it.
fn split(bytes: &[u8]) -> Result<(&str, &[u8])> {
    let rest = bytes.strip_prefix(MAGIC).context("it is no .npy file")?;
    let (length, rest) = match rest {
        [1, _, low, high, rest @ ..] => (usize::from(u16::from_le_bytes([*low, *high])), rest),
        [2 | 3, _, a, b, c, d, rest @ ..] => (u32::from_le_bytes([*a, *b, *c, *d]) as usize, rest),
        _ => bail!("its version of the .npy format is not known"),
    };
    let (header, data) = rest.split_at_checked(length).context("it is truncated")?;
    Ok((std::str::from_utf8(header).context("its header is no text")?, data))
}

/// What follows `'key':` in the header.
fn value<'h>(header: &'h str, key: &str) -> Result<&'h str> {
    let (_, after) = header.split_once(&format!("'{key}':")).with_context(|| format!("its header has no {key}"))?;
    Ok(after.trim_start())
}

fn shape(text: &str) -> Result<(usize, usize)> {
    let inside = text.strip_prefix('(').and_then(|text| text.split_once(')')).context("its shape is no tuple")?.0;
    let sizes: Vec<&str> = inside.split(',').map(str::trim).filter(|size| !size.is_empty()).collect();
    let [rows, columns] = sizes[..] else { bail!("it has {} dimensions, wanted 2", sizes.len()) };
    Ok((rows.parse().context("its number of rows")?, columns.parse().context("its number of columns")?))
}

#[cfg(test)]
mod tests;
