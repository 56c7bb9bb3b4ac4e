//! Creating, changing and dropping collections. Takes effect at once, without a flush (S11).
//!
//! Every change here is planned as a pure function of a catalog and published by the one commit path; when it loses a
//! race it is planned again. Changes of one node go one after the other, and each begins by settling the one before if its
//! outcome is open: neither a plan nor its answer rests on what may still change behind it.

mod collections;
mod indexes;
mod records;

pub use collections::NewCollection;

use std::collections::BTreeMap;
use std::fmt;

use async_trait::async_trait;
use redkite_meta::{Compare, MetaStore};
use redkite_types::{CollectionId, CommitId, Revision};

use crate::change::Change;
use crate::commit::{Commit, CommitResult};
use crate::entry::IndexRecord;
use crate::{Catalog, Database, Error, Result, Visibility};

/// How often a change is planned again before it gives up.
const TRIES: u32 = 32;

/// What keeps a change from taking effect late: after whoever asked for it has gone on elsewhere (S06).
#[async_trait]
pub trait Guard: fmt::Debug + Send + Sync {
    /// Fails the change once that is so.
    fn compare(&self) -> Compare;

    /// After a change has lost: whether that is so not.
    async fn stands(&self, meta: &dyn MetaStore) -> Result<bool>;
}

/// Changes of collections on behalf of somebody.
#[derive(Debug, Clone, Copy)]
pub struct Changing<'a> {
    database: &'a Database,
    guard: Option<&'a dyn Guard>,
}

impl Database {
    /// Changes that take effect only while `guard` stands, if there is one.
    pub fn changing<'a>(&'a self, guard: Option<&'a dyn Guard>) -> Changing<'a> {
        Changing { database: self, guard }
    }

    /// As [`Changing::create_collection`], on nobody's behalf.
    pub async fn create_collection(&self, new: NewCollection) -> Result<(CollectionId, Revision)> {
        self.changing(None).create_collection(new).await
    }

    /// As [`Changing::drop_collection`], on nobody's behalf.
    pub async fn drop_collection(&self, name: &str) -> Result<(Option<CollectionId>, Revision)> {
        self.changing(None).drop_collection(name).await
    }

    /// As [`Changing::rename_collection`], on nobody's behalf.
    pub async fn rename_collection(&self, name: &str, new: &str) -> Result<Revision> {
        self.changing(None).rename_collection(name, new).await
    }

    /// As [`Changing::create_index`], on nobody's behalf.
    pub async fn create_index(&self, collection: &str, index: IndexRecord) -> Result<Revision> {
        self.changing(None).create_index(collection, index).await
    }

    /// As [`Changing::drop_index`], on nobody's behalf.
    pub async fn drop_index(&self, collection: &str, index: &str, field: &str) -> Result<Revision> {
        self.changing(None).drop_index(collection, index, field).await
    }

    /// As [`Changing::alter_properties`], on nobody's behalf.
    pub async fn alter_properties(
        &self,
        collection: &str,
        set: &BTreeMap<String, String>,
        remove: &[String],
    ) -> Result<Revision> {
        self.changing(None).alter_properties(collection, set, remove).await
    }

    /// As [`Changing::set_released`], on nobody's behalf.
    pub async fn set_released(&self, collection: &str, released: bool) -> Result<Revision> {
        self.changing(None).set_released(collection, released).await
    }
}

/// What a planner decided.
enum Plan<T> {
    /// All is as it should be.
    Done(T),
    /// Publish what was put into the change; the answer is `T` then.
    Change(T),
}

/// Plans on the newest catalog and publishes, until it wins. The answer comes with the revision that holds it.
async fn change<T>(
    Changing { database, guard }: Changing<'_>,
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
        let Change { mut compares, ops, touched, .. } = change;
        compares.extend(guard.map(Guard::compare));
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
            CommitResult::Lost { revision, .. } => {
                seen = revision;
                if let Some(guard) = guard
                    && !guard.stands(database.meta.as_ref()).await?
                {
                    return Err(Error::ClientMoved { what: what.to_owned() });
                }
            }
            CommitResult::Aborted | CommitResult::NameTaken(..) => {}
        }
        catalog = database.snapshot(Visibility::Strong).await?;
        tracing::debug!(what, %seen, at = %catalog.revision, "a change lost a race and is planned again");
    }
    Err(Error::Contended { what: what.to_owned() })
}
