//! Whether this process can be sent requests.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use redkite_query::{Holdings, Standing};
use redkite_table::Visibility;

use crate::engine::Engine;

/// How long metadata and object store together may take to answer a probe.
const PROBE_TIMEOUT: Duration = Duration::from_secs(3);

/// Set to ready once, and to stopping once.
#[derive(Debug, Default)]
pub struct Readiness {
    serving: AtomicBool,
    stopping: AtomicBool,
}

impl Readiness {
    /// Requests are served from now on.
    pub fn serving(&self) {
        self.serving.store(true, Ordering::Release);
    }

    /// No new requests are taken from now on.
    pub fn stopping(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    /// What stands in the way of serving, if anything does.
    pub async fn check(&self, engine: &Engine, holdings: Option<&Holdings>) -> Result<(), String> {
        self.state()?;
        if let Some(Standing { warm: false, pending, fragments, .. }) = holdings.map(Holdings::standing) {
            return Err(format!(
                "the node fetches its share of the data: {fragments} fragments are here, {pending} are to come"
            ));
        }
        match tokio::time::timeout(PROBE_TIMEOUT, probe(engine)).await {
            Ok(result) => result,
            Err(_) => Err(format!("metadata or object store did not answer within {} s", PROBE_TIMEOUT.as_secs())),
        }
    }

    fn state(&self) -> Result<(), String> {
        if self.stopping.load(Ordering::Acquire) {
            return Err("the process is shutting down".to_owned());
        }
        if !self.serving.load(Ordering::Acquire) {
            return Err("the process is starting".to_owned());
        }
        Ok(())
    }
}

async fn probe(engine: &Engine) -> Result<(), String> {
    // As every request reads it: so a node whose metadata was put back or restored under it is not ready.
    let read = engine.ingest.database().snapshot(Visibility::Strong).await;
    read.map_err(|error| format!("metadata: {error}"))?;
    engine.data.probe().await.map_err(|error| format!("object store: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_serving_process_is_ready_and_a_stopping_one_never_again() {
        let readiness = Readiness::default();
        assert!(readiness.state().unwrap_err().contains("starting"));
        readiness.serving();
        assert_eq!(readiness.state(), Ok(()));
        readiness.stopping();
        assert!(readiness.state().unwrap_err().contains("shutting down"));
        readiness.serving();
        assert!(readiness.state().is_err());
    }
}
