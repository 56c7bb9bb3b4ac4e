//! The walk over allowed rows against the obvious one.

use proptest::prelude::*;

use super::{Allowed, Mask};
use crate::{Block, IndexError, Vectors};

#[test]
fn the_length_must_fit() {
    let words = [0u64; 2];
    for (rows, fits) in [(64, false), (65, true), (128, true), (129, false), (0, false)] {
        assert_eq!(Mask::new(&words, rows).is_ok(), fits, "{rows} rows");
    }
    assert!(Mask::new(&[], 0).is_ok());
    let rows = [0i8; 100];
    let block = Block::new(Vectors::i8(&rows), 1).unwrap();
    let other = Mask::new(&words, 101).unwrap().check(&block);
    assert_eq!(other, Err(IndexError::MaskLength { words: 2, mask_rows: 101, rows: 100 }));
}

/// Words with long runs of both kinds as well as noise.
fn word() -> impl Strategy<Value = u64> {
    prop_oneof![
        Just(0),
        Just(u64::MAX),
        any::<u64>(),
        (0u32..64, 0u32..64).prop_map(|(a, b)| u64::MAX >> a.max(b) << a.min(b))
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn all_allowed_rows_in_order(
        words in proptest::collection::vec(word(), 0..6),
        masked in any::<bool>(),
        missing in 0usize..64,
        cut in (0.0f64..1.0, 0.0f64..1.0),
        buffer in 1usize..100,
    ) {
        let rows = (words.len() * 64).saturating_sub(missing);
        let mask = Mask::new(&words, rows).unwrap();
        let (a, b) = ((cut.0 * rows as f64) as usize, (cut.1 * rows as f64) as usize);
        let range = a.min(b)..a.max(b);
        let allows = |row: &usize| !masked || words[row / 64] >> (row % 64) & 1 == 1;
        let expected: Vec<u32> = range.clone().filter(allows).map(|row| row as u32).collect();

        let mut allowed = Allowed::new(masked.then_some(&mask), range);
        let (mut found, mut ids) = (Vec::new(), vec![0; buffer]);
        loop {
            let count = allowed.fill(&mut ids);
            found.extend_from_slice(&ids[..count]);
            // Only the last buffer may be short.
            if count < buffer {
                prop_assert_eq!(allowed.fill(&mut ids), 0);
                break;
            }
        }
        prop_assert_eq!(found, expected);
    }
}
