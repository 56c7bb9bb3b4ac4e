//! Steps: each announced, timed and counted, and a summary at the end.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::tally::Tally;

/// What has run so far.
#[derive(Debug, Default)]
pub struct Report {
    steps: Vec<Step>,
}

#[derive(Debug)]
struct Step {
    name: String,
    time: Duration,
    tally: Tally,
}

impl Report {
    /// Runs a step that counts its tests; an error is one failure and does not stop the run.
    pub fn suite(&mut self, name: &str, work: impl FnOnce() -> Result<Tally>) {
        self.step(name, || work().map(|tally| ((), tally)));
    }

    /// Runs a step that is one check.
    pub fn check(&mut self, name: &str, work: impl FnOnce() -> Result<()>) {
        self.step(name, || work().map(|()| ((), Tally::PASSED)));
    }

    /// Runs a step that only prepares: it counts as a failure when it fails and not at all otherwise.
    pub fn prepare<T>(&mut self, name: &str, work: impl FnOnce() -> Result<T>) -> Option<T> {
        self.step(name, || work().map(|made| (made, Tally::default())))
    }

    fn step<T>(&mut self, name: &str, work: impl FnOnce() -> Result<(T, Tally)>) -> Option<T> {
        println!("\n==> {name}");
        let start = Instant::now();
        let (made, tally) = match work() {
            Ok((made, tally)) => (Some(made), tally),
            Err(error) => {
                println!("{name} failed: {error:#}");
                (None, Tally::FAILED)
            }
        };
        self.steps.push(Step { name: name.to_owned(), time: start.elapsed(), tally });
        made
    }

    /// Prints a table of the steps and, alone on the last line, the total; success where nothing failed.
    pub fn finish(self) -> ExitCode {
        println!("\n==> summary");
        let mut total = Tally::default();
        for step in &self.steps {
            let Tally { passed, failed } = step.tally;
            let outcome = match (passed, failed) {
                (0, 0) => "done".to_owned(),
                (passed, 0) => format!("{passed} passed"),
                (passed, failed) => format!("{passed} passed, {failed} FAILED"),
            };
            println!("{:>8.1}s  {:<44} {outcome}", step.time.as_secs_f64(), step.name);
            total += step.tally;
        }
        println!("{} passed, {} failed", total.passed, total.failed);
        if total.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}
