//! Named places where a test can make a step fail; they compile to nothing without the feature `failpoints`.
//!
//! | action | does |
//! |---|---|
//! | `return` | the step ends with an error |
//! | `return(abort)` | the process dies there, as by kill -9 |
//! | `panic`, `pause`, ... | as the `fail` crate says |

use crate::Result;

/// Runs the failpoint called `name`: an error means that the step around it is to fail.
pub(crate) fn step(name: &'static str) -> Result<()> {
    fail::fail_point!(name, |action: Option<String>| {
        if action.as_deref() == Some("abort") {
            std::process::abort();
        }
        Err(redkite_meta::Error::Unavailable(format!("failpoint {name}")).into())
    });
    let _ = name;
    Ok(())
}
