//! What a failed call to etcd means.
//!
//! The one question is whether a write may have happened. It is known not to have if the connection could not be made,
//! or if etcd itself refused the request; everything else is unknown.

use etcd_client::Error as EtcdError;
use redkite_types::Revision;
use tonic::{Code, ConnectError, Status};

use crate::Error;

/// What was asked of etcd.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    /// Changes nothing, or nothing that matters if done twice or in vain.
    Harmless,
    /// Changes something, so its outcome matters.
    Write,
}

/// A failed call.
#[derive(Debug)]
pub(super) enum Failure {
    /// The answer was more than the client takes: ask for less.
    TooLarge,
    /// Trying again, elsewhere or later, may help.
    Transient(Error),
    /// It will not.
    Final(Error),
    /// Nor will it, unless that was for a token that etcd does not know any more.
    Denied(Error),
}

impl Failure {
    /// The caller's error.
    pub(super) fn into_error(self) -> Error {
        match self {
            Failure::TooLarge => Error::Unavailable("an answer of etcd is larger than this client takes".to_owned()),
            Failure::Transient(error) | Failure::Final(error) | Failure::Denied(error) => error,
        }
    }
}

/// The failure of a call that was not answered in time.
pub(super) fn timed_out(call: Call, what: &str, after: std::time::Duration) -> Failure {
    Failure::Transient(unanswered(call, format!("{what}: no answer from etcd within {after:?}")))
}

/// Sorts out the failure of a call; `revision` is the one it named, if it did.
pub(super) fn sort(call: Call, what: &str, revision: Option<Revision>, error: EtcdError) -> Failure {
    match error {
        EtcdError::GRpcStatus(status) => sort_status(call, what, revision, &status),
        EtcdError::LeaseKeepAliveError(text) if text.contains("lease not found") => {
            Failure::Final(Error::LeaseNotFound(0))
        }
        EtcdError::InvalidArgs(_) | EtcdError::InvalidUri(_) | EtcdError::InvalidMetadataValue(_) => {
            Failure::Final(Error::Invalid(format!("{what}: {error}")))
        }
        other => Failure::Transient(unanswered(call, format!("{what}: {other}"))),
    }
}

fn sort_status(call: Call, what: &str, revision: Option<Revision>, status: &Status) -> Failure {
    let message = status.message();
    let text = || match root_cause(status) {
        Some(cause) if cause != message => format!("{what}: {:?}: {message}: {cause}", status.code()),
        _ => format!("{what}: {:?}: {message}", status.code()),
    };
    let asked = revision.unwrap_or(Revision::ZERO);
    match status.code() {
        Code::OutOfRange if message.contains("has been compacted") => {
            Failure::Final(Error::Compacted { asked, oldest: Revision::ZERO })
        }
        Code::OutOfRange if message.contains("future revision") => Failure::Final(Error::FutureRevision { asked }),
        // From the client itself, after etcd has answered.
        Code::OutOfRange if message.contains("message length too large") => match call {
            Call::Harmless => Failure::TooLarge,
            Call::Write => Failure::Final(Error::OutcomeUnknown(text())),
        },
        Code::NotFound if message.contains("lease not found") => Failure::Final(Error::LeaseNotFound(0)),
        Code::ResourceExhausted if message.contains("database space exceeded") => {
            Failure::Final(Error::NoSpace(format!(
                "{what}: etcd's database is full; delete or raise its quota, compact, defragment, then disarm its alarm"
            )))
        }
        // Refused before it was proposed.
        Code::ResourceExhausted if message.contains("too many requests") => {
            Failure::Transient(Error::Unavailable(text()))
        }
        Code::Unavailable if message.contains("no leader") || never_connected(status) => {
            Failure::Transient(Error::Unavailable(text()))
        }
        // Users or roles have changed since the token was made. It is refused whatever was asked, so nothing has happened.
        Code::InvalidArgument if message.contains("revision of auth store is old") => {
            Failure::Denied(Error::Unavailable(text()))
        }
        Code::InvalidArgument => Failure::Final(Error::Invalid(text())),
        Code::Unauthenticated | Code::PermissionDenied | Code::FailedPrecondition => {
            Failure::Final(Error::Unavailable(format!("{}; check the user and password for etcd", text())))
        }
        _ => Failure::Transient(unanswered(call, text())),
    }
}

fn unanswered(call: Call, text: String) -> Error {
    match call {
        Call::Harmless => Error::Unavailable(text),
        Call::Write => Error::OutcomeUnknown(text),
    }
}

/// Whether the request never left, because there was no connection to send it on.
fn never_connected(status: &Status) -> bool {
    causes(status).any(|cause| cause.is::<ConnectError>())
}

fn root_cause(status: &Status) -> Option<String> {
    causes(status).last().map(|cause| cause.to_string())
}

fn causes(status: &Status) -> impl Iterator<Item = &(dyn std::error::Error + 'static)> {
    std::iter::successors(std::error::Error::source(status), |cause| cause.source())
}

#[cfg(test)]
mod tests;
