//! Which paths are allowed: plain relative ones, good on every store.

use std::collections::HashSet;

use bytes::Bytes;

use crate::{Error, Result};

/// Longest path; the limit of S3.
const PATH_BYTES_MAX: usize = 1024;
/// Longest segment: the limit of common file systems, less room for the suffix of temporary files.
const SEGMENT_BYTES_MAX: usize = 220;

/// Checks that `path` consists of plain segments joined by `/`.
pub(super) fn check(path: &str) -> Result<()> {
    let bad = |reason| Err(Error::InvalidPath { path: path.to_owned(), reason });
    if path.len() > PATH_BYTES_MAX {
        return bad("longer than 1024 bytes");
    }
    for segment in path.split('/') {
        match segment {
            "" => return bad("empty, absolute or with an empty segment"),
            "." | ".." => return bad("with a segment . or .."),
            _ if segment.len() > SEGMENT_BYTES_MAX => return bad("with a segment longer than 220 bytes"),
            _ if segment.chars().any(|c| c.is_control() || c == '\\') => {
                return bad("with a control character or a backslash");
            }
            _ => {}
        }
    }
    Ok(())
}

/// Checks the paths of `files` and that none occurs twice.
pub(super) fn check_distinct(files: &[(String, Bytes)]) -> Result<()> {
    let mut seen = HashSet::with_capacity(files.len());
    for (path, _) in files {
        check(path)?;
        if !seen.insert(path) {
            return Err(Error::misuse(path, "put twice in one call"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_relative_paths() {
        for path in ["a", "a/b", "alice/films.7/data/0001-00ff/v100.arrow", "..a/b..", &"x".repeat(220)] {
            assert_eq!(check(path), Ok(()), "{path:?}");
        }
        let long = "x".repeat(221);
        let longer = "xy/".repeat(400) + "z";
        for path in ["", "/a", "a/", "a//b", ".", "..", "a/../b", "a/./b", "a\0b", "a\nb", "a\\b", &long, &longer] {
            assert!(matches!(check(path), Err(Error::InvalidPath { .. })), "{path:?}");
        }
    }

    #[test]
    fn a_path_twice_is_refused() {
        let file = |path: &str| (path.to_owned(), Bytes::new());
        assert!(check_distinct(&[file("a"), file("b")]).is_ok());
        assert!(check_distinct(&[file("a"), file("a")]).is_err());
    }
}
