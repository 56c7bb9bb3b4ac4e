//! What was when: the plain model of every revision.

use std::collections::BTreeMap;

use redkite_types::Revision;

use crate::plain::Plain;

/// What a collection holds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Content {
    /// Tells it from others that had its name.
    pub generation: u32,
    /// A property that is altered now and then.
    pub color: Option<String>,
    pub rows: Plain,
}

/// All collections, by name.
pub type State = BTreeMap<&'static str, Content>;

/// The state from one commit to the next.
#[derive(Debug)]
struct Version {
    revision: Revision,
    /// The commit was planned then or later...
    after_ms: u64,
    /// ... but not later than this.
    until_ms: u64,
    state: State,
}

/// The states of all revisions, oldest first.
#[derive(Debug)]
pub struct Chronicle(Vec<Version>);

impl Chronicle {
    /// Nothing at first.
    pub fn new() -> Self {
        Self(vec![Version { revision: Revision::ZERO, after_ms: 0, until_ms: 0, state: State::new() }])
    }

    /// A commit at `revision`, which was planned between `after_ms` and `until_ms`, left `state`.
    pub fn add(&mut self, revision: Revision, after_ms: u64, until_ms: u64, state: State) {
        assert!(self.0.last().is_none_or(|last| last.revision < revision), "{revision} came late");
        self.0.push(Version { revision, after_ms, until_ms, state });
    }

    /// The state now.
    pub fn newest(&self) -> &State {
        &self.0[self.0.len() - 1].state
    }

    /// The state at a revision.
    pub fn at(&self, revision: Revision) -> &State {
        let later = self.0.partition_point(|version| version.revision <= revision);
        &self.0[later - 1].state
    }

    /// The state that was in force at a time; none if it is not known whether one of the commits was planned before it.
    pub fn at_time(&self, time_ms: u64) -> Option<&State> {
        let known = |version: &Version| version.until_ms <= time_ms || time_ms < version.after_ms;
        let before = self.0.iter().rev().find(|version| version.until_ms <= time_ms)?;
        self.0.iter().all(known).then_some(&before.state)
    }
}
