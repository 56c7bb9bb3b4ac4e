//! The contract suite: what every metadata store must do, checked the same way on each. For tests only.
//!
//! A case works below a prefix of its own but shares the store's revisions and compaction with the others, so cases run
//! one after the other, on a store that nobody else writes to. Those that need the whole history come before those that
//! write so much that a store may compact by itself.

#![allow(clippy::unwrap_used, reason = "a failed check is a panic, as in any test")]

mod compaction;
mod leases;
mod nesting;
mod reads;
mod txns;
mod watches;

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use redkite_types::Revision;

use crate::{
    Error, KeyRange, KeyValue, LeaseId, MetaStore, Op, RangeRequest, Result, Txn, TxnResponse, WatchBatch, WatchStream,
};

/// Nothing a case waits for takes this long unless it never comes.
const PATIENCE: Duration = Duration::from_secs(60);

/// One part of the contract.
pub struct Case {
    /// What it is about.
    pub name: &'static str,
    /// Checks it; panics if it does not hold.
    pub run: fn(Store) -> BoxFuture<'static, ()>,
}

macro_rules! cases {
    ($($module:ident :: $name:ident),* $(,)?) => {
        /// All parts of the contract, in the order in which they have to run.
        pub fn cases() -> Vec<Case> {
            vec![$(Case {
                name: concat!(stringify!($module), "::", stringify!($name)),
                run: |store| Box::pin($module::$name(store)),
            }),*]
        }
    };
}

cases! {
    txns::first_revisions_are_those_of_a_fresh_etcd,
    txns::create_revision_mod_revision_and_version,
    txns::compares_of_every_kind,
    txns::results_come_in_order_and_see_what_came_before,
    txns::no_change_no_revision,
    txns::writers_in_conflict_lose_nothing,
    nesting::nested_compares_see_the_state_before,
    nesting::more_than_128_operations_are_one_revision,
    nesting::limits_of_every_level,
    nesting::a_key_is_changed_once_at_most,
    nesting::what_is_refused_did_not_happen,
    reads::sets_of_keys,
    reads::limits_and_keys_only,
    reads::ranges_at_a_revision,
    reads::revisions_that_are_not_there,
    watches::sets_of_keys,
    watches::from_the_past_and_from_the_future,
    watches::no_gaps_under_concurrent_writers,
    watches::large_revisions_come_whole,
    reads::more_than_four_megabytes_at_one_revision,
    leases::revoked_lease_deletes_its_keys_at_once,
    leases::a_put_moves_its_key_between_leases,
    leases::unknown_leases,
    leases::expiry_deletes_and_renewal_prevents_it,
    compaction::reads_and_watches_of_the_past_fail,
    compaction::what_is_current_stays,
}

/// Runs every case, in order, on a fresh store. Panics at the first that fails, having printed its name.
pub async fn run(store: Arc<dyn MetaStore>) {
    run_but(&[], store).await;
}

/// Runs every case but those of these names.
pub async fn run_but(left_out: &[&str], store: Arc<dyn MetaStore>) {
    for case in cases().into_iter().filter(|case| !left_out.contains(&case.name)) {
        eprintln!("contract: {}", case.name);
        (case.run)(Store { inner: Arc::clone(&store), prefix: format!("/{}/", case.name.replace("::", "/")) }).await;
    }
}

/// The store as a case sees it: keys are short names below its prefix.
#[derive(Clone)]
pub struct Store {
    inner: Arc<dyn MetaStore>,
    prefix: String,
}

impl Store {
    fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    fn all(&self) -> KeyRange {
        KeyRange::Prefix(self.prefix.clone())
    }

    fn exact(&self, name: &str) -> KeyRange {
        KeyRange::Exact(self.key(name))
    }

    fn put_op(&self, name: &str, value: &str) -> Op {
        Op::put(self.key(name), value.to_owned())
    }

    async fn try_then(&self, then: Vec<Op>) -> Result<TxnResponse> {
        self.inner.txn(Txn { then, ..Txn::default() }).await
    }

    async fn then(&self, then: Vec<Op>) -> TxnResponse {
        let response = self.try_then(then).await.unwrap();
        assert!(response.succeeded);
        response
    }

    async fn put(&self, name: &str, value: &str) -> Revision {
        self.then(vec![self.put_op(name, value)]).await.revision
    }

    async fn delete(&self, name: &str) -> Revision {
        self.then(vec![Op::Delete(self.exact(name))]).await.revision
    }

    async fn put_under(&self, name: &str, lease: LeaseId) -> Result<TxnResponse> {
        self.try_then(vec![Op::Put { key: self.key(name), value: "leased".into(), lease: Some(lease) }]).await
    }

    async fn get(&self, name: &str) -> Option<KeyValue> {
        self.inner.get(&self.key(name)).await.unwrap()
    }

    /// Names and values below the prefix, as of a revision.
    async fn listing(&self, revision: Option<Revision>) -> Vec<(String, String)> {
        let request = RangeRequest { revision, ..RangeRequest::new(self.all()) };
        self.inner.range(request).await.unwrap().kvs.iter().map(|kv| self.pair(kv)).collect()
    }

    async fn newest(&self) -> Revision {
        self.inner.range(RangeRequest::new(self.all())).await.unwrap().revision
    }

    async fn watch(&self, range: KeyRange, from: Revision) -> WatchStream {
        self.inner.watch(range, from).await.unwrap()
    }

    /// The error of a watch, whether the call or the stream says it.
    async fn watch_error(&self, from: Revision) -> Error {
        match self.inner.watch(self.all(), from).await {
            Err(error) => error,
            Ok(mut stream) => {
                let first = tokio::time::timeout(PATIENCE, stream.next()).await.unwrap().unwrap();
                let error = first.expect_err("a watch of the past brought something");
                assert!(stream.next().await.is_none(), "a watch went on after {error}");
                error
            }
        }
    }

    fn pair(&self, kv: &KeyValue) -> (String, String) {
        let name = kv.key.strip_prefix(&self.prefix).unwrap();
        (name.to_owned(), String::from_utf8(kv.value.to_vec()).unwrap())
    }
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

async fn next_batch(stream: &mut WatchStream) -> WatchBatch {
    let next = tokio::time::timeout(PATIENCE, stream.next()).await;
    next.expect("the watch brings nothing").expect("the watch ended").unwrap()
}

async fn next_batches(stream: &mut WatchStream, count: usize) -> Vec<WatchBatch> {
    let mut batches = Vec::new();
    for _ in 0..count {
        batches.push(next_batch(stream).await);
    }
    batches
}
