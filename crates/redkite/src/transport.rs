//! How the ports of this process take connections, and how it connects to other processes of its cluster: as section `tls` says.

use std::sync::Arc;

use redkite_net::{Acceptor, Client, Dialer, Identity, Tls, TlsError, TlsFiles, Trust};
use tokio::task::JoinHandle;

use crate::config::{Loaded, Problems, Role};

/// Reads the files that the configuration names for connections to etcd.
pub fn check_etcd(loaded: &Loaded) -> Result<(), Problems> {
    let etcd = &loaded.config.etcd;
    if etcd.endpoints.is_empty() || (etcd.ca.is_empty() && etcd.cert.is_empty()) {
        return Ok(());
    }
    let identity = Identity { cert: (&etcd.cert).into(), key: (&etcd.key).into() };
    let trust = if etcd.ca.is_empty() { Trust::System } else { Trust::File((&etcd.ca).into()) };
    let checked = Client::open(&trust, Some(&identity).filter(|_| !etcd.cert.is_empty()));
    checked.map(drop).map_err(|error| problem(loaded, "etcd", error))
}

fn problem(loaded: &Loaded, section: &str, error: TlsError) -> Problems {
    let key = format!("{section}.{}", error.about.name());
    Problems(vec![loaded.settings.problem(&key, error.reason)])
}

/// With TLS, or without. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Transport(Option<Arc<Tls>>);

impl Transport {
    /// Reads the files that the configuration names. To be done first: what is wrong with them is a problem of the configuration.
    pub fn open(loaded: &Loaded) -> Result<Self, Problems> {
        check_etcd(loaded)?;
        let tls = &loaded.config.tls;
        if tls.cert.is_empty() {
            return Ok(Self(None));
        }
        let files = TlsFiles {
            identity: Identity { cert: (&tls.cert).into(), key: (&tls.key).into() },
            client_ca: (!tls.client_ca.is_empty()).then(|| (&tls.client_ca).into()),
            trust: match (loaded.role, tls.ca.as_str()) {
                (_, ca) if !ca.is_empty() => Trust::File(ca.into()),
                // It connects to nobody.
                (Role::Standalone, _) => Trust::Nobody,
                _ => Trust::System,
            },
        };
        Tls::open(files).map(|tls| Self(Some(tls))).map_err(|error| problem(loaded, "tls", error))
    }

    /// Whether ports take TLS and nothing else.
    pub fn is_tls(&self) -> bool {
        self.0.is_some()
    }

    /// For the port that the setting `port` names.
    pub fn acceptor(&self, port: &'static str) -> Acceptor {
        self.0.as_ref().map_or_else(Acceptor::plain, |tls| tls.acceptor(port))
    }

    /// For connections to the other processes of the cluster.
    pub fn dialer(&self) -> Dialer {
        self.0.as_ref().map_or_else(Dialer::plain, Tls::dialer)
    }

    /// Follows the files, until aborted.
    pub fn follow(&self) -> Option<JoinHandle<()>> {
        self.0.clone().map(|tls| tokio::spawn(tls.follow()))
    }
}
