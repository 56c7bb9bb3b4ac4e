//! Which rows of a block may be found: one bit a row, read a word at a time.

use std::ops::Range;

use crate::{Block, IndexError};

/// Allowed rows of a block: bit `r % 64` of word `r / 64` allows row `r`. Bits past the last row are ignored.
#[derive(Debug, Clone, Copy)]
pub struct Mask<'a> {
    words: &'a [u64],
    rows: usize,
}

impl<'a> Mask<'a> {
    /// A mask of `rows` rows in exactly as many words as they need.
    pub fn new(words: &'a [u64], rows: usize) -> Result<Self, IndexError> {
        if words.len() != rows.div_ceil(64) {
            return Err(IndexError::MaskLength { words: words.len(), mask_rows: rows, rows });
        }
        Ok(Self { words, rows })
    }

    /// Refuses a block with another number of rows.
    pub(crate) fn check(&self, block: &Block<'_>) -> Result<(), IndexError> {
        if self.rows == block.rows {
            return Ok(());
        }
        Err(IndexError::MaskLength { words: self.words.len(), mask_rows: self.rows, rows: block.rows })
    }
}

/// Walks over the allowed rows of a range, ascending, a bufferful at a time.
pub(crate) struct Allowed<'a> {
    words: Option<&'a [u64]>,
    next: usize,
    end: usize,
}

impl<'a> Allowed<'a> {
    /// The rows of `range` that `mask` allows; all of them without a mask.
    pub(crate) fn new(mask: Option<&Mask<'a>>, range: Range<usize>) -> Self {
        Self { words: mask.map(|mask| mask.words), next: range.start, end: range.end }
    }

    /// Writes the next allowed rows to the front of `ids` and says how many; 0 at the end.
    pub(crate) fn fill(&mut self, ids: &mut [u32]) -> usize {
        let mut count = 0;
        while count < ids.len() {
            let Some(run) = self.run(ids.len() - count) else { break };
            for row in run {
                ids[count] = row as u32;
                count += 1;
            }
        }
        count
    }

    /// The next run of allowed rows, cut to `max` rows.
    fn run(&mut self, max: usize) -> Option<Range<usize>> {
        while self.next < self.end {
            let left = self.end - self.next;
            let (skip, length) = match self.words.and_then(|words| words.get(self.next / 64)) {
                None => (0, left),
                Some(word) => {
                    let rest = word >> (self.next % 64);
                    let skip = (rest.trailing_zeros() as usize).min(64 - self.next % 64);
                    (skip, if skip < 64 { (rest >> skip).trailing_ones() as usize } else { 0 })
                }
            };
            let start = self.next + skip.min(left);
            let stop = start + length.min(self.end - start).min(max);
            self.next = stop;
            if stop > start {
                return Some(start..stop);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests;
