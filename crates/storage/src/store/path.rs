//! Which paths are allowed: plain relative ones, good on every store.

use std::collections::HashSet;

use bytes::Bytes;

use crate::{Error, Result};

/// Longest path; the limit of S3.
const PATH_BYTES_MAX: usize = 1024;
/// Longest segment: the limit of common file systems.
const SEGMENT_BYTES_MAX: usize = 255;
/// Longest last segment: room for the suffix of temporary files is left.
const FILE_NAME_BYTES_MAX: usize = 220;

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
            _ if segment.len() > SEGMENT_BYTES_MAX => return bad("with a segment longer than 255 bytes"),
            _ if segment.chars().any(|c| c.is_control() || c == '\\') => {
                return bad("with a control character or a backslash");
            }
            _ => {}
        }
    }
    if path.rsplit('/').next().is_some_and(|name| name.len() > FILE_NAME_BYTES_MAX) {
        return bad("with a file name longer than 220 bytes");
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
        let name = "x".repeat(220);
        let folder = format!("{}/a", "x".repeat(255));
        for path in ["a", "a/b", "alice/films.7/data/0001-00ff/v100.arrow", "..a/b..", &name, &folder] {
            assert_eq!(check(path), Ok(()), "{path:?}");
        }
        let long = "x".repeat(221);
        let deep = format!("{}/a", "x".repeat(256));
        let longer = "xy/".repeat(400) + "z";
        let odd = ["", "/a", "a/", "a//b", ".", "..", "a/../b", "a/./b", "a\0b", "a\nb", "a\\b"];
        for path in odd.into_iter().chain([long.as_str(), &deep, &longer]) {
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
