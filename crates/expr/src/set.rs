//! Sets of constants, built once and asked once a row: membership costs the same for ten constants and for a million.

use std::collections::{HashMap, HashSet};

use crate::constant::Constant;
use crate::number::Number;

/// Up to this many integers are searched in a sorted list.
const SORTED_MAX: usize = 16;
/// A range of integers becomes a bitmap if it has at most this many bits for each member.
const BITS_PER_MEMBER_MAX: u64 = 64;

/// A set of integers.
#[derive(Debug, Clone)]
pub(crate) struct IntSet {
    /// Sorted, each once.
    members: Vec<i64>,
    lookup: IntLookup,
}

#[derive(Debug, Clone)]
enum IntLookup {
    Sorted,
    Bitmap { least: i64, words: Vec<u64> },
    Hashed(HashSet<i64>),
}

impl IntSet {
    pub fn new(mut members: Vec<i64>) -> Self {
        members.sort_unstable();
        members.dedup();
        let lookup = match (members.first(), members.last()) {
            (Some(least), Some(greatest)) if members.len() > SORTED_MAX => {
                let span = greatest.abs_diff(*least);
                if span / BITS_PER_MEMBER_MAX < members.len() as u64 {
                    let mut words = vec![0u64; (span / 64 + 1) as usize];
                    for member in &members {
                        let bit = member.abs_diff(*least);
                        words[(bit / 64) as usize] |= 1 << (bit % 64);
                    }
                    IntLookup::Bitmap { least: *least, words }
                } else {
                    IntLookup::Hashed(members.iter().copied().collect())
                }
            }
            _ => IntLookup::Sorted,
        };
        Self { members, lookup }
    }

    /// The members, ascending.
    pub fn members(&self) -> &[i64] {
        &self.members
    }

    #[inline]
    pub fn contains(&self, value: i64) -> bool {
        match &self.lookup {
            IntLookup::Sorted => self.members.binary_search(&value).is_ok(),
            IntLookup::Bitmap { least, words } => {
                let bit = value.abs_diff(*least);
                let word = if value < *least { None } else { words.get((bit / 64) as usize) };
                word.is_some_and(|word| word >> (bit % 64) & 1 == 1)
            }
            IntLookup::Hashed(members) => members.contains(&value),
        }
    }
}

/// A set of floats, compared by value: 0.0 and -0.0 are one member, a NaN is none.
#[derive(Debug, Clone)]
pub(crate) struct FloatSet(Vec<f64>);

impl FloatSet {
    pub fn new(members: impl IntoIterator<Item = f64>) -> Self {
        // Adding zero turns -0.0 into 0.0, so that bitwise order is order by value.
        let mut members: Vec<f64> =
            members.into_iter().filter(|value| !value.is_nan()).map(|value| value + 0.0).collect();
        members.sort_unstable_by(f64::total_cmp);
        members.dedup();
        Self(members)
    }

    pub fn contains(&self, value: f64) -> bool {
        let value = value + 0.0;
        self.0.binary_search_by(|member| member.total_cmp(&value)).is_ok()
    }
}

/// A value to be looked up in a [`ConstantSet`].
#[derive(Debug, Clone, Copy)]
pub(crate) enum ValueRef<'a> {
    Bool(bool),
    Number(Number),
    Text(&'a str),
    Json(&'a serde_json::Value),
}

impl<'a> ValueRef<'a> {
    /// A JSON value, seen as what it is.
    pub fn from_json(value: &'a serde_json::Value) -> Self {
        use serde_json::Value;
        match value {
            Value::Bool(value) => ValueRef::Bool(*value),
            Value::String(value) => ValueRef::Text(value),
            Value::Number(_) => json_number(value).map_or(ValueRef::Json(value), ValueRef::Number),
            other => ValueRef::Json(other),
        }
    }

    /// Whether this is the same value as a constant.
    pub fn equals(self, constant: &Constant) -> bool {
        match (self, constant) {
            (ValueRef::Bool(a), Constant::Bool(b)) => a == *b,
            (ValueRef::Text(a), Constant::Text(b)) => a == b,
            (ValueRef::Json(serde_json::Value::Array(values)), Constant::Array(elements)) => {
                values.len() == elements.len()
                    && values.iter().zip(elements).all(|(value, element)| ValueRef::from_json(value).equals(element))
            }
            (ValueRef::Number(a), b) => b.as_number().is_some_and(|b| a.compare(b) == Some(std::cmp::Ordering::Equal)),
            _ => false,
        }
    }
}

/// The number in a JSON value. What exceeds i64 is a float.
pub(crate) fn json_number(value: &serde_json::Value) -> Option<Number> {
    match value.as_i64() {
        Some(int) => Some(Number::Int(int)),
        None => value.as_f64().map(Number::Float),
    }
}

/// A set of constants of any kinds. Numbers that are equal are one member; bools are no numbers.
#[derive(Debug, Clone, Default)]
pub(crate) struct ConstantSet {
    bools: [Option<usize>; 2],
    ints: HashMap<i64, usize>,
    /// Floats that equal no i64, by their bits.
    floats: HashMap<u64, usize>,
    texts: HashMap<String, usize>,
    arrays: Vec<(Constant, usize)>,
    length: usize,
}

impl ConstantSet {
    pub fn new(members: Vec<Constant>) -> Self {
        let mut set = Self::default();
        for member in members {
            set.insert(member);
        }
        set
    }

    fn insert(&mut self, member: Constant) {
        let next = self.length;
        let slot = match member {
            Constant::Bool(value) => self.bools[usize::from(value)].get_or_insert(next),
            Constant::Text(value) => self.texts.entry(value).or_insert(next),
            Constant::Int(value) => self.ints.entry(value).or_insert(next),
            Constant::Float(value) => match Number::Float(value).as_exact_int() {
                Some(int) => self.ints.entry(int).or_insert(next),
                None => self.floats.entry(value.to_bits()).or_insert(next),
            },
            Constant::Array(_) => {
                if self.arrays.iter().any(|(known, _)| crate::fold::equal(known, &member)) {
                    return;
                }
                self.arrays.push((member, next));
                self.length += 1;
                return;
            }
        };
        self.length += usize::from(*slot == next);
    }

    /// Number of distinct members.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Which member equals the value: a number below `len`.
    pub fn position(&self, value: ValueRef<'_>) -> Option<usize> {
        match value {
            ValueRef::Bool(value) => self.bools[usize::from(value)],
            ValueRef::Text(value) => self.texts.get(value).copied(),
            ValueRef::Number(number) => match (number.as_exact_int(), number) {
                (Some(int), _) => self.ints.get(&int).copied(),
                (None, Number::Float(float)) => self.floats.get(&float.to_bits()).copied().filter(|_| !float.is_nan()),
                (None, Number::Int(_)) => None,
            },
            ValueRef::Json(_) => self.arrays.iter().find(|(array, _)| value.equals(array)).map(|(_, at)| *at),
        }
    }

    /// Whether every member could equal a value of this kind, so that a mismatch is a known one.
    pub fn all_of_kind(&self, value: ValueRef<'_>) -> bool {
        let of_kind = match value {
            ValueRef::Bool(_) => self.bools.iter().flatten().count(),
            ValueRef::Text(_) => self.texts.len(),
            ValueRef::Number(_) => self.ints.len() + self.floats.len(),
            ValueRef::Json(serde_json::Value::Array(_)) => self.arrays.len(),
            ValueRef::Json(_) => 0,
        };
        of_kind == self.length
    }
}
