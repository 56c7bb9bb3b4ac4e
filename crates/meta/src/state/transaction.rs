//! Running a transaction: which branches are taken is settled against the state before it, then they are done in order.

use std::sync::Arc;

use bytes::Bytes;
use redkite_types::Revision;

use super::chain::{Chain, Record};
use super::{Change, State};
use crate::{
    Compare, CompareOp, CompareTarget, Error, KeyRange, KeyValue, LeaseId, Op, OpResult, Result, Txn, TxnResponse,
    validate,
};

/// Which branch a transaction takes, and those nested in that branch, in order.
struct Path {
    succeeded: bool,
    nested: Vec<Path>,
}

impl State {
    /// Runs a transaction: the answer, and what changed if anything did. On an error nothing has changed.
    pub fn apply(&mut self, txn: &Txn) -> Result<(TxnResponse, Option<Arc<Change>>)> {
        validate::check_txn(txn)?;
        let path = self.path(txn)?;
        let mut run = Run { revision: self.revision.next(), records: Vec::new() };
        let mut response = self.run(txn, &path, &mut run);
        let change = self.close_revision(run.records);
        stamp(&mut response, self.revision);
        Ok((response, change))
    }

    fn path(&self, txn: &Txn) -> Result<Path> {
        let succeeded = txn.compares.iter().all(|compare| self.holds(compare));
        let mut nested = Vec::new();
        for op in if succeeded { &txn.then } else { &txn.otherwise } {
            match op {
                Op::Txn(inner) => nested.push(self.path(inner)?),
                Op::Put { lease: Some(id), .. } if !self.has_lease(*id) => return Err(Error::LeaseNotFound(id.0)),
                _ => {}
            }
        }
        Ok(Path { succeeded, nested })
    }

    fn holds(&self, compare: &Compare) -> bool {
        let record = self.live(&compare.key);
        let number = |of: fn(&Record) -> i64| record.map_or(0, of);
        let order = match &compare.target {
            CompareTarget::CreateRevision(given) => number(|record| record.create_revision.0).cmp(&given.0),
            CompareTarget::ModRevision(given) => number(|record| record.revision.0).cmp(&given.0),
            CompareTarget::Version(given) => number(|record| record.version).cmp(given),
            CompareTarget::Value(given) => match record.and_then(|record| record.value.as_ref()) {
                Some(value) => value.cmp(given),
                None => return false,
            },
        };
        match compare.op {
            CompareOp::Equal => order.is_eq(),
            CompareOp::NotEqual => order.is_ne(),
            CompareOp::Less => order.is_lt(),
            CompareOp::Greater => order.is_gt(),
        }
    }

    fn run(&mut self, txn: &Txn, path: &Path, run: &mut Run) -> TxnResponse {
        let mut nested = path.nested.iter();
        let mut results = Vec::new();
        for op in if path.succeeded { &txn.then } else { &txn.otherwise } {
            results.push(match op {
                Op::Put { key, value, lease } => {
                    run.records.push(self.put_key(key, value, *lease, run.revision));
                    OpResult::Put
                }
                Op::Delete(range) => {
                    let keys = self.live_keys(range);
                    let count = i64::try_from(keys.len()).unwrap_or(i64::MAX);
                    run.records.extend(keys.into_iter().map(|key| self.delete_key(key, run.revision)));
                    OpResult::Deleted(count)
                }
                Op::Range(range) => OpResult::Range(self.live_range(range)),
                Op::Txn(inner) => match nested.next() {
                    Some(path) => OpResult::Txn(self.run(inner, path, run)),
                    None => continue,
                },
            });
        }
        TxnResponse { succeeded: path.succeeded, revision: Revision::ZERO, results }
    }

    fn put_key(&mut self, key: &str, value: &Bytes, lease: Option<LeaseId>, revision: Revision) -> Arc<Record> {
        let old = self.keys.get(key).map(|chain| Arc::clone(chain.newest()));
        let (key, alive) = match &old {
            Some(record) => (Arc::clone(&record.key), record.value.is_some()),
            None => (Arc::from(key), false),
        };
        let (create_revision, version) = match &old {
            Some(record) if alive => (record.create_revision, record.version + 1),
            _ => (revision, 1),
        };
        // A value often is a slice of a larger message; keep only its own bytes.
        let value = Some(Bytes::copy_from_slice(value));
        self.set(old.and_then(|record| record.lease), Record { key, revision, value, create_revision, version, lease })
    }

    pub(super) fn delete_key(&mut self, key: Arc<str>, revision: Revision) -> Arc<Record> {
        let lease = self.keys.get(&key).and_then(|chain| chain.newest().lease);
        self.set(lease, Record::deletion(key, revision))
    }

    fn set(&mut self, old_lease: Option<LeaseId>, record: Record) -> Arc<Record> {
        self.move_lease(old_lease, &record);
        let record = Arc::new(record);
        self.push(Arc::clone(&record));
        record
    }

    pub(super) fn push(&mut self, record: Arc<Record>) {
        match self.keys.get_mut(&record.key) {
            Some(chain) => chain.push(record),
            None => {
                self.keys.insert(Arc::clone(&record.key), Chain::new(record));
            }
        }
    }

    fn live_keys(&self, range: &KeyRange) -> Vec<Arc<str>> {
        self.chains(range)
            .filter(|chain| chain.newest().value.is_some())
            .map(|chain| Arc::clone(&chain.newest().key))
            .collect()
    }

    fn live_range(&self, range: &KeyRange) -> Vec<KeyValue> {
        self.chains(range).filter_map(|chain| chain.newest().key_value(false)).collect()
    }
}

/// What a running transaction has changed so far.
struct Run {
    revision: Revision,
    records: Vec<Arc<Record>>,
}

fn stamp(response: &mut TxnResponse, revision: Revision) {
    response.revision = revision;
    for result in &mut response.results {
        if let OpResult::Txn(nested) = result {
            stamp(nested, revision);
        }
    }
}
