//! What every Rust source file must have and must not have.
//!
//! Must have: a `//!` header on its first line (files of tests may do without). Must not have: the words that mark unfinished
//! work or a test that does not run.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// Written apart so that this file does not find itself.
const FORBIDDEN: [&str; 3] = [concat!("todo", "!("), concat!("unimplemented", "!("), concat!("#[", "ignore")];

/// What is wrong with one file's text.
fn violations(name: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    if !text.starts_with("//!") && !is_test(name) {
        found.push("1: has no //! header saying what the file owns".to_owned());
    }
    for (number, line) in text.lines().enumerate() {
        let words = FORBIDDEN.iter().filter(|word| line.contains(**word));
        found.extend(words.map(|word| format!("{}: {word}", number + 1)));
    }
    found
}

fn is_test(name: &str) -> bool {
    name.ends_with("tests.rs") || name.split('/').any(|folder| matches!(folder, "tests" | "benches" | "examples"))
}

/// What is wrong with the sources under `folders` of `root`, as `path:line: what`.
pub fn check(root: &Path, folders: &[&str]) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for folder in folders {
        for path in rust_files(&root.join(folder))? {
            let text = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
            let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy();
            found.extend(violations(&name, &text).into_iter().map(|what| format!("{name}:{what}")));
        }
    }
    Ok(found)
}

/// All `.rs` files below `folder`, sorted.
fn rust_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let entries = std::fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))?;
    let mut paths = entries.map(|entry| entry.map(|entry| entry.path())).collect::<std::io::Result<Vec<_>>>()?;
    paths.sort();
    for path in paths {
        if path.is_dir() {
            files.extend(rust_files(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::{FORBIDDEN, violations};

    #[test]
    fn headers_and_words() {
        let owned = "//! Owns nothing.\nfn main() {}\n";
        assert_eq!(violations("crates/a/src/lib.rs", owned), Vec::<String>::new());
        assert_eq!(violations("crates/a/src/lib.rs", "fn main() {}").len(), 1);
        assert_eq!(violations("crates/a/src/lib/tests.rs", "fn main() {}"), Vec::<String>::new());
        assert_eq!(violations("crates/a/tests/it/x.rs", "fn main() {}"), Vec::<String>::new());
        for word in FORBIDDEN {
            let found = violations("crates/a/tests/it/x.rs", &format!("//! Header.\nfn f() {{ {word} }}\n"));
            assert_eq!(found, [format!("2: {word}")]);
        }
    }
}
