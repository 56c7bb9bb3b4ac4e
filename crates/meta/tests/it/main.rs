//! The three metadata stores against one contract, and what only one of them can do.

#![allow(missing_docs, clippy::unwrap_used, reason = "a failed check is a panic, in the tests' helpers as well")]

mod embedded;
mod etcd;
mod etcd_faults;
mod faults;
mod kill;
mod memory;
mod model;

use std::path::Path;
use std::time::Duration;

use futures::StreamExt;
use redkite_meta::{
    EmbeddedOptions, EmbeddedStore, KeyRange, MetaStore, Op, RangeRequest, Result, Txn, TxnResponse, WatchBatch,
    WatchStream,
};
use redkite_types::Revision;
use tokio::sync::RwLock;

/// Failpoints are the whole process's: tests that set them hold this alone, all others of those stores share it.
static FAILPOINTS: RwLock<()> = RwLock::const_new(());

/// Nothing a test waits for takes this long unless it never comes.
const PATIENCE: Duration = Duration::from_secs(60);

fn put_txn(key: &str, value: &str) -> Txn {
    Txn { then: vec![Op::put(key, value.to_owned())], ..Txn::default() }
}

async fn put(store: &dyn MetaStore, key: &str, value: &str) -> Result<TxnResponse> {
    store.txn(put_txn(key, value)).await
}

async fn value(store: &dyn MetaStore, key: &str) -> Option<String> {
    let kv = store.get(key).await.unwrap()?;
    Some(String::from_utf8(kv.value.to_vec()).unwrap())
}

fn everything() -> KeyRange {
    KeyRange::Prefix("/".to_owned())
}

/// Keys and values as of a revision.
async fn listing(store: &dyn MetaStore, revision: Revision) -> Vec<(String, String)> {
    let answer = store.range(RangeRequest::new(everything()).at(revision)).await.unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    answer.kvs.iter().map(|kv| (kv.key.clone(), text(&kv.value))).collect()
}

async fn next_batch(stream: &mut WatchStream) -> WatchBatch {
    let next = tokio::time::timeout(PATIENCE, stream.next()).await;
    next.expect("the watch brings nothing").expect("the watch ended").unwrap()
}

fn open(directory: &Path) -> EmbeddedStore {
    EmbeddedStore::open(&directory.join("meta.redb"), EmbeddedOptions::default()).unwrap()
}
