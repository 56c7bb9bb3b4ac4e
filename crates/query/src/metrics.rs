//! The counters of this crate.

use metrics::counter;

/// A sub-request on its way to another node. One that is dropped without an answer was abandoned: others were faster, or nobody
/// waits any more.
#[derive(Debug)]
pub(crate) struct Sent(&'static str);

impl Sent {
    pub(crate) fn new() -> Self {
        Self("abandoned")
    }

    pub(crate) fn answered(mut self) {
        self.0 = "answered";
    }

    pub(crate) fn refused(mut self) {
        self.0 = "refused";
    }

    pub(crate) fn failed(mut self) {
        self.0 = "failed";
    }
}

impl Drop for Sent {
    fn drop(&mut self) {
        counter!("redkite_subrequests_total", "outcome" => self.0).increment(1);
    }
}

/// A node took so long that another one was asked, too.
pub(crate) fn hedged() {
    counter!("redkite_subrequests_hedged_total").increment(1);
}

/// A sub-request of another node came in.
pub(crate) fn served() {
    counter!("redkite_subrequests_served_total").increment(1);
}
