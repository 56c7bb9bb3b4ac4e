//! Where the rows of merged fragments went.

use roaring::RoaringBitmap;

use crate::{Error, Result};

/// For one input of a merge: which of its rows were taken over, and where the first of them is in the new fragment.
#[derive(Debug, Clone)]
pub(super) struct Taken {
    /// Rows that were deleted when the merge read them, and were left out.
    pub(super) left_out: RoaringBitmap,
    /// Offset of its first row in the new fragment.
    pub(super) base: u64,
}

impl Taken {
    /// Offsets in the new fragment of rows deleted since; `deleted` is the whole set now.
    pub(super) fn moved(&self, deleted: &RoaringBitmap) -> Result<RoaringBitmap> {
        if !self.left_out.is_subset(deleted) {
            return Err(Error::Internal { detail: "rows deleted before a merge are not deleted any more".into() });
        }
        let mut moved = RoaringBitmap::new();
        for row in deleted - &self.left_out {
            // Rows before it, less those of them that were left out; it is none of these itself.
            let place = self.base + u64::from(row) - self.left_out.rank(row);
            let place = u32::try_from(place)
                .map_err(|_| Error::Internal { detail: format!("row {place} of a fragment is out of range") })?;
            moved.insert(place);
        }
        Ok(moved)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_found_where_they_went() {
        let left_out: RoaringBitmap = [1, 2, 7].into_iter().collect();
        let taken = Taken { left_out: left_out.clone(), base: 100 };
        // Rows 0 3 4 5 6 8 went to 100 101 102 103 104 105.
        let mut deleted = left_out.clone();
        assert!(taken.moved(&deleted).unwrap().is_empty());
        deleted.extend([0, 3, 8]);
        assert_eq!(taken.moved(&deleted).unwrap().iter().collect::<Vec<_>>(), [100, 101, 105]);
        deleted.remove(7);
        assert!(taken.moved(&deleted).is_err());
    }
}
