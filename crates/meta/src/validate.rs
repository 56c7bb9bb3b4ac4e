//! The rules a request must keep, checked alike in front of every backend, so that what one refuses all refuse.
//!
//! They are a stock etcd's, made symmetric in one place: etcd refuses a put of a key that an *earlier* operation of the
//! same transaction deletes; here the order does not matter. So one revision never holds two events of one key.
//!
//! Operations per transaction: a level may have [`TXN_OPS_MAX`] compares, and as many operations a branch, minus the
//! size of every level around it (the largest of its three lists). 64 nested transactions of 64 puts just fit.

use std::collections::BTreeSet;
use std::time::Duration;

use redkite_types::Revision;

use crate::{Compare, CompareTarget, Error, KeyRange, Op, Result, TXN_BYTES_MAX, TXN_OPS_MAX, Txn};

/// Longest term of a lease, etcd's own limit.
const LEASE_TTL_MAX: Duration = Duration::from_secs(9_000_000_000);
/// What one operation or compare costs on the wire besides its key and value, roughly and from above.
const OP_OVERHEAD_BYTES: usize = 32;

/// Refuses a transaction that any backend would refuse; tells how many bytes it takes on the wire, roughly.
pub(crate) fn check_txn(txn: &Txn) -> Result<usize> {
    let mut bytes = 0;
    check_level(txn, TXN_OPS_MAX, &mut bytes)?;
    if bytes > TXN_BYTES_MAX {
        return Err(Error::Invalid(format!(
            "a transaction of {bytes} bytes, at most {TXN_BYTES_MAX} fit; split it before it is sent"
        )));
    }
    touched(&txn.then)?;
    touched(&txn.otherwise)?;
    Ok(bytes)
}

/// Refuses an empty key and an empty set.
pub(crate) fn check_range(range: &KeyRange) -> Result<()> {
    match range {
        KeyRange::Exact(key) => check_key(key),
        KeyRange::Prefix(prefix) => check_key(prefix),
        KeyRange::Between(start, end) => {
            check_key(start)?;
            if start >= end {
                return Err(Error::Invalid(format!("no keys lie from {start:?} to {end:?}")));
            }
            Ok(())
        }
    }
}

/// Refuses a revision that can never have been.
pub(crate) fn check_revision(revision: Revision) -> Result<()> {
    if revision.0 < 1 {
        return Err(Error::Invalid(format!("revision {revision}: a store's first revision is 1")));
    }
    Ok(())
}

/// Refuses a term no backend grants.
pub(crate) fn check_ttl(ttl: Duration) -> Result<()> {
    if ttl.is_zero() || ttl > LEASE_TTL_MAX {
        return Err(Error::Invalid(format!("a lease of {ttl:?}: want more than nothing, at most {LEASE_TTL_MAX:?}")));
    }
    Ok(())
}

fn check_key(key: &str) -> Result<()> {
    if key.is_empty() {
        return Err(Error::Invalid("an empty key".to_owned()));
    }
    Ok(())
}

/// Counts one level and goes down. The depth is bounded: every level leaves at least one operation less to those in it.
fn check_level(txn: &Txn, ops_max: usize, bytes: &mut usize) -> Result<()> {
    let ops = txn.compares.len().max(txn.then.len()).max(txn.otherwise.len());
    if ops > ops_max {
        return Err(Error::Invalid(format!(
            "{ops} operations in one transaction, at most {ops_max} fit at this level ({TXN_OPS_MAX} less those around it)"
        )));
    }
    for compare in &txn.compares {
        check_key(&compare.key)?;
        *bytes += OP_OVERHEAD_BYTES + compare_bytes(compare);
    }
    for op in txn.then.iter().chain(&txn.otherwise) {
        *bytes += OP_OVERHEAD_BYTES;
        match op {
            Op::Put { key, value, .. } => {
                check_key(key)?;
                *bytes += key.len() + value.len();
            }
            Op::Delete(range) | Op::Range(range) => {
                check_range(range)?;
                *bytes += range_bytes(range);
            }
            Op::Txn(nested) => check_level(nested, ops_max - ops, bytes)?,
        }
    }
    Ok(())
}

fn compare_bytes(compare: &Compare) -> usize {
    let value = match &compare.target {
        CompareTarget::Value(value) => value.len(),
        _ => 0,
    };
    compare.key.len() + value
}

fn range_bytes(range: &KeyRange) -> usize {
    match range {
        KeyRange::Exact(key) => key.len(),
        KeyRange::Prefix(prefix) => 2 * prefix.len(),
        KeyRange::Between(start, end) => start.len() + end.len(),
    }
}

/// The keys that a list of operations may change.
#[derive(Default)]
struct Touched<'t> {
    puts: BTreeSet<&'t str>,
    deleted_keys: BTreeSet<&'t str>,
    deleted_ranges: Vec<&'t KeyRange>,
}

impl<'t> Touched<'t> {
    fn put(&mut self, key: &'t str) -> Result<()> {
        let deleted = self.deleted_keys.contains(key) || self.deleted_ranges.iter().any(|range| range.contains(key));
        if deleted || !self.puts.insert(key) {
            return Err(Error::Invalid(format!("key {key:?} is changed twice in one transaction")));
        }
        Ok(())
    }

    fn delete(&mut self, range: &'t KeyRange) -> Result<()> {
        let put = match range {
            KeyRange::Exact(key) => self.puts.get(key.as_str()).copied(),
            _ => self.puts.iter().find(|key| range.contains(key)).copied(),
        };
        if let Some(key) = put {
            return Err(Error::Invalid(format!("key {key:?} is changed twice in one transaction")));
        }
        match range {
            KeyRange::Exact(key) => {
                self.deleted_keys.insert(key);
            }
            _ => self.deleted_ranges.push(range),
        }
        Ok(())
    }

    /// Takes in the keys of the other branch: only one of the two happens, so they may overlap.
    fn or(mut self, other: Self) -> Self {
        self.puts.extend(other.puts);
        self.deleted_keys.extend(other.deleted_keys);
        self.deleted_ranges.extend(other.deleted_ranges);
        self
    }

    /// Takes in the keys of a nested transaction, which must not overlap with those before it.
    fn and(&mut self, nested: Self) -> Result<()> {
        let clash = |key: &&str| {
            self.puts.contains(*key)
                || self.deleted_keys.contains(*key)
                || self.deleted_ranges.iter().any(|range| range.contains(key))
        };
        let put_again = nested.puts.iter().copied().find(clash);
        let deleted_again = self.puts.iter().copied().find(|key| {
            nested.deleted_keys.contains(*key) || nested.deleted_ranges.iter().any(|range| range.contains(key))
        });
        if let Some(key) = put_again.or(deleted_again) {
            return Err(Error::Invalid(format!("key {key:?} is changed twice in one transaction")));
        }
        self.puts.extend(nested.puts);
        self.deleted_keys.extend(nested.deleted_keys);
        self.deleted_ranges.extend(nested.deleted_ranges);
        Ok(())
    }
}

fn touched(ops: &[Op]) -> Result<Touched<'_>> {
    let mut all = Touched::default();
    for op in ops {
        match op {
            Op::Put { key, .. } => all.put(key)?,
            Op::Delete(range) => all.delete(range)?,
            Op::Range(_) => {}
            Op::Txn(nested) => all.and(touched(&nested.then)?.or(touched(&nested.otherwise)?))?,
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests;
