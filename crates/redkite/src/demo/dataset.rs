//! The data of the demonstration, which is part of the program: glosses of WordNet with their embeddings, and some
//! other texts to search with. `data/README.md` says where they come from.

use anyhow::{Context, Result, ensure};
use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Int64Type};
use arrow_array::{Array, RecordBatch};
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

static GLOSSES: &[u8] = include_bytes!("../../../../data/wordnet-5k.parquet");
static QUERIES: &[u8] = include_bytes!("../../../../data/wordnet-queries.parquet");

/// Rows of the collection, column by column.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Glosses {
    /// The keys.
    pub ids: Vec<i64>,
    /// The words.
    pub lemmas: Vec<String>,
    /// noun, verb, adj or adv.
    pub parts_of_speech: Vec<String>,
    /// What they mean.
    pub glosses: Vec<String>,
    /// `[rows x dim] f32, row-major`: the embeddings of the glosses.
    pub embeddings: Vec<f32>,
    /// Components of an embedding.
    pub dim: usize,
}

/// A text to search with.
#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    /// The text.
    pub text: String,
    /// Its embedding.
    pub embedding: Vec<f32>,
}

/// The rows.
pub fn glosses() -> Result<Glosses> {
    let mut all = Glosses::default();
    for batch in read(GLOSSES).context("the demonstration's data is damaged")? {
        all.ids.extend_from_slice(column(&batch, "id")?.as_primitive::<Int64Type>().values());
        all.lemmas.extend(texts(&batch, "lemma")?);
        all.parts_of_speech.extend(texts(&batch, "pos")?);
        all.glosses.extend(texts(&batch, "gloss")?);
        let (dim, values) = vectors(&batch)?;
        all.dim = dim;
        all.embeddings.extend_from_slice(&values);
    }
    Ok(all)
}

/// The texts to search with.
pub fn queries() -> Result<Vec<Query>> {
    let mut all = Vec::new();
    for batch in read(QUERIES).context("the demonstration's queries are damaged")? {
        let (dim, values) = vectors(&batch)?;
        let embeddings = values.chunks_exact(dim).map(<[f32]>::to_vec);
        all.extend(
            texts(&batch, "text")?.into_iter().zip(embeddings).map(|(text, embedding)| Query { text, embedding }),
        );
    }
    Ok(all)
}

fn read(file: &'static [u8]) -> Result<Vec<RecordBatch>> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(Bytes::from_static(file))?.build()?;
    Ok(reader.collect::<Result<_, _>>()?)
}

fn column<'b>(batch: &'b RecordBatch, name: &str) -> Result<&'b dyn Array> {
    let column = batch.column_by_name(name).with_context(|| format!("column {name} is missing"))?;
    Ok(column.as_ref())
}

fn texts(batch: &RecordBatch, name: &str) -> Result<Vec<String>> {
    let column = column(batch, name)?;
    let column = column.as_string_opt::<i32>().with_context(|| format!("column {name} is no text"))?;
    Ok(column.iter().map(|text| text.unwrap_or_default().to_owned()).collect())
}

fn vectors(batch: &RecordBatch) -> Result<(usize, Vec<f32>)> {
    let column =
        column(batch, "embedding")?.as_fixed_size_list_opt().context("embedding is no list of a fixed size")?;
    let dim = usize::try_from(column.value_length())?;
    let values = column.values().as_primitive_opt::<Float32Type>().context("embedding is not float32")?;
    ensure!(dim > 0 && values.len() == dim * batch.num_rows(), "embedding has another length than its rows");
    Ok((dim, values.values().to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_data_in_the_program_is_whole() {
        let glosses = glosses().unwrap();
        assert_eq!((glosses.ids.len(), glosses.dim), (5000, 384));
        for column in [&glosses.lemmas, &glosses.parts_of_speech, &glosses.glosses] {
            assert_eq!(column.len(), 5000);
            assert!(column.iter().all(|text| !text.is_empty()));
        }
        let first: f32 = glosses.embeddings[..384].iter().map(|x| x * x).sum();
        assert!((first - 1.0).abs() < 1e-2, "embeddings have unit length: {first}");
        let queries = queries().unwrap();
        assert_eq!(queries.len(), 16);
        assert!(queries.iter().all(|query| query.embedding.len() == 384));
    }
}
