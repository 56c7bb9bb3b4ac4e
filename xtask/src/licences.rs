//! The licence check: every dependency may be used under a licence that `deny.toml` allows.
//!
//! The list stands in `deny.toml` alone, where `cargo deny` reads it too for those who have it.

use anyhow::{Context as _, Result};
use serde_json::Value;

/// The licences allowed by the text of `deny.toml`.
pub fn allowed(deny_toml: &str) -> Result<Vec<String>> {
    let start = deny_toml.find("\nallow = [").context("deny.toml has no line `allow = [`")?;
    let list = deny_toml[start..].split_once('[').and_then(|(_, rest)| rest.split_once(']'));
    let (list, _) = list.context("deny.toml: the list `allow` has no end")?;
    // Every second piece between quotes is a name.
    Ok(list.split('"').skip(1).step_by(2).map(str::to_owned).collect())
}

/// The packages of this full `cargo metadata` that no allowed licence covers.
pub fn violations(metadata: &Value, allowed: &[String]) -> Vec<String> {
    let packages = metadata["packages"].as_array().map_or(&[][..], Vec::as_slice);
    let mut found = Vec::new();
    for package in packages {
        let licence = package["license"].as_str().unwrap_or("none named");
        if !is_allowed(licence, allowed) {
            let (name, version) = (package["name"].as_str(), package["version"].as_str());
            found.push(format!("{} {}: licence {licence}", name.unwrap_or("?"), version.unwrap_or("?")));
        }
    }
    found
}

/// Evaluates an SPDX expression (OR, AND, parentheses; WITH belongs to its licence; `/` is the old way to write OR).
fn is_allowed(expression: &str, allowed: &[String]) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let mut words = spaced.split_whitespace().peekable();
    any_of(&mut words, allowed) && words.next().is_none()
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

fn any_of(words: &mut Words<'_>, allowed: &[String]) -> bool {
    let mut result = all_of(words, allowed);
    while words.next_if_eq(&"OR").is_some() {
        // Not short-circuited: the words have to be read in any case.
        result |= all_of(words, allowed);
    }
    result
}

fn all_of(words: &mut Words<'_>, allowed: &[String]) -> bool {
    let mut result = one(words, allowed);
    while words.next_if_eq(&"AND").is_some() {
        result &= one(words, allowed);
    }
    result
}

fn one(words: &mut Words<'_>, allowed: &[String]) -> bool {
    if words.next_if_eq(&"(").is_some() {
        let result = any_of(words, allowed);
        return words.next() == Some(")") && result;
    }
    let mut name = words.next().unwrap_or_default().to_owned();
    if words.next_if_eq(&"WITH").is_some() {
        name = format!("{name} WITH {}", words.next().unwrap_or_default());
    }
    // "MPL-2.0+": or any later version.
    let name = name.strip_suffix('+').unwrap_or(&name);
    allowed.iter().any(|known| known == name)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{allowed, is_allowed, violations};

    fn list() -> Vec<String> {
        ["MIT", "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "MPL-2.0"].map(str::to_owned).to_vec()
    }

    #[test]
    fn expressions_are_evaluated() {
        for (expression, want) in [
            ("MIT", true),
            ("GPL-3.0", false),
            ("GPL-3.0 OR MIT", true),
            ("MIT/GPL-3.0", true),
            ("GPL-3.0 / MIT", true),
            ("MIT AND GPL-3.0", false),
            ("MIT AND Apache-2.0", true),
            ("(GPL-3.0 OR MIT) AND Apache-2.0", true),
            ("GPL-3.0 AND (MIT OR Apache-2.0)", false),
            ("GPL-3.0 OR MIT AND GPL-2.0", false),
            ("Apache-2.0 WITH LLVM-exception", true),
            ("GPL-2.0 WITH Classpath-exception-2.0", false),
            ("MPL-2.0+", true),
            ("(MIT", false),
            ("MIT)", false),
            ("", false),
        ] {
            assert_eq!(is_allowed(expression, &list()), want, "{expression:?}");
        }
    }

    #[test]
    fn packages_without_an_allowed_licence_are_named() {
        let metadata = json!({"packages": [
            {"name": "good", "version": "1.0.0", "license": "MIT"},
            {"name": "bad", "version": "2.0.0", "license": "GPL-3.0"},
            {"name": "silent", "version": "3.0.0", "license": null},
        ]});
        let found = violations(&metadata, &list());
        assert_eq!(found, ["bad 2.0.0: licence GPL-3.0", "silent 3.0.0: licence none named"]);
    }

    #[test]
    fn the_list_is_read_from_deny_toml() {
        let text = "[licenses]\n# why\nallow = [\n  \"MIT\", # ours\n  \"ISC\",\n]\n";
        assert_eq!(allowed(text).unwrap(), ["MIT", "ISC"]);
        assert!(allowed("[licenses]").is_err());
    }
}
