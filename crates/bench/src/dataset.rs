//! What is loaded and searched for: real embeddings from a folder, or generated ones of the same shape.

use std::path::Path;

use anyhow::{Result, ensure};
use half::f16;

use crate::npy::{Matrix, read_f16, read_i32};

const GENERATED_ROWS: usize = 50_000;
const GENERATED_QUERIES: usize = 100;
const GENERATED_DIM: usize = 384;
const GENERATED_NEAREST: usize = 10;
/// What the measurements need: a flush block.
const ROWS_MIN: usize = 10_000;
const SEED: u64 = 20_261_122;

/// Vectors, queries and the true nearest rows by inner product.
#[derive(Debug)]
pub struct Dataset {
    /// Where it came from, for the reader of the figures.
    pub origin: String,
    /// The rows; a row's number is its primary key.
    pub base: Matrix<f32>,
    /// The query vectors.
    pub queries: Matrix<f32>,
    /// Row numbers of the nearest, best first, one line a query.
    pub nearest: Matrix<i32>,
}

impl Dataset {
    /// Reads `folder`, or generates one.
    pub fn open(folder: Option<&Path>) -> Result<Self> {
        let data = match folder {
            Some(folder) => Self::read(folder)?,
            None => Self::generate(GENERATED_ROWS, GENERATED_QUERIES, GENERATED_DIM),
        };
        ensure!(data.base.rows >= ROWS_MIN, "there are {} rows; at least {ROWS_MIN} are needed", data.base.rows);
        ensure!(data.queries.rows > 0, "there are no queries");
        ensure!(data.base.columns == data.queries.columns, "rows and queries differ in their dimension");
        ensure!(data.nearest.rows == data.queries.rows, "there is not one line of nearest rows for each query");
        ensure!(data.nearest.columns >= GENERATED_NEAREST, "there are fewer than {GENERATED_NEAREST} nearest rows");
        Ok(data)
    }

    fn read(folder: &Path) -> Result<Self> {
        let base = read_f16(&folder.join("base.f16.npy"))?;
        let name = folder.file_name().unwrap_or(folder.as_os_str()).to_string_lossy();
        Ok(Self {
            origin: format!("{name}, {} x {} float32 (stored as float16)", base.rows, base.columns),
            queries: read_f16(&folder.join("queries.f16.npy"))?,
            nearest: read_i32(&folder.join("groundtruth.npy"))?,
            base,
        })
    }

    /// Unit vectors in random directions, the same every time.
    fn generate(rows: usize, queries: usize, dim: usize) -> Self {
        let mut random = Random(SEED);
        let base = random.unit_vectors(rows, dim);
        let queries = random.unit_vectors(queries, dim);
        let mut values = Vec::with_capacity(queries.rows * GENERATED_NEAREST);
        for query in 0..queries.rows {
            values.extend(nearest(&base, queries.row(query), GENERATED_NEAREST));
        }
        let nearest = Matrix { rows: queries.rows, columns: GENERATED_NEAREST, values };
        let origin = format!("GENERATED (no --data given), {rows} x {dim} float32 in random directions, seed {SEED}");
        Self { origin, base, queries, nearest }
    }

    /// Bytes of the vectors alone.
    pub fn vector_bytes(&self) -> usize {
        size_of_val(&self.base.values[..])
    }
}

/// The inner product in double precision.
pub fn inner_product(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

fn nearest(base: &Matrix<f32>, query: &[f32], count: usize) -> Vec<i32> {
    let mut scored: Vec<(f64, i32)> = (0i32..)
        .zip(base.values.chunks(base.columns))
        .map(|(row, vector)| (inner_product(vector, query), row))
        .collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    scored.into_iter().take(count).map(|(_, row)| row).collect()
}

/// SplitMix64 (Steele, Lea and Flood 2014): small, and good enough for directions.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Nearly normal: the sum of four uniform numbers.
    fn normal(&mut self) -> f32 {
        let word = self.next();
        let parts = [word, word >> 16, word >> 32, word >> 48].map(|part| (part & 0xffff) as f32 / 65_535.0 - 0.5);
        parts.iter().sum()
    }

    /// Rounded to half precision, as the real ones are.
    fn unit_vectors(&mut self, rows: usize, columns: usize) -> Matrix<f32> {
        let mut values = Vec::with_capacity(rows * columns);
        for _ in 0..rows {
            let vector: Vec<f32> = (0..columns).map(|_| self.normal()).collect();
            let length = inner_product(&vector, &vector).sqrt() as f32;
            values.extend(vector.iter().map(|value| f16::from_f32(value / length).to_f32()));
        }
        Matrix { rows, columns, values }
    }
}

#[cfg(test)]
mod tests;
