//! The table of what each failure means.

use std::time::Duration;

use super::*;

/// What the caller of a read and of a write hears.
fn heard(code: Code, message: &str) -> (String, String) {
    let hear = |call| {
        let error = EtcdError::GRpcStatus(Status::new(code, message));
        let failure = sort(call, "test", Some(Revision(5)), error);
        let again = matches!(failure, Failure::Transient(_));
        let error = format!("{:?}", failure.into_error());
        let name = error.split(['(', ' ']).next().unwrap_or_default().to_owned();
        if again { name + "+" } else { name }
    };
    (hear(Call::Harmless), hear(Call::Write))
}

#[test]
fn statuses_are_sorted_by_whether_the_write_may_have_happened() {
    use Code::*;
    let table = [
        (OutOfRange, "etcdserver: mvcc: required revision has been compacted", "Compacted", "Compacted"),
        (OutOfRange, "etcdserver: mvcc: required revision is a future revision", "FutureRevision", "FutureRevision"),
        (OutOfRange, "Error, decoded message length too large: found 2", "Unavailable", "OutcomeUnknown"),
        (NotFound, "etcdserver: requested lease not found", "LeaseNotFound", "LeaseNotFound"),
        (ResourceExhausted, "etcdserver: mvcc: database space exceeded", "NoSpace", "NoSpace"),
        (ResourceExhausted, "etcdserver: too many requests", "Unavailable+", "Unavailable+"),
        (Unavailable, "etcdserver: no leader", "Unavailable+", "Unavailable+"),
        (Unavailable, "etcdserver: request timed out", "Unavailable+", "OutcomeUnknown+"),
        (Unavailable, "etcdserver: leader changed", "Unavailable+", "OutcomeUnknown+"),
        (Unavailable, "transport error", "Unavailable+", "OutcomeUnknown+"),
        (Cancelled, "Timeout expired", "Unavailable+", "OutcomeUnknown+"),
        (Unknown, "h2 protocol error", "Unavailable+", "OutcomeUnknown+"),
        (InvalidArgument, "etcdserver: too many operations in txn request", "Invalid", "Invalid"),
        (Unauthenticated, "etcdserver: invalid auth token", "Unavailable", "Unavailable"),
        (PermissionDenied, "etcdserver: permission denied", "Unavailable", "Unavailable"),
    ];
    for (code, message, read, write) in table {
        assert_eq!(heard(code, message), (read.to_owned(), write.to_owned()), "{code:?} {message}");
    }
}

#[test]
fn silence_leaves_a_write_unknown() {
    let after = Duration::from_secs(5);
    let error = |call| timed_out(call, "test", after).into_error();
    assert!(matches!(error(Call::Harmless), Error::Unavailable(text) if text.contains("5s")));
    assert!(matches!(error(Call::Write), Error::OutcomeUnknown(_)));
}

#[test]
fn a_missing_lease_is_told_from_other_renewal_failures() {
    let sorted = |text: &str| sort(Call::Harmless, "test", None, EtcdError::LeaseKeepAliveError(text.to_owned()));
    assert!(matches!(sorted("lease not found"), Failure::Final(Error::LeaseNotFound(_))));
    assert!(matches!(sorted("channel closed"), Failure::Transient(Error::Unavailable(_))));
}
