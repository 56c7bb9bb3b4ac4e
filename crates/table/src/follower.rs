//! Keeps the newest catalog: one range, then one watch over everything the user has.
//!
//! The watch is a hint: a reader that needs a revision waits for it a little, then ranges for it itself. The published
//! catalog only moves forward, and only at whole revisions.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures::StreamExt;
use parking_lot::Mutex;
use redkite_meta::keys::UserKeys;
use redkite_meta::{KeyRange, MetaStore, RangeRequest};
use redkite_types::Revision;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::{Catalog, Error, Result};

/// How long a reader waits for the watch before it reads the metadata itself.
const WATCH_PATIENCE: Duration = Duration::from_millis(50);
/// Pause before a failed watch is started again.
const WATCH_RETRY_PAUSE: Duration = Duration::from_millis(200);

/// The newest catalog of one user.
#[derive(Debug)]
pub struct Follower {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    meta: Arc<dyn MetaStore>,
    keys: UserKeys,
    newest: watch::Sender<Arc<Catalog>>,
    /// Catalogs that were handed out, oldest first; those nobody holds any more are forgotten now and then.
    handed_out: Mutex<VecDeque<(Revision, Weak<Catalog>)>>,
    /// Held while ranging, so that many waiting readers range once.
    ranging: tokio::sync::Mutex<()>,
}

impl Follower {
    /// Reads the catalog and follows it until dropped.
    pub async fn start(meta: Arc<dyn MetaStore>, keys: UserKeys) -> Result<Self> {
        let catalog = Arc::new(load(meta.as_ref(), &keys).await?);
        let handed_out = VecDeque::from([(catalog.revision, Arc::downgrade(&catalog))]);
        let shared = Arc::new(Shared {
            meta,
            keys,
            newest: watch::Sender::new(catalog),
            handed_out: Mutex::new(handed_out),
            ranging: tokio::sync::Mutex::new(()),
        });
        let task = tokio::spawn(follow(shared.clone()));
        Ok(Self { shared, task })
    }

    /// The newest catalog here, without asking anybody.
    pub fn newest(&self) -> Arc<Catalog> {
        self.shared.newest.borrow().clone()
    }

    /// Tells the revision of the newest catalog here, for as long as it is asked.
    pub fn known(&self) -> impl Fn() -> Revision + Send + Sync + use<> {
        let shared = self.shared.clone();
        move || shared.newest.borrow().revision
    }

    /// The oldest revision whose catalog anybody here still holds.
    pub fn oldest_held(&self) -> Revision {
        self.shared.oldest_held()
    }

    /// Waits for a catalog of at least `revision`, which need not exist yet.
    pub async fn wait_for(&self, revision: Revision) -> Result<Arc<Catalog>> {
        self.shared.wait_for(revision).await
    }

    /// A catalog of at least `revision`, which must exist.
    pub async fn at_least(&self, revision: Revision) -> Result<Arc<Catalog>> {
        let catalog = self.newest();
        if catalog.revision >= revision {
            return Ok(catalog);
        }
        match tokio::time::timeout(WATCH_PATIENCE, self.shared.wait_for(revision)).await {
            Ok(seen) => return seen,
            Err(_elapsed) => {}
        }
        let _ranging = self.shared.ranging.lock().await;
        let catalog = self.newest();
        if catalog.revision >= revision {
            return Ok(catalog);
        }
        metrics::counter!("redkite_catalog_ranges_total").increment(1);
        self.shared.publish(load(self.shared.meta.as_ref(), &self.shared.keys).await?);
        Ok(self.newest())
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    async fn wait_for(&self, revision: Revision) -> Result<Arc<Catalog>> {
        let mut receiver = self.newest.subscribe();
        let seen = receiver.wait_for(|catalog| catalog.revision >= revision).await;
        seen.map(|catalog| catalog.clone()).map_err(|_| Error::ShuttingDown)
    }

    fn publish(&self, catalog: Catalog) {
        self.newest.send_if_modified(|newest| {
            let newer = catalog.revision > newest.revision;
            if newer {
                let catalog = Arc::new(catalog);
                // Before anybody can get it, so that no catalog is held unnoticed.
                self.note(&catalog);
                *newest = catalog;
            }
            newer
        });
    }

    fn note(&self, catalog: &Arc<Catalog>) {
        let mut handed_out = self.handed_out.lock();
        if handed_out.len() == handed_out.capacity() {
            handed_out.retain(|(_, catalog)| catalog.strong_count() > 0);
        }
        handed_out.push_back((catalog.revision, Arc::downgrade(catalog)));
    }

    fn oldest_held(&self) -> Revision {
        let mut handed_out = self.handed_out.lock();
        handed_out.retain(|(_, catalog)| catalog.strong_count() > 0);
        handed_out.front().map_or(Revision::ZERO, |(revision, _)| *revision)
    }
}

async fn load(meta: &dyn MetaStore, keys: &UserKeys) -> Result<Catalog> {
    let response = meta.range(RangeRequest::new(KeyRange::Prefix(keys.all().to_owned()))).await?;
    Ok(Catalog::load(keys, response.kvs, response.revision))
}

async fn follow(shared: Arc<Shared>) {
    loop {
        let error = match watch_once(&shared).await {
            Ok(()) => "the stream ended".to_owned(),
            Err(Error::Meta(redkite_meta::Error::Compacted { .. })) => {
                match load(shared.meta.as_ref(), &shared.keys).await {
                    Ok(catalog) => {
                        shared.publish(catalog);
                        continue;
                    }
                    Err(error) => error.to_string(),
                }
            }
            Err(error) => error.to_string(),
        };
        tracing::warn!(error, "the metadata watch broke and is started again");
        tokio::time::sleep(WATCH_RETRY_PAUSE).await;
    }
}

async fn watch_once(shared: &Shared) -> Result<()> {
    let from = shared.newest.borrow().revision.next();
    let range = KeyRange::Prefix(shared.keys.all().to_owned());
    let mut stream = shared.meta.watch(range, from).await?;
    while let Some(batch) = stream.next().await {
        let batch = batch?;
        let current = shared.newest.borrow().clone();
        // A reader that ranged may have overtaken the watch.
        if batch.revision > current.revision {
            shared.publish(current.apply(&shared.keys, batch));
        }
    }
    Ok(())
}
