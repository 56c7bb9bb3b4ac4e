//! Patterns of `like`: `%` stands for any text, `_` for one character, a backslash takes the meaning of what follows.
//!
//! A pattern is cut at its `%` into segments. The first and the last are anchored at the ends of the text; each of the
//! others is taken where it ends earliest, which is never worse than a later place, so nothing is tried twice.
//! A segment without `_` is found by the standard library's linear search, one with `_` by the bit-parallel Shift-And
//! algorithm (Baeza-Yates and Gonnet 1992), which reads each character of the text once.

use std::collections::HashMap;

use redkite_types::limits::VARCHAR_BYTES_MAX;

use crate::error::{Result, mistyped};

/// A compiled pattern.
#[derive(Debug, Clone)]
pub(crate) enum Pattern {
    /// No wildcard.
    Exact(String),
    /// `a%`
    Prefix(String),
    /// `%a`
    Suffix(String),
    /// `%a%`; an empty text for `%`.
    Infix(String),
    /// Anything else with a `%`.
    Segments(Segments),
    /// `_` without `%`.
    Whole(Segment),
}

/// A pattern cut at its `%`.
#[derive(Debug, Clone)]
pub(crate) struct Segments {
    first: Segment,
    middle: Vec<Search>,
    last: Segment,
}

/// A piece of a pattern without `%`.
#[derive(Debug, Clone)]
pub(crate) enum Segment {
    Literal(String),
    /// None stands for any character.
    Wild(Vec<Option<char>>),
}

/// A segment that may be anywhere.
#[derive(Debug, Clone)]
enum Search {
    Literal(String),
    Wild(ShiftAnd),
}

impl Pattern {
    /// Compiles a pattern of at most the length of the longest VarChar.
    pub fn new(pattern: &str) -> Result<Self> {
        if pattern.len() > 2 * VARCHAR_BYTES_MAX {
            return mistyped(format!("like pattern is longer than {} bytes", 2 * VARCHAR_BYTES_MAX));
        }
        let mut segments = cut(pattern);
        let (Some(last), first) = (segments.pop(), if segments.is_empty() { None } else { Some(segments.remove(0)) })
        else {
            return Ok(Pattern::Exact(String::new()));
        };
        let Some(first) = first else {
            return Ok(match last {
                Segment::Literal(text) => Pattern::Exact(text),
                wild => Pattern::Whole(wild),
            });
        };
        // `%%` means no more than `%`.
        segments.retain(|segment| !segment.is_empty());
        Ok(match (first, segments.len(), last) {
            (Segment::Literal(first), 0, last) if last.is_empty() => Pattern::Prefix(first),
            (first, 0, Segment::Literal(last)) if first.is_empty() => Pattern::Suffix(last),
            (first, count, last) => {
                if let (true, 1, Some(Segment::Literal(text))) =
                    (first.is_empty() && last.is_empty(), count, segments.first())
                {
                    return Ok(Pattern::Infix(text.clone()));
                }
                let middle = segments.into_iter().map(Search::new).collect();
                Pattern::Segments(Segments { first, middle, last })
            }
        })
    }

    /// Whether the whole text fits.
    pub fn matches(&self, text: &str) -> bool {
        match self {
            Pattern::Exact(exact) => text == exact,
            Pattern::Prefix(prefix) => text.starts_with(prefix.as_str()),
            Pattern::Suffix(suffix) => text.ends_with(suffix.as_str()),
            Pattern::Infix(infix) => text.contains(infix.as_str()),
            Pattern::Whole(segment) => segment.strip_from_start(text) == Some(""),
            Pattern::Segments(segments) => segments.matches(text),
        }
    }
}

impl Segments {
    fn matches(&self, text: &str) -> bool {
        let rest = self.first.strip_from_start(text).and_then(|rest| self.last.strip_from_end(rest));
        let Some(mut rest) = rest else {
            return false;
        };
        for search in &self.middle {
            match search.end_of_first(rest) {
                Some(end) => rest = &rest[end..],
                None => return false,
            }
        }
        true
    }
}

/// The pieces between the `%`; one more than there are `%`.
fn cut(pattern: &str) -> Vec<Segment> {
    let mut segments = Vec::new();
    let mut current = Vec::new();
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        match c {
            '%' => segments.push(Segment::new(std::mem::take(&mut current))),
            '_' => current.push(None),
            // A backslash at the end stands for itself.
            '\\' => current.push(Some(chars.next().unwrap_or('\\'))),
            c => current.push(Some(c)),
        }
    }
    segments.push(Segment::new(current));
    segments
}

impl Segment {
    fn new(items: Vec<Option<char>>) -> Self {
        match items.iter().copied().collect::<Option<String>>() {
            Some(literal) => Segment::Literal(literal),
            None => Segment::Wild(items),
        }
    }

    fn is_empty(&self) -> bool {
        matches!(self, Segment::Literal(text) if text.is_empty())
    }

    /// What is left of the text behind this segment.
    fn strip_from_start<'t>(&self, text: &'t str) -> Option<&'t str> {
        match self {
            Segment::Literal(literal) => text.strip_prefix(literal.as_str()),
            Segment::Wild(items) => {
                let mut chars = text.chars();
                let fits = items.iter().all(|item| chars.next().is_some_and(|c| item.is_none_or(|item| item == c)));
                fits.then_some(chars.as_str())
            }
        }
    }

    /// What is left of the text before this segment.
    fn strip_from_end<'t>(&self, text: &'t str) -> Option<&'t str> {
        match self {
            Segment::Literal(literal) => text.strip_suffix(literal.as_str()),
            Segment::Wild(items) => {
                let mut chars = text.chars();
                let mut items = items.iter().rev();
                let fits = items.all(|item| chars.next_back().is_some_and(|c| item.is_none_or(|item| item == c)));
                fits.then_some(chars.as_str())
            }
        }
    }
}

impl Search {
    fn new(segment: Segment) -> Self {
        match segment {
            Segment::Literal(text) => Search::Literal(text),
            Segment::Wild(items) => Search::Wild(ShiftAnd::new(&items)),
        }
    }

    /// Where the first match ends, in bytes.
    fn end_of_first(&self, text: &str) -> Option<usize> {
        match self {
            Search::Literal(literal) => text.find(literal.as_str()).map(|start| start + literal.len()),
            Search::Wild(automaton) => automaton.end_of_first(text),
        }
    }
}

/// For each character the positions of the segment it fits; bit 0 of word 0 is the first position.
#[derive(Debug, Clone)]
struct ShiftAnd {
    length: usize,
    masks: HashMap<char, Vec<u64>>,
    /// Of the characters that are not in the segment: they fit `_` only.
    others: Vec<u64>,
}

impl ShiftAnd {
    fn new(items: &[Option<char>]) -> Self {
        let words = items.len().div_ceil(64);
        let mut others = vec![0u64; words];
        for (at, _) in items.iter().enumerate().filter(|(_, item)| item.is_none()) {
            others[at / 64] |= 1 << (at % 64);
        }
        let mut masks: HashMap<char, Vec<u64>> = HashMap::new();
        for (at, item) in items.iter().enumerate() {
            if let Some(c) = item {
                masks.entry(*c).or_insert_with(|| others.clone())[at / 64] |= 1 << (at % 64);
            }
        }
        Self { length: items.len(), masks, others }
    }

    fn end_of_first(&self, text: &str) -> Option<usize> {
        // Bit i: the segment's first i + 1 items fit the characters that end here.
        let mut state = vec![0u64; self.others.len()];
        let last = self.length.checked_sub(1)?;
        for (at, c) in text.char_indices() {
            let mask = self.masks.get(&c).unwrap_or(&self.others);
            let mut carry = 1;
            for (word, mask) in state.iter_mut().zip(mask) {
                let shifted = *word << 1 | carry;
                carry = *word >> 63;
                *word = shifted & mask;
            }
            if state[last / 64] >> (last % 64) & 1 == 1 {
                return Some(at + c.len_utf8());
            }
        }
        None
    }
}

#[cfg(test)]
mod tests;
