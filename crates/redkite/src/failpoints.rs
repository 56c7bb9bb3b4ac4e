//! Failpoints: named places where a test makes the process die or a step fail. Only in binaries built for that.

/// Arms what the variable FAILPOINTS says (`name=action;...`), and says so loudly. A binary without failpoints only
/// warns that they do nothing.
pub fn arm() {
    let Some(wanted) = std::env::var_os("FAILPOINTS").filter(|text| !text.is_empty()) else { return };
    if !fail::has_failpoints() {
        tracing::warn!(?wanted, "FAILPOINTS is set, but this binary was built without failpoints: nothing will fail");
        return;
    }
    // Taking the scenario down disarms them; they stay armed for the life of the process.
    std::mem::forget(fail::FailScenario::setup());
    let armed = fail::list();
    tracing::warn!(?armed, "FAILPOINTS ARE ARMED: this process fails on purpose; never use it for data that matters");
}
