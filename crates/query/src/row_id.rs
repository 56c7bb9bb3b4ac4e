//! A row of a snapshot.

/// A row's number within one request: the place of its fragment in the request's list, and its row there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowId(pub u64);

impl RowId {
    /// The row `row` of the fragment at `fragment`.
    pub fn new(fragment: usize, row: u32) -> Self {
        Self((fragment as u64) << 32 | u64::from(row))
    }

    /// The place of the fragment.
    pub fn fragment(self) -> usize {
        (self.0 >> 32) as usize
    }

    /// The row in it.
    pub fn row(self) -> u32 {
        self.0 as u32
    }
}
