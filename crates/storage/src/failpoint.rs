//! Places where a test makes the process die or a step fail. Nothing happens unless the binary is built with
//! `fail/failpoints` and the point is configured:
//!
//! | action | effect |
//! |---|---|
//! | `return` | [`Error::Unavailable`], at an `after` point although the step has happened |
//! | `return(abort)` | the process dies here |
//! | `return(full)` | [`Error::Full`] |
//!
//! | point | where |
//! |---|---|
//! | [`BEFORE_PUT`], [`AFTER_PUT`] | each file put, or created and finished, on any store |
//! | [`BEFORE_FSYNC`], [`AFTER_FSYNC`] | each fsync of a file or directory on a local store |
//! | [`BEFORE_OPEN`] | each file opened |

use crate::{Error, Result};

pub(crate) const BEFORE_PUT: &str = "storage-before-put";
pub(crate) const AFTER_PUT: &str = "storage-after-put";
pub(crate) const BEFORE_FSYNC: &str = "storage-before-fsync";
pub(crate) const AFTER_FSYNC: &str = "storage-after-fsync";
pub(crate) const BEFORE_OPEN: &str = "storage-before-open";

/// Passes the point `name` on the way of `path`.
pub(crate) fn pass(name: &'static str, path: &str) -> Result<()> {
    fail::fail_point!(name, |action: Option<String>| act(action.as_deref(), name, path));
    // Without the feature the macro is empty and these would be unused.
    let _ = (name, path);
    Ok(())
}

#[cfg_attr(not(test), allow(dead_code, reason = "used only with fail/failpoints"))]
fn act(action: Option<&str>, name: &str, path: &str) -> Result<()> {
    let cause = format!("failpoint {name}");
    match action {
        Some("abort") => std::process::abort(),
        Some("full") => Err(Error::Full { path: path.to_owned(), cause }),
        _ => Err(Error::unavailable(path, cause)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_become_errors() {
        let path = "a/b".to_owned();
        let cause = "failpoint p".to_owned();
        let full = Error::Full { path: path.clone(), cause: cause.clone() };
        assert_eq!(act(Some("full"), "p", "a/b"), Err(full));
        assert_eq!(act(None, "p", "a/b"), Err(Error::Unavailable { path, cause }));
    }
}
