//! How large a filter may be. Each limit is an error with its own message, never a truncation.

/// The limits of one filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Longest text in bytes, the contents of list literals not counted.
    pub text_bytes_max: usize,
    /// Longest text of all list literals together, in bytes: a client writes a delete of 100,000 keys as one list.
    pub list_bytes_max: usize,
    /// Deepest nesting of parentheses, operators and lists.
    pub depth_max: usize,
    /// Most operators, fields and constants, list elements not counted.
    pub nodes_max: usize,
    /// Most elements of all lists together, those of templates included.
    pub list_elements_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            text_bytes_max: 1024 * 1024,
            list_bytes_max: 64 * 1024 * 1024,
            // Parsing, checking and evaluating recurse this deep; 256 levels fit the 2 MiB stack of a worker thread.
            depth_max: 256,
            nodes_max: 65_536,
            list_elements_max: 2_000_000,
        }
    }
}
