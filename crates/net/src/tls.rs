//! The TLS of a process, kept up to date with its files.
//!
//! What the files hold is compared, not their times: a certificate that is replaced by renaming, as a link, or by writing over it is
//! noticed all the same. Half of a change (a certificate without its key yet) is told and changes nothing; it is looked again soon.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use tokio_rustls::rustls::{ClientConfig, ServerConfig};

use crate::files::{Contents, Made};
use crate::{Acceptor, Dialer, TlsError, TlsFiles};

/// Pause before it is looked again whether the files have changed.
const LOOK_PAUSE: Duration = Duration::from_secs(5);

/// Certificates and keys from files.
pub struct Tls {
    files: TlsFiles,
    current: RwLock<Current>,
}

struct Current {
    contents: Contents,
    made: Made,
}

impl Tls {
    /// Reads the files.
    pub fn open(files: TlsFiles) -> Result<Arc<Self>, TlsError> {
        let contents = files.read()?;
        let made = files.make(&contents)?;
        Ok(Arc::new(Self { files, current: RwLock::new(Current { contents, made }) }))
    }

    /// For the port that the setting `port` names.
    pub fn acceptor(self: &Arc<Self>, port: &'static str) -> Acceptor {
        Acceptor::with(self.clone(), port)
    }

    /// For connections to other processes.
    pub fn dialer(self: &Arc<Self>) -> Dialer {
        Dialer::with(self.clone())
    }

    /// Follows the files until dropped. New connections are made by what they hold; those that are there stay.
    pub async fn follow(self: Arc<Self>) {
        let mut told = None;
        loop {
            tokio::time::sleep(LOOK_PAUSE).await;
            let tls = self.clone();
            // Files may lie on a network.
            let looked = tokio::task::spawn_blocking(move || tls.look()).await;
            match looked {
                Ok(Ok(changed)) => {
                    told = None;
                    if changed {
                        tracing::info!("certificates were read again; new connections have them");
                    }
                }
                Ok(Err(error)) if told.as_ref() != Some(&error) => {
                    let file = self.files.path(error.about);
                    tracing::warn!(?file, %error, "certificates cannot be read again; those read before stay in use");
                    told = Some(error);
                }
                Ok(Err(_)) => {}
                Err(error) => tracing::error!(%error, "looking at certificates met a defect"),
            }
        }
    }

    /// Whether the files have changed. If they have, and fit together, their contents are used from now on.
    pub fn look(&self) -> Result<bool, TlsError> {
        let contents = self.files.read()?;
        if self.current.read().contents == contents {
            return Ok(false);
        }
        let made = self.files.make(&contents)?;
        *self.current.write() = Current { contents, made };
        Ok(true)
    }

    pub(crate) fn server(&self) -> Arc<ServerConfig> {
        self.current.read().made.server.clone()
    }

    pub(crate) fn client(&self) -> Option<Arc<ClientConfig>> {
        self.current.read().made.client.clone()
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Never a key.
        f.debug_struct("Tls").field("files", &self.files).finish_non_exhaustive()
    }
}
