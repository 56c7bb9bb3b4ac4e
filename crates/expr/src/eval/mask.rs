//! The outcome of a condition for each row, in three-valued logic.

use arrow_buffer::{BooleanBuffer, Buffer, NullBuffer};

/// Which rows are true, and which are known at all; a row that is known and not true is false.
#[derive(Debug, Clone)]
pub(super) struct Mask {
    /// The true rows; a subset of the known ones.
    pub yes: BooleanBuffer,
    /// None where every row is known.
    known: Option<BooleanBuffer>,
}

impl Mask {
    /// A mask without unknown rows.
    pub fn known(yes: BooleanBuffer) -> Self {
        Self { yes, known: None }
    }

    /// The same for every row.
    pub fn constant(value: bool, rows: usize) -> Self {
        Self::known(if value { BooleanBuffer::new_set(rows) } else { BooleanBuffer::new_unset(rows) })
    }

    /// True where the bit is set and the value is not null, unknown where it is null.
    pub fn new(bits: BooleanBuffer, nulls: Option<&NullBuffer>) -> Self {
        match nulls.filter(|nulls| nulls.null_count() > 0) {
            Some(nulls) => Self { yes: &bits & nulls.inner(), known: Some(nulls.inner().clone()) },
            None => Self::known(bits),
        }
    }

    /// One outcome a row.
    pub fn collect(truths: impl ExactSizeIterator<Item = Option<bool>>) -> Self {
        let rows = truths.len();
        let (mut yes, mut known) = (vec![0u64; rows.div_ceil(64)], vec![0u64; rows.div_ceil(64)]);
        for (row, truth) in truths.enumerate() {
            yes[row / 64] |= u64::from(truth == Some(true)) << (row % 64);
            known[row / 64] |= u64::from(truth.is_some()) << (row % 64);
        }
        let buffer = |words: Vec<u64>| BooleanBuffer::new(Buffer::from_vec(words), 0, rows);
        Self { yes: buffer(yes), known: Some(buffer(known)) }
    }

    /// False where one side is false, true where both are true.
    pub fn and(&self, other: &Mask) -> Mask {
        let known = match (&self.known, &other.known) {
            (None, None) => None,
            _ => {
                // Known if both are, or if one is known to be false.
                let (no, other_no) = (self.no(), other.no());
                let either_no = &no | &other_no;
                Some(&either_no | &(&self.yes & &other.yes))
            }
        };
        Mask { yes: &self.yes & &other.yes, known }
    }

    /// True where one side is true, false where both are false.
    pub fn or(&self, other: &Mask) -> Mask {
        let yes = &self.yes | &other.yes;
        let known = match (&self.known, &other.known) {
            (None, None) => None,
            _ => Some(&yes | &(&self.no() & &other.no())),
        };
        Mask { yes, known }
    }

    /// True and false change places, unknown stays.
    pub fn not(&self) -> Mask {
        Mask { yes: self.no(), known: self.known.clone() }
    }

    fn no(&self) -> BooleanBuffer {
        match &self.known {
            Some(known) => known & &!&self.yes,
            None => !&self.yes,
        }
    }
}

/// One bit a value: whether it passes.
pub(super) fn bits<T: Copy>(values: &[T], passes: impl Fn(T) -> bool) -> BooleanBuffer {
    let mut words = Vec::with_capacity(values.len().div_ceil(64));
    for chunk in values.chunks(64) {
        let mut word = 0u64;
        for (bit, value) in chunk.iter().enumerate() {
            word |= u64::from(passes(*value)) << bit;
        }
        words.push(word);
    }
    BooleanBuffer::new(Buffer::from_vec(words), 0, values.len())
}
