//! Packed transactions fit, keep their order, or are refused.

use super::*;
use crate::validate;

fn puts(count: usize) -> Vec<Op> {
    (0..count).map(|i| Op::put(format!("/k{i}"), "v")).collect()
}

fn keys(ops: &[Op]) -> Vec<&str> {
    ops.iter()
        .flat_map(|op| match op {
            Op::Put { key, .. } => vec![key.as_str()],
            Op::Txn(nested) => keys(&nested.then),
            _ => Vec::new(),
        })
        .collect()
}

#[test]
fn packed_transactions_fit_and_keep_the_order() {
    for (compares, ops) in
        [(0, 0), (1, 128), (1, 129), (128, 128), (2, 4096), (2, 4097), (100, 2800), (120, 600), (3, 20_000)]
    {
        let compares: Vec<_> = (0..compares).map(|i| Compare::absent(format!("/c{i}"))).collect();
        let what = format!("{} compares, {ops} operations", compares.len());
        let txn = Txn::packed(compares, puts(ops), Vec::new()).unwrap();
        validate::check_txn(&txn).unwrap_or_else(|error| panic!("{what}: {error}"));
        let all = puts(ops);
        assert_eq!(keys(&txn.then), keys(&all), "{what}");
    }
}

#[test]
fn what_cannot_fit_is_refused() {
    let compares: Vec<_> = (0..128).map(|i| Compare::absent(format!("/c{i}"))).collect();
    assert!(matches!(Txn::packed(compares, puts(129), Vec::new()), Err(Error::Invalid(_))));
    let compares: Vec<_> = (0..129).map(|i| Compare::absent(format!("/c{i}"))).collect();
    assert!(matches!(Txn::packed(compares, puts(1), Vec::new()), Err(Error::Invalid(_))));
}
