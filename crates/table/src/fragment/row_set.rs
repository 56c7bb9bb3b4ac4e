//! A set of rows of one fragment, dense or sparse.

use roaring::RoaringBitmap;

/// Rows of one fragment that were selected and are not deleted.
#[derive(Debug, Clone, PartialEq)]
pub enum RowSet {
    /// Every row.
    All {
        /// How many rows the fragment has.
        rows: u32,
    },
    /// A bit a row, row 0 the lowest bit of word 0; no bit beyond the last row is set.
    Dense {
        /// The bits.
        words: Vec<u64>,
        /// How many are set.
        count: u32,
    },
    /// Row numbers, ascending.
    Sparse(Vec<u32>),
}

impl RowSet {
    /// A dense set of the given bits.
    pub fn from_words(words: Vec<u64>) -> Self {
        let count = words.iter().map(|word| word.count_ones()).sum();
        RowSet::Dense { words, count }
    }

    /// How many rows are in it.
    pub fn len(&self) -> usize {
        match self {
            RowSet::All { rows } => *rows as usize,
            RowSet::Dense { count, .. } => *count as usize,
            RowSet::Sparse(rows) => rows.len(),
        }
    }

    /// Whether no row is in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All row numbers, ascending.
    pub fn to_rows(&self) -> Vec<u32> {
        match self {
            RowSet::All { rows } => (0..*rows).collect(),
            RowSet::Dense { words, count } => {
                let mut rows = Vec::with_capacity(*count as usize);
                for (at, &word) in words.iter().enumerate() {
                    let mut word = word;
                    while word != 0 {
                        rows.push(at as u32 * 64 + word.trailing_zeros());
                        word &= word - 1;
                    }
                }
                rows
            }
            RowSet::Sparse(rows) => rows.clone(),
        }
    }

    /// The set as bits over `rows` rows; none if it is every row.
    pub fn into_words(self, rows: u32) -> Option<Vec<u64>> {
        match self {
            RowSet::All { .. } => None,
            RowSet::Dense { words, .. } => Some(words),
            RowSet::Sparse(sparse) => {
                let mut words = vec![0u64; (rows as usize).div_ceil(64)];
                for row in sparse {
                    words[row as usize / 64] |= 1 << (row % 64);
                }
                Some(words)
            }
        }
    }

    /// The set as a roaring bitmap.
    pub fn to_bitmap(&self) -> RoaringBitmap {
        match self {
            RowSet::All { rows } => (0..*rows).collect(),
            RowSet::Dense { .. } | RowSet::Sparse(_) => self.to_rows().into_iter().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_holds_the_same_rows() {
        let rows = vec![0, 5, 63, 64, 130];
        let sparse = RowSet::Sparse(rows.clone());
        let dense = RowSet::from_words(sparse.clone().into_words(131).unwrap());
        assert_eq!((dense.len(), dense.to_rows()), (5, rows.clone()));
        assert_eq!(sparse.to_bitmap(), dense.to_bitmap());
        assert_eq!(RowSet::All { rows: 3 }.to_rows(), [0, 1, 2]);
        assert!(RowSet::from_words(vec![0, 0]).is_empty());
    }
}
