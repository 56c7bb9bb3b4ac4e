//! Packing many operations into one transaction that a stock etcd takes.
//!
//! etcd counts per level: the size of a level (the largest of its compares, its `then` and its `otherwise`) plus the
//! sizes of all levels around it may be [`TXN_OPS_MAX`]. Two levels hold 64 x 64 operations, three 42 x 42 x 42; long
//! before more are needed the transaction is too many bytes.

use crate::{Compare, Error, Op, Result, TXN_OPS_MAX, Txn};

/// Levels of nesting at most; four hold a million operations, far more than fit by bytes.
const LEVELS_MAX: usize = 4;

impl Txn {
    /// If all of `compares` hold do `then`, otherwise `otherwise`, with `then` nested as far as its length needs.
    ///
    /// The results of `then` are nested alike. [`Error::Invalid`] if it cannot be nested so that it fits, which takes
    /// nearly [`TXN_OPS_MAX`] compares or more than 100,000 operations.
    pub fn packed(compares: Vec<Compare>, then: Vec<Op>, otherwise: Vec<Op>) -> Result<Txn> {
        let count = then.len();
        let level = compares.len().max(otherwise.len());
        let then = pack(then, level, TXN_OPS_MAX).ok_or_else(|| {
            Error::Invalid(format!(
                "{count} operations beside {} compares do not fit into one transaction",
                compares.len()
            ))
        })?;
        Ok(Txn { compares, then, otherwise })
    }
}

/// Nests operations for a level that has `level` compares anyway and at most `ops_max` for itself and those in it.
fn pack(mut ops: Vec<Op>, level: usize, ops_max: usize) -> Option<Vec<Op>> {
    if level > ops_max {
        return None;
    }
    if ops.len() <= ops_max {
        return Some(ops);
    }
    let width = (2..=LEVELS_MAX).find_map(|levels| {
        let width = (ops_max / levels).max(level);
        let below = (ops_max - width) / (levels - 1);
        let capacity = width.saturating_mul(below.saturating_pow(u32::try_from(levels - 1).ok()?));
        (capacity >= ops.len()).then_some(width)
    })?;
    let group = ops.len().div_ceil(width);
    let groups = ops.len().div_ceil(group);
    let mut packed = Vec::with_capacity(groups);
    while !ops.is_empty() {
        let rest = ops.split_off(group.min(ops.len()));
        let then = pack(ops, 0, ops_max - groups.max(level))?;
        packed.push(Op::Txn(Txn { then, ..Txn::default() }));
        ops = rest;
    }
    Some(packed)
}

#[cfg(test)]
mod tests;
