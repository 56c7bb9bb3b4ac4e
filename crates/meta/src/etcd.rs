//! The metadata store in a shared etcd.
//!
//! Every call has a time limit. What did not happen is tried again for a while, with another member where there are several
//! (`members.rs`); a write that may have happened never is: that is told instead (`failure.rs`). Sets of keys are read in pages of one revision (`pages.rs`); watches survive their
//! connections (`watch.rs`). What any backend would refuse is refused before it is sent.

mod backoff;
mod convert;
mod failure;
mod members;
mod pages;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use etcd_client::{Certificate, ConnectOptions, Identity, TlsOptions};
use redkite_types::Revision;
use tokio::time::Instant;

use self::failure::{Call, Failure};
use self::members::{Clients, Members};
use crate::{
    Error, KeyRange, LeaseId, MetaStore, Op, RangeRequest, RangeResponse, Result, Txn, TxnResponse, WatchStream,
    failpoint, metrics, validate,
};

/// Largest answer taken: a transaction's own ranges cannot be paged, and one watch fragment holds at least one event.
const RESPONSE_BYTES_MAX: usize = 64 << 20;
/// What did not happen is tried this often before its caller hears of it: together with the pauses about twice as long as a
/// new leader takes to be elected.
const TRIES_MAX: u32 = 8;
/// And not again once as many times the time of one request have passed.
const TRIED_FOR_REQUESTS: u32 = 2;

/// How to reach etcd.
#[derive(Clone)]
pub struct EtcdOptions {
    /// `http://host:port` or `https://host:port`, of some or all members.
    pub endpoints: Vec<String>,
    /// User and password, where etcd wants them.
    pub user: Option<(String, String)>,
    /// For `https` endpoints; the system's roots without a certificate of one's own if absent.
    pub tls: Option<EtcdTls>,
    /// A connection is given up after this long.
    pub connect_timeout: Duration,
    /// A request is given up after this long; a write's outcome is unknown then.
    pub request_timeout: Duration,
    /// A connection is probed this often, idle ones too. etcd drops clients that do so more often than every 5 s.
    pub keep_alive_interval: Duration,
    /// A connection whose probe is not answered after this long is given up.
    pub keep_alive_timeout: Duration,
}

/// Certificates for etcd, each as PEM text.
#[derive(Clone, Default)]
pub struct EtcdTls {
    /// Whom to trust; the system's roots if absent.
    pub ca: Option<String>,
    /// Our own certificate and its key.
    pub identity: Option<(String, String)>,
    /// The name the servers' certificates bear, if not that of the endpoint.
    pub domain: Option<String>,
}

impl EtcdOptions {
    /// The default limits for some endpoints.
    pub fn new(endpoints: Vec<String>) -> Self {
        Self {
            endpoints,
            user: None,
            tls: None,
            connect_timeout: Duration::from_secs(3),
            request_timeout: Duration::from_secs(5),
            keep_alive_interval: Duration::from_secs(10),
            keep_alive_timeout: Duration::from_secs(5),
        }
    }

    fn connect_options(&self) -> ConnectOptions {
        let mut options = ConnectOptions::new()
            .with_connect_timeout(self.connect_timeout)
            .with_keep_alive(self.keep_alive_interval, self.keep_alive_timeout)
            .with_keep_alive_while_idle(true)
            // A member cut off from the others must say so rather than let requests wait.
            .with_require_leader(true);
        if let Some((name, password)) = &self.user {
            options = options.with_user(name, password).with_auto_token_refresh(true);
        }
        if let Some(tls) = &self.tls {
            options = options.with_tls(tls.options());
        }
        options
    }
}

impl EtcdTls {
    fn options(&self) -> TlsOptions {
        let mut options = match &self.ca {
            Some(ca) => TlsOptions::new().ca_certificate(Certificate::from_pem(ca)),
            None => TlsOptions::new().with_native_roots(),
        };
        if let Some((certificate, key)) = &self.identity {
            options = options.identity(Identity::from_pem(certificate, key));
        }
        if let Some(domain) = &self.domain {
            options = options.domain_name(domain);
        }
        options
    }
}

// Never the password, never a key.
impl std::fmt::Debug for EtcdOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EtcdOptions")
            .field("endpoints", &self.endpoints)
            .field("user", &self.user.as_ref().map(|(name, _)| name))
            .field("tls", &self.tls.is_some())
            .finish_non_exhaustive()
    }
}

/// A metadata store in etcd.
pub struct EtcdStore {
    options: EtcdOptions,
    members: Arc<Members>,
}

impl std::fmt::Debug for EtcdStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EtcdStore").field("options", &self.options).finish_non_exhaustive()
    }
}

impl EtcdStore {
    /// Connects, and reads once to see that etcd answers.
    pub async fn connect(options: EtcdOptions) -> Result<Self> {
        let members = Arc::new(Members::connect(options.clone()).await?);
        let store = Self { options, members };
        let reading = store
            .retrying(Call::Harmless, "first read", None, |mut at: Clients| async move { at.kv.get("/", None).await });
        reading.await.map_err(Failure::into_error)?;
        Ok(store)
    }

    /// Makes a call until it is answered, or may have been carried out although it was not.
    async fn retrying<T, F>(
        &self,
        kind: Call,
        what: &str,
        revision: Option<Revision>,
        call: impl Fn(Clients) -> F,
    ) -> std::result::Result<T, Failure>
    where
        F: Future<Output = std::result::Result<T, etcd_client::Error>>,
    {
        let until = Instant::now() + self.options.request_timeout * TRIED_FOR_REQUESTS;
        let mut failures = 0;
        loop {
            match self.members.ask(kind, what, revision, &call).await {
                Err(Failure::Transient(Error::Unavailable(error)))
                    if failures + 1 < TRIES_MAX && Instant::now() < until =>
                {
                    failures += 1;
                    tracing::debug!(error, failures, "etcd did not answer, trying again");
                    tokio::time::sleep(backoff::wait_after(failures)).await;
                }
                other => return other,
            }
        }
    }

    async fn send_txn(&self, txn: &Txn) -> Result<TxnResponse> {
        validate::check_txn(txn)?;
        failpoint::step("meta-etcd-before-txn").map_err(Error::Unavailable)?;
        let call = |mut at: Clients| {
            let txn = convert::txn(txn);
            async move { at.kv.txn(txn).await }
        };
        let answer = self.retrying(Call::Write, "transaction", None, call).await;
        failpoint::step("meta-etcd-after-txn").map_err(Error::OutcomeUnknown)?;
        let answer = answer.map_err(|failure| name_lease(failure.into_error(), lease_of(txn)))?;
        let revision = answer.header().map(|header| Revision(header.revision())).unwrap_or_default();
        convert::txn_response(answer.0, revision).map_err(|error| match writes(txn) {
            // It was carried out, one way or the other.
            true => Error::OutcomeUnknown(error.to_string()),
            false => error,
        })
    }
}

/// Whether a transaction may change anything.
fn writes(txn: &Txn) -> bool {
    txn.then.iter().chain(&txn.otherwise).any(|op| match op {
        Op::Range(_) => false,
        Op::Txn(nested) => writes(nested),
        Op::Put { .. } | Op::Delete(_) => true,
    })
}

/// Etcd says that a lease is missing but not which.
fn name_lease(error: Error, lease: Option<LeaseId>) -> Error {
    match (error, lease) {
        (Error::LeaseNotFound(0), Some(lease)) => Error::LeaseNotFound(lease.0),
        (error, _) => error,
    }
}

/// The first lease a transaction puts under.
fn lease_of(txn: &Txn) -> Option<LeaseId> {
    txn.then.iter().chain(&txn.otherwise).find_map(|op| match op {
        Op::Put { lease, .. } => *lease,
        Op::Txn(nested) => lease_of(nested),
        _ => None,
    })
}

#[async_trait]
impl MetaStore for EtcdStore {
    async fn range(&self, request: RangeRequest) -> Result<RangeResponse> {
        pages::read(self, &request).await
    }

    async fn txn(&self, txn: Txn) -> Result<TxnResponse> {
        let answer = self.send_txn(&txn).await;
        metrics::txn_done("etcd", &answer);
        answer
    }

    async fn watch(&self, range: KeyRange, from: Revision) -> Result<WatchStream> {
        watch::open(self.members.clone(), range, from).await
    }

    async fn lease_grant(&self, ttl: Duration) -> Result<LeaseId> {
        validate::check_ttl(ttl)?;
        let seconds = ttl.as_secs() + u64::from(ttl.subsec_nanos() > 0);
        let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
        let call = |mut at: Clients| async move { at.lease.grant(seconds, None).await };
        let granted = self.retrying(Call::Harmless, "lease grant", None, call).await.map_err(Failure::into_error)?;
        Ok(LeaseId(granted.id()))
    }

    async fn lease_keep_alive(&self, lease: LeaseId) -> Result<()> {
        let call = |mut at: Clients| async move { at.lease.keep_alive(lease.0).await };
        let renewed = self.retrying(Call::Harmless, "lease renewal", None, call).await;
        renewed.map(|_| ()).map_err(|failure| name_lease(failure.into_error(), Some(lease)))
    }

    async fn lease_revoke(&self, lease: LeaseId) -> Result<()> {
        let call = |mut at: Clients| async move { at.lease.revoke(lease.0).await };
        let revoked = self.retrying(Call::Write, "lease revocation", None, call).await;
        revoked.map(|_| ()).map_err(|failure| name_lease(failure.into_error(), Some(lease)))
    }

    async fn compact(&self, revision: Revision) -> Result<()> {
        // Tried once: a second time it could only be told that it has been done.
        let call = |mut at: Clients| async move { at.kv.compact(revision.0, None).await };
        let compacted = self.members.ask(Call::Harmless, "compaction", Some(revision), call).await;
        compacted.map(|_| ()).map_err(Failure::into_error)
    }
}
