//! The least and greatest key of a file.

use redkite_types::Key;
use serde::{Deserialize, Serialize};

/// Bounds on the keys of a file, both inclusive; kept in its metadata entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRange {
    /// No key is less.
    pub min: Key,
    /// No key is greater.
    pub max: Key,
}

impl KeyRange {
    /// Whether `key` can be in the file.
    pub fn contains(&self, key: &Key) -> bool {
        self.min <= *key && *key <= self.max
    }

    /// The same or wider bounds whose texts have about `bytes_max` bytes at most, so that a metadata entry stays small.
    pub fn shortened(self, bytes_max: usize) -> KeyRange {
        let min = match self.min {
            Key::Text(text) => Key::Text(prefix(&text, bytes_max).to_owned()),
            key => key,
        };
        let max = match self.max {
            Key::Text(text) if text.len() > bytes_max => Key::Text(successor(prefix(&text, bytes_max)).unwrap_or(text)),
            key => key,
        };
        KeyRange { min, max }
    }
}

fn prefix(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}

/// The least text greater than all that start with `prefix`; none if there is no such text.
fn successor(prefix: &str) -> Option<String> {
    let mut text = prefix.to_owned();
    while let Some(last) = text.pop() {
        // Stepping a char range skips the surrogates.
        if let Some(next) = (last..=char::MAX).nth(1) {
            text.push(next);
            return Some(text);
        }
    }
    None
}
