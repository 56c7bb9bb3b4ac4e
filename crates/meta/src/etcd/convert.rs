//! Between the trait's plain data and etcd's messages.

use bytes::Bytes;
use etcd_client::proto::{PbTxnOpResponse, PbTxnResponse};
use etcd_client::{
    Compare as EtcdCompare, CompareOp as EtcdCompareOp, DeleteOptions, GetOptions, PutOptions, Txn as EtcdTxn, TxnOp,
    WatchOptions,
};
use redkite_types::Revision;

use crate::{
    Compare, CompareOp, CompareTarget, Error, KeyRange, KeyValue, LeaseId, Op, OpResult, Result, Txn, TxnResponse,
};

/// A set of keys as etcd names it: its start, and how its end is given.
pub(super) enum Keys<'k> {
    One(&'k str),
    Prefix(&'k str),
    Until(&'k str, &'k str),
}

pub(super) fn keys(range: &KeyRange) -> Keys<'_> {
    match range {
        KeyRange::Exact(key) => Keys::One(key),
        KeyRange::Prefix(prefix) => Keys::Prefix(prefix),
        KeyRange::Between(start, end) => Keys::Until(start, end),
    }
}

pub(super) fn get(range: &KeyRange, options: GetOptions) -> (&str, GetOptions) {
    match keys(range) {
        Keys::One(key) => (key, options),
        Keys::Prefix(prefix) => (prefix, options.with_prefix()),
        Keys::Until(start, end) => (start, options.with_range(end)),
    }
}

pub(super) fn watch(range: &KeyRange, options: WatchOptions) -> (&str, WatchOptions) {
    match keys(range) {
        Keys::One(key) => (key, options),
        Keys::Prefix(prefix) => (prefix, options.with_prefix()),
        Keys::Until(start, end) => (start, options.with_range(end)),
    }
}

fn delete(range: &KeyRange) -> TxnOp {
    let options = DeleteOptions::new();
    match keys(range) {
        Keys::One(key) => TxnOp::delete(key, None),
        Keys::Prefix(prefix) => TxnOp::delete(prefix, Some(options.with_prefix())),
        Keys::Until(start, end) => TxnOp::delete(start, Some(options.with_range(end))),
    }
}

/// The transaction as etcd takes it.
pub(super) fn txn(txn: &Txn) -> EtcdTxn {
    let ops = |ops: &[Op]| ops.iter().map(op).collect::<Vec<_>>();
    EtcdTxn::new()
        .when(txn.compares.iter().map(compare).collect::<Vec<_>>())
        .and_then(ops(&txn.then))
        .or_else(ops(&txn.otherwise))
}

fn op(op: &Op) -> TxnOp {
    match op {
        Op::Put { key, value, lease } => {
            TxnOp::put(key.as_str(), value.as_ref(), lease.map(|lease| PutOptions::new().with_lease(lease.0)))
        }
        Op::Delete(range) => delete(range),
        Op::Range(range) => {
            let (key, options) = get(range, GetOptions::new());
            TxnOp::get(key, Some(options))
        }
        Op::Txn(nested) => TxnOp::txn(txn(nested)),
    }
}

fn compare(compare: &Compare) -> EtcdCompare {
    let key = compare.key.as_str();
    let op = match compare.op {
        CompareOp::Equal => EtcdCompareOp::Equal,
        CompareOp::NotEqual => EtcdCompareOp::NotEqual,
        CompareOp::Less => EtcdCompareOp::Less,
        CompareOp::Greater => EtcdCompareOp::Greater,
    };
    match &compare.target {
        CompareTarget::CreateRevision(revision) => EtcdCompare::create_revision(key, op, revision.0),
        CompareTarget::ModRevision(revision) => EtcdCompare::mod_revision(key, op, revision.0),
        CompareTarget::Version(version) => EtcdCompare::version(key, op, *version),
        CompareTarget::Value(value) => EtcdCompare::value(key, op, value.as_ref()),
    }
}

/// A key and its value, taken over without a copy of either.
pub(super) fn key_value(kv: etcd_client::KeyValue) -> Result<KeyValue> {
    let (create_revision, mod_revision) = (Revision(kv.create_revision()), Revision(kv.mod_revision()));
    let (version, lease) = (kv.version(), kv.lease());
    let (key, value) = kv.into_key_value();
    let key = String::from_utf8(key)
        .map_err(|error| Error::Corrupt(format!("etcd holds a key that is not UTF-8: {:?}", error.as_bytes())))?;
    Ok(KeyValue {
        key,
        value: Bytes::from(value),
        create_revision,
        mod_revision,
        version,
        lease: (lease != 0).then_some(LeaseId(lease)),
    })
}

/// The answer of a transaction. Nested ones carry no revision of their own on the wire.
pub(super) fn txn_response(response: PbTxnResponse, revision: Revision) -> Result<TxnResponse> {
    let mut results = Vec::with_capacity(response.responses.len());
    for result in response.responses {
        results.push(match result.response {
            Some(PbTxnOpResponse::ResponsePut(_)) => OpResult::Put,
            Some(PbTxnOpResponse::ResponseDeleteRange(deleted)) => OpResult::Deleted(deleted.deleted),
            Some(PbTxnOpResponse::ResponseRange(found)) => {
                let kvs = found.kvs.into_iter().map(|kv| key_value(etcd_client::KeyValue(kv)));
                OpResult::Range(kvs.collect::<Result<_>>()?)
            }
            Some(PbTxnOpResponse::ResponseTxn(nested)) => OpResult::Txn(txn_response(nested, revision)?),
            None => return Err(Error::Corrupt("etcd left out the answer of an operation".to_owned())),
        });
    }
    Ok(TxnResponse { succeeded: response.succeeded, revision, results })
}
