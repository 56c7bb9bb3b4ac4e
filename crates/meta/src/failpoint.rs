//! Named places where a test can make a step fail; they compile to nothing without the feature `failpoints`.
//!
//! | action | does |
//! |---|---|
//! | `return` | the step ends with an error; what that means for the outcome depends on the place |
//! | `return(abort)` | the process dies there, as by kill -9 |
//! | `panic`, `pause`, ... | as the `fail` crate says |

/// Runs the failpoint called `name`: an error means that the step around it is to fail.
pub(crate) fn step(name: &'static str) -> Result<(), String> {
    fail::fail_point!(name, |action| {
        if action.as_deref() == Some("abort") {
            std::process::abort();
        }
        Err(format!("failpoint {name}"))
    });
    let _ = name;
    Ok(())
}
