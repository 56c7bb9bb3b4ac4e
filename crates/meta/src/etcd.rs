//! The metadata store in a shared etcd.
//!
//! Every call has a time limit. Reads are tried again a few times; a write never is: whether it may have happened is
//! told apart instead (`failure.rs`). Sets of keys are read in pages of one revision (`pages.rs`); watches survive their
//! connections (`watch.rs`). What any backend would refuse is refused before it is sent.

mod backoff;
mod convert;
mod failure;
mod pages;
mod watch;

use std::time::Duration;

use async_trait::async_trait;
use etcd_client::{Certificate, Client, ConnectOptions, Identity, KvClient, LeaseClient, TlsOptions, WatchClient};
use redkite_types::Revision;

use self::failure::{Call, Failure};
use crate::{
    Error, KeyRange, LeaseId, MetaStore, Op, RangeRequest, RangeResponse, Result, Txn, TxnResponse, WatchStream,
    failpoint, metrics, validate,
};

/// Largest answer taken: a transaction's own ranges cannot be paged, and one watch fragment holds at least one event.
const RESPONSE_BYTES_MAX: usize = 64 << 20;
/// A read is tried this often before its caller hears of it.
const READ_TRIES_MAX: u32 = 4;

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
    kv: KvClient,
    lease: LeaseClient,
    watch: WatchClient,
    /// Owns the set of endpoints the clients above choose from.
    client: Client,
}

impl std::fmt::Debug for EtcdStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EtcdStore").field("options", &self.options).finish_non_exhaustive()
    }
}

impl EtcdStore {
    /// Connects, and reads once to see that etcd answers.
    pub async fn connect(options: EtcdOptions) -> Result<Self> {
        let what = format!("connect to etcd at {}", options.endpoints.join(", "));
        let connecting = Client::connect(&options.endpoints, Some(options.connect_options()));
        let client = tokio::time::timeout(options.request_timeout, connecting)
            .await
            .map_err(|_| failure::timed_out(Call::Harmless, &what, options.request_timeout).into_error())?
            .map_err(|error| failure::sort(Call::Harmless, &what, None, error).into_error())?;
        let store = Self {
            kv: client.kv_client().max_decoding_message_size(RESPONSE_BYTES_MAX),
            lease: client.lease_client(),
            watch: client.watch_client().max_decoding_message_size(RESPONSE_BYTES_MAX),
            options,
            client,
        };
        store
            .retrying(&what, None, || {
                let mut kv = store.kv.clone();
                async move { kv.get("/", None).await }
            })
            .await
            .map_err(Failure::into_error)?;
        Ok(store)
    }

    /// One call, within its time.
    async fn call<T>(
        &self,
        kind: Call,
        what: &str,
        revision: Option<Revision>,
        call: impl Future<Output = std::result::Result<T, etcd_client::Error>>,
    ) -> std::result::Result<T, Failure> {
        match tokio::time::timeout(self.options.request_timeout, call).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => match failure::sort(kind, what, revision, error) {
                Failure::Denied(error) if self.options.user.is_some() => {
                    self.log_in().await?;
                    Err(Failure::Transient(error))
                }
                failure => Err(failure),
            },
            Err(_) => Err(failure::timed_out(kind, what, self.options.request_timeout)),
        }
    }

    /// Fetches another token, for calls to come.
    async fn log_in(&self) -> std::result::Result<(), Failure> {
        tracing::debug!("another token is fetched from etcd");
        login(&self.client, self.options.request_timeout).await
    }

    /// A call that does no harm if made twice: tried again where that may help.
    async fn retrying<T, F>(
        &self,
        what: &str,
        revision: Option<Revision>,
        mut call: impl FnMut() -> F,
    ) -> std::result::Result<T, Failure>
    where
        F: Future<Output = std::result::Result<T, etcd_client::Error>>,
    {
        let mut failures = 0;
        loop {
            match self.call(Call::Harmless, what, revision, call()).await {
                Err(Failure::Transient(error)) if failures + 1 < READ_TRIES_MAX => {
                    failures += 1;
                    tracing::debug!(%error, failures, "etcd did not answer, trying again");
                    tokio::time::sleep(backoff::wait_after(failures)).await;
                }
                other => return other,
            }
        }
    }

    async fn send_txn(&self, txn: &Txn) -> Result<TxnResponse> {
        validate::check_txn(txn)?;
        failpoint::step("meta-etcd-before-txn").map_err(Error::Unavailable)?;
        let mut kv = self.kv.clone();
        let answer = self.call(Call::Write, "transaction", None, kv.txn(convert::txn(txn))).await;
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

/// Fetches another token.
async fn login(client: &Client, timeout: Duration) -> std::result::Result<(), Failure> {
    tokio::time::timeout(timeout, client.refresh_token())
        .await
        .map_err(|_| failure::timed_out(Call::Harmless, "login", timeout))?
        .map_err(|error| failure::sort(Call::Harmless, "login", None, error))
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
        let user = self.options.user.as_ref().map(|_| self.client.clone());
        watch::open(self.watch.clone(), user, self.options.request_timeout, range, from).await
    }

    async fn lease_grant(&self, ttl: Duration) -> Result<LeaseId> {
        validate::check_ttl(ttl)?;
        let seconds = ttl.as_secs() + u64::from(ttl.subsec_nanos() > 0);
        let mut client = self.lease.clone();
        let granting = client.grant(i64::try_from(seconds).unwrap_or(i64::MAX), None);
        let granted = self.call(Call::Harmless, "lease grant", None, granting).await.map_err(Failure::into_error)?;
        Ok(LeaseId(granted.id()))
    }

    async fn lease_keep_alive(&self, lease: LeaseId) -> Result<()> {
        let renewed = self
            .retrying("lease renewal", None, || {
                let mut client = self.lease.clone();
                async move { client.keep_alive(lease.0).await }
            })
            .await;
        renewed.map(|_| ()).map_err(|failure| name_lease(failure.into_error(), Some(lease)))
    }

    async fn lease_revoke(&self, lease: LeaseId) -> Result<()> {
        let mut client = self.lease.clone();
        let revoked = self.call(Call::Write, "lease revocation", None, client.revoke(lease.0)).await;
        revoked.map(|_| ()).map_err(|failure| name_lease(failure.into_error(), Some(lease)))
    }

    async fn compact(&self, revision: Revision) -> Result<()> {
        let mut kv = self.kv.clone();
        let compacted = self.call(Call::Harmless, "compaction", Some(revision), kv.compact(revision.0, None)).await;
        compacted.map(|_| ()).map_err(Failure::into_error)
    }
}
