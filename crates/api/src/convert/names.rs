//! Which names are allowed: letters, digits and underscores, so that a name is safe as a path segment, a metadata key
//! and an identifier of the filter language.

use redkite_types::limits::NAME_BYTES_MAX;

use crate::status::{WireResult, field_name_invalid, invalid_parameter};

/// Words of the filter language, reserved in lower and upper case.
const KEYWORDS: [&str; 26] = [
    "and",
    "array_contains",
    "array_contains_all",
    "array_contains_any",
    "array_length",
    "element_filter",
    "exists",
    "in",
    "interval",
    "is",
    "iso",
    "json_contains",
    "json_contains_all",
    "json_contains_any",
    "like",
    "match_all",
    "match_any",
    "match_exact",
    "match_least",
    "match_most",
    "not",
    "or",
    "phrase_match",
    "random_sample",
    "text_match",
    "text_match_fuzzy",
];
/// Words reserved in exactly these casings.
const EXACT_KEYWORDS: [&str; 6] = ["true", "True", "TRUE", "false", "False", "FALSE"];

/// Checks a collection's name.
pub fn check_collection_name(name: &str) -> WireResult<()> {
    check(name, "collection name")
        .map_err(|reason| invalid_parameter(format!("Invalid collection name: {}. {reason}", shown(name))))
}

/// Checks an index's name; an empty one means "named after the field" and is the caller's business.
pub fn check_index_name(name: &str) -> WireResult<()> {
    check(name, "index name")
        .map_err(|reason| invalid_parameter(format!("Invalid index name: {}. {reason}", shown(name))))
}

/// Checks a field's name, reserved words included.
pub fn check_field_name(name: &str) -> WireResult<()> {
    check(name, "field name")
        .map_err(|reason| field_name_invalid(&shown(name), format!("Invalid field name: {}. {reason}", shown(name))))?;
    if is_keyword(name) {
        let reason = format!("Invalid field name: {name}. it is a keyword of the filter language");
        return Err(field_name_invalid(name, reason));
    }
    Ok(())
}

fn check(name: &str, what: &str) -> Result<(), String> {
    let Some(first) = name.bytes().next() else {
        return Err(format!("{what} should not be empty"));
    };
    if name.len() > NAME_BYTES_MAX {
        return Err(format!("the length of a {what} must be less than {NAME_BYTES_MAX} characters"));
    }
    if !first.is_ascii_alphabetic() && first != b'_' {
        return Err(format!("the first character of a {what} must be an underscore or letter"));
    }
    if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        return Err(format!("{what} can only contain numbers, letters and underscores"));
    }
    Ok(())
}

/// The name as far as an error needs it: control characters escaped, over-long names cut.
fn shown(name: &str) -> String {
    let end = name.floor_char_boundary(NAME_BYTES_MAX);
    let cut = if end < name.len() { "..." } else { "" };
    format!("{}{cut}", name[..end].escape_debug())
}

fn is_keyword(name: &str) -> bool {
    name.eq_ignore_ascii_case("null")
        || EXACT_KEYWORDS.contains(&name)
        || KEYWORDS.iter().any(|word| *word == name || word.to_ascii_uppercase() == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_escape_or_confuse_are_refused() {
        let long = "x".repeat(256);
        let cases = [
            ("", "should not be empty"),
            ("1a", "the first character of a collection name must be an underscore or letter"),
            ("a/b", "collection name can only contain numbers, letters and underscores"),
            ("a.b", "can only contain"),
            ("..", "the first character"),
            ("a\0b", "can only contain"),
            ("a b", "can only contain"),
            ("ä", "the first character"),
            ("$meta", "the first character"),
            (&long, "the length of a collection name must be less than 255 characters"),
        ];
        for (name, text) in cases {
            let error = check_collection_name(name).unwrap_err();
            assert!(error.to_string().contains(text), "{name:?}: {error}");
            assert_eq!(error.code().number(), 1100, "{name:?}");
            assert_eq!(check_field_name(name).unwrap_err().code().number(), 1701, "{name:?}");
            assert!(check_index_name(name).is_err(), "{name:?}");
            assert!(error.to_string().len() < 500 && !error.to_string().contains('\0'));
        }
        for name in ["a", "_", "A_1", "in_", &"x".repeat(255)] {
            assert!(check_collection_name(name).is_ok() && check_field_name(name).is_ok(), "{name}");
        }
    }

    #[test]
    fn keywords_cannot_be_fields_but_collections() {
        for name in ["in", "IN", "like", "True", "NULL", "nUlL", "json_contains_all", "text_match", "exists"] {
            assert_eq!(check_field_name(name).unwrap_err().code().number(), 1701, "{name}");
            assert!(check_collection_name(name).is_ok(), "{name}");
        }
        for name in ["In", "Like", "tRue", "inn"] {
            assert!(check_field_name(name).is_ok(), "{name}");
        }
    }
}
