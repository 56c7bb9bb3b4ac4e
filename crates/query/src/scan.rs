//! The exact scan of open fragments: select rows, score them, keep the best.

use arrow_array::cast::AsArray;
use arrow_array::types::{Float16Type, Float32Type, Int8Type};
use arrow_array::{Array, ArrayRef};
use redkite_expr::Predicate;
use redkite_index::{Block, Element, Mask, Queries, TopK, Vectors, scan};
use redkite_storage::BATCH_ROWS;
use redkite_table::fragment::FragmentReader;
use redkite_types::FieldId;

use crate::cpu::Awaited;
use crate::{Error, Result, RowId};

/// Words of a row bitmap that one batch takes.
const BATCH_WORDS: usize = BATCH_ROWS / 64;

/// What is searched for, and how.
pub(crate) struct Scan<'a> {
    pub(crate) queries: &'a Queries,
    pub(crate) filter: &'a Predicate,
    pub(crate) vector: FieldId,
    pub(crate) awaited: &'a Awaited,
}

impl Scan<'_> {
    /// Offers every live row of a fragment that satisfies the filter and has a vector.
    pub(crate) fn fragment(&self, place: usize, reader: &FragmentReader, out: &mut [TopK]) -> Result<()> {
        self.awaited.check()?;
        let selected = reader.select(self.filter)?;
        if selected.is_empty() {
            return Ok(());
        }
        let allowed = selected.into_words(reader.rows());
        for batch in 0..reader.batch_count() {
            let rows = reader.batch_rows(batch);
            let words = allowed.as_deref().map(|words| {
                let start = batch * BATCH_WORDS;
                &words[start..words.len().min(start + BATCH_WORDS)]
            });
            if words.is_some_and(|words| words.iter().all(|word| *word == 0)) {
                continue;
            }
            let column = reader.column(self.vector, batch)?;
            let present = present_words(&column, words);
            let words = present.as_deref().or(words);
            let block = Block::new(vectors(&column, self.queries.element())?, self.queries.dim())?;
            let mask = words.map(|words| Mask::new(words, rows.len())).transpose()?;
            self.awaited.check()?;
            scan(self.queries, &block, mask.as_ref(), RowId::new(place, rows.start).0, out)?;
        }
        Ok(())
    }
}

/// The allowed rows that have a vector, if some have none.
fn present_words(column: &ArrayRef, allowed: Option<&[u64]>) -> Option<Vec<u64>> {
    let nulls = column.nulls().filter(|nulls| nulls.null_count() > 0)?;
    let valid = nulls.inner().bit_chunks();
    let mut words: Vec<u64> = valid.iter_padded().take(column.len().div_ceil(64)).collect();
    if let Some(allowed) = allowed {
        words.iter_mut().zip(allowed).for_each(|(word, allowed)| *word &= allowed);
    }
    Some(words)
}

/// The bytes of a vector column, in place.
fn vectors(column: &ArrayRef, element: Element) -> Result<Vectors<'_>> {
    let mismatch = || Error::Internal { detail: format!("a vector column of type {}", column.data_type()) };
    if let Some(binary) = column.as_fixed_size_binary_opt() {
        return Ok(Vectors::from_le_bytes(element, binary.value_data()));
    }
    let list = column.as_fixed_size_list_opt().ok_or_else(mismatch)?;
    let (items, dim) = (list.values(), list.value_length() as usize);
    let range = {
        let start = list.value_offset_at(0);
        start..start + column.len() * dim
    };
    match element {
        Element::F32 => {
            Ok(Vectors::f32(&items.as_primitive_opt::<Float32Type>().ok_or_else(mismatch)?.values()[range]))
        }
        Element::F16 => {
            Ok(Vectors::f16(&items.as_primitive_opt::<Float16Type>().ok_or_else(mismatch)?.values()[range]))
        }
        Element::I8 => Ok(Vectors::i8(&items.as_primitive_opt::<Int8Type>().ok_or_else(mismatch)?.values()[range])),
        Element::Bf16 | Element::Bits => Err(mismatch()),
    }
}
