//! Creating, changing and dropping collections. Takes effect at once, without a flush (S11).
//!
//! Every change here is planned as a pure function of a catalog and published by the one commit path; when it loses a
//! race it is planned again. Changes of one node go one after the other, and each begins by settling the one before if its
//! outcome is open: neither a plan nor its answer rests on what may still change behind it.

mod collections;
mod indexes;
mod records;

pub use collections::NewCollection;

use redkite_types::{CommitId, Revision};

use crate::change::Change;
use crate::commit::{Commit, CommitResult};
use crate::{Catalog, Database, Error, Result, Visibility};

/// How often a change is planned again before it gives up.
const TRIES: u32 = 32;

/// What a planner decided.
enum Plan<T> {
    /// All is as it should be.
    Done(T),
    /// Publish what was put into the change; the answer is `T` then.
    Change(T),
}

/// Plans on the newest catalog and publishes, until it wins. The answer comes with the revision that holds it.
async fn change<T>(
    database: &Database,
    what: &str,
    plan: impl Fn(&Catalog, &mut Change<'_>) -> Result<Plan<T>>,
) -> Result<(T, Revision)> {
    let mut turn = database.committer.change_turn().await?;
    let mut catalog = database.snapshot(Visibility::Strong).await?;
    // The store's revision when the last try lost; it counts changes of other users, too, so the catalog may never reach
    // it, but an id may tell it: then a floor that was raised meanwhile is below.
    let mut seen = Revision::ZERO;
    for _ in 0..TRIES {
        let id: CommitId = database.commit_id(catalog.revision.max(seen));
        let mut change = Change::new(&database.keys, id, database.ambient.now_ms());
        let answer = match plan(&catalog, &mut change)? {
            Plan::Done(answer) => return Ok((answer, catalog.revision)),
            Plan::Change(answer) => answer,
        };
        let Change { compares, ops, touched, .. } = change;
        let commit = Commit { id, oldest: id.revision(), compares, ops, touched, flush: None };
        let (again, result) = turn.commit(commit).await?;
        turn = again;
        match result {
            CommitResult::Committed(revision) => {
                // Nobody else has to wait for this node to catch up.
                drop(turn);
                // The caller's next request should find it, whatever consistency it asks for; that it is committed does not
                // depend on it.
                if let Err(error) = database.at_least(revision).await {
                    tracing::warn!(%error, what, %revision, "changed, but this node could not be brought up to it yet");
                }
                return Ok((answer, revision));
            }
            CommitResult::Lost { revision, .. } => seen = revision,
            CommitResult::Aborted | CommitResult::NameTaken(..) => {}
        }
        catalog = database.snapshot(Visibility::Strong).await?;
        tracing::debug!(what, %seen, at = %catalog.revision, "a change lost a race and is planned again");
    }
    Err(Error::Contended { what: what.to_owned() })
}
