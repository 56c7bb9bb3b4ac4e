//! The rules that the contract suite does not reach.

use super::*;
use crate::Txn;

#[test]
fn terms_of_leases() {
    for (ttl, fits) in [
        (Duration::ZERO, false),
        (Duration::from_millis(1), true),
        (LEASE_TTL_MAX, true),
        (LEASE_TTL_MAX + Duration::from_nanos(1), false),
    ] {
        assert_eq!(check_ttl(ttl).is_ok(), fits, "{ttl:?}");
    }
}

#[test]
fn the_size_counts_everything_that_is_sent() {
    let bytes = |txn: &Txn| check_txn(txn).unwrap();
    let compare = Compare::absent("/key");
    let put = Op::put("/key", "value");
    let base = bytes(&Txn { compares: vec![compare.clone()], ..Txn::default() });
    assert!(base >= 4);
    let nested = Op::Txn(Txn { then: vec![put], ..Txn::default() });
    let both =
        Txn { compares: vec![compare], then: vec![nested], otherwise: vec![Op::Range(KeyRange::Prefix("/".into()))] };
    assert!(bytes(&both) >= base + "/key".len() + "value".len() + "/".len());
}

#[test]
fn wide_transactions_are_checked_in_no_time() {
    // 4,096 exact deletes beside as many puts elsewhere: the check must not compare each with each.
    let ops = |delete: bool| -> Vec<Op> {
        (0..64 * 31)
            .map(|i| match delete {
                true => Op::Delete(KeyRange::Exact(format!("/old/{i}"))),
                false => Op::put(format!("/new/{i}"), "v"),
            })
            .collect()
    };
    let txn = Txn::packed(Vec::new(), ops(true).into_iter().chain(ops(false)).collect(), Vec::new()).unwrap();
    check_txn(&txn).unwrap();
}
